import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "node:path";
import { test } from "node:test";
import {
  fairShare,
  MAX_EVENTS_OF_CLIENT,
} from "../../lib/server/state/history.ts";
import {
  openExistingStore,
  openServerStore,
  openStore,
  serverUsing,
  STATE_FILE,
} from "../../lib/server/state/store.ts";
import { FailureError } from "../../lib/values/errors.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";
import { runtime } from "../fakes/runtime.ts";

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
  "serverUsing() tells of the server that has a folder, and leaves the folder free",
  async (folder) => {
    assertEquals(await serverUsing(runtime, folder), null);
    const first = await openServerStore(runtime, folder);
    assertEquals(await serverUsing(runtime, folder), runtime.pid);
    first.close();
    assertEquals(await serverUsing(runtime, folder), null);
    (await openServerStore(runtime, folder)).close();
  },
);

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

inFolder("openStore() takes over the state of version 3", async (folder) => {
  const database = await runtime.openDatabase(join(folder, STATE_FILE));
  database.exec(`create table grants (
    client text not null, address text not null, protocol text not null,
    first integer not null, last integer not null, target text not null,
    once integer not null, since_ms integer not null, until_ms integer not null,
    primary key (address, protocol, first, last, target, once, client)
  ) without rowid;
  insert into grants values ('alice', '192.0.2.9', 'tcp', 22, 22, '', 0, 1, 9);
  pragma user_version = 3`);
  database.close();
  for (const again of [false, true]) {
    const store = await openStore(runtime, folder);
    const [old] = store.ledger.live(5);
    assertEquals([old?.client, old?.capped ?? false, old?.untilMs], [
      "alice",
      again,
      again ? 10 : 9,
    ]);
    store.ledger.put({ ...old!, untilMs: 10, capped: true });
    // What ends earlier changes nothing.
    store.ledger.put({ ...old!, untilMs: 8, capped: false });
    store.close();
  }
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

inFolder(
  "Replay refuses stamps from before a start of the machine after a restart, too",
  async (folder) => {
    const first = await openStore(runtime, folder);
    first.replay.begin(5000, true);
    first.close();
    const second = await openStore(runtime, folder);
    second.replay.begin(6000, false);
    assert(second.replay.isForgotten(5000));
    assert(!second.replay.isForgotten(5001));
    second.replay.shift(-1000);
    assert(!second.replay.isForgotten(4001), "the clock was set back");
    assert(second.replay.isForgotten(4000));
    second.close();
    const third = await openStore(runtime, folder);
    third.replay.begin(3000, false);
    assert(!third.replay.isForgotten(3001), "set back unseen: never ahead");
    third.close();
  },
);

inFolder("Replay forgets nothing by a larger max_skew", async (folder) => {
  const store = await openStore(runtime, folder);
  const { replay } = store;
  replay.begin(0, false);
  replay.allow(1000, 0);
  for (const [fill, stampMs] of [[1, 5000], [2, 7000]] as const) {
    assert(replay.note(identity(fill), stampMs + 1000));
    assert(replay.record(identity(fill), stampMs + 1000));
  }
  replay.prune(7500);
  assert(!replay.seen(identity(1)), "too old by then");
  replay.allow(10_000, 7500);
  assert(replay.isForgotten(5000), "not any more, and it was forgotten");
  assert(!replay.isForgotten(6501));
  replay.prune(16_999);
  assert(replay.seen(identity(2)));
  assert(!replay.record(identity(2), 20_000));
  store.close();

  const again = await openStore(runtime, folder);
  again.replay.begin(17_000, false);
  again.replay.allow(100_000, 17_000);
  assert(again.replay.isForgotten(7000), "raised while the server was down");
  assert(!again.replay.isForgotten(7001));
  again.close();
});

inFolder("a state that others can write opens nothing", async (folder) => {
  const fake = new FakeRuntime();
  const [state, path] = ["/srv/state", `/srv/state/${STATE_FILE}`];
  fake.files.makeFolder("/srv", 0o755);
  fake.files.makeFolder(state, 0o777);
  const refused = async (what: string) => {
    const error = await assertRejects(
      () => openStore(fake, state),
      FailureError,
    );
    assertEquals(error.hint, `chmod go-w ${what}`);
  };
  await refused(state);
  fake.files.chmod(state, 0o755);
  fake.files.put(path, "", 0o666);
  await refused(path);
  fake.files.chmod(path, 0o644);
  (await openStore(fake, state)).close();
  (await openStore(runtime, join(folder, "state"))).close();
});

inFolder("countLive() counts what is open still", async (folder) => {
  const store = await openStore(runtime, folder);
  const ports = { protocol: "tcp", first: 22, last: 22 } as const;
  const address = "192.0.2.1";
  for (const untilMs of [1000, 2000, 3000]) {
    const client = `until-${untilMs}`;
    const base = { client, address, ports, sinceMs: 0, once: false, to: null };
    store.ledger.put({ ...base, untilMs });
  }
  assertEquals(store.ledger.countLive(2000), 1);
  store.close();
});

/** More identities than Replay holds in memory. */
const MANY = 10_001;
const numbered = (number: number) => {
  const bytes = new Uint8Array(32).fill(0xff);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
};

test("Replay refuses by the file what has left the memory, also what was never recorded", async () => {
  const fake = new FakeRuntime();
  const { replay } = await openStore(fake, "/srv/state");
  replay.begin(0, false);
  replay.note(numbered(0), 1000);
  replay.record(numbered(0), 1000);
  // What this one asked for failed: it is in memory alone.
  replay.note(numbered(1), 1000);
  for (let number = 2; number < MANY + 2; number++) {
    replay.note(numbered(number), 1000);
  }
  for (const number of [0, 1]) {
    assert(!replay.seen(numbered(number)), "it left the memory");
    assert(replay.note(numbered(number), 1000));
    assert(!replay.record(numbered(number), 1000), `${number} is a replay`);
  }
  replay.prune(1001);
  assert(replay.record(numbered(1), 2000), "its time is over");
});

test("Replay keeps in memory what a file that cannot be written does not take", async () => {
  const fake = new FakeRuntime();
  const { replay } = await openStore(fake, "/srv/state");
  replay.begin(0, false);
  fake.databases.failing = "ENOSPC";
  for (let number = 0; number < MANY + 2; number++) {
    assert(replay.note(numbered(number), 1000));
  }
  assert(replay.seen(numbered(0)));
  fake.databases.failing = null;
  replay.note(numbered(MANY + 2), 1000);
  assert(!replay.seen(numbered(0)), "now the file has it");
  assert(!replay.record(numbered(0), 1000));
  replay.prune(1001);
  assert(!replay.seen(numbered(MANY)));
});

inFolder(
  "the history of one client pushes nobody else's out",
  async (folder) => {
    const store = await openStore(runtime, folder);
    const { history } = store;
    const add = (client: string, count: number) =>
      store.transaction(() => {
        for (let added = 0; added < count; added++) {
          history.add({
            atMs: added,
            event: "open",
            client,
            address: "192.0.2.1",
            ports: "tcp/22",
            seconds: 30,
            dialect: "knock",
            reason: "",
          });
        }
      });
    const count = (client: string) => history.find({ client }).length;
    add("alice", 200);
    add("mallory", MAX_EVENTS_OF_CLIENT + 500);
    assertEquals(history.prune(), ["mallory"]);
    assertEquals(count("alice"), 200);
    assertEquals(count("mallory"), MAX_EVENTS_OF_CLIENT);
    assertEquals(
      history.find({ client: "mallory" })[0]!.atMs,
      500,
      "the oldest go",
    );
    add("mallory", 500);
    assertEquals(history.prune(), [], "told once");
    assertEquals(count("mallory"), MAX_EVENTS_OF_CLIENT);
    store.close();
  },
);

test("fairShare() cuts those that have most, and as little as it must", () => {
  const cases = [
    [[], 10, Infinity],
    [[3, 7], 10, Infinity],
    [[3, 8], 10, 7],
    [[20, 1, 20], 11, 5],
    [[5, 5, 5], 10, 3],
  ] as const;
  for (const [counts, limit, want] of cases) {
    assertEquals(fairShare(counts, limit), want, `${counts}`);
  }
});

inFolder("a damaged state file is refused, not read", async (folder) => {
  const path = join(folder, STATE_FILE);
  const store = await openStore(runtime, folder);
  store.transaction(() => {
    for (let at = 0; at < 200; at++) {
      const row = new Uint8Array(32).fill(at);
      store.replay.record(row, 1e15 + at);
    }
  });
  store.close();
  const bytes = files.readBytes(path);
  // The last page: its head says what a page cannot be.
  bytes.fill(0xff, bytes.length - 4096);
  files.replace(path, bytes, 0o600);
  await assertRejects(
    () => openStore(runtime, folder),
    FailureError,
    "cannot use the state file",
  );
});
