/**
 * The prefilter: drops what cannot be a knock before connection tracking and
 * before the program sees it; or has the kernel log what can be one. Pure.
 * @module
 */

import { isIpv4 } from "../../../values/address.ts";
import type { KernelForm } from "../../../dialects/dialect.ts";
import { portText } from "../../../values/ports.ts";
import type { Facing, Prefilter, Refuse, Sniffed } from "../../firewall.ts";
import { type ChainText, probeText, TABLE } from "./sets.ts";

const UDP_SIZE = 8;

/** A knock/1 packet of 216 bytes behind its UDP header. Protocol, "Packet". */
export const TAGGED_SIZE = 216 + UDP_SIZE;

/** Named counters, and what they are called outside. */
const COUNTERS: Readonly<Record<string, string>> = {
  wrong_length: "kernel: wrong length",
  wrong_tag: "kernel: wrong tag",
  no_knock: "kernel: no knock",
};

/** Counters of junk, by the reason that it is dropped for. */
export const JUNK_COUNTERS = ["wrong_length", "wrong_tag"] as const;

/** A counter as a line of its table. */
export function counterText(name: string): string {
  return `  counter ${name} { }`;
}

/** The chain at the interfaces themselves: no connection tracking, no routing. */
const INGRESS = "ingress";

const JUNK = "junk";

/** The chain that answers junk as a port at which nothing listens. */
const ANSWER = "answer";

/**
 * Most answers a second to what is no knock: the kernel's own limit of them
 * (icmp_msgs_per_sec), before it is asked.
 */
const ANSWERS = "limit rate 1000/second burst 50 packets";

/**
 * The chains of the prefilter. They limit no source's rate: a source can be forged,
 * and its owner would be the one who is locked out. That of prerouting is there
 * in any case: an interface or an address may be newer than the other one.
 */
export function prefilterChains(
  { ports, tags, webTags = [] }: Prefilter,
  ingress: Facing | null,
  refuse: Refuse,
): ChainText[] {
  const end = refuse === "drop" ? "drop" : `goto ${ANSWER}`;
  const toOurs = exceptTo(ports);
  return [
    ...refuse === "drop" ? [] : [{
      name: ANSWER,
      hook: null,
      rules: [`${ANSWERS} reject with icmpx type port-unreachable`, "drop"],
    }],
    {
      name: JUNK,
      hook: null,
      rules: [
        ...webTest(webTags).map((test) => `${test} accept`),
        `udp length != ${TAGGED_SIZE} counter name "wrong_length" ${end}`,
        tags.length > 0
          ? `${knockTests(tags, "!= ")} counter name "wrong_tag" ${end}`
          : `counter name "wrong_tag" ${end}`,
      ],
    },
    {
      name: "gate",
      hook: "type filter hook prerouting priority raw; policy accept;",
      rules: [
        ...toOurs,
        // Those that only pass through this machine are for somebody else.
        "fib daddr type unicast accept",
        `goto ${JUNK}`,
      ],
    },
    ...(ingress ? [ingressChain(ingress, toOurs)] : []),
  ];
}

/** Only for addresses of this machine: what it routes or bridges comes by here, too. */
function ingressChain(
  { devices, addresses }: Facing,
  toOurs: readonly string[],
): ChainText {
  const names = devices.map((name) => `"${name}"`).join(", ");
  const families = [
    ["ip", addresses.filter(isIpv4)],
    ["ip6", addresses.filter((address) => !isIpv4(address))],
  ] as const;
  return {
    name: INGRESS,
    hook: `type filter hook ingress devices = { ${names} } priority -500; ` +
      "policy accept;",
    rules: [
      ...toOurs,
      ...families.filter(([, own]) => own.length > 0).map(([family, own]) =>
        `${family} daddr { ${own.join(", ")} } goto ${JUNK}`
      ),
    ],
  };
}

