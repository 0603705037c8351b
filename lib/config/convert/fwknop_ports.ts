/** Lists of ports of fwknop's files. */

import {
  overlapPorts,
  parsePortRange,
  type PortRange,
} from "../../values/ports.ts";
import type { Directive } from "./fwknop_lines.ts";

/** Every port of both protocols: what fwknopd lets a client ask for by default. */
export const ALL_PORTS: readonly PortRange[] = [
  { protocol: "tcp", first: 1, last: 65535 },
  { protocol: "udp", first: 1, last: 65535 },
];

/** Reads `tcp/22,udp/53`; what is neither TCP nor UDP is named and left out. */
export function convertPorts(
  { keyword, value, where }: Directive,
  warnings: string[],
): PortRange[] {
  return value.split(",").flatMap((text) => {
    const port = parsePortRange(text.trim());
    if (port) return [port];
    warnings.push(`${where}: ${keyword}: "${text.trim()}" is left out`);
    return [];
  });
}

/** The ports that are left when others are taken away. */
export function withoutPorts(
  ports: readonly PortRange[],
  away: readonly PortRange[],
): PortRange[] {
  return away.reduce(
    (left: readonly PortRange[], hole) =>
      left.flatMap((range) =>
        !overlapPorts(range, hole) ? [range] : [
          { ...range, last: hole.first - 1 },
          { ...range, first: hole.last + 1 },
        ].filter(({ first, last }) => first <= last)
      ),
    ports,
  ) as PortRange[];
}
