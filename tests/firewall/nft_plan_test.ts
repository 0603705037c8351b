/** The rulesets of mode accept, of forwards and of the kernel gate, as text. */

import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import { run } from "../../lib/commands/operator/rules.ts";
import { FirewallError } from "../../lib/firewall/firewall.ts";
import {
  type GrantTarget,
  targetText,
} from "../../lib/firewall/nft/grants/targets.ts";
import {
  hostObjects,
  readTable,
  unwantedText,
} from "../../lib/firewall/nft/listing.ts";
import {
  readCounters,
  staleIngress,
} from "../../lib/firewall/nft/rules/prefilter.ts";
import {
  KNOWN_NAMES,
  ownNames,
  rulesetText,
} from "../../lib/firewall/nft/rules/ruleset.ts";
import type { Plan } from "../../lib/firewall/nft/rules/plan.ts";
import { guardPlan } from "../fakes/plan.ts";
import { parseHostChain } from "../../lib/firewall/nft/rules/sets.ts";
import { ConfigError } from "../../lib/values/errors.ts";
import { parsePortRange } from "../../lib/values/ports.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";

const EMPTY: Plan = guardPlan([]);
const HOST = parseHostChain("inet filter knock")!;
const FORWARD: Plan["forwards"][number] = {
  name: "nas",
  ports: [parsePortRange("tcp/8443")!, parsePortRange("tcp/9000-9010")!],
  targets: [{ family: 4, address: "10.0.0.5", port: 443, local: false }],
  masquerade: true,
};

/** The lines of a script that hold some words, without their indent. */
function having(text: string, words: string): string[] {
  return text.split("\n").filter((line) => line.includes(words))
    .map((line) => line.trim());
}

test("rulesetText() in mode accept touches the host's chain alone", () => {
  const text = rulesetText({
    ...EMPTY,
    host: HOST,
    guarded: [parsePortRange("tcp/22")!],
  });
  assert(!text.includes("inet knock"));
  assert(!text.includes("drop"));
  assertEquals(having(text, "flush"), ["flush chain inet filter knock"]);
  assertEquals(having(text, "hook"), []);
  const rules = having(text, "accept comment");
  assertEquals(rules.length, 6);
  assertEquals(
    rules[0],
    'ip saddr . meta l4proto . th dport @knock_allow4 accept comment "made by knock"',
  );
  assertEquals(having(text, "set knock_").length, 6);
});

test("rulesetText() in mode accept of one family has sets of that family", () => {
  const host = parseHostChain("ip6 filter door")!;
  const text = rulesetText({ ...EMPTY, host });
  assertEquals(having(text, "set door_").length, 3);
  assert(!text.includes("ip saddr"));
});

test("rulesetText() leads on who has a grant, and drops the others first", () => {
  const text = rulesetText({
    ...EMPTY,
    guarded: FORWARD.ports,
    forwards: [FORWARD],
  });
  assertEquals(having(text, "dnat ip to"), [
    "tcp dport { 8443, 9000-9010 } ip saddr . meta l4proto . th dport @allow4 dnat ip to 10.0.0.5:443",
    "tcp dport { 8443, 9000-9010 } ip saddr . meta l4proto . th dport @range4 dnat ip to 10.0.0.5:443",
    "tcp dport { 8443, 9000-9010 } ip saddr . meta l4proto . th dport @once4 delete @once4 { ip saddr . meta l4proto . th dport } dnat ip to 10.0.0.5:443",
  ]);
  assertEquals(having(text, "masquerade"), [
    "ct status dnat meta l4proto tcp ct original proto-dst 8443 ip daddr 10.0.0.5 tcp dport 443 masquerade",
    "ct status dnat meta l4proto tcp ct original proto-dst 9000-9010 ip daddr 10.0.0.5 tcp dport 443 masquerade",
  ]);
  // What no rule led on is dropped, and a single use is left to that rule.
  const forwarded = "meta l4proto . th dport { tcp . 8443, tcp . 9000-9010 }";
  assertEquals(having(text, `${forwarded} counter drop`).length, 1);
  assertEquals(
    having(text, `${forwarded} ip saddr . meta l4proto . th dport @once4`),
    [`${forwarded} ip saddr . meta l4proto . th dport @once4 accept`],
  );
});

