import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import { FirewallError, type Grant } from "../../lib/firewall/firewall.ts";
import { changeHeld, hold } from "../../lib/firewall/iptables/chain.ts";
import { iptablesFirewall } from "../../lib/firewall/iptables/iptables.ts";
import {
  type IptablesListing,
  isOurs,
  ourChains,
  portray,
  readListing,
} from "../../lib/firewall/iptables/listing.ts";
import { iptablesError } from "../../lib/firewall/iptables/program.ts";
import {
  applyScript,
  changeScript,
  grantRule,
  placeOf,
  removals,
  removeScript,
  type Style,
} from "../../lib/firewall/iptables/rules.ts";
import type { RunOptions } from "../../lib/runtime/runtime.ts";
import { parsePortRange, type PortRange } from "../../lib/values/ports.ts";
import { FakeRuntime, START_MS } from "../fakes/fake_runtime.ts";

const PLAIN = { interfaces: [], timed: true } as const;
const GUARD: Style = { ...PLAIN, chain: "KNOCK", mode: "guard" };
const ACCEPT: Style = { ...PLAIN, chain: "DOOR", mode: "accept" };
const GUARD4 = placeOf(GUARD, 4);
const ACCEPT4 = placeOf(ACCEPT, 4);
const JUMPS = [
  "PREROUTING -m addrtype --dst-type LOCAL -j KNOCK",
  "PREROUTING -m addrtype --dst-type BROADCAST,MULTICAST -j KNOCK",
];
const NOTHING: IptablesListing = {
  rules: null,
  first: false,
  jumps: [],
  cuts: [],
  shared: false,
};

function ports(text: string): PortRange {
  return parsePortRange(text)!;
}

function grant(
  address: string,
  text = "tcp/22",
  over: Partial<Grant> = {},
): Grant {
  return {
    address,
    ports: ports(text),
    untilMs: START_MS + 30_000,
    once: false,
    to: null,
    client: "alice",
    ...over,
  };
}

const ssh = {
  name: "ssh",
  ports: [ports("tcp/22")],
  to: null,
  masquerade: false,
};

const until = START_MS / 1000 + 30;
const RULE = `-s 192.0.2.1/32 -p tcp -m tcp --dport 22 ` +
  `-m time --datestop 2026-01-02T12:00:29 ` +
  `-m comment --comment "knock alice until=${until}" -j RETURN`;

const rules: [string, string, Grant, Style][] = [
  ["one address and port", RULE, grant("192.0.2.1"), GUARD],
  [
    "a port sequence's grant",
    RULE.replace("knock alice", "knock sequence door"),
    { ...grant("192.0.2.1"), client: "sequence door" },
    GUARD,
  ],
  [
    "a range and IPv6, in mode accept",
    `-s 2001:db8::1/128 -p udp -m udp --dport 8000:8010 ` +
    `-m time --datestop 2026-01-02T12:00:29 ` +
    `-m comment --comment "knock alice until=${until}" -j ACCEPT`,
    grant("2001:db8::1", "udp/8000-8010"),
    ACCEPT,
  ],
  [
    "a network",
    RULE.replace("192.0.2.1/32", "192.0.2.0/24"),
    grant("192.0.2.0/24"),
    GUARD,
  ],
  [
    "a kernel without xt_time",
    `-s 192.0.2.1/32 -p tcp -m tcp --dport 22 ` +
    `-m comment --comment "knock alice until=${until}" -j RETURN`,
    grant("192.0.2.1"),
    { ...GUARD, timed: false },
  ],
  [
    "an end within a second, which must not come sooner",
    RULE.replace(":29 ", ":30 ").replace(`=${until}`, `=${until + 1}`),
    grant("192.0.2.1", "tcp/22", { untilMs: START_MS + 30_001 }),
    GUARD,
  ],
];

for (const [name, want, given, style] of rules) {
  test(`grantRule() writes ${name}`, () => {
    assertEquals(grantRule(given, style), want);
  });
}

