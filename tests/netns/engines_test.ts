/** The contract of an engine, held by each: real servers on loopback. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { nkeys } from "@nats-io/transport-node";
import { readFileSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import type {
  EngineMark,
  EngineName,
  FleetConfig,
  FleetEngine,
  FolderReader,
  KeyValue,
} from "../../lib/fleet/fleet.ts";
import { newBucket } from "../../lib/fleet/nats/settings.ts";
import { oldVersion } from "../../lib/fleet/nats/wire.ts";
import { connectNats } from "../../lib/fleet/nats/transport.ts";
import { openEngine } from "../../lib/fleet/shared.ts";
import { SystemError } from "../../lib/values/errors.ts";
import { runtime } from "../fakes/runtime.ts";
import { EngineServer } from "./engines.ts";
import { natsVersion, skipOf } from "./fleet.ts";
import { until } from "./netns.ts";

const ENGINES: readonly EngineName[] = ["etcd", "nats"];
const TEST_MS = 120_000;
const HOUR_MS = 3_600_000;

/** Engines that a test opened, to be closed. */
interface Opened {
  open(over?: Partial<FleetConfig>, known?: EngineMark | null): Promise<
    FleetEngine
  >;
  /** Times that engines told that their data was replaced, in all. */
  readonly replaced: number;
}

/** A test of each engine, with a server that runs. */
function engineTest(
  name: string,
  body: (server: EngineServer, opened: Opened) => Promise<void>,
  options: {
    readonly engines?: readonly EngineName[];
    readonly starts?: boolean;
  } = {},
): void {
  for (const engine of options.engines ?? ENGINES) {
    test(`${engine}: ${name}`, skipOf(engine, TEST_MS), async () => {
      const server = await EngineServer.make(engine);
      const engines: FleetEngine[] = [];
      const opened = {
        replaced: 0,
        async open(
          over: Partial<FleetConfig> = {},
          known: EngineMark | null = null,
        ) {
          const made = await openEngine(
            runtime,
            server.config(over),
            known,
            () => void opened.replaced++,
          );
          engines.push(made);
          return made;
        },
      };
      try {
        if (options.starts ?? true) {
          await server.start();
          await answers(await opened.open());
        }
        await body(server, opened);
      } finally {
        await Promise.all(engines.map((one) => one.close()));
        await server.remove();
      }
    });
  }
}

async function answers(engine: FleetEngine): Promise<void> {
  await until("the engine answers", async () => {
    try {
      await engine.put("probe/x", "1", null);
      return true;
    } catch (error) {
      if (error instanceof SystemError) return false;
      throw error;
    }
  });
}

/** A reader that keeps what it was told. */
class Told implements FolderReader {
  readonly keys = new Map<string, string>();
  readonly dropped: string[] = [];
  begun = 0;
  ended = 0;
  losses: string[] = [];
  position: string | null = null;
  #seen = new Set<string>();

