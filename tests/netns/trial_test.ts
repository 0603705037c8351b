/** serve --trial: nothing can lock anybody out. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { CLIENTS, type Pair, pass } from "./netns.ts";
import { type Program, programTest } from "./program.ts";

const [HERE, NEIGHBOUR] = CLIENTS[4];

function trial(
  name: string,
  body: (program: Program, pair: Pair) => Promise<void>,
) {
  programTest(name, async (program, pair) => {
    program.configure("services: { ssh: tcp/22 }", [
      { name: "alice", policy: ["open: [ssh]"] },
    ]);
    await pair.serve("tcp", 22);
    await program.enrol("alice");
    await body(program, pair);
  });
}

trial(
  "a trial without a knock takes guarding back, and ends with 1",
  async (program, pair) => {
    await program.serve("--trial", "2s");
    assert(!await pair.canReach(HERE, 22), "guarded for now");
    assertEquals(await program.ended(), 1);
    assert(await pair.canReach(HERE, 22), "reachable as before");
    assertMatch(
      program.log,
      /knock: error: no knock has opened anything within 2s \(no packet came\)/,
    );
    assertMatch(
      program.log,
      /knock: hint: check .*, and that udp \[::\]:62201 is let through: /,
    );
    assertEquals(await pair.onServer(["nft", "list", "ruleset"]), "");
  },
);

trial(
  "a trial that fails says what came in, and what the doctor found",
  async (program, pair) => {
    program.configure("services: { ssh: tcp/22, web: tcp/80 }", [
      { name: "alice", policy: ["open: [ssh, web]"] },
      { name: "bob", policy: ["open: [ssh]"] },
    ]);
    await program.serve("--trial", "4s");
    const args = ["alice", "--open", "tcp/23", "--tries", "2"];
    assertEquals((await program.client(args)).code, 1);
    assertEquals(await program.ended(), 1);
    assert(await pair.canReach(HERE, 22), "reachable as before");
    assertMatch(
      program.log,
      /warn doctor: web tcp\/80: nothing listens there: start the service/,
    );
    assertMatch(
      program.log,
      /within 4s \(1 packet came: 1 refused: ports \(ports that the client may not open\)\): rules removed/,
    );
  },
);

trial("a trial with a knock goes on, guarded", async (program, pair) => {
  await program.serve("--trial", "2s");
  assertEquals((await program.client(["alice", "--for", "1s"])).code, 0);
  await program.logged("the trial is over");
  await pass(500);
  assert(!await pair.canReach(NEIGHBOUR, 22), "guarded still");
  assertEquals(await program.signal("SIGTERM"), 0);
  assert(!await pair.canReach(NEIGHBOUR, 22), "guarded without the server");
});

trial(
  "a trial that is stopped before a knock takes guarding back",
  async (program, pair) => {
    await program.serve("--trial", "10m");
    assert(!await pair.canReach(HERE, 22));
    assertEquals(await program.signal("SIGTERM"), 0);
    assert(await pair.canReach(HERE, 22));
  },
);
