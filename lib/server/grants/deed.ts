/** What is answered to a request. Pure. */

import type { Answer } from "../../dialects/dialect.ts";
import type { PortRange } from "../../values/ports.ts";
import type { Granted } from "./deed_.ts";

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