/** The script that deletes the chain at interfaces that are not these any more; "" where it fits. */
export function staleIngress(listing: string, ingress: Facing | null): string {
  const hook = /chain ingress \{\s*type filter hook ingress (.*?) priority/
    .exec(listing)?.[1];
  if (hook === undefined || ingress === null) return "";
  const there = [...hook.replace(/^devices?( =)?/, "").matchAll(/[\w.-]+/g)]
    .map(([name]) => name).sort();
  if (there.join() === ingress.devices.join()) return "";
  // The devices of a chain cannot be changed.
  return `flush chain ${TABLE} ${INGRESS}\ndelete chain ${TABLE} ${INGRESS}\n`;
}

/** Fails where there can be no chain at an interface. */
export const INGRESS_PROBE = probeText(
  'type filter hook ingress device "lo" priority -500; policy accept;',
);

/** The condition that a datagram begins with one of these tags; there must be one. */
function knockTests(
  tags: readonly Uint8Array[],
  not: "" | "!= " = "",
): string {
  return `@th,64,64 ${not}${tagSet(tags)}`;
}

/** A browser's check, as conditions: STUN type, cookie, USERNAME, and what it begins with. */
function webTest(webTags: readonly Uint8Array[]): string[] {
  return webTags.length === 0 ? [] : [
    "@th,64,16 0x0001 @th,96,32 0x2112a442 @th,224,16 0x0006 " +
    `@th,256,64 ${tagSet(webTags)}`,
  ];
}

/** Reads the counters of the table's listing, and adds those of XDP; by name. */
export function readCounters(
  listing: string,
  xdp: Readonly<Record<string, number>> = {},
): Record<string, number> {
  const found: Record<string, number> = {};
  for (const [name, words] of Object.entries(COUNTERS)) {
    const counter = new RegExp(`counter ${name} \\{\\s*packets (\\d+)`);
    const count = counter.exec(listing)?.[1];
    if (count !== undefined) found[words] = Number(count) + (xdp[name] ?? 0);
  }
  return found;
}

function tagSet(tags: readonly Uint8Array[]): string {
  const texts = new Set(tags.map((tag) => `0x${tag.toHex()}`));
  return `{ ${[...texts].join(", ")} }`;
}

/** Rules that pass all but UDP to these ports. */
function exceptTo(ports: readonly number[]): string[] {
  return [
    "meta l4proto != udp accept",
    `udp dport != { ${[...new Set(ports)].join(", ")} } accept`,
  ];
}

// Listening without a socket: a rule that logs what can be a knock to an NFLOG
// group and drops nothing, so that the port answers as any unused one.

/** NFLOG group that knocks are logged to: `tcpdump -i nflog:62202` shows them. */
export const SNIFF_GROUP = 62_202;

/** Counter of what came to a sniffed port and is not logged. */
export const SNIFF_COUNTER = "no_knock";

export function sniffChain(sniffed: Sniffed): ChainText {
  const { ports, forms, tags, webTags = [] } = sniffed;
  const log = `log group ${SNIFF_GROUP} queue-threshold 1 accept`;
  const tests = [
    ...webTest(webTags),
    ...(tags ? [`udp length ${TAGGED_SIZE} ${knockTests(tags)}`] : []),
    ...forms.map(formTest),
  ];
  return {
    name: "sniff",
    hook: "type filter hook prerouting priority raw; policy accept;",
    rules: [
      ...exceptTo(ports),
      "fib daddr type unicast accept",
      // Before routing, the kernel has not dropped forged sources of its own yet.
      "iif != lo fib saddr type { local, broadcast, anycast, multicast } accept",
      ...[...new Set(tests)].map((test) => `${test} ${log}`),
      `counter name "${SNIFF_COUNTER}"`,
    ],
  };
}

function formTest({ least, most, first }: KernelForm): string {
  const size = portText({ first: least + UDP_SIZE, last: most + UDP_SIZE });
  const start = first === null ? "" : ` @th,64,8 { ${first.join(", ")} }`;
  return `udp length ${size}${start}`;
}
