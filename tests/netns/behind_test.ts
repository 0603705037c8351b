/**
 * Services of hosts behind this machine (`at`), in three namespaces:
 *
 *     [client 10.77.0.2 …] -- [server 10.77.0.1 | 10.78.0.1] -- [behind 10.78.0.2]
 */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { BEHIND, CLIENTS, type Pair, SERVER, until } from "./netns.ts";
import { type Program, programTest } from "./program.ts";

const [A, B] = CLIENTS[4];
const [A6, B6] = CLIENTS[6];

/** A host that routes by its own rules. */
const ROUTER = `table inet filter {
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    tcp dport 22 accept
  }
}
`;

const SERVICES = `services:
  ssh: tcp/22
  lab: { listen: [tcp/22, tcp/8000-8010], at: ["${BEHIND[4]}", "${BEHIND[6]}"] }
`;

async function stage(program: Program, pair: Pair, more = ""): Promise<void> {
  await pair.makeBehind(true);
  await pair.passOn(true);
  await pair.serve("tcp", 22);
  await pair.serveBehind("tcp", 22, 8001, 9000);
  for (
    const [family, net, via] of [
      ["-4", "10.78.0.0/24", SERVER[4]],
      ["-6", "fd78::/64", SERVER[6]],
    ]
  ) {
    const route = ["ip", family!, "route", "add", net!, "via", via!];
    assertEquals((await pair.exec(pair.client, route)).code, 0);
  }
  program.configure(`${more}\n${SERVICES}`, [
    { name: "alice", policy: ["open: [lab]", "for: 5s"] },
    { name: "bob", policy: ["open: [ssh]", "for: 10m"] },
    {
      name: "carol",
      policy: ["open: all", "for: 10m", "network: { ipv4: 28 }"],
    },
  ]);
  for (const name of ["alice", "bob", "carol"]) {
    await program.enrol(name);
    await program.enrol(name, 6);
  }
}

async function knock(program: Program, ...args: string[]): Promise<void> {
  const said = await program.client(args);
  assertEquals(said.code, 0, said.stderr);
}

programTest(
  "at: a host behind opens for its client alone, and this machine does not",
  async (program, pair) => {
    await stage(program, pair);
    const reaches = (source: string, port = 22) =>
      pair.canReachAt(BEHIND[source.includes(":") ? 6 : 4], source, port);
    assert(await reaches(A));
    await program.serve();
    for (const source of [A, B, A6, B6]) {
      assert(!await reaches(source), source);
      assert(!await pair.canReach(source, 22), source);
    }
    assert(await reaches(A, 9000), "other ports are routed as before");
    await knock(program, "alice");
    assert(await pair.canReachAt(BEHIND[4], A, 22, { keep: "lab" }));
    assert(await reaches(A, 8001));
    assert(!await reaches(B));
    assert(!await reaches(A6), "the other family");
    assert(!await pair.canReach(A, 22), "this machine's own port");
    const { stdout } = await program.admin("status", "--json");
    assertEquals(
      JSON.parse(stdout).grants.map((one: Record<string, unknown>) => one.at),
      [BEHIND[4], BEHIND[4]],
    );
    await until("it ends", async () => !await reaches(A));
    assert(await pair.stillTalks("lab"));
    // The same port of this machine is another grant.
    await knock(program, "bob");
    assert(await pair.canReach(A, 22));
    assert(!await reaches(A));
    await knock(program, "alice6");
    const open = JSON.parse((await program.admin("status", "--json")).stdout);
    const six = open.grants.find((one: Record<string, string>) =>
      one.at === BEHIND[6]
    );
    assert(await reaches(six.address), six.address);
    // Both, for a whole network; and closed again; and after kill -9.
    await knock(program, "carol");
    for (const source of [A, B]) {
      assert(await reaches(source), source);
      assert(await pair.canReach(source, 22), source);
    }
    await program.signal("SIGKILL");
    assert(await reaches(A));
    await program.serve();
    assert(await reaches(B));
    await knock(program, "close", "carol");
    assert(!await reaches(A));
    assert(!await reaches(B));
    assert(await pair.canReach(A, 22), "bob's");
    assert(!await pair.canReach(B, 22));
  },
);

