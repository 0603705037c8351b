/** What must not come to pass, tried with the whole program and the real kernel. */

import { assert, assertEquals } from "@std/assert";
import { CLIENTS, type Pair } from "./netns.ts";
import { type Program, programTest } from "./program.ts";

const [HERE] = CLIENTS[4];

function attack(
  name: string,
  body: (program: Program, pair: Pair) => Promise<void>,
) {
  programTest(name, async (program, pair) => {
    await pair.serve("tcp", 22);
    await body(program, pair);
  });
}

attack(
  "a used single-use grant is not given back by who shares the address",
  async (program, pair) => {
    program.configure("services: { ssh: tcp/22, web: tcp/8080 }", [
      { name: "alice", policy: ["open: [ssh]", "once: true", "for: 10m"] },
      { name: "mallory", policy: ["open: [web]", "for: 10m"] },
    ]);
    await program.enrol("alice");
    await program.enrol("mallory");
    await program.serve();
    assertEquals((await program.client(["alice"])).code, 0);
    assert(await pair.canReach(HERE, 22, { keep: "first" }));
    assertEquals((await program.client(["mallory"])).code, 0);
    assertEquals((await program.client(["close", "mallory"])).code, 0);
    assert(!await pair.canReach(HERE, 22));
    assert(await pair.stillTalks("first"));
  },
);

attack(
  "a client that is removed while the server is down has nothing open after its start",
  async (program, pair) => {
    const services = "services: { ssh: tcp/22 }";
    const alice = { name: "alice", policy: ["open: [ssh]", "for: 10m"] };
    program.configure(services, [alice, { ...alice, name: "bob" }]);
    await program.enrol("alice");
    await program.serve();
    assertEquals((await program.client(["alice"])).code, 0);
    assert(await pair.canReach(HERE, 22));
    await program.signal("SIGKILL");
    program.configure(services, [{ ...alice, name: "bob" }]);
    await program.serve();
    assert(!await pair.canReach(HERE, 22));
  },
);

attack(
  "another backend takes over by a reload, and back, and grants stay",
  async (program, pair) => {
    const alice = { name: "alice", policy: ["open: [ssh]", "for: 10m"] };
    const configure = (backend: string) =>
      program.configure(
        `firewall: { backend: ${backend} }\nservices: { ssh: tcp/22 }`,
        [alice],
      );
    configure("nft");
    await program.enrol("alice");
    await program.serve();
    assertEquals((await program.client(["alice"])).code, 0);
    for (const backend of ["iptables", "nft"]) {
      const from = program.log.length;
      configure(backend);
      await program.signal("SIGHUP");
      await program.logged("info reloaded", from);
      assert(!/error|warn/.test(program.log.slice(from)), program.log);
      assert(await pair.canReach(HERE, 22), backend);
    }
    assertEquals((await program.client(["close", "alice"])).code, 0);
    assert(!await pair.canReach(HERE, 22));
  },
);
