/** The main job with real packets: the program's server and client, nftables, a service. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CLIENTS, type Pair, pass } from "./netns.ts";
import { type Program, programTest, type TestClient } from "./program.ts";

const PEER = fileURLToPath(
  new URL("../peers/knock1_peer.py", import.meta.url),
);

const [HERE, NEIGHBOUR] = CLIENTS[4];
// The address given last is the one that is used.
const HERE6 = CLIENTS[6].at(-1)!;

const SETTINGS = `
listen: [62201]
firewall: { backend: nft }
services:
  ssh: tcp/22
  web: [tcp/8080-8090, udp/5353]
defaults: { for: 10s, max_for: 1h }
`;

const ALICE: TestClient = { name: "alice", policy: ["open: [ssh, web]"] };

function job(
  name: string,
  body: (program: Program, pair: Pair) => Promise<void>,
  programs: readonly string[] = [],
) {
  programTest(name, async (program, pair) => {
    program.configure(SETTINGS, [ALICE]);
    await pair.serve("tcp", 22);
    await program.enrol("alice");
    await body(program, pair);
  }, programs);
}

async function knock(program: Program, ...args: string[]): Promise<void> {
  const said = await program.client(args);
  assertEquals([said.code, said.stderr], [0, ""]);
}

job(
  "shut, knock, open, shut again by itself; for nobody else",
  async (program, pair) => {
    assert(await pair.canReach(HERE, 22), "unguarded before the server");
    await program.serve();
    assert(!await pair.canReach(HERE, 22), "shut");
    await knock(program, "alice", "--open", "tcp/22");
    assert(await pair.canReach(HERE, 22, { keep: "session" }), "open");
    assert(!await pair.canReach(NEIGHBOUR, 22), "shut for a neighbour");
    assert(!await pair.canReach(HERE6, 22), "shut for the other family");
    await pair.shuts(HERE, 22);
    assert(await pair.stillTalks("session"), "what was connected goes on");
    assertMatch(
      program.log,
      /info open alice 10\.77\.0\.2 tcp\/22 until \S+ \(10s\)/,
    );
    assertEquals(await program.signal("SIGTERM"), 0);
    assert(!await pair.canReach(HERE, 22), "guarded without the server");
  },
);

job("IPv6, UDP and a range open as they should", async (program, pair) => {
  await pair.serve("udp", 5353);
  await pair.serve("tcp", 8085);
  await program.serve();
  await program.enrol("alice", 6);
  const udp = { protocol: "udp" } as const;
  assert(!await pair.canReach(HERE6, 5353, udp));
  await knock(program, "alice6", "--for", "10m");
  assert(await pair.canReach(HERE6, 22));
  assert(await pair.canReach(HERE6, 5353, udp));
  assert(await pair.canReach(HERE6, 8085));
  assert(!await pair.canReach(HERE, 22), "IPv4 was not knocked for");
  await knock(program, "close", "alice6", "--open", "tcp/8085");
  assert(await pair.canReach(HERE6, 22), "the rest stays open");
  await knock(program, "close", "alice6");
  assert(!await pair.canReach(HERE6, 22));
  assert(!await pair.canReach(HERE6, 5353, udp));
});

job(
  "a knock again extends a grant, and never shortens it",
  async (program, pair) => {
    await program.serve();
    const SSH_ALONE = ["alice", "--open", "tcp/22", "--for"];
    await knock(program, ...SSH_ALONE, "15s");
    const firstEndMs = Date.now() + 15_000;
    await knock(program, ...SSH_ALONE, "1s");
    await pass(1500);
    assert(await pair.canReach(HERE, 22), "not shortened");
    const sentMs = Date.now();
    await knock(program, ...SSH_ALONE, "25s");
    await pass(firstEndMs - Date.now());
    assert(await pair.canReach(HERE, 22), "extended");
    await pair.shuts(HERE, 22);
    assert(Date.now() - sentMs >= 24_000, "shut at the later end");
  },
);

job("close ends a grant at once", async (program, pair) => {
  await program.serve();
  await knock(program, "alice", "--for", "10m");
  assert(await pair.canReach(HERE, 22));
  await knock(program, "close", "alice");
  assert(!await pair.canReach(HERE, 22));
  const { stdout } = await program.admin("log");
  assertMatch(stdout, / open alice 10\.77\.0\.2 .* for 10m\n.* close alice /);
});

job(
  "a restart keeps what is open, and does not prolong it",
  async (program, pair) => {
    await program.serve();
    await knock(program, "alice", "--open", "tcp/22", "--for", "20s");
    const openMs = Date.now();
    await program.signal("SIGTERM");
    assert(await pair.canReach(HERE, 22), "open without the server");
    await program.serve();
    assert(await pair.canReach(HERE, 22), "open after the restart");
    const pastMs = Date.now() - openMs;
    const { code, stdout } = await program.admin("status", "--json");
    const { grants } = JSON.parse(stdout);
    assertEquals([code, grants.length], [0, 1]);
    const left = grants[0].seconds_left;
    assert(left * 1000 <= 21_000 - pastMs, `${left} s after ${pastMs} ms`);
    await pair.shuts(HERE, 22);
  },
);

job(
  "after kill -9 a grant ends on time, and the service stays shut",
  async (program, pair) => {
    await program.serve();
    await knock(program, "alice", "--open", "tcp/22", "--for", "15s");
    await program.signal("SIGKILL");
    assert(await pair.canReach(HERE, 22));
    assertEquals((await program.admin("status")).code, 1);
    await pair.shuts(HERE, 22);
  },
);

job(
  "another implementation opens, and its copies get silence",
  async (program, pair) => {
    await program.serve();
    const saved = join(program.folder, "packet");
    const run = async (enrolment: string, args: readonly string[]) => {
      const argv = ["python3", PEER, enrolment, ...args];
      const said = await pair.exec(pair.client, argv);
      return { code: said.code, ...JSON.parse(said.stdout || "{}") };
    };
    const peer = (...args: string[]) => run(program.enrolment("alice"), args);
    const opened = await peer("open", "tcp/22", "--save", saved);
    assertEquals([opened.code, opened.reply?.status], [0, "done"]);
    assertEquals(opened.reply.address, HERE);
    assert(await pair.canReach(HERE, 22));
    await knock(program, "close", "alice");
    const six = await run(program.enrolment("alice", 6), ["open", "tcp/22"]);
    assertEquals([six.code, six.reply?.address], [0, HERE6]);
    assert(await pair.canReach(HERE6, 22));

    const silent = ["--timeout", "0.5"];
    const copy = await peer("send", saved, ...silent);
    assertEquals([copy.code, copy.reply ?? null], [1, null]);
    const flipped = await peer("open", "tcp/22", "--flip", "700", ...silent);
    assertEquals(flipped.reply ?? null, null);
    const stale = await peer(
      "open",
      "--stamp",
      String(Date.now() - 150_000),
      ...silent,
    );
    assertEquals(stale.reply ?? null, null);
    assert(!await pair.canReach(HERE, 22));

    const refused = await peer("open", "tcp/23");
    assertEquals([refused.code, refused.reply?.status], [1, "refused"]);
    // Protocol §7: the ports.
    assertEquals(refused.reply?.reason, 6);

    // What was accepted is a replay after a restart, too.
    await program.signal("SIGKILL");
    await program.serve();
    assertEquals((await peer("send", saved, ...silent)).reply ?? null, null);
    assert(!await pair.canReach(HERE, 22));
  },
  ["python3"],
);

job(
  "a reload keeps grants, drops who is gone, and survives a bad file",
  async (program, pair) => {
    const bob: TestClient = { name: "bob", policy: ["open: [ssh]"] };
    program.configure(SETTINGS, [ALICE, bob]);
    await program.serve();
    await knock(program, "alice", "--open", "tcp/22", "--for", "10m");
    program.configure("nonsense: true", [bob]);
    await program.signal("SIGHUP");
    await program.logged("not reloaded");
    assertMatch(program.log, /nonsense: unknown key/);
    assert(await pair.canReach(HERE, 22), "a bad file changes nothing");
    program.configure(SETTINGS + "max_skew: 60s\n", [ALICE]);
    await program.signal("SIGHUP");
    await program.logged("info reloaded");
    assert(await pair.canReach(HERE, 22), "grants stay");
    program.configure(SETTINGS, [bob]);
    const from = program.log.length;
    await program.signal("SIGHUP");
    await program.logged("info reloaded", from);
    assert(!await pair.canReach(HERE, 22), "a removed client is shut out");
  },
);

job(
  "our table flushed under the server: the next knock opens, and guards again",
  async (program, pair) => {
    await program.serve();
    await pair.onServer(["nft", "flush", "ruleset"]);
    await knock(program, "alice", "--open", "tcp/22", "--for", "10s");
    assert(await pair.canReach(HERE, 22));
    assert(!await pair.canReach(NEIGHBOUR, 22), "guarded again");
    await pair.shuts(HERE, 22);
  },
);

job(
  "with 200 clients enrolled each opens for itself",
  async (program, pair) => {
    const many = Array.from({ length: 200 }, (_, index) => ({
      name: `client${index}`,
      policy: ["open: [ssh]"],
    }));
    program.configure(SETTINGS, many);
    await program.serve();
    for (const name of ["client0", "client117", "client199"]) {
      await program.enrol(name);
      await knock(program, name, "--for", "10m");
      assert(await pair.canReach(HERE, 22), name);
      await knock(program, "close", name);
      assert(!await pair.canReach(HERE, 22), name);
    }
  },
);

job("a client that may not gets the server's word", async (program) => {
  program.configure(SETTINGS, [{
    name: "alice",
    policy: ["open: [ssh]", "from: [192.0.2.0/24]"],
  }]);
  await program.serve();
  const { code, stdout, stderr } = await program.client(["alice"]);
  assertEquals([code, stdout], [1, ""]);
  assertMatch(stderr, /^knock: error: .*refused/);
  assertMatch(
    program.log,
    /warn refused alice 10\.77\.0\.2: the address is not one of this client's/,
  );
});
