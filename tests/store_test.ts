import { test } from "node:test";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "node:path";
import {
  openExistingStore,
  openStore,
  STATE_FILE,
} from "../lib/server/store.ts";
import { FailureError } from "../lib/values/errors.ts";
import { runtime } from "./runtime.ts";

const { files } = runtime;

function inFolder(name: string, body: (folder: string) => Promise<void>) {
  test(name, async () => {
    const folder = files.makeTemporaryFolder();
    try {
      await body(folder);
    } finally {
      files.removeFolder(folder);
    }
  });
}

const identity = (fill: number) => new Uint8Array(32).fill(fill);

inFolder(
  "Replay remembers over a restart, as long as it must",
  async (folder) => {
    const first = await openStore(runtime, folder);
    first.replay.begin(0, false);
    assert(first.replay.note(identity(1), 1000));
    assert(!first.replay.note(identity(1), 1000));
    assert(first.replay.record(identity(1), 1000));
    assert(!first.replay.record(identity(1), 1000));
    first.close();
    const second = await openStore(runtime, folder);
    second.replay.begin(500, false);
    assert(second.replay.seen(identity(1)));
    assert(!second.replay.seen(identity(2)));
    second.replay.prune(1001);
    assert(!second.replay.seen(identity(1)));
    assert(second.replay.note(identity(1), 2000));
    second.close();
  },
);

inFolder(
  "Replay refuses stamps from before a start of the machine",
  async (folder) => {
    const store = await openStore(runtime, folder);
    store.replay.begin(5000, false);
    assert(!store.replay.isForgotten(4000));
    store.replay.begin(5000, true);
    assert(store.replay.isForgotten(5000));
    assert(!store.replay.isForgotten(5001));
    store.close();
  },
);

inFolder("transaction() undoes all of it when it throws", async (folder) => {
  const store = await openStore(runtime, folder);
  assertThrows(() =>
    store.transaction(() => {
      store.setFact("a", 1);
      throw new Error("no");
    })
  );
  assertEquals(store.fact("a"), undefined);
  store.transaction(() => store.setFact("a", 2));
  assertEquals(store.fact("a"), 2);
  store.close();
});

inFolder(
  "openExistingStore() is null where no server has run",
  async (folder) => {
    assertEquals(await openExistingStore(runtime, join(folder, "none")), null);
    assertEquals(files.list(folder), []);
  },
);

inFolder("openStore() says what to do with a corrupt file", async (folder) => {
  files.create(join(folder, STATE_FILE), "not a database, ".repeat(100), 0o600);
  const error = await assertRejects(
    () => openStore(runtime, folder),
    FailureError,
  );
  assert(error.message.includes("cannot use the state file"), error.message);
  assert(error.hint!.startsWith("move it away"), error.hint);
});

inFolder(
  "openStore() leaves the state of a later version alone",
  async (folder) => {
    const database = await runtime.openDatabase(join(folder, STATE_FILE));
    database.exec("pragma user_version = 99");
    database.close();
    const error = await assertRejects(
      () => openStore(runtime, folder),
      FailureError,
    );
    assert(error.message.includes("later version"), error.message);
  },
);

inFolder("the state is for its owner alone", async (folder) => {
  const state = join(folder, "state");
  (await openStore(runtime, state)).close();
  assertEquals(files.stat(state)!.mode! & 0o777, 0o700);
  assertEquals(files.stat(join(state, STATE_FILE))!.mode! & 0o777, 0o600);
});

inFolder("hasRoom() counts what is there, not what was put", async (folder) => {
  const store = await openStore(runtime, folder);
  const { ledger } = store;
  const ports = { protocol: "tcp", first: 22, last: 22 } as const;
  const entry = (address: string) => ({
    client: "alice",
    address,
    ports,
    sinceMs: 0,
    untilMs: 1000,
    once: false,
    to: null,
  });
  for (const address of ["192.0.2.1", "192.0.2.1", "192.0.2.2"]) {
    ledger.put(entry(address));
  }
  assert(ledger.hasRoom(1, 3));
  assert(!ledger.hasRoom(2, 3));
  ledger.remove(entry("192.0.2.1"));
  assert(ledger.hasRoom(2, 3));
  store.close();
});
