/**
 * A firewall's backend that is driven inside a namespace: one JSON step a line
 * on standard input, one JSON answer a line on standard output. The seconds of
 * a grant count from the step's own moment.
 * @module
 */

import process from "node:process";
import { createInterface } from "node:readline";
import type {
  Firewall,
  Grant,
  Guarded,
  Prefilter,
} from "../../lib/firewall/firewall.ts";
import { parseEndpoint } from "../../lib/values/address.ts";
import { parsePortRange } from "../../lib/values/ports.ts";
import { runtime } from "../fakes/runtime.ts";

/** A grant of a step: `["10.9.0.2", "tcp/22", 30]`, address, ports, seconds; then "once" or "", and a target. */
export type GivenGrant = readonly [
  string,
  string,
  number,
  ("once" | "")?,
  string?,
];

/** A service of a step: `"tcp/22"`, or one that leads elsewhere. */
export type GivenService = string | {
  readonly listen: string;
  readonly to: string;
  readonly masquerade?: boolean;
} | { readonly listen: string; readonly cut: true };

/** Orders, and their data; the prefilter, counters and problems are of nft alone. */
export interface Step {
  readonly do:
    | "apply"
    | "open"
    | "close"
    | "intact"
    | "remove"
    | "name"
    | "gate"
    | "prefilter"
    | "counters"
    | "jumpProblem"
    | "stop";
  readonly services?: readonly GivenService[];
  readonly grants?: readonly GivenGrant[];
  /** Default: the grants of `grants`, or none for close. */
  readonly all?: readonly GivenGrant[];
  /** Tags in hexadecimal; null takes the gate away. */
  readonly gate?: {
    readonly ports?: number[];
    readonly tags?: string[];
    readonly webTags?: string[];
  } | null;
}

/** Outcome of an order. */
export interface Answer {
  readonly id: number;
  readonly ok: boolean;
  readonly value?: unknown;
  readonly error?: string;
  readonly hint?: string;
  readonly ms: number;
}

/** Follows the steps of standard input; the backend is made at the first one. */
export async function follow(open: () => Promise<Firewall>): Promise<void> {
  let firewall: Firewall | null = null;
  for await (const line of createInterface({ input: process.stdin })) {
    const startMs = runtime.monotonicMs();
    const { id, ...step } = JSON.parse(line) as Step & { id: number };
    let answer: Omit<Answer, "id" | "ms">;
    try {
      firewall ??= await open();
      const value = await take(firewall, step);
      answer = { ok: true, value };
    } catch (error) {
      const { message, hint } = error as Error & { hint?: string };
      answer = { ok: false, error: message, ...(hint && { hint }) };
    }
    const ms = runtime.monotonicMs() - startMs;
    process.stdout.write(JSON.stringify({ id, ...answer, ms }) + "\n");
  }
  await firewall?.stop();
}

async function take(firewall: Firewall, step: Step): Promise<unknown> {
  const nowMs = runtime.nowMs();
  const read = (given: readonly GivenGrant[] = []): Grant[] =>
    given.map(([address, ports, seconds, once, to]) => ({
      address,
      ports: parsePortRange(ports)!,
      untilMs: nowMs + seconds * 1000,
      once: once === "once",
      to: to === undefined ? null : parseEndpoint(to),
      client: "alice",
    }));
  const grants = read(step.grants);
  switch (step.do) {
    case "apply": {
      const services = (step.services ?? []).map(readService);
      return await firewall.apply(services, grants, nowMs);
    }
    case "open":
      return await firewall.change(
        grants,
        [...grants, ...read(step.all)],
        nowMs,
      );
    case "close":
      return await firewall.change(grants, read(step.all), nowMs);
    case "intact":
      return await firewall.intact();
    case "remove":
      return await firewall.remove();
    case "name":
      return firewall.name;
    case "gate":
      return await firewall.kernel!.setPrefilter(readGate(step.gate));
    case "prefilter":
      return firewall.kernel!.prefilter;
    case "counters":
      return await firewall.kernel!.counters();
    case "jumpProblem":
      return await firewall.kernel!.jumpProblem();
    case "stop":
      return await firewall.stop();
  }
}

function readService(given: GivenService): Guarded {
  const { listen, to = null, masquerade = false, cut = false }:
    & { listen: string }
    & { to?: string | null; masquerade?: boolean; cut?: boolean } =
      typeof given === "string" ? { listen: given } : given;
  return {
    name: "service",
    ports: [parsePortRange(listen)!],
    to: to === null ? null : parseEndpoint(to),
    masquerade,
    cut,
  };
}

function readGate(gate: Step["gate"]): Prefilter | null {
  return gate
    ? {
      ports: gate.ports ?? [],
      tags: (gate.tags ?? []).map((hex) => Uint8Array.fromHex(hex)),
      webTags: (gate.webTags ?? []).map((hex) => Uint8Array.fromHex(hex)),
    }
    : null;
}
