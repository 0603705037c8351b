import { assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { FirewallError, type Grant } from "../../lib/firewall/firewall.ts";
import {
  addElements,
  formatTimeout,
  latestEnds,
  parseElements,
  replaceElements,
} from "../../lib/firewall/nft/grants/elements.ts";
import { changeSegments } from "../../lib/firewall/nft/grants/ranges.ts";
import { OWN_KINDS, ownPlace } from "../../lib/firewall/nft/rules/sets.ts";
import {
  formatPortRange,
  parsePortRange,
  type PortRange,
  type Segment,
} from "../../lib/values/ports.ts";

const NOW = 1_000_000;
const OWN = ownPlace(OWN_KINDS);

function ports(text: string): PortRange {
  return parsePortRange(text)!;
}

function grant(address: string, text: string, untilMs = NOW + 30_000): Grant {
  return {
    address,
    ports: ports(text),
    untilMs,
    once: false,
    to: null,
    client: "alice",
  };
}

function segment(text: string, untilMs: number): Segment {
  return { ...ports(text), untilMs };
}

const timeouts: [number, string][] = [
  [-5, "1ms"],
  [0, "1ms"],
  [0.2, "1ms"],
  [30_500, "30s500ms"],
  [60_000, "1m"],
  [90_061_001, "1d1h1m1s1ms"],
  [4_294_967_295_000, "49710d6h28m15s"],
];

for (const [ms, want] of timeouts) {
  test(`formatTimeout() writes ${ms} as ${want}`, () => {
    assertEquals(formatTimeout(ms), want);
  });
}

test("replaceElements() adds, deletes and adds with the new end", () => {
  const text = replaceElements(OWN, "allow", [
    { address: "192.0.2.1", ports: ports("tcp/22"), untilMs: NOW + 1000 },
    { address: "2001:db8::1", ports: ports("udp/53"), untilMs: null },
    { address: "192.0.2.2", ports: ports("tcp/22"), untilMs: NOW },
  ], NOW);
  const [a, b] = ["192.0.2.1 . tcp . 22", "192.0.2.2 . tcp . 22"];
  assertEquals(text.trim().split("\n"), [
    `add element inet knock allow4 { ${a}, ${b} }`,
    "add element inet knock allow6 { 2001:db8::1 . udp . 53 }",
    `delete element inet knock allow4 { ${a}, ${b} }`,
    "delete element inet knock allow6 { 2001:db8::1 . udp . 53 }",
    `add element inet knock allow4 { ${a} timeout 1s }`,
  ]);
});

test("addElements() never adds an element without an end", () => {
  const bad = [NaN, -Infinity, 0, NOW - 1, NOW].map((untilMs) => ({
    address: "192.0.2.1",
    ports: ports("tcp/22"),
    untilMs,
  }));
  assertEquals(addElements(OWN, "allow", bad, NOW), "");
});

const notAddresses = [
  "192.0.2.1 } ; flush ruleset",
  "::ffff:192.0.2.1",
  "fe80::1%eth0",
  "192.0.2.1/24",
  "192.0.2.0/33",
  "192.0.2.0/024",
  "192.0.2.0/24 . tcp . 22, 0.0.0.0/0",
  "example.com",
  "",
];

for (const address of notAddresses) {
  test(`addElements() refuses "${address}" for an address`, () => {
    const element = { address, ports: ports("tcp/22"), untilMs: NOW + 1 };
    assertThrows(
      () => addElements(OWN, "allow", [element], NOW),
      FirewallError,
    );
  });
}

test("latestEnds() takes the latest end of all grants of a port", () => {
  const asked = [grant("192.0.2.1", "tcp/22", 10), grant("192.0.2.1", "udp/1")];
  const live = [
    grant("192.0.2.1", "tcp/22", 15),
    grant("192.0.2.1", "tcp/22", 30),
    grant("192.0.2.1", "tcp/22", 20),
    grant("192.0.2.1", "tcp/2222", 50),
    grant("192.0.2.11", "tcp/22", 60),
    { ...grant("192.0.2.1", "tcp/22", 70), once: true },
  ];
  assertEquals(
    latestEnds("allow", asked, live).map(({ untilMs }) => untilMs),
    [30, null],
  );
});

test("changeSegments() leaves what stays and does not delete what is over", () => {
  const stays = segment("tcp/1-9", NOW + 5000);
  const dead = segment("tcp/20-29", NOW);
  const gone = segment("tcp/40-49", NOW + 1);
  const fresh = segment("tcp/45-60", NOW + 2000);
  const text = changeSegments(OWN, "192.0.2.1", [stays, dead, gone], [
    stays,
    fresh,
  ], NOW);
  assertEquals(text.trim().split("\n"), [
    "delete element inet knock range4 { 192.0.2.1 . tcp . 40-49 }",
    "add element inet knock range4 { 192.0.2.1 . tcp . 45-60 timeout 2s }",
  ]);
});

test("parseElements() reads what nft lists, by number or by name", () => {
  const listing = `table inet knock {
	set once4 {
		type ipv4_addr . inet_proto . inet_service
		elements = { 192.0.2.1 . 6 . 22 timeout 1m30s expires 1m29s908ms,
			     192.0.2.11 . udp . 53 timeout 1m30s }
	}
	set once6 {
		elements = { 2001:db8::1 . 17 . 2222 timeout 1m, 2001:db8::1 . 132 . 1 timeout 1m }
	}
}`;
  const found = parseElements(listing).map(({ address, ports }) =>
    `${address} ${formatPortRange(ports)}`
  );
  assertEquals(found, [
    "192.0.2.1 tcp/22",
    "192.0.2.11 udp/53",
    "2001:db8::1 udp/2222",
  ]);
});
