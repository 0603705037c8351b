/** How tcpdump is asked for what sequences need (pcap-filter(7)). Pure. */

import { mergePorts } from "../values/segments.ts";
import type { Hit } from "./sequence.ts";

/** So much of a packet is needed: headers, with extensions of IPv6. */
const SNAP_SIZE = 512;

/** KiB that may wait for us in the kernel. */
const BUFFER_KIB = 16_384;

/** IPv6 extension headers (RFC 8200 §4), which the filter does not look behind. */
const EXTENSIONS = [0, 43, 44, 51, 60];

/** Packets that come in at any interface, also at one that is added later. */
export function sniffCommand(ports: readonly Hit[]): string[] {
  // deno-fmt-ignore
  return [
    "tcpdump", "-i", "any", "-Q", "in", "-n", "-p", "--immediate-mode",
    "-B", `${BUFFER_KIB}`, "-s", `${SNAP_SIZE}`, "-U", "-w", "-",
    captureFilter(ports),
  ];
}

/** What rules log to a group. */
export function logCommand(group: number): string[] {
  // deno-fmt-ignore
  return [
    "tcpdump", "-i", `nflog:${group}`, "-n", "-B", `${BUFFER_KIB}`,
    "-s", `${SNAP_SIZE}`, "-U", "-w", "-",
  ];
}

/** The filter for packets to some ports. */
export function captureFilter(ports: readonly Hit[]): string {
  const ranges = mergePorts(
    ports.map(({ protocol, port }) => ({ protocol, first: port, last: port })),
  );
  const parts = ranges.map(({ protocol, first, last }) =>
    `${protocol} dst portrange ${first}-${last}`
  );
  const extended = EXTENSIONS.map((header) => `ip6[6] = ${header}`);
  return [...parts, ...extended].join(" or ");
}
