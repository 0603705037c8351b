/** `knock rules` at boot, before, beside and behind a server, with the whole program. */

import { assert, assertEquals } from "@std/assert";
import { CLIENTS, netnsTest } from "./netns.ts";
import { Program } from "./program.ts";

const [A, B] = CLIENTS[4];

netnsTest("knock rules shuts at boot, and shuts nobody out", async (pair) => {
  const program = new Program(pair);
  try {
    await pair.serve("tcp", 22);
    const services = "services: { ssh: tcp/22 }";
    program.configure(services, [
      { name: "alice", policy: ["open: [ssh]", "for: 60s"] },
    ]);
    const printed = await program.admin("rules");
    assertEquals(printed.code, 0, printed.stderr);
    const load = () => pair.onServer(["nft", "-f", "-"], printed.stdout);
    assert(await pair.canReach(A, 22));
    await load();
    assert(!await pair.canReach(A, 22));
    await load();
    await program.serve();
    await program.enrol("alice");
    const said = await program.client(["send", "alice"]);
    assertEquals(said.code, 0, said.stderr);
    assert(await pair.canReach(A, 22));
    // Over the running server, and behind one that was killed.
    await load();
    assert(await pair.canReach(A, 22));
    assert(!await pair.canReach(B, 22));
    await program.signal("SIGKILL");
    await load();
    assert(await pair.canReach(A, 22));
    assert(!await pair.canReach(B, 22));
  } finally {
    program.remove();
  }
});
