import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { growTree, readTold } from "../../lib/firewall/nft/sequences/chains.ts";
import {
  clearSequencesText,
  sequencesText,
  whyNotInKernel,
} from "../../lib/firewall/nft/sequences/rules.ts";
import {
  FLAG,
  formatHit,
  type Sequence,
} from "../../lib/sequences/sequence.ts";
import { parsePortRange } from "../../lib/values/ports.ts";
import { makeSequence } from "../fakes/fixtures.ts";

test("growTree() shares what begins alike", () => {
  const nodes = growTree([
    makeSequence("a", "1 2 3"),
    makeSequence("b", "1 2 udp/3", { withinMs: 9000 }),
    makeSequence("c", "1 2"),
    makeSequence("d", "2 1"),
  ]);
  const told = nodes.map((node) =>
    `${node.parent?.id ?? 0}>${node.id} ${formatHit(node.hit)} ` +
    `${node.complete.map(({ name }) => name)} ${node.withinMs} ${node.isInner}`
  );
  assertEquals(told, [
    "0>1 tcp/1  9000,5000 true",
    "1>2 tcp/2 c 9000,5000 true",
    "2>3 tcp/3 a 5000 false",
    "2>4 udp/3 b 9000 false",
    "0>5 tcp/2  5000 true",
    "5>6 tcp/1 d 5000 false",
  ]);
});

test("sequencesText() of no sequences is nothing", () => {
  assertEquals(sequencesText([]), "");
});

test("sequencesText() tries the last hits first, and ends each chain with a drop", () => {
  const text = sequencesText([makeSequence("same", "1 1 1")]);
  const chain = /chain seq_tcp_1 \{\n([^}]*)\}/.exec(text)![1]!;
  assert(chain.indexOf("seq_arrive4_3") < chain.indexOf("seq_arrive4_2"));
  assert(chain.indexOf("seq_arrive4_2") < chain.indexOf("seq_arrive4_1"));
  for (
    const [, name, rules] of text.matchAll(
      /chain (\w+) \{\n([\s\S]*?)\n {2}\}/g,
    )
  ) {
    if (!/^seq_(arrive|tcp|udp)/.test(name!)) continue;
    assert(rules!.trimEnd().endsWith("counter drop"), name);
  }
});

test("sequencesText() gives every set a size and swept elements", () => {
  const text = sequencesText([makeSequence("a", "1 2 3")]);
  const sets = text.split("\n").filter((line) => line.startsWith("  set "));
  assertEquals(sets.length, 8);
  for (const set of sets) {
    assert(/flags dynamic,timeout; size \d+; gc-interval/.test(set), set);
  }
});

test("sequencesText() opens, closes and opens once", () => {
  const rules = (more: Partial<Sequence>) =>
    sequencesText([makeSequence("a", "1 2", more)]).split("\n")
      .filter((line) => /@(allow|once)4/.test(line))
      .map((line) => line.replace(/^.*(update|delete)/, "$1"));
  const key = "{ ip saddr . 6 . 22";
  assertEquals(rules({}), [`update @allow4 ${key} timeout 10s }`]);
  assertEquals(rules({ once: true }), [`update @once4 ${key} timeout 10s }`]);
  assertEquals(rules({ action: "close" }), [
    `delete @allow4 ${key} }`,
    `delete @once4 ${key} }`,
  ]);
  assertEquals(rules({ open: [parsePortRange("udp/7-8")!] }), [
    "update @allow4 { ip saddr . 17 . 7 timeout 10s }",
    "update @allow4 { ip saddr . 17 . 8 timeout 10s }",
  ]);
});

test("readTold() reads what the rules log", () => {
  const text = sequencesText([
    makeSequence("front-door.1", "1 2"),
    makeSequence("front-door.1", "2 1", { action: "close" }),
  ]);
  const told = [
    ...text.matchAll(/ip saddr .* log prefix "([^"]*)" group 62201/g),
  ]
    .map(([, prefix]) => readTold(prefix!));
  assertEquals(told.map((each) => `${each?.action} ${each?.name}`).sort(), [
    "close front-door.1",
    "open front-door.1",
  ]);
  for (const other of ["", "knock", "knock open", "IN=eth0", "knock run a"]) {
    assertEquals(readTold(other), null);
  }
});

test("clearSequencesText() deletes what is listed as a sequence's, chains first", () => {
  const listing = `table inet knock {
	set allow4 {
		type ipv4_addr . inet_proto . inet_service
	}
	set seq_at4_1 {
		type ipv4_addr
	}
	chain guard {
	}
	chain seq_tcp_1 {
	}
	chain sequences {
		type filter hook input priority -11; policy accept;
	}
}
`;
  assertEquals(clearSequencesText(listing).trim().split("\n"), [
    "flush chain inet knock seq_tcp_1",
    "flush chain inet knock sequences",
    "delete chain inet knock seq_tcp_1",
    "delete chain inet knock sequences",
    "delete set inet knock seq_at4_1",
  ]);
  assertEquals(clearSequencesText(""), "");
});

test("whyNotInKernel() says what the kernel cannot judge", () => {
  const table: [Partial<Sequence>, boolean][] = [
    [{}, true],
    [{ flags: { set: FLAG.fin, clear: 0 } }, false],
    [{ target: "192.0.2.1" }, false],
    [{ open: [parsePortRange("tcp/1-64")!] }, true],
    [{ open: [parsePortRange("tcp/1-65")!] }, false],
  ];
  for (const [more, can] of table) {
    assertEquals(whyNotInKernel(makeSequence("a", "1 2", more)) === null, can);
  }
});
