import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { NFT_GUARD } from "../fakes/fixtures.ts";
import { checkAccept } from "../../lib/commands/operator/doctor/backend.ts";
import { findDrops, findJump } from "../../lib/firewall/host/jump.ts";
import { parseNftJson } from "../../lib/firewall/host/nft/json.ts";
import {
  formatHostChain,
  parseHostChain,
} from "../../lib/firewall/nft/rules/sets.ts";

type Rule = readonly Record<string, unknown>[];

const ACCEPT = { accept: null };
const DROP = { drop: null };
const REJECT = { reject: { type: "icmpx", expr: "admin-prohibited" } };
const COUNTER = { counter: { packets: 0, bytes: 0 } };
const LIMIT = { limit: { rate: 1, per: "second" } };

function jump(target: string): Record<string, unknown> {
  return { jump: { target } };
}

function match(left: unknown, right: unknown): Record<string, unknown> {
  return { match: { op: "==", left, right } };
}

const ESTABLISHED = match({ ct: { key: "state" } }, ["established", "related"]);
const LOOPBACK = match({ meta: { key: "iifname" } }, "lo");
const SSH = match({ payload: { protocol: "tcp", field: "dport" } }, 22);
const PING = match(
  { payload: { protocol: "icmp", field: "type" } },
  "echo-request",
);
const ICMP6 = match({ meta: { key: "l4proto" } }, "ipv6-icmp");

/** A chain of a listing: its name, its policy if it hooks input, its rules. */
interface Given {
  readonly family?: string;
  readonly table?: string;
  readonly name: string;
  readonly policy?: "accept" | "drop";
  readonly rules: readonly Rule[];
}

function listing(...chains: Given[]): string {
  const nftables = chains.flatMap(
    ({ family = "inet", table = "filter", name, policy, rules }) => [
      {
        chain: {
          ...{ family, table, name, handle: 1 },
          ...(policy && { type: "filter", hook: "input", prio: 0, policy }),
        },
      },
      ...rules.map((expr) => ({ rule: { family, table, chain: name, expr } })),
    ],
  );
  return JSON.stringify({ nftables: [{ metainfo: {} }, ...nftables] });
}

const KNOCK = parseHostChain("inet filter knock")!;
const OURS: Given = { name: "knock", rules: [[ACCEPT]] };

function input(...rules: Rule[]): Given {
  return { name: "input", policy: "drop", rules };
}

const jumps: [name: string, given: Given[], want: string | null][] = [
  ["at the end", [OURS, input([ESTABLISHED, ACCEPT], [jump("knock")])], null],
  ["before a drop", [OURS, input([jump("knock")], [COUNTER, DROP])], null],
  ["behind a drop", [OURS, input([COUNTER, DROP], [jump("knock")])], "drops"],
  ["behind a reject", [OURS, input([REJECT], [jump("knock")])], "drops"],
  ["behind a drop of some", [OURS, input([SSH, DROP], [jump("knock")])], null],
  ["behind a limited one", [OURS, input([LIMIT, DROP], [jump("knock")])], null],
  ["nowhere", [OURS, input([ESTABLISHED, ACCEPT])], "does not jump"],
  ["by another chain", [
    OURS,
    { name: "services", rules: [[jump("knock")]] },
    input([jump("services")]),
  ], null],
  ["by a chain that nobody asks", [
    OURS,
    { name: "services", rules: [[jump("knock")]] },
    input([ESTABLISHED, ACCEPT]),
  ], "does not jump"],
  ["behind a chain that drops", [
    OURS,
    { name: "end", rules: [[DROP]] },
    input([jump("end")], [jump("knock")]),
  ], "drops"],
  ["behind a return", [
    OURS,
    { name: "services", rules: [[{ return: null }], [jump("knock")]] },
    input([jump("services")]),
  ], "drops"],
  ["by goto", [OURS, input([{ goto: { target: "knock" } }])], null],
  ["behind a goto", [
    OURS,
    { name: "other", rules: [] },
    input([{ goto: { target: "other" } }], [jump("knock")]),
  ], "drops"],
  ["by a map of verdicts", [
    OURS,
    input([{
      vmap: {
        key: { ct: { key: "state" } },
        data: { set: [["established", ACCEPT], ["new", jump("knock")]] },
      },
    }]),
  ], null],
  ["in a circle", [
    { name: "a", rules: [[jump("b")]] },
    { name: "b", rules: [[jump("a")]] },
    input([jump("a")]),
  ], "does not jump"],
  ["in another table", [
    OURS,
    { ...input([jump("knock")]), table: "other" },
  ], "has no input chain"],
  ["in no rules at all", [], "has no input chain"],
];