test("rulesetText() guards at the given interfaces alone, forwards too", () => {
  const text = rulesetText({
    ...EMPTY,
    interfaces: ["eth0", "ppp0"],
    guarded: FORWARD.ports,
    forwards: [FORWARD],
  });
  const lines = text.split("\n").map((line) => line.trim());
  const elsewhere = 'iifname != { "eth0", "ppp0" } accept';
  const at = lines.indexOf(elsewhere);
  assert(at > 0 && at < lines.findIndex((line) => /jump closed/.test(line)));
  const next = lines[lines.lastIndexOf(elsewhere) + 1];
  assertMatch(next!, /^meta l4proto .* counter drop$/);
});

test("rulesetText() writes IPv6 targets in brackets", () => {
  const targets = [
    { family: 6, address: "fd00::5", port: 443, local: true },
  ] as const;
  const text = rulesetText({
    ...EMPTY,
    forwards: [{ ...FORWARD, targets }],
  });
  assert(text.includes("dnat ip6 to [fd00::5]:443"));
  assert(!text.includes("masquerade"));
});

test("rulesetText() drops junk at an interface only for addresses of its own", () => {
  const prefilter = { ports: [62201], tags: [new Uint8Array(8)] };
  const ingress = {
    devices: ["eth0", "eth1"],
    addresses: ["192.0.2.7", "2001:db8::7"],
  };
  const text = rulesetText({ ...EMPTY, prefilter, ingress });
  const [, rules] = text.split("chain ingress {").toSpliced(1, 1);
  assertEquals(
    rules!.split("}\n  chain")[0]!.split("\n").map((l) => l.trim()),
    [
      "",
      "meta l4proto != udp accept",
      "udp dport != { 62201 } accept",
      "ip daddr { 192.0.2.7 } goto junk",
      "ip6 daddr { 2001:db8::7 } goto junk",
      "}",
      "}",
      "",
    ],
  );
  assertMatch(text, /hook ingress devices = \{ "eth0", "eth1" \} priority/);
});

test("staleIngress() deletes the chain of other interfaces", () => {
  const facing = { devices: ["eth0", "eth1"], addresses: [] };
  const listed = (hook: string) =>
    `chain ingress {\n\t\ttype filter hook ingress ${hook} priority -500;`;
  const gone = "flush chain inet knock ingress\n" +
    "delete chain inet knock ingress\n";
  const cases: [hook: string, want: string][] = [
    [`devices = { eth0, eth1 }`, ""],
    [`devices = { "eth1", "eth0" }`, ""],
    [`device "eth0"`, gone],
    [`devices = { eth0, eth2 }`, gone],
    [`devices = { eth0, eth1, eth2 }`, gone],
  ];
  for (const [hook, want] of cases) {
    assertEquals(staleIngress(listed(hook), facing), want, hook);
  }
  assertEquals(staleIngress("chain gate {", facing), "");
  assertEquals(staleIngress(listed(`device "eth0"`), null), "");
});

test("rulesetText() has the gate's tags, each once", () => {
  const tag = Uint8Array.fromHex("00112233445566ff");
  const prefilter = { ports: [62201, 62201], tags: [tag, tag] };
  const text = rulesetText({ ...EMPTY, prefilter });
  assertEquals(having(text, "@th"), [
    '@th,64,64 != { 0x00112233445566ff } counter name "wrong_tag" drop',
  ]);
  assertEquals(having(text, "udp dport"), ["udp dport != { 62201 } accept"]);
  // Anybody can forge a source: a limit by source would lock its owner out.
  assertEquals(having(text, "limit rate"), []);
  assertEquals(having(text, "update @"), []);
});

test("readCounters() reads what the kernel lists", () => {
  const listing = "table inet knock {\n\tcounter wrong_tag {\n" +
    "\t\tpackets 17 bytes 4148\n\t}\n}\n";
  assertEquals(readCounters(listing), { "kernel: wrong tag": 17 });
});

test("ownNames() is empty where our table is not needed", () => {
  assertEquals(ownNames({ ...EMPTY, host: HOST }).size, 0);
  for (const name of ownNames({ ...EMPTY, forwards: [FORWARD] })) {
    assert(KNOWN_NAMES.has(name), name);
  }
});

