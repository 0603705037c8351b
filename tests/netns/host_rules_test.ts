/**
 * The model of the host's own rules against the kernel: what it says passes,
 * passes, and what it says is dropped, is dropped; "maybe" claims nothing.
 */

import { assertEquals } from "@std/assert";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Match, Probe } from "../../lib/firewall/host/model.ts";
import type { Ask, Judged } from "./host_model.ts";
import { BEHIND, CLIENTS, netnsTest, type Pair, SERVER } from "./netns.ts";

const PORTS = [22, 80, 2222, 8080] as const;
const [A, B] = CLIENTS[4];
const [A6] = CLIENTS[6];

const ufw = (family: 4 | 6) =>
  readFileSync(
    fileURLToPath(new URL(`./ufw${family}.rules`, import.meta.url)),
    "utf8",
  );

/** The input side of firewalld's table, with ssh's port taken out of the zone. */
const FIREWALLD = `table inet firewalld {
  chain mangle_PREROUTING { type filter hook prerouting priority mangle + 10; policy accept; }
  chain filter_PREROUTING {
    type filter hook prerouting priority filter + 10; policy accept;
    icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
    meta nfproto ipv6 fib saddr . mark . iif oif missing drop
  }
  chain filter_INPUT {
    type filter hook input priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    ct state invalid drop
    jump filter_INPUT_ZONES
    reject with icmpx admin-prohibited
  }
  chain filter_INPUT_ZONES {
    iifname "eth0" goto filter_IN_public
    goto filter_IN_public
  }
  chain filter_IN_public { jump filter_IN_public_deny; jump filter_IN_public_allow; meta l4proto { icmp, ipv6-icmp } accept; }
  chain filter_IN_public_deny { }
  chain filter_IN_public_allow {
    tcp dport 80 accept
    ip saddr 10.77.0.3 tcp dport 8080 accept
  }
}`;

const input = (policy: string, ...rules: string[]) =>
  `table inet filter {
  set ports { type inet_service; flags interval; elements = { 80, 2000-3000 }; }
  set hosts { type ipv4_addr; elements = { 10.77.0.3 }; }
  map verdicts { type inet_service : verdict; elements = { 80 : accept, 22 : drop }; }
  map pairs { type inet_proto . inet_service : verdict; elements = { tcp . 8080 : accept }; }
  chain ssh { tcp dport 22 return; tcp dport 80 accept; }
  chain input { type filter hook input priority 0; policy ${policy};
    ct state vmap { established : accept, related : accept, invalid : drop }
    iif lo accept
    meta l4proto ipv6-icmp accept
    ${rules.join("\n    ")}
  }
}`;

