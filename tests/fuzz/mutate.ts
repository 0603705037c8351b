/** Changes bytes at random, by a generator that can be started again. */

import { concat } from "../../lib/values/bytes.ts";

/** Numbers from 0 up to, not including, a limit. */
export type Random = (limit: number) => number;

/** The longest input. */
const MAX_SIZE = 4096;

/** A generator of good enough numbers (mulberry32), the same for the same seed. */
export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
}

const INTERESTING = [0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x20, 0x22, 0x3a, 0x7b];

/** A seed with a few changes; parts of another one may come in. */
export function mutate(
  seeds: readonly Uint8Array[],
  random: Random,
): Uint8Array<ArrayBuffer> {
  let bytes = Uint8Array.from(seeds[random(seeds.length)]!);
  for (let changes = 1 + random(6); changes > 0; changes--) {
    const at = random(bytes.length + 1);
    const size = Math.min(bytes.length - at, 1 << random(8));
    switch (random(8)) {
      case 0:
        if (at < bytes.length) bytes[at]! ^= 1 << random(8);
        break;
      case 1:
        if (at < bytes.length) bytes[at] = random(256);
        break;
      case 2:
        if (at < bytes.length) {
          bytes[at] = INTERESTING[random(INTERESTING.length)]!;
        }
        break;
      case 3: // shorter
        bytes = concat(bytes.subarray(0, at), bytes.subarray(at + size));
        break;
      case 4: // a part twice
        bytes = concat(
          bytes.subarray(0, at + size),
          bytes.subarray(at, at + size),
          bytes.subarray(at + size),
        );
        break;
      case 5: // a part of another
        {
          const other = seeds[random(seeds.length)]!;
          const from = random(other.length + 1);
          bytes = concat(
            bytes.subarray(0, at),
            other.subarray(from, from + size),
            bytes.subarray(at),
          );
        }
        break;
      case 6: // one byte many times
        bytes = concat(
          bytes.subarray(0, at),
          new Uint8Array(1 << random(8)).fill(random(256)),
          bytes.subarray(at),
        );
        break;
      default: // cut
        bytes = bytes.slice(0, at);
    }
  }
  return bytes.slice(0, MAX_SIZE);
}