test("grantRule() lets nothing but addresses and names into a script", () => {
  for (const address of ["192.0.2.1/24", "1\n-F", "::ffff:192.0.2.1"]) {
    assertThrows(() => grantRule(grant(address), GUARD), FirewallError);
  }
  for (const client of ['a" -j ACCEPT', "a b", "a\n", ""]) {
    const given = grant("192.0.2.1", "tcp/22", { client });
    assertThrows(() => grantRule(given, GUARD), FirewallError);
  }
});

const HELD = ["tcp/22 30", "tcp/80 30"];
/** Held grants, with the seconds that are left, after a change at 0 s. */
const changes: [
  name: string,
  touched: string[],
  live: string[],
  want: string[],
][] = [
  ["nothing", [], [], ["tcp/22 30", "tcp/80 30"]],
  ["a close", ["tcp/22 30"], [], ["tcp/80 30"]],
  ["a close of what another has for less time", ["tcp/22 30"], [
    "tcp/22 10",
  ], ["tcp/22 10", "tcp/80 30"]],
  ["two that have it, the later first", ["tcp/22 30"], [
    "tcp/22 60",
    "tcp/22 40",
  ], ["tcp/22 60", "tcp/80 30"]],
  ["two that have it, the later last", ["tcp/22 30"], [
    "tcp/22 40",
    "tcp/22 60",
  ], ["tcp/22 60", "tcp/80 30"]],
  ["one whose time is over", ["tcp/22 30"], ["tcp/22 0"], ["tcp/80 30"]],
  ["what was not touched", ["tcp/22 30"], ["tcp/80 90", "tcp/22 30"], [
    "tcp/22 30",
    "tcp/80 30",
  ]],
];
for (const [name, touched, live, want] of changes) {
  test(`changeHeld() after ${name} holds ${want.join(", ")}`, () => {
    const read = (texts: string[]) =>
      texts.map((text) => {
        const [range, seconds] = text.split(" ");
        return {
          ...grant("192.0.2.1", range!),
          untilMs: START_MS + Number(seconds) * 1000,
        };
      });
    const held = hold(read(HELD));
    const after = changeHeld(held, read(touched), read(live), START_MS);
    const found = [...after.values()].map(({ ports, untilMs }) =>
      `${ports.protocol}/${ports.first} ${(untilMs - START_MS) / 1000}`
    );
    assertEquals(found.sort(), want);
    const later = changeHeld(after, [], [], START_MS + 3_600_000);
    assertEquals(later.size, 0);
  });
}

test("applyScript() makes the chain and the jump in one step", () => {
  assertEquals(
    applyScript(
      GUARD,
      GUARD4,
      [ssh, { ...ssh, ports: [ports("tcp/23-25"), ports("udp/53")] }],
      [grant("192.0.2.1")],
      NOTHING,
    ),
    `*mangle
:KNOCK - [0:0]
-A KNOCK -m conntrack --ctstate ESTABLISHED -j RETURN
-A KNOCK -i lo -j RETURN
-A KNOCK ${RULE}
-A KNOCK -p tcp -m tcp --dport 22:25 -j DROP
-A KNOCK -p udp -m udp --dport 53 -j DROP
-A KNOCK -m time --datestop 2037-12-31T00:00:00 -m comment --comment "made by knock"
-I PREROUTING 1 -m addrtype --dst-type BROADCAST,MULTICAST -j KNOCK
-I PREROUTING 1 -m addrtype --dst-type LOCAL -j KNOCK
COMMIT
`,
  );
});

test("applyScript() drops nothing in mode accept", () => {
  assertEquals(
    applyScript(ACCEPT, ACCEPT4, [ssh], [], {
      ...NOTHING,
      first: true,
      jumps: ACCEPT4.jumps,
    }),
    `*filter
:DOOR - [0:0]
-A DOOR -m time --datestop 2037-12-31T00:00:00 -m comment --comment "made by knock"
COMMIT
`,
  );
});

test("applyScript() guards at the given interfaces alone", () => {
  const style: Style = { ...GUARD, interfaces: ["eth0", "ppp0"] };
  const text = applyScript(style, GUARD4, [ssh], [], NOTHING);
  assertEquals(
    text.split("\n").filter((line) => line.endsWith("-j DROP")),
    ["eth0", "ppp0"].map((name) =>
      `-A KNOCK -i ${name} -p tcp -m tcp --dport 22 -j DROP`
    ),
  );
});