  begin(): void {
    this.begun++;
    this.#seen.clear();
  }
  changed(changes: readonly KeyValue[], position: string | null): void {
    for (const { key, value } of changes) {
      this.#seen.add(key);
      if (value !== null) this.keys.set(key, value);
      else {
        this.keys.delete(key);
        this.dropped.push(key);
      }
    }
    this.position = position ?? this.position;
  }
  end(position: string): void {
    this.ended++;
    this.position = position;
    for (const key of [...this.keys.keys()]) {
      if (!this.#seen.has(key)) this.keys.delete(key);
    }
  }
  lost(why: string): void {
    this.losses.push(why);
  }
}

async function listed(engine: FleetEngine, folder: string) {
  const keys = new Map<string, string | null>();
  for await (const batch of engine.list(folder)) {
    for (const { key, value } of batch) keys.set(key, value);
  }
  return keys;
}

engineTest("of all that claim a key one has it", async (_server, { open }) => {
  const gateways = await Promise.all([open(), open(), open()]);
  const [first] = gateways;
  const ours = { state: "ours", along: false } as const;
  assertEquals(await first!.claim("accepted/a", "gw1 x", HOUR_MS), ours);
  // Its own nonce again: an answer was lost.
  assertEquals(await first!.claim("accepted/a", "gw1 x", HOUR_MS), ours);
  assertEquals(await gateways[1]!.claim("accepted/a", "gw2 y", HOUR_MS), {
    state: "taken",
    holder: "gw1 x",
  });
  const ids = Array.from({ length: 200 }, (_, index) => `accepted/id-${index}`);
  await Promise.all(ids.map(async (id) => {
    const claims = await Promise.all(
      gateways.map((one, index) => surely(one, id, `gw${index} ${id}`)),
    );
    const owners = claims.flatMap(({ state }, index) =>
      state === "ours" ? [`gw${index} ${id}`] : []
    );
    assertEquals(owners.length, 1, id);
    for (const claim of claims) {
      if (claim.state !== "ours") {
        assertEquals(claim, { state: "taken", holder: owners[0]! });
      }
    }
    const again = await Promise.all(
      gateways.map((one, index) => surely(one, id, `again ${index}`)),
    );
    assert(again.every(({ state }) => state === "taken"), id);
  }));
});

engineTest(
  "keys are put, read, listed and dropped, whatever their names",
  async (_server, { open }) => {
    const engine = await open();
    const names = ["bob", "a.b", "ends.", ".begins", "a=2Eb", "*", ">"];
    for (const name of names) {
      await engine.put(`clients/${name}`, `of ${name.length}`, null);
    }
    await engine.put("grants/g", "{}", HOUR_MS);
    for (const name of names) {
      assertEquals(await engine.get(`clients/${name}`), `of ${name.length}`);
    }
    const expected = new Map(
      names.map((name) => [`clients/${name}`, `of ${name.length}`]),
    );
    assertEquals(await listed(engine, "clients/"), expected);
    assertEquals(await engine.get("clients/nobody"), null);
    assertEquals(await engine.drop("clients/nobody"), false);
    assertEquals(await engine.drop("clients/a.b"), true);
    assertEquals(await engine.drop("clients/a.b"), false);
    assertEquals(await engine.get("clients/a.b"), null);
    expected.delete("clients/a.b");
    assertEquals(await listed(engine, "clients/"), expected);
    assertEquals(await listed(engine, "nothing/"), new Map());
    for (const liveMs of [null, HOUR_MS]) {
      await engine.put("clients/a.b", "never", liveMs, true);
      assertEquals(await engine.get("clients/a.b"), null);
    }
    await engine.put("clients/a.b", "again", null);
    for (
      const [value, liveMs] of [["first", null], ["second", HOUR_MS]] as const
    ) {
      await engine.put("clients/a.b", value, liveMs, true);
      assertEquals(await engine.get("clients/a.b"), value);
    }
    await engine.put("clients/a.b", "again", null);
    assertEquals(await engine.get("clients/a.b"), "again");
    // Another fleet sees none of it.
    const other = await open({ prefix: "knock/other" });
    assertEquals(await listed(other, "clients/"), new Map());
    assertEquals(await other.get("clients/bob"), null);
  },
);

engineTest("a heartbeat that stops dies", async (_server, { open }) => {
  const engine = await open();
  await engine.beat("gateways/gw1", "1", 4000);
  await engine.beat("gateways/gw1", "2", 4000);
  assertEquals(await engine.get("gateways/gw1"), "2");
  await until(
    "it is gone",
    async () => await engine.get("gateways/gw1") === null,
  );
});

engineTest(
  "a watch tells all, then each change, and goes on from a position",
  async (_server, { open }) => {
    const writer = await open();
    for (let n = 0; n < 3000; n += 100) {
      await Promise.all(
        Array.from(
          { length: 100 },
          (_, index) => writer.put(`clients/c${n + index}`, "1", null),
        ),
      );
    }
    const [clients, own] = [new Told(), new Told()];
    const watching = await open();
    const watch = watching.watch([
      { name: "clients/", position: null, reader: clients },
      { name: "gateways/gw1", position: null, reader: own },
    ]);
    await until("all is told", () => clients.ended === 1 && own.ended === 1);
    assertEquals(clients.keys.size, 3000);
    assertEquals(own.keys, new Map());

    await writer.put("clients/c7", "2", null);
    await writer.put("grants/g", "1", HOUR_MS);
    await writer.put("gateways/gw10", "1", HOUR_MS);
    await writer.put("gateways/gw1", "1", HOUR_MS);
    assertEquals(await writer.drop("clients/c8"), true);
    await until("the drop is told", () => clients.dropped.length === 1);
    assertEquals(clients.keys.get("clients/c7"), "2");
    assertEquals(clients.dropped, ["clients/c8"]);
    assertEquals(own.keys, new Map([["gateways/gw1", "1"]]));
    // From another server, as it were.
    watch.again();
    await writer.put("clients/c9", "3", null);
    await until("it goes on", () => clients.keys.get("clients/c9") === "3");
    assertEquals(clients.begun, 1);
    await watch.stop();

    await writer.put("clients/late", "1", null);
    await writer.drop("clients/c10");
    const later = new Told();
    const second = (await open()).watch([
      { name: "clients/", position: clients.position, reader: later },
    ]);
    await until("the rest is told", () => later.dropped.length === 1);
    assertEquals([...later.keys], [["clients/late", "1"]]);
    assertEquals(later.dropped, ["clients/c10"]);
    assertEquals(later.begun, 0);
    await second.stop();
  },
);

engineTest(
  "a value of 10 MB is refused, and does not stop the others",
  async (_server, { open }) => {
    const engine = await open();
    const told = new Told();
    const watch = engine.watch([
      { name: "clients/", position: null, reader: told },
    ]);
    await until("all is told", () => told.ended === 1);
    let refused: unknown;
    await engine.put("clients/big", "x".repeat(10_000_000), null)
      .catch((error) => refused = error);
    assert(refused instanceof SystemError, String(refused));
    await until("it takes others", async () => {
      await engine.put("clients/small", "1", null).catch(() => {});
      return told.keys.has("clients/small");
    });
    assertEquals(await engine.get("clients/big"), null);
    await watch.stop();
  },
);

engineTest(
  "a server that is not there at start is waited for, and one that goes",
  async (server, { open }) => {
    const engine = await open();
    const told = new Told();
    const watch = engine.watch([
      { name: "clients/", position: null, reader: told },
    ]);
    assertEquals(await engine.claim("accepted/a", "gw1 x", HOUR_MS), {
      state: "unknown",
      why: "connection refused",
    });
    assertEquals(engine.seen.mark, null);
    await until(
      "the watch tells why",
      () => told.losses.includes("connection refused"),
    );
    const [look] = (await engine.health()).servers;
    assertEquals(look, {
      address: server.address,
      version: null,
      leads: false,
      trouble: "connection refused",
    });

    await server.start();
    await answers(engine);
    await until("all is told", () => told.ended === 1);
    const mark = engine.seen.mark!;
    assert(mark.revision > 0);
    assert(Math.abs(engine.seen.aheadMs!) < 60_000);
    await engine.put("clients/bob", "1", null);
    await until("bob is told", () => told.keys.has("clients/bob"));

    await server.stop();
    const dead = await engine.claim("accepted/a", "gw1 x", HOUR_MS);
    assertEquals(dead.state, "unknown");
    await server.start();
    await answers(engine);
    assertEquals(await engine.get("clients/bob"), "1");
    assertEquals(engine.seen.mark!.id, mark.id);
    assert(engine.seen.mark!.revision >= mark.revision);
    await engine.put("clients/eve", "1", null);
    await until("eve is told", () => told.keys.has("clients/eve"));
    await watch.stop();
  },
  { starts: false },
);

engineTest(
  "data that was emptied is other data, to who knew it and to who starts",
  async (server, opened) => {
    const engine = await opened.open();
    const told = new Told();
    await engine.put("clients/bob", "1", null);
    const watch = engine.watch([
      { name: "clients/", position: null, reader: told },
    ]);
    await until("bob is told", () => told.keys.has("clients/bob"));
    const known = engine.seen.mark!;
    await server.stop();
    server.empty();
    await server.start();
    await answers(engine);
    await until("it is told", () => opened.replaced > 0);
    await until("bob is gone", () => told.keys.size === 0);
    await watch.stop();

    const before = opened.replaced;
    const next = await opened.open({}, known);
    await answers(next);
    await until("it is told again", () => opened.replaced > before);
    // And who knew this data is told nothing.
    const after = opened.replaced;
    await answers(await opened.open({}, next.seen.mark));
    assertEquals(opened.replaced, after);
  },
);

engineTest("health: one server, and what is lost with it", async (
  server,
  { open },
) => {
  const { servers, warnings } = await (await open()).health();
  assertEquals(servers.length, 1);
  const { version, leads, trouble, address } = servers[0]!;
  assertEquals({ leads, trouble, address }, {
    leads: true,
    trouble: null,
    address: server.address,
  });
  assertMatch(version!, /^\d+\.\d+\.\d+/);
  assertEquals(warnings.length, 1, warnings.join("\n"));
  assertMatch(warnings[0]!, /the fleet stands still when one/);
});

engineTest(
  "TLS: the CA is asked for, and a certificate of our own",
  async (server, { open }) => {
    const { ca, other, cert, key } = server.makeCertificates();
    if (server.engine === "etcd") {
      // deno-fmt-ignore
      server.options.push(
        "--cert-file", cert, "--key-file", key,
        "--trusted-ca-file", ca, "--client-cert-auth",
      );
    } else {
      server.lines.push(
        `tls { cert_file: "${cert}", key_file: "${key}", ` +
          `ca_file: "${ca}", verify: true }`,
      );
    }
    server.isSafe = true;
    await server.start();
    const read = (path: string) => readFileSync(path, "utf8");
    const own = { cert: read(cert), key: read(key) };
    await answers(await open({ tls: { ca: read(ca), ...own } }));
    const wrong: readonly (readonly [FleetConfig["tls"], RegExp])[] = [
      [{ ca: read(other), ...own }, UNTRUSTED],
      [{ ca: null, ...own }, UNTRUSTED],
      // Said after the handshake, which Deno's fetch calls a failure alone.
      [
        { ca: read(ca), cert: null, key: null },
        server.engine === "nats" ? /^it refuses our certificate$/ : /./,
      ],
    ];
    for (const [tls, words] of wrong) {
      const engine = await open({ tls });
      // A busy machine may be too slow for the short time of an answer.
      await until(
        "a claim says so",
        async () => words.test(await whyUnknown(engine)),
      );
      await until("health says so", async () => {
        const [look] = (await engine.health()).servers;
        return words.test(look!.trouble ?? "");
      });
    }
    if (server.engine === "etcd") return;
    // The certificate bears no name.
    const address = server.address.replace("127.0.0.1", "localhost");
    const named = await open({
      servers: [address],
      tls: { ca: read(ca), ...own },
    });
    assertEquals(
      await whyUnknown(named),
      "its certificate is for another name",
    );
  },
  { starts: false },
);

engineTest(
  "TLS: a certificate that has expired",
  async (server, { open }) => {
    const { ca, expired, key } = server.makeCertificates();
    if (server.engine === "etcd") {
      server.options.push("--cert-file", expired, "--key-file", key);
    } else {
      server.lines.push(`tls { cert_file: "${expired}", key_file: "${key}" }`);
    }
    server.isSafe = true;
    await server.start();
    const tls = { ca: readFileSync(ca, "utf8"), cert: null, key: null };
    const engine = await open({ tls });
    await until(
      "it is told of",
      async () => await whyUnknown(engine) === "its certificate has expired",
    );
  },
  { starts: false },
);

engineTest("200 watchers are told of a change", async (_server, { open }) => {
  const engine = await open();
  const all = Array.from({ length: 200 }, () => new Told());
  const watchers = await Promise.all(all.map(() => open()));
  const watches = watchers.map((one, index) =>
    one.watch([{ name: "clients/", position: null, reader: all[index]! }])
  );
  await until("all have read", () => all.every(({ ended }) => ended > 0));
  const startMs = performance.now();
  await engine.put("clients/alice", "1", null);
  await until(
    "all are told",
    () => all.every(({ keys }) => keys.get("clients/alice") === "1"),
  );
  const ms = Math.round(performance.now() - startMs);
  process.stdout.write(`200 watchers were told within ${ms} ms\n`);
  await Promise.all(watches.map((one) => one.stop()));
});

/** Claims until there is an answer, which a busy machine may not give in time. */
async function surely(engine: FleetEngine, key: string, value: string) {
  let claim = await engine.claim(key, value, HOUR_MS);
  for (let tries = 0; claim.state === "unknown" && tries < 10; tries++) {
    claim = await engine.claim(key, value, HOUR_MS);
  }
  return claim;
}

/** The reason why a claim is unknown; fails where it is not. */
async function whyUnknown(engine: FleetEngine): Promise<string> {
  const claim = await engine.claim("accepted/a", "gw1 x", HOUR_MS);
  if (claim.state !== "unknown") throw new Error(JSON.stringify(claim));
  return claim.why;
}

const UNTRUSTED = /^its certificate is not signed by the given CA$/;

engineTest("a user with a password, and one with a token", async (
  server,
  { open },
) => {
  await server.stop();
  server.lines.push(`authorization { user: knock, password: "right" }`);
  await server.start();
  const user = (password: string) => ({ user: { name: "knock", password } });
  await answers(await open(user("right")));
  for (const over of [user("wrong"), {}, { token: "right" }]) {
    const engine = await open(over);
    assertEquals(
      await whyUnknown(engine),
      "it refuses our user: Authorization Violation",
    );
    const [look] = (await engine.health()).servers;
    assertEquals(
      look!.trouble,
      "it refuses our user: Authorization Violation",
    );
  }

  await server.stop();
  server.lines[0] = `authorization { token: "right" }`;
  await server.start();
  await answers(await open({ token: "right" }));
  assertMatch(
    await whyUnknown(await open({ token: "wrong" })),
    /^it refuses our user: /,
  );
}, { engines: ["nats"] });

engineTest("credentials, and a user whose rights do not do", async (
  server,
  { open },
) => {
  await server.stop();
  const { key, seed } = userKey();
  // Those of docs/fleet.md.
  const document = readFileSync(
    new URL("../../docs/fleet.md", import.meta.url),
    "utf8",
  );
  const rights = /^permissions: \{[^}]*\}/m.exec(document)![0]
    .replaceAll("knock_home", "knock_test");
  server.lines.push(
    `authorization { users: [{ nkey: "${key}", ${rights} }] }`,
  );
  await server.start();
  const credentials = `-----BEGIN NATS USER JWT-----
e30.e30.e30
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
${seed}
------END USER NKEY SEED------
`;
  const engine = await open({ credentials });
  await answers(engine);
  // So much that the server asks whether it is read.
  const large = "x".repeat(100_000);
  for (let n = 0; n < 60; n++) await engine.put(`clients/c${n}`, large, null);
  const told = new Told();
  const watch = engine.watch([
    { name: "clients/", position: null, reader: told },
  ]);
  await until("all are told", () => told.keys.size === 60);
  assertEquals(await engine.drop("clients/c7"), true);
  await until("one is gone", () => told.keys.size === 59);
  assertEquals(told.losses, []);
  await watch.stop();
  assertMatch(
    await whyUnknown(await open({ credentials, prefix: "knock/other" })),
    /^it forbids our user: .*KV_knock_other/,
  );
  assertMatch(
    await whyUnknown(
      await open({ credentials: credentials.replace(seed, userKey().seed) }),
    ),
    /^it refuses our user: /,
  );
}, { engines: ["nats"] });

