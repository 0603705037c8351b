/** Times the judging of packets, and checks that they are judged as they should be. */

import process from "node:process";
import type { Opened, PacketRefusal } from "../lib/dialects/dialect.ts";
import { why } from "../tests/fakes/packets.ts";

const MEASURE_MS = 700;

/** Packets that are judged a second. */
export function rate(
  packets: readonly Uint8Array[],
  judge: (packet: Uint8Array) => void,
): number {
  // The first round lets the compiler see what it has to do.
  packets.forEach(judge);
  const start = performance.now();
  let rounds = 0;
  let elapsed = 0;
  while (elapsed < MEASURE_MS) {
    packets.forEach(judge);
    rounds++;
    elapsed = performance.now() - start;
  }
  return Math.round(rounds * packets.length / elapsed * 1000);
}

/** Throws if a packet is not refused for this, or not opened: null. */
export function expect(opened: Opened, wanted: PacketRefusal | null): void {
  const got = why(opened);
  if (got !== wanted) throw new Error(`wanted ${wanted}, got ${got}`);
}

/** Prints rates by their names; as one JSON object with `--json`. */
export function printRates(rates: object): void {
  const text = process.argv.includes("--json")
    ? JSON.stringify(rates)
    : Object.entries(rates)
      .map(([name, value]) => `${name.padEnd(28)}${value.toLocaleString("en")}`)
      .join("\n");
  process.stdout.write(`${text}\n`);
}