test("placeOf() sends all that an input hook would see to the guard", () => {
  const [table, chain] = ["mangle", "KNOCK"] as const;
  assertEquals(GUARD4, { table, chain, jumps: JUMPS, cuts: [] });
  assertEquals(
    placeOf(GUARD, 6).jumps,
    ["LOCAL", "MULTICAST", "ANYCAST"].map((type) =>
      JUMPS[0]!.replace("LOCAL", type)
    ),
  );
  assertEquals(ACCEPT4, {
    table: "filter",
    chain: "DOOR",
    jumps: ["INPUT -j DOOR"],
    cuts: [],
  });
});

test("placeOf() keeps what was cut from coming back", () => {
  const cut = ["tcp/22", "tcp/1-65535", "udp/51820", "udp/1-65535"];
  const { cuts } = placeOf(GUARD, 6, ["tcp/22", "udp/51820"].map(ports));
  const owner = '-m comment --comment "made by knock" -j DROP';
  assertEquals(cuts, [
    "OUTPUT ! -o lo -p tcp -m tcp --sport 22 --tcp-flags SYN,RST NONE " +
    `-m conntrack --ctstate NEW ${owner}`,
    "OUTPUT ! -o lo -p udp -m udp --sport 51820 " +
    `-m conntrack --ctstate NEW ${owner}`,
  ]);
  // Of all ports of UDP others send, too.
  const wide = placeOf(GUARD, 4, cut.map(ports)).cuts;
  assertEquals(wide.length, 1);
  const place = placeOf(GUARD, 4, [ports("tcp/22")]);
  const listing = place.cuts.map((rule) => `-A ${rule}\n`).join("");
  assertEquals(readListing(listing, GUARD4).cuts, place.cuts);
  const script = (found: readonly string[]) =>
    applyScript(GUARD, place, [ssh], [], { ...NOTHING, cuts: found })
      .split("\n").filter((line) => line.includes("OUTPUT"));
  assertEquals(script(place.cuts), []);
  assertEquals(script([]), [`-A ${place.cuts[0]}`]);
  assertEquals(script(cuts), [
    ...cuts.map((rule) => `-D ${rule}`),
    `-A ${place.cuts[0]}`,
  ]);
});

test("applyScript() has each jump once, and first", () => {
  const jumpLines = (found: Partial<IptablesListing>) =>
    applyScript(ACCEPT, ACCEPT4, [], [], { ...NOTHING, ...found }).split("\n")
      .filter((line) => line.includes("INPUT"));
  const jumps = ACCEPT4.jumps;
  assertEquals(jumpLines({ first: true, jumps }), []);
  assertEquals(jumpLines({ first: false, jumps }), [
    "-D INPUT -j DOOR",
    "-I INPUT 1 -j DOOR",
  ]);
  assertEquals(
    jumpLines({ first: true, jumps: [...jumps, ...jumps] }).length,
    3,
  );
});

test("changeScript() puts in before it takes out", () => {
  assertEquals(
    changeScript(GUARD, GUARD4, ["OLD"], ["NEW"]),
    "*mangle\n-I KNOCK 3 NEW\n-D KNOCK OLD\nCOMMIT\n",
  );
  assertEquals(
    changeScript(ACCEPT, ACCEPT4, [], ["NEW"]),
    "*filter\n-I DOOR 1 NEW\nCOMMIT\n",
  );
});

test("removeScript() leaves a chain that others lead to", () => {
  const found = { ...NOTHING, jumps: ACCEPT4.jumps };
  const want = "*filter\n-D INPUT -j DOOR\n-F DOOR\n-X DOOR\nCOMMIT\n";
  assertEquals(removeScript(ACCEPT4, found), want);
  assertEquals(
    removeScript(ACCEPT4, { ...found, shared: true }),
    want.replace("-X DOOR\n", ""),
  );
});

