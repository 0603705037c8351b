/**
 * Ports beside those of sequences: whoever comes to them scans, and is no
 * further than before. Pure.
 * @module
 */

import { overlapPorts, type PortRange } from "../values/ports.ts";
import { formatHit, type Hit } from "./sequence.ts";

/** How many ports on either side of each hit are traps: but those in `used`. */
export function trapsBeside(
  hits: readonly Hit[],
  reach: number,
  used: readonly PortRange[] = [],
): Hit[] {
  const known = new Set(hits.map(formatHit));
  const traps: Hit[] = [];
  for (const { protocol, port } of hits) {
    for (let near = port - reach; near <= port + reach; near++) {
      const trap: Hit = { protocol, port: near };
      const range = { protocol, first: near, last: near };
      if (near < 1 || near > 65535 || known.has(formatHit(trap))) continue;
      if (used.some((other) => overlapPorts(other, range))) continue;
      known.add(formatHit(trap));
      traps.push(trap);
    }
  }
  return traps;
}
