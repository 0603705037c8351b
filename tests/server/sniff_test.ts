/** Listening without a socket: the configuration, what the kernel logs, what is captured. */

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { checkServer } from "../../lib/commands/operator/doctor/server.ts";
import { datagramPlaces, knockSocketsOf } from "../../lib/config/config.ts";
import { parseConfig } from "../../lib/config/read.ts";
import type { Surroundings } from "../../lib/config/clients.ts";
import { kernelForms } from "../../lib/dialects/table.ts";
import { rulesetText } from "../../lib/firewall/nft/rules/ruleset.ts";
import { guardPlan } from "../fakes/plan.ts";
import type { Sniffed } from "../../lib/firewall/firewall.ts";
import { sniffedKnocks } from "../../lib/sequences/tcpdump.ts";
import { decodeIp } from "../../lib/sequences/packet.ts";
import { readStatus } from "../../lib/server/report/status.ts";
import { formatBase64url } from "../../lib/values/bytes.ts";
import { ConfigError } from "../../lib/values/errors.ts";
import { makeClient, makeConfig } from "../fakes/fixtures.ts";
import fwknop from "../vectors/fwknop.json" with { type: "json" };

const KEY = new Uint8Array(32).fill(7);
const A = formatBase64url(KEY);
const AROUND: Surroundings = {
  file: "server.yaml",
  readKey: () => KEY,
  readCode: () => KEY,
  stateFolder: () => "/state",
};
const CLIENTS =
  `clients: { a: { knock: { key: ${A}, psk: ${A} }, open: tcp/22 } }`;

function mistakesOf(text: string): readonly string[] {
  try {
    parseConfig(`${text}\n${CLIENTS}`, AROUND);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.lines;
  }
}

test("listen: sniff/PORT is a UDP port without a socket, and no doorway through the host's rules", () => {
  const config = parseConfig(
    `listen: [62201, sniff/62202, "sniff/0.0.0.0:4000", tcp/62202]\n${CLIENTS}`,
    AROUND,
  );
  assertEquals(config.listen, [{ host: "::", port: 62201 }]);
  assertEquals(config.sniffed, [
    { host: "::", port: 62202 },
    { host: "0.0.0.0", port: 4000 },
  ]);
  assertEquals(datagramPlaces(config).map(({ port }) => port), [
    62201,
    62202,
    4000,
  ]);
  const sockets = knockSocketsOf(config).map(({ protocol, port }) =>
    `${protocol}/${port}`
  );
  assertEquals(sockets, ["udp/62201", "tcp/62202"]);
});

const WRONG: [text: string, words: string][] = [
  ["listen: [62201, sniff/62201]", "must be free of the other entries"],
  ["listen: [sniff/62201, sniff/62201]", "must be free of the other entries"],
  ["listen: sniff/0", "or one of them after sniff/, tcp/ or http/"],
  ["listen: sniff/tcp/5", "or one of them after sniff/, tcp/ or http/"],
  [
    "listen: sniff/53\nservices: { dns: udp/53 }",
    "must not be the port that knocks come to",
  ],
];
for (const [text, words] of WRONG) {
  test(`${JSON.stringify(text)}: ${words}`, () => {
    const [first = ""] = mistakesOf(text);
    assert(first.includes(words), first);
  });
}

const TAG = Uint8Array.fromHex("00112233445566ff");
const SNIFFED: Sniffed = {
  ports: [62201, 62201],
  forms: [
    { least: 140, most: 1500, first: [56, 57] },
    { least: 165, most: 165, first: [1] },
    { least: 165, most: 165, first: [1] },
  ],
  tags: [TAG],
};