test("removals() leaves the rules of OUTPUT to a chain that stays", () => {
  const mark = '-m comment --comment "made by knock"';
  const cut = `OUTPUT -p tcp --sport 22 ${mark} -j DROP`;
  const listing = ["-N A", "-N B", `-A A ${mark}`, `-A B ${mark}`, `-A ${cut}`];
  const scripts = (kept?: string) =>
    removals("mangle", listing.join("\n"), kept).map(({ script }) => script);
  assertEquals(scripts("A"), ["*mangle\n-F B\n-X B\nCOMMIT\n"]);
  // Otherwise they go with the first chain, and are gone then.
  assertEquals(scripts(), [
    `*mangle\n-D ${cut}\n-F A\n-X A\nCOMMIT\n`,
    "*mangle\n-F B\n-X B\nCOMMIT\n",
  ]);
});

const LISTING = `-P PREROUTING ACCEPT
-N KNOCK
-N KNOCKD
-A ${JUMPS[0]}
-A ${JUMPS[1]}
-A PREROUTING -i eth0 -j KNOCKD
-A ${JUMPS[0]}
-A KNOCK -i lo -j RETURN
-A KNOCK ${RULE}
-A KNOCK -m comment --comment "made by knock"
-A KNOCKD -j DROP
`;

test("readListing() reads the chain, its jumps and nothing alike", () => {
  const found = readListing(LISTING, GUARD4);
  assertEquals(found, {
    rules: ["-i lo -j RETURN", RULE, '-m comment --comment "made by knock"'],
    first: true,
    jumps: [...JUMPS, JUMPS[0]],
    cuts: [],
    shared: false,
  });
  for (const jump of JUMPS) {
    const late = LISTING.replaceAll(`-A ${jump}\n`, "") + `-A ${jump}\n`;
    assertEquals(readListing(late, GUARD4).first, false, jump);
  }
  assert(isOurs(found));
  assertEquals(ourChains(LISTING), ["KNOCK"]);
  const other = readListing(LISTING, placeOf({ ...GUARD, chain: "KNOCKD" }, 4));
  assertEquals([other.first, other.jumps, other.shared], [false, [], true]);
  assert(!isOurs(other));
  const none = placeOf({ ...GUARD, chain: "NONE" }, 4);
  assertEquals(readListing(LISTING, none), NOTHING);
});

test("portray() knows a grant however a version of iptables writes it", () => {
  const own = portray([RULE]);
  const other = RULE
    .replace("-m tcp ", "")
    .replace("-m time --datestop 2026-01-02T12:00:29 ", "-m time --x ");
  assertEquals(portray([other]), own);
  assertEquals(own.others, "");
  const changes = [
    [".1/32", ".2/32"],
    ["--dport 22", "--dport 23"],
    ["alice", "bob"],
    ["RETURN", "ACCEPT"],
  ];
  for (const [from, to] of changes) {
    const changed = portray([RULE.replace(from!, to!)]);
    assert(changed.grants !== own.grants, to);
  }
});

const errors: [string, string][] = [
  [
    "iptables v1.8.9 (nf_tables): Could not fetch rule set generation id: Permission denied (you must be root)\n",
    "iptables: permission denied",
  ],
  [
    "Fatal: can't open lock file /run/xtables.lock: Permission denied\n",
    "iptables: permission denied",
  ],
  [
    "iptables-restore v1.8.9 (nf_tables): \nline 3: RULE_APPEND failed (No such file or directory): rule in chain K\n",
    "iptables: line 3: RULE_APPEND failed (No such file or directory): rule in chain K",
  ],
  [
    "iptables-restore v1.8.9 (legacy): Couldn't load match `tim':No such file or directory\n\nTry …",
    "iptables: couldn't load match `tim':No such file or directory",
  ],
  ["", "iptables: failed without a word"],
];

for (const [said, want] of errors) {
  test(`iptablesError() says "${want}"`, () => {
    assertEquals(iptablesError("iptables", said).message, want);
  });
}

