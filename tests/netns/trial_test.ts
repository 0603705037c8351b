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
      /knock: error: no knock has opened anything within 2s/,
    );
    assertMatch(program.log, /knock: hint: /);
    assertEquals(await pair.onServer(["nft", "list", "ruleset"]), "");
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
