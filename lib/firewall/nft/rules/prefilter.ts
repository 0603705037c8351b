/**
 * The kernel gate: what cannot be a knock is dropped before connection
 * tracking and before the program sees it. Pure.
 * @module
 */

import type { Prefilter } from "../../firewall.ts";
import type { ChainText } from "./sets.ts";

/** A knock/1 packet of 216 bytes behind its UDP header of 8. Protocol, "Packet". */
export const TAGGED_SIZE = 216 + 8;

/** Named counters, and what they are called outside. */
const COUNTERS: Readonly<Record<string, string>> = {
  wrong_length: "kernel: wrong length",
  wrong_tag: "kernel: wrong tag",
  no_knock: "kernel: no knock",
};

/** The counters of the gate. */
export function gateObjects(): string[] {
  return ["wrong_length", "wrong_tag"].map(counterText);
}

/** A counter as a line of its table. */
export function counterText(name: string): string {
  return `  counter ${name} { }`;
}

/**
 * The chain of the gate. It limits no source's rate: a source can be forged,
 * and its owner would be the one who is locked out.
 */
export function gateChain({ ports, tags, webTags = [] }: Prefilter): ChainText {
  const known = tags.length > 0;
  return {
    name: "gate",
    hook: "type filter hook prerouting priority raw; policy accept;",
    rules: [
      "meta l4proto != udp accept",
      `udp dport != { ${[...new Set(ports)].join(", ")} } accept`,
      // Those that only pass through this machine are for others.
      "fib daddr type unicast accept",
      ...webTest(webTags).map((test) => `${test} accept`),
      `udp length != ${TAGGED_SIZE} counter name "wrong_length" drop`,
      known
        ? `${knockTests(tags, "!= ")} counter name "wrong_tag" drop`
        : `counter name "wrong_tag" drop`,
    ],
  };
}

/** The condition that a datagram begins with one of these tags; there must be one. */
export function knockTests(
  tags: readonly Uint8Array[],
  not: "" | "!= " = "",
): string {
  return `@th,64,64 ${not}{ ${[...new Set(tags.map(tagText))].join(", ")} }`;
}

/** A browser's check, as conditions: STUN type, cookie, USERNAME, and what it begins with. */
export function webTest(webTags: readonly Uint8Array[]): string[] {
  const web = [...new Set(webTags.map(tagText))];
  return web.length === 0 ? [] : [
    "@th,64,16 0x0001 @th,96,32 0x2112a442 @th,224,16 0x0006 " +
    `@th,256,64 { ${web.join(", ")} }`,
  ];
}

/** Reads the counters of the table's listing, by name. */
export function readCounters(listing: string): Record<string, number> {
  const found: Record<string, number> = {};
  for (const [name, words] of Object.entries(COUNTERS)) {
    const counter = new RegExp(`counter ${name} \\{\\s*packets (\\d+)`);
    const count = counter.exec(listing)?.[1];
    if (count !== undefined) found[words] = Number(count);
  }
  return found;
}

function tagText(tag: Uint8Array): string {
  return "0x" +
    [...tag].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
