/** `knock rules --remove`: all that is ours goes out of the kernel, and nothing else. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { rmSync } from "node:fs";
import { CLIENTS, type Pair } from "./netns.ts";
import { type Program, programTest } from "./program.ts";

const [HERE, OTHER] = CLIENTS[4];

const HOST = `table inet filter {
	chain knock {
	}

	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		iif "lo" accept
		udp dport 62201 accept
		meta l4proto ipv6-icmp accept
		jump knock
	}
}
`;

const IPTABLES = ["iptables-save", "ip6tables-save", "iptables-restore"];

/** Listing of a program, without dates and counts. */
async function listed(pair: Pair, ...argv: string[]): Promise<string> {
  const text = await pair.onServer(argv);
  return text.replace(/^#.*\n/gm, "").replace(/\[\d+:\d+\]/g, "[0:0]");
}

async function ruleset(pair: Pair): Promise<string> {
  let text = await listed(pair, "nft", "list", "ruleset");
  for (const variant of ["nft", "legacy"]) {
    for (const program of ["iptables", "ip6tables"]) {
      text += await listed(pair, `${program}-${variant}-save`).catch(() => "");
    }
  }
  // Programs leave their empty tables.
  return text.replace(/^\*.*\n(:[A-Z]+ ACCEPT .*\n)*COMMIT\n/gm, "")
    .replace(
      /^table .* \{\n(\tchain [A-Z]+ \{\n\t\ttype .*\n\t\}\n\n?)*\}\n/gm,
      "",
    );
}

interface Case {
  readonly name: string;
  readonly firewall: string;
  /** Rules of the host's own, for nft. */
  readonly host?: string;
  readonly removed: RegExp;
}

const cases: readonly Case[] = [
  {
    name: "nft in mode guard",
    firewall: "{ backend: nft }",
    removed: /^removed table inet knock$/m,
  },
  {
    name: "nft in mode accept, the host's jump kept",
    firewall: "{ backend: nft, mode: accept }",
    host: HOST,
    removed:
      /^removed chain inet filter knock: emptied, as other rules jump to it$/m,
  },
  {
    name: "iptables in mode guard",
    firewall: "{ backend: iptables }",
    removed: /^removed iptables \w+ chain KNOCK\n.*ip6tables \w+ chain KNOCK$/m,
  },
  {
    name: "iptables in mode accept, with a chain of another name",
    firewall: "{ backend: iptables, mode: accept, chain: DOORS }",
    removed: /^removed iptables \w+ chain DOORS\n.*ip6tables \w+ chain DOORS$/m,
  },
];

async function open(program: Program, pair: Pair, firewall: string) {
  program.configure(`firewall: ${firewall}\nservices: { ssh: tcp/22 }`, [
    { name: "alice", policy: ["open: [ssh]"] },
  ]);
  await pair.serve("tcp", 22);
  await program.enrol("alice");
  await program.serve();
  assertEquals((await program.client(["alice", "--for", "1h"])).code, 0);
  assert(await pair.canReach(HERE, 22));
}

for (const { name, firewall, host, removed } of cases) {
  programTest(`rules --remove takes out ${name}`, async (program, pair) => {
    if (host) await pair.onServer(["nft", "-f", "-"], host);
    const before = await ruleset(pair);
    await open(program, pair, firewall);
    const running = await program.admin("rules", "--remove");
    assertEquals([running.code, running.stdout], [1, ""]);
    assertMatch(
      running.stderr,
      new RegExp(`a server is running with process id ${program.pid}: nothing`),
    );
    assertMatch(running.stderr, new RegExp(`hint: .*kill ${program.pid}`));
    assert(await pair.canReach(HERE, 22));

    await program.signal("SIGKILL");
    const closed = host !== undefined || !firewall.includes("accept");
    assertEquals(await pair.canReach(OTHER, 22), !closed);
    rmSync(program.config);
    const said = await program.admin("rules", "--remove");
    assertEquals([said.code, said.stderr], [0, ""]);
    assertMatch(said.stdout, removed);
    assertEquals(await ruleset(pair), before);
    assertEquals(await pair.canReach(OTHER, 22), host === undefined);

    const again = await program.admin("rules", "--remove");
    assertEquals(
      [again.code, again.stdout],
      [0, "nothing of knock is in the kernel\n"],
    );
  }, firewall.includes("iptables") ? IPTABLES : ["nft"]);
}

programTest(
  "rules --remove leaves what only looks like ours",
  async (program, pair) => {
    const theirs = `table inet knock {
	chain guard {
		type filter hook input priority filter; policy accept;
	}
}
table inet filter {
	set knock_allow4 {
		type ipv4_addr
	}

	chain knock {
		accept comment "mine, not made by knock"
	}
}
`;
    await pair.onServer(["nft", "-f", "-"], theirs);
    await pair.onServer(["iptables", "-N", "KNOCK"]);
    await pair.onServer(["iptables", "-A", "KNOCK", "-j", "ACCEPT"]);
    const before = await ruleset(pair);
    const said = await program.admin("rules", "--remove");
    assertEquals(
      [said.code, said.stdout],
      [0, "nothing of knock is in the kernel\n"],
    );
    assertEquals(await ruleset(pair), before);
  },
  IPTABLES,
);

programTest(
  "rules --remove finds chains of iptables-legacy, and of other tables",
  async (program, pair) => {
    const rules = `*mangle
:KNOCK - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j KNOCK
-A PREROUTING -p udp -j MARK --set-mark 7
-A KNOCK -p tcp --dport 22 -j DROP
-A KNOCK -m comment --comment "made by knock"
COMMIT
`;
    for (const program of ["iptables-legacy", "ip6tables-nft"]) {
      await pair.onServer([`${program}-restore`], rules);
    }
    const said = await program.admin("rules", "--remove");
    const lines = [
      "removed ip6tables mangle chain KNOCK",
      "removed iptables mangle chain KNOCK",
    ];
    assertEquals([said.code, said.stderr], [0, ""]);
    assertEquals(said.stdout.trim().split("\n").sort(), lines);
    for (const program of ["iptables-legacy", "ip6tables-nft"]) {
      const left = await pair.onServer([`${program}-save`]);
      assertMatch(left, /-A PREROUTING -p udp -j MARK --set-x?mark/);
      assert(!left.includes("KNOCK"), left);
    }
  },
  [...IPTABLES, "iptables-legacy-restore", "ip6tables-nft-restore"],
);