test("the sniff chain logs what can be a knock, each form once, and drops nothing", () => {
  const text = rulesetText({ ...guardPlan([]), sniffed: SNIFFED });
  const chain = text.slice(text.lastIndexOf("chain sniff"));
  const log = "log group 62202 queue-threshold 1 accept";
  assertEquals(chain.split("\n").slice(1, 9).map((line) => line.trim()), [
    "meta l4proto != udp accept",
    "udp dport != { 62201 } accept",
    "fib daddr type unicast accept",
    "iif != lo fib saddr type { local, broadcast, anycast, multicast } accept",
    `udp length 224 @th,64,64 { 0x00112233445566ff } ${log}`,
    `udp length 148-1508 @th,64,8 { 56, 57 } ${log}`,
    `udp length 173 @th,64,8 { 1 } ${log}`,
    'counter name "no_knock"',
  ]);
  assert(!chain.includes("drop"));
  const only = rulesetText({
    ...guardPlan([]),
    sniffed: { ...SNIFFED, tags: null, forms: [] },
  });
  assert(!only.includes("log group"), "no client, nothing to hear");
});

test("sniffedKnocks() puts each condition in brackets, for both families", () => {
  assertEquals(
    sniffedKnocks([4000], [{ least: 165, most: 165, first: [1, 2] }]).at(-1),
    "((udp dst port 4000) and " +
      "((ip and ((udp[4:2] >= 173 and udp[4:2] <= 173 and (udp[8] = 1 or udp[8] = 2)))) or " +
      "(ip6 and ((ip6[44:2] >= 173 and ip6[44:2] <= 173 and (ip6[48] = 1 or ip6[48] = 2))))))",
  );
});

test("kernelForms() holds every packet of real clients of fwknop", () => {
  const keys = { key: KEY, mode: "cbc", hmac: null } as const;
  const [form] = kernelForms([makeClient({ fwknop: keys })]);
  let seen = 0;
  for (const { packet } of fwknop.vectors as { packet?: string }[]) {
    if (!packet || packet.length < 140) continue;
    seen++;
    const first = new TextEncoder().encode(packet)[0]!;
    assert(form!.first!.includes(first), packet);
    assert(packet.length >= form!.least && packet.length <= form!.most);
  }
  assert(seen > 10);
});

/** udp fd09::2:41001 > fd09::1:8000, with the bytes 1 2 3. */
const DATAGRAM = Uint8Array.fromHex(
  "60000000000b1140fd090000000000000000000000000002" +
    "fd090000000000000000000000000001a0291f40000b0000010203",
);

test("decodeIp() has a datagram's data, by the length that it says", () => {
  const payload = (bytes: Uint8Array) => [...decodeIp(bytes)!.payload!];
  assertEquals(payload(DATAGRAM), [1, 2, 3]);
  assertEquals(payload(new Uint8Array([...DATAGRAM, 9, 9])), [1, 2, 3]);
  assertEquals(payload(DATAGRAM.subarray(0, -1)), [], "cut off");
  assertEquals(payload(DATAGRAM.with(45, 0x0c)), [], "a length that lies");
  assertEquals(payload(DATAGRAM.with(45, 2)), []);
});

const RUNS = { pid: 1, sinceMs: 0, backend: "nft", listen: [] };
const AT = { host: "::", port: 62201 };
const DOCTOR: [
  what: string,
  server: typeof RUNS | null,
  fact: { places: string[]; trouble: string | null } | null,
  bound: boolean,
  level: string,
][] = [
  ["heard", RUNS, { places: ["[::]:62201"], trouble: null }, false, "ok"],
  ["deaf", RUNS, { places: ["[::]:62201"], trouble: "gone" }, false, "bad"],
  ["another", RUNS, { places: ["[::]:1"], trouble: null }, false, "bad"],
  ["no word", RUNS, null, false, "bad"],
  ["not running", null, null, false, "ok"],
  ["bound", RUNS, { places: ["[::]:62201"], trouble: null }, true, "warn"],
];
for (const [what, server, sniff, bound, level] of DOCTOR) {
  test(`checkServer() of a sniffed port, ${what}: ${level}`, () => {
    const config = makeConfig([makeClient()], { listen: [], sniffed: [AT] });
    const socket = { protocol: "udp", family: 6, address: "::", port: 62201 };
    const found = checkServer(
      config,
      { ...readStatus(null, 0, () => false), server, sniff },
      bound ? [socket as never] : [],
      false,
    );
    const about = found.filter(({ text }) => text.includes("(sniff)"));
    assertEquals(about.map((finding) => finding.level), [level]);
  });
}