engineTest("a bucket that loses data is told of", async (
  server,
  { open },
) => {
  const connection = await connectNats({
    servers: [server.address.replace("nats://", "")],
  });
  const make = async (name: string, over: object) => {
    const body = JSON.stringify({
      ...newBucket(`KV_${name}`, `$KV.${name}.>`, 1),
      ...over,
    });
    const { data } = await connection.request(
      `$JS.API.STREAM.CREATE.KV_${name}`,
      body,
    );
    const { error } = JSON.parse(new TextDecoder().decode(data));
    assertEquals(error, undefined);
  };
  try {
    await make("memory", {
      ...{ storage: "memory", discard: "old", max_age: 60e9 },
      allow_msg_ttl: false,
    });
    const engine = await open({ prefix: "memory" });
    const { warnings } = await engine.health();
    assertEquals(
      warnings.map((words) => words.split(": ")[1]),
      [
        "storage",
        "replicas",
        "no life of its own for a key, so no packet is accepted",
        "discard",
        "max age",
      ],
    );
    // Nothing is accepted that would be forgotten at once.
    assertMatch(await whyUnknown(engine), /TTL/);
    await make("silent", { no_ack: true });
    assertEquals(
      await whyUnknown(await open({ prefix: "silent" })),
      "no answer in time",
    );
  } finally {
    await connection.close();
  }
}, { engines: ["nats"] });