const LISTING = `table inet knock {
	comment "made by knock"
	set allow4 {
		type ipv4_addr
	}

	set seq_at4_1 {
		type ipv4_addr
		flags dynamic,timeout
	}

	chain nat_in {
		type nat hook prerouting priority -110; policy accept;
	}

	chain sequences {
		jump seq_at
	}
}
`;

test("unwantedText() deletes what is ours and not needed, chains first", () => {
  assertEquals(readTable(LISTING).map(({ name }) => name), [
    "allow4",
    "seq_at4_1",
    "nat_in",
    "sequences",
  ]);
  assertEquals(
    unwantedText(LISTING, new Set(["guard"])),
    "flush chain inet knock nat_in\ndelete chain inet knock nat_in\n" +
      "delete set inet knock allow4\n",
  );
});

test("hostObjects() takes an empty chain for ours, and refuses another's", () => {
  const table = (rule: string) =>
    `table inet filter {\n\tset other {\n\t\ttype ipv4_addr\n\t}\n\n` +
    `\tchain knock {\n${rule}\t}\n}\n`;
  const find = (listing: string) =>
    hostObjects(listing, HOST).map(({ name }) => name);
  assertEquals(find(""), []);
  assertEquals(find(table("")), ["knock"]);
  assertEquals(
    find(table('\t\ttcp dport 22 accept comment "made by knock"\n')),
    ["knock"],
  );
  for (
    const rule of [
      "\t\ttcp dport 22 accept\n",
      "\t\ttype filter hook input priority 0; policy drop;\n",
    ]
  ) {
    assertThrows(
      () => find(table(rule)),
      FirewallError,
      "chain inet filter knock is there already",
    );
  }
});

test("hostObjects() refuses a table of iptables", () => {
  const host = parseHostChain("ip filter knock")!;
  const listing = "table ip filter {\n\tchain INPUT {\n\t}\n}\n";
  assertThrows(
    () => hostObjects(listing, host),
    FirewallError,
    "table ip filter is kept by iptables",
  );
});

test("leadText() writes a target over the one before", () => {
  const led: GrantTarget = {
    address: "192.0.2.1",
    ports: parsePortRange("tcp/40000")!,
    target: { family: 4, address: "10.0.0.5", port: 443, local: false },
    untilMs: 31_000,
  };
  const before: GrantTarget = {
    ...led,
    target: { ...led.target, address: "10.0.0.6" },
  };
  const key = "inet knock target4 { 192.0.2.1 . tcp . 40000";
  assertEquals(
    targetText(led, before, 1000),
    `add element ${key} : 10.0.0.6 . 443 }\n` +
      `delete element ${key} : 10.0.0.6 . 443 }\n` +
      `add element ${key} timeout 31s : 10.0.0.5 . 443 }\n`,
  );
});

const KEY = "server.key";
function configured(text: string): FakeRuntime {
  return new FakeRuntime({
    userId: 0,
    files: {
      "/etc/knock/server.yaml": `key: ${KEY}\n${text}`,
      [`/etc/knock/${KEY}`]: "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
    },
  });
}

test("knock rules prints the ruleset of the configuration", async () => {
  const runtime = configured(
    `services: { ssh: tcp/22, nas: { listen: tcp/8443, to: "10.0.0.5:443" } }`,
  );
  assertEquals(await run([], runtime), 0);
  assert(runtime.stdout.startsWith("table inet knock {\n"));
  assert(runtime.stdout.includes("{ tcp . 22, tcp . 8443 } jump closed"));
  assert(runtime.stdout.includes("dnat ip to 10.0.0.5:443"));
  const accept = configured(
    "firewall: { mode: accept }\nservices: { ssh: tcp/22 }",
  );
  assertEquals(await run([], accept), 0);
  assert(accept.stdout.startsWith("table inet filter {\n"));
});

test("knock rules says that other backends have no such ruleset", async () => {
  const runtime = configured(
    `firewall: { backend: gate }\n` +
      `services: { ssh: { listen: tcp/2222, to: "127.0.0.1:22" } }`,
  );
  await assertRejects(() => run([], runtime), ConfigError, 'got "gate"');
});