/** A machine with iptables that holds one listing; `refuse` says no to a script. */
function faked(options: {
  refuse?: (program: string, script: string) => string | null;
  ipv6?: boolean;
} = {}) {
  const { refuse = () => null, ipv6 = true } = options;
  const fake = new FakeRuntime({ steps: "by hand" });
  const scripts: string[] = [];
  const listings = new Map<string, string>();
  const take = (name: string) => (argv: readonly string[], run: RunOptions) => {
    if (argv[1] === "--version") {
      return { stdout: `${name} v1.8.9 (nf_tables)\n` };
    }
    if (name === "ip6tables" && !ipv6) {
      return { code: 3, stderr: "ip6tables v1.8.9 (legacy): no such table\n" };
    }
    if (argv.includes("-S")) {
      const held = argv.includes("mangle") && listings.get(name);
      return { stdout: held || "-P INPUT ACCEPT\n" };
    }
    const script = String(run.stdin);
    scripts.push(`${name}\n${script}`);
    const words = refuse(name, script);
    if (words !== null) return { code: 2, stderr: words };
    if (script.includes(":KNOCK")) {
      const rules = script.match(/^-A KNOCK .*\n/gm)!.join("");
      const { jumps } = placeOf(GUARD, name === "iptables" ? 4 : 6);
      listings.set(
        name,
        `-N KNOCK\n${jumps.map((jump) => `-A ${jump}\n`).join("")}${rules}`,
      );
    }
    return {};
  };
  for (const name of ["iptables", "ip6tables"]) {
    fake.programs.set(name, take(name));
    fake.programs.set(`${name}-restore`, take(name));
  }
  return { fake, scripts };
}

const OPTIONS = { mode: "guard", chain: null, interfaces: [] } as const;

test("iptablesFirewall() says how to install iptables where there is none", async () => {
  const error = await assertRejects(
    () => iptablesFirewall(new FakeRuntime(), OPTIONS),
    FirewallError,
    "iptables is not installed",
  );
  assertMatch(error.hint ?? "", /^apt install iptables/);
});

test("iptablesFirewall() finds its programs outside of the PATH", async () => {
  const { fake } = faked();
  for (const [name, program] of [...fake.programs]) {
    fake.programs.delete(name);
    fake.programs.set(`/usr/sbin/${name}`, program);
  }
  const { name } = await iptablesFirewall(fake, OPTIONS);
  assertEquals(name, "iptables 1.8.9 (nf_tables)");
});

test("apply() is one script for each family, and a change one of its own", async () => {
  const { fake, scripts } = faked();
  const firewall = await iptablesFirewall(fake, OPTIONS);
  await firewall.apply([ssh], [grant("192.0.2.1")], START_MS);
  assertEquals(scripts.length, 2);
  assert(scripts[0]!.includes(RULE));
  assert(!scripts[1]!.includes("until="));
  assertEquals(firewall.endsGrants, true);
  assertEquals(await firewall.intact(), true);
  scripts.length = 0;
  const longer = grant("192.0.2.1", "tcp/22", { untilMs: START_MS + 90_000 });
  await firewall.change([longer], [longer], START_MS);
  assertEquals(scripts, [
    `iptables\n${
      changeScript(GUARD, GUARD4, [RULE], [grantRule(longer, GUARD)])
    }`,
  ]);
  scripts.length = 0;
  await firewall.change([longer], [longer], START_MS);
  assertEquals(scripts, []);
});

test("change() makes the chain anew when a rule is not there any more", async () => {
  const { fake, scripts } = faked({
    refuse: (_, script) => script.includes("-D KNOCK") ? "Bad rule" : null,
  });
  const firewall = await iptablesFirewall(fake, OPTIONS);
  await firewall.apply([ssh], [grant("192.0.2.1")], START_MS);
  scripts.length = 0;
  const longer = grant("192.0.2.1", "tcp/22", { untilMs: START_MS + 90_000 });
  await firewall.change([longer], [longer], START_MS);
  assertEquals(scripts.length, 2);
  assert(scripts[1]!.includes(":KNOCK - [0:0]"));
  assert(scripts[1]!.includes(grantRule(longer, GUARD)));
  assert(!scripts[1]!.includes(RULE));
});

