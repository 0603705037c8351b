import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { rulesetText } from "../../lib/firewall/nft/rules/ruleset.ts";
import { guardPlan } from "../fakes/plan.ts";
import {
  formatPortRange,
  mergePorts,
  parsePortRange,
  type PortRange,
} from "../../lib/values/ports.ts";

function ports(text: string): PortRange {
  return parsePortRange(text)!;
}

const SSH = {
  ...{ name: "ssh", ports: [ports("tcp/22")], to: null, masquerade: false },
};

test("rulesetText() is the whole ruleset, to be loaded over itself", () => {
  const services = [
    {
      name: "web",
      ports: [ports("tcp/443"), ports("tcp/80")],
      to: null,
      masquerade: false,
    },
    { name: "vpn", ports: [ports("udp/51820")], to: null, masquerade: false },
  ];
  assertEquals(
    rulesetText(guardPlan(services)),
    `table inet knock {
  comment "made by knock"
  chain guard {
    type filter hook prerouting priority mangle; policy accept;
  }
  chain closed {
  }
}
flush chain inet knock guard
flush chain inet knock closed
table inet knock {
  set allow4 { type ipv4_addr . inet_proto . inet_service; flags dynamic,timeout; size 1000000; }
  set allow6 { type ipv6_addr . inet_proto . inet_service; flags dynamic,timeout; size 1000000; }
  set range4 { type ipv4_addr . inet_proto . inet_service; flags interval,timeout; size 1000000; }
  set range6 { type ipv6_addr . inet_proto . inet_service; flags interval,timeout; size 1000000; }
  set once4 { type ipv4_addr . inet_proto . inet_service; flags dynamic,timeout; size 65535; }
  set once6 { type ipv6_addr . inet_proto . inet_service; flags dynamic,timeout; size 65535; }
  chain guard {
    ct state established accept
    iif lo accept
    fib daddr type != { local, broadcast, anycast, multicast } fib daddr . iif type != { local, broadcast, anycast, multicast } accept
    meta l4proto . th dport { tcp . 80, tcp . 443, udp . 51820 } jump closed
  }
  chain closed {
    ip saddr . meta l4proto . th dport @allow4 accept
    ip6 saddr . meta l4proto . th dport @allow6 accept
    ip saddr . meta l4proto . th dport @range4 accept
    ip6 saddr . meta l4proto . th dport @range6 accept
    ip saddr . meta l4proto . th dport @once4 delete @once4 { ip saddr . meta l4proto . th dport } accept
    ip6 saddr . meta l4proto . th dport @once6 delete @once6 { ip6 saddr . meta l4proto . th dport } accept
    counter drop
  }
}
`,
  );
});

test("rulesetText() rejects as the kernel does where nothing listens", () => {
  const plan = { ...guardPlan([SSH]), refuse: "reject" } as const;
  const prefilter = { ports: [62201], tags: [new Uint8Array(8)] };
  const text = rulesetText({ ...plan, prefilter });
  const rules = (chain: string) => {
    const found = text.split(`  chain ${chain} {\n`).at(-1)!;
    return found.slice(0, found.indexOf("  }\n")).trim().split("\n")
      .map((line) => line.trim());
  };
  assertEquals(rules("closed").slice(-2), [
    "meta l4proto tcp counter reject with tcp reset",
    "counter reject with icmpx type port-unreachable",
  ]);
  assertEquals(rules("answer"), [
    "limit rate 1000/second burst 50 packets reject with icmpx type port-unreachable",
    "drop",
  ]);
  assertEquals(
    rules("junk").slice(-2).map((rule) => rule.split(" ").slice(-2).join(" ")),
    ["goto answer", "goto answer"],
  );
  const silent = rulesetText({ ...guardPlan([SSH]), prefilter });
  assert(!silent.includes("reject") && !silent.includes("answer"));
});

test("rulesetText() guards hosts behind this machine by their address", () => {
  const lab = { ...SSH, name: "lab", at: ["10.0.0.5", "2001:db8::5"] };
  const plan = { ...guardPlan([lab]), networks: [24] };
  const text = rulesetText(plan);
  const lines = text.split("\n").map((line) => line.trim());
  assertEquals(lines.filter((line) => line.endsWith("jump behind")), [
    "ip daddr . meta l4proto . th dport { 10.0.0.5 . tcp . 22 } jump behind",
    "ip6 daddr . meta l4proto . th dport { 2001:db8::5 . tcp . 22 } jump behind",
  ]);
  const at = lines.lastIndexOf("chain behind {");
  assertEquals(lines.slice(at + 1, lines.indexOf("}", at)), [
    "ip saddr . meta l4proto . th dport . ip daddr @at4 accept",
    "ip6 saddr . meta l4proto . th dport . ip6 daddr @at6 accept",
    "ip saddr . meta l4proto . th dport . ip daddr @atnet24_4 accept",
    "counter drop",
  ]);
  // Nothing of this machine's own is closed by it.
  assert(!text.includes("chain closed"));
});

test("rulesetText() keeps what was cut from coming back", () => {
  const cut = ["tcp/22", "tcp/8000-8010", "udp/51820", "udp/1-1000"];
  const services = cut.map((text) => ({
    ...{ name: "cut", ports: [ports(text)], to: null, masquerade: false },
    cut: true,
  }));
  const text = rulesetText(guardPlan(services));
  const chain = /chain cut \{\n {4}ct[^]*?\n {2}\}/.exec(text)![0];
  assertEquals(chain.split("\n").slice(1, -1).map((line) => line.trim()), [
    "ct state != new accept",
    "oif lo accept",
    "tcp sport { 22, 8000-8010 } tcp flags & (syn | rst) == 0 counter drop",
    "udp sport { 51820 } counter drop",
  ]);
  const plain = services.map(({ cut: _, ...service }) => service);
  assert(!rulesetText(guardPlan(plain)).includes("chain cut"));
});

test("rulesetText() drops nothing when there is no service", () => {
  assert(!rulesetText(guardPlan([])).includes("drop"));
});

const merges: [string[], string[]][] = [
  [[], []],
  [["tcp/22", "tcp/22"], ["tcp/22"]],
  [["tcp/22", "tcp/2222", "udp/22"], ["tcp/22", "tcp/2222", "udp/22"]],
  [["tcp/8000-8100", "tcp/8050-8200"], ["tcp/8000-8200"]],
  [["tcp/1-65535", "tcp/22"], ["tcp/1-65535"]],
  [["tcp/23", "udp/24", "tcp/22"], ["tcp/22-23", "udp/24"]],
];

for (const [given, want] of merges) {
  test(`mergePorts() makes ${want} of ${given}`, () => {
    assertEquals(mergePorts(given.map(ports)).map(formatPortRange), want);
  });
}
