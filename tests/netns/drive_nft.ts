/**
 * Drives the nft backend inside a namespace: one JSON step a line on standard
 * input, one JSON answer a line on standard output. The seconds of a grant
 * count from the step's own moment.
 */

import { createInterface } from "node:readline";
import process from "node:process";
import type { Firewall, Grant } from "../../lib/firewall/firewall.ts";
import { nftFirewall } from "../../lib/firewall/nft.ts";
import { parsePortRange } from "../../lib/values/ports.ts";
import { runtime } from "../runtime.ts";

/** A grant of a step: `["10.9.0.2", "tcp/22", 30]`, address, ports, seconds. */
export type GivenGrant = readonly [string, string, number, "once"?];

/** What to do, and with what. */
export interface Step {
  readonly do: "apply" | "open" | "close" | "intact" | "remove" | "name";
  readonly services?: readonly string[];
  readonly grants?: readonly GivenGrant[];
  /** Default: the grants of `grants`, or none for close. */
  readonly all?: readonly GivenGrant[];
}

/** What came of it. */
export interface Answer {
  readonly id: number;
  readonly ok: boolean;
  readonly value?: unknown;
  readonly error?: string;
  readonly hint?: string;
  readonly ms: number;
}

async function take(firewall: Firewall, step: Step): Promise<unknown> {
  const nowMs = runtime.nowMs();
  const read = (given: readonly GivenGrant[] = []): Grant[] =>
    given.map(([address, ports, seconds, once]) => ({
      address,
      ports: parsePortRange(ports)!,
      untilMs: nowMs + seconds * 1000,
      once: once === "once",
      to: null,
      client: "alice",
    }));
  const grants = read(step.grants);
  switch (step.do) {
    case "apply": {
      const ports = (step.services ?? []).map((text) => parsePortRange(text)!);
      return await firewall.apply(
        [{ name: "service", ports, to: null, masquerade: false }],
        grants,
        nowMs,
      );
    }
    case "open":
      return await firewall.open(
        grants,
        step.all ? read(step.all) : grants,
        nowMs,
      );
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

/** Takes steps on standard input until its end. */
export async function drive(firewall: Firewall): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const startMs = runtime.monotonicMs();
    const { id, ...step } = JSON.parse(line) as Step & { id: number };
    let answer: Omit<Answer, "id" | "ms">;
    try {
      const value = await take(firewall, step);
      answer = { ok: true, value };
    } catch (error) {
      const { message, hint } = error as Error & { hint?: string };
      answer = { ok: false, error: message, ...(hint && { hint }) };
    }
    const ms = runtime.monotonicMs() - startMs;
    process.stdout.write(JSON.stringify({ id, ...answer, ms }) + "\n");
  }
  await firewall.stop();
}

if (import.meta.main) {
  const forked = process.argv.includes("--forked");
  await drive(
    await nftFirewall(
      forked
        ? { ...runtime, openLibrary: () => Promise.resolve(null) }
        : runtime,
    ),
  );
}