/** Answers for tcp/22, 80, 2222, 8080 by IPv4 from anywhere: y, n or m(aybe). */
const RULESETS: readonly [name: string, nft: string, want: string][] = [
  ["none", "", "yyyy"],
  ["policy drop", input("drop"), "nnnn"],
  ["policy accept", input("accept"), "yyyy"],
  ["a port", input("drop", "tcp dport 80 accept"), "nynn"],
  ["not a port", input("drop", "tcp dport != 80 accept"), "ynyy"],
  ["not a port of UDP", input("accept", "udp dport != 80 drop"), "yyyy"],
  ["not an address of IPv6", input("accept", "ip6 saddr != ::1 drop"), "yyyy"],
  ["below a port", input("drop", "tcp dport < 100 accept"), "yynn"],
  ["a set", input("drop", "tcp dport { 22, 8000-9000 } accept"), "ynny"],
  ["a named set", input("drop", "tcp dport @ports accept"), "nyyn"],
  ["not in a named set", input("accept", "tcp dport != @ports drop"), "nyyn"],
  [
    "a map",
    input("drop", "tcp dport vmap { 22 : accept, 80-90 : drop }"),
    "ynnn",
  ],
  [
    "a named map",
    input("drop", "tcp dport vmap @verdicts", "tcp dport 2222 accept"),
    "nyyn",
  ],
  [
    "a map of pairs",
    input("drop", "meta l4proto . th dport vmap @pairs"),
    "nnny",
  ],
  [
    "pairs",
    input("drop", "meta l4proto . th dport { tcp . 22, udp . 80 } accept"),
    "ynnn",
  ],
  [
    "sources and ports",
    input("drop", "ip saddr . tcp dport { 10.77.0.3 . 22 } accept"),
    "mnnn",
  ],
  ["a jump", input("drop", "jump ssh", "tcp dport 22 accept"), "yynn"],
  ["a goto", input("drop", "goto ssh", "tcp dport 22 accept"), "nynn"],
  ["a goto of one", input("accept", "tcp dport 22 goto ssh", "drop"), "ynnn"],
  ["a reject", input("accept", "tcp dport 22 reject with tcp reset"), "nyyy"],
  ["new ones", input("drop", "ct state new tcp dport 80 accept"), "nynn"],
  [
    "established ones",
    input("drop", "ct state established tcp dport 80 accept"),
    "nnnn",
  ],
  ["not new ones", input("accept", "ct state != new drop"), "yyyy"],
  [
    "what is no SYN",
    input("accept", "tcp flags & (fin|syn|rst|ack) != syn drop"),
    "yyyy",
  ],
  ["SYN", input("accept", "tcp flags & (fin|syn|rst|ack) == syn drop"), "nnnn"],
  ["a flag", input("accept", "tcp flags syn tcp dport 22 drop"), "nyyy"],
  ["other flags", input("accept", "tcp flags fin,rst drop"), "yyyy"],
  ["fragments", input("accept", "ip frag-off & 0x1fff != 0 drop"), "yyyy"],
  ["routing headers", input("accept", "exthdr rt exists drop"), "yyyy"],
  [
    "broadcasts",
    input("accept", "meta pkttype { broadcast, multicast } drop"),
    "yyyy",
  ],
  ["an interface", input("drop", "iifname eth0 accept"), "mmmm"],
  ["another interface", input("drop", "iifname eth7 accept"), "mmmm"],
  [
    "not the loopback",
    input("accept", "iifname != lo tcp dport 22 drop"),
    "nyyy",
  ],
  ["a source", input("drop", "ip saddr 10.77.0.3 accept"), "mmmm"],
  ["a set of sources", input("drop", "ip saddr @hosts accept"), "mmmm"],
  ["a limit", input("drop", "limit rate 100/second accept"), "mmmm"],
  ["a mark", input("drop", "meta mark 7 accept"), "mmmm"],
  ["local addresses", input("drop", "fib daddr type local accept"), "yyyy"],
  [
    "what has no way back",
    input("accept", "fib saddr . iif oif missing drop"),
    "yyyy",
  ],
  ["IPv6 alone", input("drop", "meta nfproto ipv6 accept"), "nnnn"],
  ["IPv4 alone", input("drop", "meta nfproto ipv4 accept"), "yyyy"],
  [
    "a counter and a log",
    input("drop", "tcp dport 22 counter log prefix x accept"),
    "ynnn",
  ],
  [
    "prerouting",
    `table ip early { chain p { type filter hook prerouting priority -300; tcp dport 22 drop; }\n}`,
    "nyyy",
  ],
  [
    "ingress",
    `table netdev dev { chain i { type filter hook ingress device eth0 priority 0; tcp dport 80 drop; }\n}`,
    "ynyy",
  ],
  [
    "two tables",
    input("accept") +
    `\ntable ip other { chain in { type filter hook input priority 10; tcp dport 22 drop; }\n}`,
    "nyyy",
  ],
  [
    "a redirect",
    input("drop", "tcp dport 80 accept") +
    `\ntable ip nat { chain p { type nat hook prerouting priority -100; tcp dport 22 redirect to :80; }\n}`,
    "yynn",
  ],
  [
    "a redirect to a closed port",
    input("drop", "tcp dport 80 accept") +
    `\ntable ip nat { chain p { type nat hook prerouting priority -100; tcp dport 80 redirect to :22; }\n}`,
    "nnnn",
  ],
  ["firewalld", FIREWALLD, "nynm"],
];

const SAVES: readonly [name: string, save: string, want: string][] = [
  ["policy drop", "*filter\n:INPUT DROP\nCOMMIT\n", "nnnn"],
  [
    "a port",
    "*filter\n:INPUT DROP\n-A INPUT -p tcp --dport 80 -j ACCEPT\nCOMMIT\n",
    "nynn",
  ],
  [
    "not a port",
    '*filter\n:INPUT DROP\n-A INPUT -p tcp ! --dport 80 -m comment --comment "-j DROP" -j ACCEPT\nCOMMIT\n',
    "ynyy",
  ],
  [
    "ports",
    "*filter\n:INPUT ACCEPT\n-A INPUT -p tcp -m multiport --dports 22,8000:9000 -j REJECT\nCOMMIT\n",
    "nyyn",
  ],
  [
    "chains",
    "*filter\n:INPUT DROP\n:WEB -\n-A INPUT -p tcp -g WEB\n-A INPUT -j ACCEPT\n-A WEB -p tcp --dport 80 -j ACCEPT\nCOMMIT\n",
    "nynn",
  ],
  [
    "a return",
    "*filter\n:INPUT DROP\n:WEB -\n-A INPUT -j WEB\n-A INPUT -p tcp --dport 22 -j ACCEPT\n-A WEB -p tcp --dport 22 -j RETURN\n-A WEB -p tcp --dport 80 -j ACCEPT\nCOMMIT\n",
    "yynn",
  ],
  [
    "states",
    "*filter\n:INPUT ACCEPT\n-A INPUT -m conntrack --ctstate INVALID,UNTRACKED -j DROP\n-A INPUT -p tcp ! --syn -m conntrack --ctstate NEW -j DROP\n-A INPUT -p tcp --tcp-flags SYN,RST SYN,RST -j DROP\nCOMMIT\n",
    "yyyy",
  ],
  [
    "mangle",
    "*mangle\n:PREROUTING ACCEPT\n-A PREROUTING -p tcp --dport 22 -j DROP\nCOMMIT\n",
    "nyyy",
  ],
  [
    "raw",
    "*raw\n:PREROUTING ACCEPT\n-A PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport 22 -j DROP\nCOMMIT\n",
    "nyyy",
  ],
  [
    "a redirect",
    "*nat\n:PREROUTING ACCEPT\n-A PREROUTING -p tcp --dport 22 -j REDIRECT --to-ports 80\nCOMMIT\n*filter\n:INPUT DROP\n-A INPUT -p tcp --dport 80 -j ACCEPT\nCOMMIT\n",
    "yynn",
  ],
  [
    "a source",
    "*filter\n:INPUT DROP\n-A INPUT -s 10.77.0.3/32 -j ACCEPT\nCOMMIT\n",
    "mmmm",
  ],
  ["ufw", ufw(4), "nymm"],
];