const version = natsVersion();
const isOld = version !== null && oldVersion(version) !== null;

test(
  "nats: a version that is too old is refused, and says so",
  {
    skip: isOld ? false : "the nats-server here is not too old, or not there",
    timeout: 120_000,
  },
  async () => {
    const server = await EngineServer.make("nats");
    const words = `NATS ${version} is too old: 2.11 is the oldest that works`;
    const engine = await openEngine(runtime, server.config());
    try {
      await server.start();
      await until("it says so", async () => await whyUnknown(engine) === words);
      const refused = await engine.put("clients/bob", "1", null)
        .catch((error) => error);
      assertEquals(refused.message, words);
      await until(
        "health says so",
        async () => (await engine.health()).servers[0]!.trouble === words,
      );
      assertEquals(await engine.health(), {
        servers: [{
          ...{ address: server.address, version, leads: false },
          trouble: words,
        }],
        warnings: [],
      });
      assertEquals(engine.seen.mark, null);
    } finally {
      await engine.close();
      await server.remove();
    }
  },
);

/** A key of a NATS user: its public key, and its seed. */
function userKey(): { readonly key: string; readonly seed: string } {
  const { createUser } = nkeys;
  const pair = createUser();
  return {
    key: pair.getPublicKey(),
    seed: new TextDecoder().decode(pair.getSeed()),
  };
}
