/** The model of the host's own rules: what surely passes, what surely does not, and what may. */

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { chooseFirewall } from "../../lib/firewall/host/choice.ts";
import type { HostRules, Match } from "../../lib/firewall/host/model.ts";
import { judgeWanted, ownOf } from "../../lib/firewall/host/granted.ts";
import { parseIptablesSave } from "../../lib/firewall/host/iptables_save.ts";
import { parseNftJson } from "../../lib/firewall/host/nft/json.ts";
import { parsePortRange } from "../../lib/values/ports.ts";

const OWN = ownOf({ backend: "nft", mode: "guard", chain: null })!;

function passes(
  host: Pick<HostRules, "chains">,
  port: string,
  source: string | null,
): Match {
  const wanted = { ports: parsePortRange(port)!, to: null };
  const about = { family: 4 as const, ...source !== null && { source } };
  const rules = { ...host, tables: [], local: ["192.0.2.10"] };
  return judgeWanted(rules, wanted, about, OWN).passes;
}

const HOME = "203.0.113.9";

/** Rules of iptables behind a policy, and what becomes of a port. */
const iptables: [
  what: string,
  policy: "ACCEPT" | "DROP",
  rules: string[],
  port: string,
  source: string | null,
  want: Match,
][] = [
  ["the policy drops", "DROP", [], "tcp/22", null, "no"],
  ["the policy accepts", "ACCEPT", [], "tcp/22", null, "yes"],
  [
    "a drop of some is not one of all",
    "ACCEPT",
    ["-A INPUT -p tcp -m limit --limit 1/min -j DROP"],
    "tcp/22",
    null,
    "maybe",
  ],
  [
    "whoever is accepted first",
    "DROP",
    ["-A INPUT -s 203.0.113.0/24 -j ACCEPT"],
    "tcp/22",
    null,
    "maybe",
  ],
  [
    "the source is accepted",
    "DROP",
    ["-A INPUT -s 203.0.113.0/24 -j ACCEPT"],
    "tcp/22",
    HOME,
    "yes",
  ],
  [
    "another source is not",
    "DROP",
    ["-A INPUT -s 203.0.113.0/24 -j ACCEPT"],
    "tcp/22",
    "198.51.100.1",
    "no",
  ],
  [
    "nothing comes back from a chain that accepts all",
    "DROP",
    ["-A INPUT -j end", "-A INPUT -p tcp -j DROP", "-A end -j ACCEPT"],
    "tcp/22",
    null,
    "yes",
  ],
  [
    "headers that no first packet has",
    "ACCEPT",
    ["-A INPUT -m rt -j DROP", "-A INPUT -m ah -j DROP"],
    "tcp/22",
    null,
    "yes",
  ],
  [
    "a range of which one port is open",
    "DROP",
    ["-A INPUT -p tcp -m tcp --dport 8005 -j ACCEPT"],
    "tcp/8000-8010",
    null,
    "yes",
  ],
  [
    "a range that is shut",
    "DROP",
    ["-A INPUT -p tcp -m tcp --dport 8011 -j ACCEPT"],
    "tcp/8000-8010",
    null,
    "no",
  ],
  [
    "a module that is not known",
    "DROP",
    ["-A INPUT -m mystery -j ACCEPT"],
    "tcp/22",
    null,
    "maybe",
  ],
  [
    "loopback alone",
    "DROP",
    ["-A INPUT -i lo -j ACCEPT"],
    "tcp/22",
    null,
    "no",
  ],
];

for (const [what, policy, rules, port, source, want] of iptables) {
  test(`iptables: ${what}: ${want}`, () => {
    const text = `*filter\n:INPUT ${policy} [0:0]\n:end - [0:0]\n` +
      `${rules.join("\n")}\nCOMMIT\n`;
    const chains = parseIptablesSave(text, 4);
    assertEquals(passes({ chains }, port, source), want);
  });
}

const ACCEPT = { accept: null };
const DROP = { drop: null };
const port = (protocol: string, op: string, right: unknown) => ({
  match: { op, left: { payload: { protocol, field: "dport" } }, right },
});
const LOOPBACK = {
  match: { op: "==", left: { meta: { key: "iifname" } }, right: "lo" },
};

/** Rules of nft behind a policy, and what becomes of a port. */
const nft: [
  what: string,
  policy: "accept" | "drop",
  rules: object[][],
  port: string,
  want: Match,
][] = [
  [
    "a port is dropped",
    "accept",
    [[port("tcp", "==", 22), DROP]],
    "tcp/22",
    "no",
  ],
  [
    "a port with the number of a protocol is dropped",
    "accept",
    [[port("tcp", "==", 17), DROP]],
    "tcp/17",
    "no",
  ],
  [
    "another is not",
    "accept",
    [[port("tcp", "==", 22), DROP]],
    "tcp/23",
    "yes",
  ],
  [
    "udp has no port of tcp",
    "accept",
    [[port("tcp", "!=", 22), DROP]],
    "udp/9",
    "yes",
  ],
  [
    "udp has no high port of tcp",
    "accept",
    [[port("tcp", ">", 1), DROP]],
    "udp/9",
    "yes",
  ],
  [
    "all ports but one",
    "accept",
    [[port("tcp", "!=", 22), DROP]],
    "tcp/9",
    "no",
  ],
  ["loopback alone", "drop", [[LOOPBACK, ACCEPT]], "tcp/22", "no"],
  [
    "a limit",
    "drop",
    [[{ limit: { rate: 1, per: "second" } }, ACCEPT]],
    "tcp/22",
    "maybe",
  ],
  ["what is not known", "drop", [[{ mystery: {} }, ACCEPT]], "tcp/22", "maybe"],
];

for (const [what, policy, rules, port, want] of nft) {
  test(`nft: ${what}: ${want}`, () => {
    const at = { family: "inet", table: "t" };
    const text = JSON.stringify({
      nftables: [
        {
          chain: { ...at, name: "c", type: "filter", hook: "input", policy },
        },
        ...rules.map((expr) => ({ rule: { ...at, chain: "c", expr } })),
      ],
    });
    assertEquals(passes(parseNftJson(text)!, port, null), want);
  });
}

/** Chains of the host that drop all at input, and what `init` chooses. */
const choices: [
  what: string,
  tables: string[],
  mode: "guard" | "accept",
  chain: string | null,
][] = [
  ["nothing drops", [], "guard", null],
  ["one chain drops", ["filter"], "accept", null],
  [
    "one chain drops, in a table of another name",
    ["fw"],
    "accept",
    "inet fw knock",
  ],
  ["another chain drops, too", ["filter", "fw"], "guard", null],
];

for (const [what, tables, mode, chain] of choices) {
  test(`chooseFirewall() where ${what}: mode ${mode}`, () => {
    const nftables = tables.map((table) => ({
      chain: {
        ...{ family: "inet", table, name: "input" },
        ...{ type: "filter", hook: "input", policy: "drop" },
      },
    }));
    const { chains } = parseNftJson(JSON.stringify({ nftables }))!;
    const rules = { chains, tables: [], local: ["192.0.2.10"] };
    const choice = chooseFirewall(rules, {
      ...{ backend: "nft", isNamed: false, mode: null },
      services: [{ ports: [parsePortRange("tcp/22")!], to: null }],
      ...{ port: 62201, isLegacy: false },
    });
    assertEquals([choice.backend, choice.mode, choice.chain], [
      "nft",
      mode,
      chain,
    ]);
  });
}
