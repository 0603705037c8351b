/** What is done for a client or a sequence: the words that deciding, recording and doing share. */

import type { Action, Answer } from "../../dialects/dialect.ts";
import type { PortRange } from "../../values/ports.ts";
import type { Verdict } from "../packet/judge.ts";
import type { Asker } from "../report/events.ts";

/** What was asked for and let pass, as far as it was. */
export type Granted = Extract<Verdict, { ok: true }>;

/** What is done, and for whom. */
export interface Deed extends Asker {
  readonly action: Action;
  /** Whether the kernel has done it by itself already. */
  readonly inKernel?: boolean;
}

/** What a complete port sequence does: it has no client whose policy says no. */
export interface Claim extends Deed {
  /** Canonical. */
  readonly address: string;
  readonly ports: readonly PortRange[];
  /** 0 for all but `open`. */
  readonly seconds: number;
  /** Writes down what belongs to the same record. */
  readonly record?: () => void;
}

// What is answered to a request. Pure.

/** The most ports that a reply can say: 16 bits. */
const MAX_COUNT = 0xffff;

/** The answer to what was let pass, and was done or could not be. */
export function answerGranted(
  isDone: boolean,
  { address, ports, seconds }: Granted,
  timeMs: number,
): Answer {
  return isDone
    ? { status: "done", count: countPorts(ports), seconds, timeMs, address }
    : answerNothing("failed", address, timeMs);
}

/** The answer to what was not done. */
export function answerNothing(
  status: "refused" | "failed",
  address: string,
  timeMs: number,
): Answer {
  return { status, count: 0, seconds: 0, timeMs, address };
}

function countPorts(ports: readonly PortRange[]): number {
  let count = 0;
  for (const { first, last } of ports) count += last - first + 1;
  return Math.min(count, MAX_COUNT);
}
