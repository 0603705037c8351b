/** Grants for one connection: when the firewall says that one was used, it is over. */

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import type { Firewall, Grant } from "../../lib/firewall/firewall.ts";
import { GateGrants } from "../../lib/firewall/gate/grants.ts";
import { carryOut } from "../../lib/server/grants/change.ts";
import { endUsed } from "../../lib/server/grants/upkeep.ts";
import { decide } from "../../lib/server/packet/decide.ts";
import { makeServer } from "../../lib/server/state/server.ts";
import { openStore } from "../../lib/server/state/store.ts";
import { FakeRuntime, START_MS } from "../fakes/fake_runtime.ts";
import { makeClient, makeConfig, makeRequest } from "../fakes/fixtures.ts";

const SSH = { protocol: "tcp", first: 22, last: 22 } as const;

async function machine(isIntact = () => true) {
  const runtime = new FakeRuntime({ steps: "by hand" });
  const store = await openStore(runtime, "/var/lib/knock");
  const used = new Set<string>();
  let asked = 0;
  const firewall: Firewall = {
    ...{ name: "fake", endsGrants: true },
    apply: () => Promise.resolve(),
    change: () => Promise.resolve(),
    unused: (grants) => {
      asked++;
      return Promise.resolve(grants.filter(({ client }) => !used.has(client)));
    },
    intact: () => Promise.resolve(isIntact()),
    stop: () => Promise.resolve(),
    remove: () => Promise.resolve(),
  };
  const ended: string[] = [];
  const server = await makeServer(
    {
      ...{ runtime, store, log: () => {} },
      runner: {
        hook: (argv, { client }) => {
          if (argv) ended.push(client);
        },
        run: () => Promise.resolve(true),
      },
    },
    makeConfig([
      makeClient({ once: true }),
      makeClient({ name: "bob" }),
    ], { hooks: { open: null, close: ["end"] } }),
    firewall,
  );
  const knock = (client: string, source: string) => {
    const request = makeRequest({
      client,
      ports: [SSH],
      timestampMs: START_MS,
    });
    return carryOut(server, decide(server, request, source, START_MS)!);
  };
  const open = () =>
    store.ledger.live(START_MS).map(({ client }) => client).sort();
  return { store, server, used, ended, knock, open, asked: () => asked };
}

test("endUsed() ends what was used, says so in the history, and runs the hook", async () => {
  const { store, server, used, ended, knock, open } = await machine();
  await knock("alice", "192.0.2.1");
  await knock("bob", "192.0.2.2");
  await endUsed(server);
  assertEquals(open(), ["alice", "bob"]);
  used.add("alice");
  used.add("bob"); // has no grant for one connection
  await endUsed(server);
  assertEquals(open(), ["bob"]);
  assertEquals(ended, ["alice"]);
  const last = store.history.find({}).at(-1)!;
  assertEquals([last.event, last.client, last.reason], [
    "end",
    "alice",
    "it was used",
  ]);
});

test("endUsed() leaves a grant alone that waits to be opened", async () => {
  const { server, used, knock, open } = await machine();
  used.add("alice");
  const waits = Promise.withResolvers<void>();
  const busy = server.queue.add(() => waits.promise);
  const knocked = knock("alice", "192.0.2.1");
  await endUsed(server);
  assertEquals(open(), ["alice"]);
  waits.resolve();
  await Promise.all([busy, knocked]);
  await endUsed(server);
  assertEquals(open(), []);
});

test("endUsed() ends nothing while the firewall was changed from outside", async () => {
  let whole = false;
  const { server, used, knock, open } = await machine(() => whole);
  await knock("alice", "192.0.2.1");
  used.add("alice");
  await endUsed(server);
  assertEquals(open(), ["alice"]);
  whole = true;
  await endUsed(server);
  assertEquals(open(), []);
});

test("endUsed() asks nothing where there is no grant for one connection", async () => {
  const { server, knock, asked } = await machine();
  await knock("bob", "192.0.2.2");
  await endUsed(server);
  assertEquals(asked(), 0);
});

test("the gate holds a grant for one connection until it is used", () => {
  const gate = new GateGrants();
  const grant: Grant = {
    ...{ address: "192.0.2.1", ports: SSH, untilMs: START_MS + 1000 },
    ...{ once: true, client: "alice", to: null },
  };
  gate.renew([grant], [grant]);
  assert(gate.holds(grant));
  assert(!gate.holds({ ...grant, client: "bob" }));
  assert(gate.use("192.0.2.1", SSH, START_MS));
  assert(!gate.holds(grant));
});