const LETTERS: Readonly<Record<string, Match>> = {
  y: "yes",
  n: "no",
  m: "maybe",
};

type Answers = Exclude<Judged["answers"], null>;

async function judge(
  talker: ReturnType<Pair["script"]>,
  probes: readonly Probe[],
): Promise<Answers> {
  const { answers } = await talker.ask<Judged>({ probes } satisfies Ask);
  if (answers === null) throw new Error("the rules cannot be read");
  return answers;
}

/** Compares what is said of each port, from anywhere and from two addresses, with the kernel. */
async function compare(
  pair: Pair,
  talker: ReturnType<Pair["script"]>,
  want: string,
): Promise<void> {
  const probe = (port: number): Probe => ({ family: 4, protocol: "tcp", port });
  const said = await judge(talker, PORTS.map(probe));
  assertEquals(
    said.map(({ passes }) => passes).join(),
    [...want].map((letter) => LETTERS[letter]).join(),
    JSON.stringify(said),
  );
  const sources = [A, B, A6];
  const about = sources.flatMap((source) =>
    PORTS.map((port) => ({ source, port }))
  );
  const all = await judge(
    talker,
    about.map(({ source, port }) => ({
      ...probe(port),
      family: source.includes(":") ? 6 : 4,
      source,
    })),
  );
  await Promise.all(about.map(async ({ source, port }, index) => {
    const { passes, by } = all[index]!;
    if (passes === "maybe") return;
    const reaches = await pair.canReach(source, port);
    assertEquals(
      reaches,
      passes === "yes",
      `${source} tcp/${port}: ${passes}, ${by}`,
    );
  }));
}

netnsTest(
  "the model of nftables' rules is the kernel's",
  async (pair) => {
    await pair.serve("tcp", ...PORTS);
    const talker = pair.script(pair.server, "host_model.ts");
    for (const [name, rules, want] of RULESETS) {
      await pair.onServer(["nft", "-f", "-"], `flush ruleset\n${rules}\n`);
      try {
        await compare(pair, talker, want);
      } catch (error) {
        throw new Error(`${name}: ${(error as Error).message}`);
      }
    }
  },
  [],
  180_000,
);

for (const kind of ["nft", "legacy"]) {
  const restore = `iptables-${kind}-restore`;
  netnsTest(
    `the model of iptables-${kind}'s rules is the kernel's`,
    async (pair) => {
      await pair.serve("tcp", ...PORTS);
      const talker = pair.script(pair.server, "host_model.ts");
      for (const [name, rules, want] of SAVES) {
        for (const table of ["mangle", "raw", "nat"]) {
          const clear = `*${table}\n:PREROUTING ACCEPT\nCOMMIT\n`;
          await pair.onServer([restore], clear);
        }
        await pair.onServer([restore], rules);
        try {
          await compare(pair, talker, want);
        } catch (error) {
          throw new Error(`${name}: ${(error as Error).message}`);
        }
      }
    },
    [restore],
    120_000,
  );
}

netnsTest("the model follows what is forwarded", async (pair) => {
  await pair.makeBehind(true);
  await pair.passOn(true);
  await pair.serveBehind("tcp", 443);
  await pair.serve("tcp", 22);
  const talker = pair.script(pair.server, "host_model.ts");
  const rules = (forward: string) =>
    `flush ruleset
table ip nat { chain p { type nat hook prerouting priority -100; tcp dport 22 dnat to ${
      BEHIND[4]
    }:443; }
}
table inet filter { chain forward { type filter hook forward priority 0; policy drop;
  ct state established accept
  ${forward}
}
}\n`;
  const table: [forward: string, want: Match][] = [
    ["", "no"],
    ["ct status dnat accept", "yes"],
    ["tcp dport 22 accept", "no"],
    ["tcp dport 443 accept", "yes"],
    [`ip daddr ${BEHIND[4]} accept`, "yes"],
    [`ip daddr ${SERVER[4]} accept`, "no"],
    ["oifname eth1 accept", "maybe"],
  ];
  for (const [forward, want] of table) {
    await pair.onServer(["nft", "-f", "-"], rules(forward));
    const [said] = await judge(talker, [{
      family: 4,
      protocol: "tcp",
      port: 22,
    }]);
    assertEquals(said!.passes, want, `${forward}: ${said!.by}`);
    if (want === "maybe") continue;
    assertEquals(await pair.canReach(A, 22), want === "yes", forward);
  }
});