for (const [name, given, want] of jumps) {
  test(`findJump() judges a jump ${name}`, () => {
    const jump = findJump(parseNftJson(listing(...given))!, KNOCK);
    const said = jump.ok ? null : `${jump.problem.text}; ${jump.problem.hint}`;
    if (want === null) assertEquals(said, null);
    else assert(said?.includes(want), said ?? "no problem");
  });
}

const other = (
  policy: "accept" | "drop",
  ...rules: Rule[]
): Given => ({ family: "ip", table: "other", name: "in", policy, rules });

const drops: [name: string, given: Given, want: boolean][] = [
  ["drops by its policy", other("drop"), true],
  [
    "lets established traffic, loopback and ping through alone",
    other("drop", [ESTABLISHED, ACCEPT], [LOOPBACK, ACCEPT], [PING, ACCEPT], [
      ICMP6,
      ACCEPT,
    ]),
    true,
  ],
  [
    "rejects at its end",
    other("accept", [ESTABLISHED, ACCEPT], [REJECT]),
    true,
  ],
  ["lets a port through", other("drop", [SSH, ACCEPT]), false],
  ["accepts everything", other("accept"), false],
  ["drops some", other("accept", [SSH, DROP]), false],
  ["asks xtables, which is not shown", other("drop", [{ xt: null }]), false],
  [
    "is of IPv6, when ours are of both",
    { ...other("drop"), family: "ip6" },
    true,
  ],
  [
    "is of bridges",
    { ...other("drop"), family: "bridge" },
    false,
  ],
];

for (const [name, given, want] of drops) {
  test(`findDrops() judges another table that ${name}`, () => {
    const chains = parseNftJson(listing(OURS, input([jump("knock")]), given))!;
    const found = findDrops(chains, KNOCK);
    assertEquals(found.length, want ? 1 : 0);
    if (want) assert(found[0]!.text.includes("chain in of table"));
  });
}

const chains: [text: string, want: boolean][] = [
  ["inet filter knock", true],
  ["ip filter KNOCK", true],
  ["ip6  my-table  door_1", true],
  ["knock", false],
  ["filter knock", false],
  ["bridge filter knock", false],
  ["inet knock knock", false],
  ["inet filter knock more", false],
  ["inet filter kn{ock", false],
  ["inet filter 1knock", false],
  [`inet filter ${"a".repeat(65)}`, false],
];

for (const [text, want] of chains) {
  test(`parseHostChain() ${want ? "reads" : "refuses"} "${text}"`, () => {
    const host = parseHostChain(text);
    assertEquals(host !== null, want);
    if (host) {
      assertEquals(formatHostChain(host), text.replace(/\s+/g, " "));
    }
  });
}

test("checkAccept() tells of the jump, and of what is passed on", () => {
  const firewall = { ...NFT_GUARD, mode: "accept" as const };
  const nas = {
    ...{ name: "nas", ports: [], masquerade: false, kill: false },
    to: { host: "10.0.0.5", port: 443 },
  };
  const forward = JSON.parse(listing(OURS, input([jump("knock")])));
  forward.nftables.push({
    chain: {
      ...{ family: "inet", table: "filter", name: "forward" },
      ...{ type: "filter", hook: "forward", prio: 0, policy: "drop" },
    },
  });
  const levels = (services: typeof nas[], text: string | null) =>
    checkAccept(
      { firewall, services },
      text === null ? null : parseNftJson(text),
    ).map(({ level }) => level);
  assertEquals(levels([], JSON.stringify(forward)), ["ok"]);
  assertEquals(levels([nas], JSON.stringify(forward)), ["ok", "warn"]);
  const asks = input([jump("knock")]);
  assertEquals(levels([], listing(OURS, asks, other("drop"))), ["ok", "bad"]);
  assertEquals(levels([nas], listing(OURS, input())), ["bad"]);
  assertEquals(levels([], null), []);
  const guard = { firewall: { ...firewall, mode: "guard" as const } };
  assertEquals(
    checkAccept({ ...guard, services: [] }, parseNftJson(listing())),
    [],
  );
});
