/**
 * Listening without a socket: a rule that logs what can be a knock to an NFLOG
 * group and drops nothing, so that the port answers as any unused one. Pure.
 * @module
 */

import type { KernelForm } from "../../../dialects/dialect.ts";
import type { Sniffed } from "../../firewall.ts";
import { knockTests, TAGGED_SIZE, webTest } from "./prefilter.ts";
import type { ChainText } from "./sets.ts";

/** NFLOG group that knocks are logged to: `tcpdump -i nflog:62202` shows them. */
export const SNIFF_GROUP = 62_202;

/** Counter of what came to a sniffed port and is not logged. */
export const SNIFF_COUNTER = "no_knock";

/** The chain that logs knocks. */
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
      "meta l4proto != udp accept",
      `udp dport != { ${[...new Set(ports)].join(", ")} } accept`,
      "fib daddr type unicast accept",
      // Before routing, the kernel has not dropped forged sources of its own yet.
      "iif != lo fib saddr type { local, broadcast, anycast, multicast } accept",
      ...[...new Set(tests)].map((test) => `${test} ${log}`),
      `counter name "${SNIFF_COUNTER}"`,
    ],
  };
}

function formTest({ least, most, first }: KernelForm): string {
  const size = least === most
    ? `${least + HEADER_SIZE}`
    : `${least + HEADER_SIZE}-${most + HEADER_SIZE}`;
  const start = first === null ? "" : ` @th,64,8 { ${first.join(", ")} }`;
  return `udp length ${size}${start}`;
}

const HEADER_SIZE = 8;
