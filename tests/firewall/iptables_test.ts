import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import { FirewallError, type Grant } from "../../lib/firewall/firewall.ts";
import { changeHeld, hold } from "../../lib/firewall/iptables/chains.ts";
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
  removeScript,
  type Style,
} from "../../lib/firewall/iptables/rules.ts";
import type { RunOptions } from "../../lib/runtime/runtime.ts";
import { parsePortRange, type PortRange } from "../../lib/values/ports.ts";
import { FakeRuntime, START_MS } from "../fakes/fake_runtime.ts";

const GUARD: Style = { chain: "KNOCK", mode: "guard", timed: true };
const ACCEPT: Style = { chain: "DOOR", mode: "accept", timed: true };
const NOTHING: IptablesListing = {
  rules: null,
  first: false,
  jumps: 0,
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
  for (const address of ["192.0.2.0/24", "1\n-F", "::ffff:192.0.2.1"]) {
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
      [ssh, { ...ssh, ports: [ports("tcp/23-25"), ports("udp/53")] }],
      [grant("192.0.2.1")],
      NOTHING,
    ),
    `*filter
:KNOCK - [0:0]
-A KNOCK -m conntrack --ctstate ESTABLISHED -j RETURN
-A KNOCK -i lo -j RETURN
-A KNOCK ${RULE}
-A KNOCK -p tcp -m tcp --dport 22:25 -j DROP
-A KNOCK -p udp -m udp --dport 53 -j DROP
-A KNOCK -m time --datestop 2037-12-31T00:00:00 -m comment --comment "made by knock"
-I INPUT 1 -j KNOCK
COMMIT
`,
  );
});

test("applyScript() drops nothing in mode accept", () => {
  assertEquals(
    applyScript(ACCEPT, [ssh], [], { ...NOTHING, first: true, jumps: 1 }),
    `*filter
:DOOR - [0:0]
-A DOOR -m time --datestop 2037-12-31T00:00:00 -m comment --comment "made by knock"
COMMIT
`,
  );
});

test("applyScript() has one jump, and it is first", () => {
  const jumpLines = (found: Partial<IptablesListing>) =>
    applyScript(GUARD, [], [], { ...NOTHING, ...found }).split("\n")
      .filter((line) => line.includes("INPUT"));
  assertEquals(jumpLines({ first: true, jumps: 1 }), []);
  assertEquals(jumpLines({ first: false, jumps: 1 }), [
    "-D INPUT -j KNOCK",
    "-I INPUT 1 -j KNOCK",
  ]);
  assertEquals(jumpLines({ first: true, jumps: 2 }).length, 3);
});

test("changeScript() puts in before it takes out", () => {
  assertEquals(
    changeScript(GUARD, ["OLD"], ["NEW"]),
    "*filter\n-I KNOCK 3 NEW\n-D KNOCK OLD\nCOMMIT\n",
  );
  assertEquals(
    changeScript(ACCEPT, [], ["NEW"]),
    "*filter\n-I DOOR 1 NEW\nCOMMIT\n",
  );
});

test("removeScript() leaves a chain that others lead to", () => {
  const found = { ...NOTHING, jumps: 1 };
  const want = "*filter\n-D INPUT -j KNOCK\n-F KNOCK\n-X KNOCK\nCOMMIT\n";
  assertEquals(removeScript("KNOCK", found), want);
  assertEquals(
    removeScript("KNOCK", { ...found, shared: true }),
    want.replace("-X KNOCK\n", ""),
  );
});

const LISTING = `-P INPUT ACCEPT
-N KNOCK
-N KNOCKD
-A INPUT -j KNOCK
-A INPUT -i eth0 -j KNOCKD
-A INPUT -j KNOCK
-A KNOCK -i lo -j RETURN
-A KNOCK ${RULE}
-A KNOCK -m comment --comment "made by knock"
-A KNOCKD -j DROP
`;

test("readListing() reads the chain, its jumps and nothing alike", () => {
  const found = readListing(LISTING, "KNOCK");
  assertEquals(found, {
    rules: ["-i lo -j RETURN", RULE, '-m comment --comment "made by knock"'],
    first: true,
    jumps: 2,
    shared: false,
  });
  assert(isOurs(found));
  assertEquals(ourChains(LISTING), ["KNOCK"]);
  const other = readListing(LISTING, "KNOCKD");
  assertEquals([other.first, other.jumps, other.shared], [false, 0, true]);
  assert(!isOurs(other));
  assertEquals(readListing(LISTING, "NONE"), NOTHING);
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
      return { stdout: listings.get(name) ?? "-P INPUT ACCEPT\n" };
    }
    const script = String(run.stdin);
    scripts.push(`${name}\n${script}`);
    const words = refuse(name, script);
    if (words !== null) return { code: 2, stderr: words };
    if (script.includes(":KNOCK")) {
      const rules = script.match(/^-A KNOCK .*\n/gm)!.join("");
      listings.set(name, `-N KNOCK\n-A INPUT -j KNOCK\n${rules}`);
    }
    return {};
  };
  for (const name of ["iptables", "ip6tables"]) {
    fake.programs.set(name, take(name));
    fake.programs.set(`${name}-restore`, take(name));
  }
  return { fake, scripts };
}

const OPTIONS = { mode: "guard", chain: null } as const;

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
    `iptables\n${changeScript(GUARD, [RULE], [grantRule(longer, GUARD)])}`,
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
  const { fake, scripts } = faked({
    refuse: (_, script) => script.includes("-m time") ? "no time" : null,
  });
  const firewall = await iptablesFirewall(fake, OPTIONS);
  await firewall.apply([ssh], [grant("192.0.2.1")], START_MS);
  assertEquals(firewall.endsGrants, false);
  assertMatch(firewall.name, /without xt_time: the server ends grants/);
  await firewall.change([grant("192.0.2.2")], [grant("192.0.2.2")], START_MS);
  assert(!scripts.at(-1)!.includes("-m time"));
  assert(scripts.at(-1)!.includes("until="));
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
  assertEquals(scripts, [`iptables\n${changeScript(GUARD, [RULE], [])}`]);
});