test("change() leaves nothing half-open when a family says no", async () => {
  const { fake, scripts } = faked({
    refuse: (name, script) =>
      name === "ip6tables" && script.includes("until=") ? "no" : null,
  });
  const firewall = await iptablesFirewall(fake, OPTIONS);
  await firewall.apply([ssh], [], START_MS);
  const both = [grant("192.0.2.1"), grant("2001:db8::1")];
  await assertRejects(
    () => firewall.change(both, both, START_MS),
    FirewallError,
  );
  assert(!scripts.at(-1)!.includes("until="), scripts.at(-1));
  assert(scripts.at(-1)!.startsWith("iptables\n"));
  assertEquals(await firewall.intact(), true);
});

test("apply() goes on without xt_time, and says who ends grants then", async () => {
  let isBusy = false;
  const { fake, scripts } = faked({
    refuse: (_, script) =>
      isBusy || script.includes("-m time") ? "no time" : null,
  });
  const firewall = await iptablesFirewall(fake, OPTIONS);
  await firewall.apply([ssh], [grant("192.0.2.1")], START_MS);
  assertEquals(firewall.endsGrants, false);
  assertMatch(firewall.name, /without xt_time: the server ends grants/);
  await firewall.change([grant("192.0.2.2")], [grant("192.0.2.2")], START_MS);
  assert(!scripts.at(-1)!.includes("-m time"));
  assert(scripts.at(-1)!.includes("until="));
  // What was made before is still there after one that fails.
  isBusy = true;
  await assertRejects(() => firewall.apply([ssh], [], START_MS), FirewallError);
  assertEquals(firewall.endsGrants, false);
});

test("apply() throws what iptables said when it is not for the time", async () => {
  const { fake } = faked({ refuse: () => "x v1.8.9 (legacy): no space\n" });
  const firewall = await iptablesFirewall(fake, OPTIONS);
  await assertRejects(
    () => firewall.apply([ssh], [], START_MS),
    FirewallError,
    "no space",
  );
});

test("change() for IPv6 fails where there is no ip6tables, IPv4 goes on", async () => {
  const { fake, scripts } = faked({ ipv6: false });
  const firewall = await iptablesFirewall(fake, OPTIONS);
  assertMatch(firewall.name, /IPv6 is not guarded: ip6tables: no such table/);
  await firewall.apply([ssh], [grant("2001:db8::1")], START_MS);
  await firewall.change([grant("192.0.2.1")], [grant("192.0.2.1")], START_MS);
  assert(scripts.every((script) => script.startsWith("iptables\n")));
  await assertRejects(
    () =>
      firewall.change([grant("2001:db8::1")], [grant("2001:db8::1")], START_MS),
    FirewallError,
    "nothing can be opened for IPv6",
  );
});

const refused: [string, RegExp, Partial<Grant>][] = [
  ["a single use", /first connection, got "tcp\/22"/, { once: true }],
  ["a forward", /cannot forward/, { to: { host: "10.0.0.5", port: 443 } }],
  ["a far end", /January 2038/, { untilMs: Date.UTC(2038, 1) }],
];

for (const [name, want, over] of refused) {
  test(`open() says that iptables cannot do ${name}`, async () => {
    const firewall = await iptablesFirewall(faked().fake, OPTIONS);
    await firewall.apply([ssh], [], START_MS);
    const one = [grant("192.0.2.1", "tcp/22", over)];
    const error = await assertRejects(
      () => firewall.change(one, one, START_MS),
      FirewallError,
    );
    assertMatch(error.message, want);
  });
}

test("intact() sweeps what is over", async () => {
  const { fake, scripts } = faked();
  const firewall = await iptablesFirewall(fake, OPTIONS);
  const short = grant("192.0.2.1");
  const long = grant("192.0.2.2", "tcp/22", { untilMs: START_MS + 90_000 });
  await firewall.apply([ssh], [short, long], START_MS);
  await fake.clock.advance(30_000);
  scripts.length = 0;
  assertEquals(await firewall.intact(), true);
  assertEquals(scripts, [
    `iptables\n${changeScript(GUARD, GUARD4, [RULE], [])}`,
  ]);
});
