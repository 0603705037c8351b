/**
 * Drives the iptables backend inside a namespace, as drive_nft.ts does the nft
 * one: `drive_iptables.ts VARIANT MODE CHAIN`.
 */

import process from "node:process";
import { createInterface } from "node:readline";
import type { Firewall, Grant } from "../../lib/firewall/firewall.ts";
import { iptablesFirewall } from "../../lib/firewall/iptables.ts";
import { parsePortRange } from "../../lib/values/ports.ts";
import { runtime } from "../runtime.ts";

/** A grant of a step: `["10.9.0.2", "tcp/22", 30]`, address, ports, seconds. */
export type GivenGrant = readonly [string, string, number];

/** What to do, and with what. */
export interface Step {
  readonly do: "apply" | "open" | "close" | "intact" | "remove" | "name";
  readonly services?: readonly string[];
  readonly grants?: readonly GivenGrant[];
  readonly all?: readonly GivenGrant[];
}

/** What came of it. */
export interface Answer {
  readonly ok: boolean;
  readonly value?: unknown;
  readonly error?: string;
  readonly hint?: string;
}

async function take(firewall: Firewall, step: Step): Promise<unknown> {
  const nowMs = runtime.nowMs();
  const read = (given: readonly GivenGrant[] = []): Grant[] =>
    given.map(([address, ports, seconds]) => ({
      address,
      ports: parsePortRange(ports)!,
      untilMs: nowMs + seconds * 1000,
      once: false,
      to: null,
      client: "alice",
    }));
  const grants = read(step.grants);
  switch (step.do) {
    case "apply": {
      const ports = (step.services ?? []).map((text) => parsePortRange(text)!);
      const service = { name: "service", ports, to: null, masquerade: false };
      return await firewall.apply([service], grants, nowMs);
    }
    case "open":
      return await firewall.open(grants, read(step.all), nowMs);
    case "close":
      return await firewall.close(grants, read(step.all), nowMs);
    case "intact":
      return await firewall.intact();
    case "remove":
      return await firewall.remove();
    case "name":
      return firewall.name;
  }
}

if (import.meta.main) {
  const [variant, mode, chain] = process.argv.slice(2);
  const firewall = await iptablesFirewall(runtime, {
    mode: mode === "accept" ? "accept" : "guard",
    chain: chain ?? null,
  }, variant === "legacy" ? "-legacy" : "-nft");
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, ...step } = JSON.parse(line) as Step & { id: number };
    let answer: Answer;
    try {
      answer = { ok: true, value: await take(firewall, step) };
    } catch (error) {
      const { message, hint } = error as Error & { hint?: string };
      answer = { ok: false, error: message, ...(hint && { hint }) };
    }
    process.stdout.write(JSON.stringify({ id, ...answer }) + "\n");
  }
}
