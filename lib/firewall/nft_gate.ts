/**
 * The kernel gate: what cannot be a knock is dropped before connection
 * tracking and before the program sees it. Pure.
 * @module
 */

import type { Family } from "./family.ts";
import type { KernelGate } from "./firewall.ts";
import type { ChainText } from "./nft_chain_text.ts";

/** A knock/1 packet of 216 bytes behind its UDP header of 8. Protocol, "Packet". */
const UDP_LENGTH = 216 + 8;

/** Of each source: what a person with several devices never comes to. */
const KNOCK_LIMIT = "20/second burst 40 packets";
const OTHER_LIMIT = "200/second burst 400 packets";

/** Sources that are counted at a time. Beyond them a packet passes uncounted. */
const METER_SIZE = 65_535;

/** An IPv6 source counts as its network: whoever has one address has them all. */
const NETWORK6 = "ffff:ffff:ffff:ffff::";

/** Named counters, and what they are called outside. */
const COUNTERS: Readonly<Record<string, string>> = {
  wrong_length: "kernel: wrong length",
  wrong_tag: "kernel: wrong tag",
  over_rate: "kernel: over the rate",
};

/** The sets and counters of the gate. */
export function gateObjects(): string[] {
  const meter = (name: string, family: Family) =>
    `  set ${name}${family} { type ipv${family}_addr; flags dynamic,timeout; ` +
    `timeout 10s; size ${METER_SIZE}; }`;
  return [
    ...Object.keys(COUNTERS).map((name) => `  counter ${name} { }`),
    meter("meter", 4),
    meter("meter", 6),
    meter("wide", 4),
    meter("wide", 6),
  ];
}

/** The chain of the gate. */
export function gateChain({ ports, otherPorts, tags }: KernelGate): ChainText {
  const all = [...new Set([...ports, ...otherPorts])];
  const known = [...new Set(tags.map(tagText))];
  return {
    name: "gate",
    hook: "type filter hook prerouting priority raw; policy accept;",
    rules: [
      "meta l4proto != udp accept",
      `udp dport != { ${all.join(", ")} } accept`,
      // Those that only pass through this machine are for somebody else.
      "fib daddr type unicast accept",
      ...(otherPorts.length === 0 ? [] : [
        ...capRules(
          "wide",
          OTHER_LIMIT,
          `udp dport { ${[...new Set(otherPorts)].join(", ")} } `,
        ),
        `udp dport { ${[...new Set(otherPorts)].join(", ")} } accept`,
      ]),
      `udp length != ${UDP_LENGTH} counter name "wrong_length" drop`,
      known.length === 0
        ? `counter name "wrong_tag" drop`
        : `@th,64,64 != { ${known.join(", ")} } counter name "wrong_tag" drop`,
      ...capRules("meter", KNOCK_LIMIT, ""),
    ],
  };
}

/** What a listing of the table with its counts says, by name. */
export function readCounters(listing: string): Record<string, number> {
  const found: Record<string, number> = {};
  for (const [name, words] of Object.entries(COUNTERS)) {
    const counter = new RegExp(`counter ${name} \\{\\s*packets (\\d+)`);
    const count = counter.exec(listing)?.[1];
    if (count !== undefined) found[words] = Number(count);
  }
  return found;
}

/** A full set ends a rule before its verdict: then the packet passes. */
function capRules(set: string, limit: string, ports: string): string[] {
  const rule = (family: Family, source: string) =>
    `${ports}update @${set}${family} { ${source} limit rate over ${limit} } ` +
    `counter name "over_rate" drop`;
  return [rule(4, "ip saddr"), rule(6, `ip6 saddr & ${NETWORK6}`)];
}

function tagText(tag: Uint8Array): string {
  return "0x" +
    [...tag].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