programTest(
  "at: a reload without the host ends its grants, and opens nothing else",
  async (program, pair) => {
    await stage(program, pair);
    await program.serve();
    await knock(program, "alice");
    assert(await pair.canReachAt(BEHIND[4], A, 22));
    program.configure(
      "firewall: { backend: iptables }\nservices: { ssh: tcp/22 }",
      [
        { name: "alice", policy: ["open: [ssh]", "for: 10m"] },
      ],
    );
    const from = program.log.length;
    await program.signal("SIGHUP");
    await program.logged("reloaded", from);
    assert(!await pair.canReach(A, 22));
    const { stdout } = await program.admin("status", "--json");
    assertEquals(JSON.parse(stdout).grants, []);
    await knock(program, "alice");
    assert(await pair.canReach(A, 22));
    assert(!await pair.canReach(B, 22));
  },
  ["iptables"],
);

programTest(
  "at: the host's own forward chain counts, and doctor walks it",
  async (program, pair) => {
    await stage(program, pair);
    await pair.onServer(["nft", "-f", "-"], ROUTER);
    await program.serve();
    const asked = await program.client(["alice", "--open", "tcp/22"]);
    assertEquals(asked.code, 0, asked.stderr);
    assert(await pair.canReachAt(BEHIND[4], A, 22));
    const failed = await program.client(["alice", "--open", "tcp/8001"]);
    assertEquals(failed.code, 1);
    assertMatch(
      program.log,
      /tcp\/8001 stays closed: dropped by .* chain forward/,
    );
    const { stdout } = await program.admin("doctor", "--json");
    const found = JSON.parse(stdout).findings.filter((
      { id }: { id: string },
    ) => id === "service_behind");
    assertEquals(
      found.map(({ level, text }: Record<string, string>) =>
        `${level} ${text}`
      ),
      [BEHIND[4], BEHIND[6]].flatMap((at) => [
        `ok lab tcp/22 at ${at}: routed, and the host's rules let it through`,
        `bad lab tcp/8000-8010 at ${at}: dropped by the host's own rules: the ` +
        "policy of chain forward of table inet filter",
      ]),
    );
  },
);

programTest("at: says what cannot be, at start", async (program, pair) => {
  await stage(program, pair);
  const cases: [string, RegExp][] = [
    [
      `lab: { listen: tcp/22, at: no-such-host.invalid }`,
      /services\.lab\.at: "no-such-host\.invalid" does not resolve/,
    ],
    [
      `lab: { listen: tcp/22, at: ${SERVER[4]} }`,
      /services\.lab\.at: 10\.77\.0\.1 is this machine itself/,
    ],
    [
      `lab: { listen: tcp/22, at: ${
        BEHIND[4]
      } }\n  more: { listen: tcp/20-30, at: ${BEHIND[4]} }`,
      /services\.more\.at: must have ports of its own, got tcp\/20-30 of "10\.78\.0\.2" as in "lab"/,
    ],
  ];
  for (const [service, want] of cases) {
    program.configure(`services:\n  ${service}`, [
      { name: "dave", policy: ["open: [lab]"] },
    ]);
    const error = await assertRejects(() => program.serve());
    assertMatch((error as Error).message, want);
  }
  await pair.passOn(false);
  program.configure(`services:\n  lab: { listen: tcp/22, at: ${BEHIND[4]} }`, [
    { name: "dave", policy: ["open: [lab]"] },
  ]);
  const error = await assertRejects(() => program.serve());
  assertMatch(
    (error as Error).message,
    /services\.lab\.at: this machine routes nothing to 10\.78\.0\.2\n.*sysctl -w net\.ipv4\.ip_forward=1/,
  );
});
