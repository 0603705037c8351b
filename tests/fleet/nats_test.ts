/** Names, answers and settings of NATS, without a server. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { newBucket, settingsThatLose } from "../../lib/fleet/nats/settings.ts";
import {
  bucketOf,
  headersOf,
  keyName,
  keyOfName,
  NatsError,
  natsError,
  oldVersion,
  placeOf,
  readAnswer,
} from "../../lib/fleet/nats/wire.ts";
import fc from "../fakes/fast_check.ts";

test("a key has one name in a bucket, and a name one key", () => {
  assertEquals(keyName("clients/bob"), "clients.bob");
  assertEquals(keyName("clients/a.b"), "clients.a=2eb");
  assertEquals(keyName("clients/>"), "clients.=3e");
  assertEquals(keyName("clients/é"), "clients.=c3=a9");
  fc.assert(fc.property(
    fc.string({ unit: "grapheme", minLength: 1 }),
    (text) => {
      const key = `clients/${text}`;
      const name = keyName(key);
      assertEquals(/^[\w.=-]+$/.test(name), true);
      assertEquals(keyOfName(name), key);
    },
  ));
  for (
    const name of ["clients.a=2Eb", "clients.a=zz", "clients.=62ob", "a=ff"]
  ) {
    assertEquals(keyOfName(name), null, name);
  }
  assertEquals(bucketOf("knock/home"), "knock_home");
});

test("versions before 2.11 are too old", () => {
  for (const version of ["2.9.10", "2.10.27", "1.4.1", "2.9", "0", "what"]) {
    assertEquals(
      oldVersion(version),
      `NATS ${version} is too old: 2.11 is the oldest that works`,
    );
  }
  for (const version of ["2.11.0", "2.15.1", "3.0.0", "2.11.0-RC.1"]) {
    assertEquals(oldVersion(version), null, version);
  }
});

test("a claim asks for no message before it, and lives at least so long", () => {
  const written = { key: "accepted/a", value: "gw1 x", liveMs: 60_001 };
  assertEquals(headersOf("KV_k", { ...written, isNew: true }), {
    "Nats-Expected-Stream": "KV_k",
    "Nats-Expected-Last-Subject-Sequence": "0",
    "Nats-TTL": "61s",
  });
  assertEquals(headersOf("KV_k", { ...written, liveMs: null }), {
    "Nats-Expected-Stream": "KV_k",
  });
  assertEquals(headersOf("KV_k", { ...written, isDrop: true }), {
    "Nats-Expected-Stream": "KV_k",
    "Nats-TTL": "61s",
    "KV-Operation": "DEL",
  });
});

const ANSWERS: readonly (readonly [text: string, kind: string])[] = [
  ["", "elsewhere"],
  ["[", "elsewhere"],
  ["7", "elsewhere"],
  ["null", "elsewhere"],
  [`{"error":{"code":404,"err_code":10059,"description":"x"}}`, "missing"],
  [`{"error":{"code":400,"err_code":10071}}`, "taken"],
  [`{"error":{"code":400,"err_code":10164}}`, "taken"],
  [`{"error":{"code":503,"err_code":10008}}`, "elsewhere"],
  [
    `{"error":{"code":400,"err_code":10005,"description":"no suitable peers for placement"}}`,
    "elsewhere",
  ],
  [`{"error":{"code":400,"err_code":10166,"description":"x"}}`, "final"],
];

test("answers of JetStream", () => {
  assertEquals(readAnswer(`{"seq":7}`), { seq: 7 });
  assertEquals(
    readAnswer(`{"error":{"code":404,"err_code":10037,"description":"x"}}`),
    null,
  );
  for (const [text, kind] of ANSWERS) {
    const error = assertThrows(() => readAnswer(text), NatsError);
    assertEquals(error.kind, kind, text);
  }
});

const THROWN: readonly (readonly [Error, kind: string, words: string])[] = [
  [
    Object.assign(new Error("no responders"), { name: "RequestError" }),
    "elsewhere",
    "no JetStream answers there, or it has no leader",
  ],
  [
    Object.assign(new Error("timeout"), { name: "TimeoutError" }),
    "elsewhere",
    "no answer in time",
  ],
  [
    new Error("Authorization Violation"),
    "elsewhere",
    "it refuses our user: Authorization Violation",
  ],
  [
    new Error(`Permissions Violation for Publish to "x"`),
    "final",
    `it forbids our user: Permissions Violation for Publish to "x"`,
  ],
  [
    new Error("'payload' max_payload size exceeded"),
    "final",
    "the value is larger than it takes",
  ],
  [
    new Error("connection refused", { cause: new Error("ECONNREFUSED") }),
    "elsewhere",
    "connection refused",
  ],
  [new Error("odd\nlines"), "elsewhere", "odd"],
];

test("errors of the library, in our words", () => {
  for (const [thrown, kind, words] of THROWN) {
    const error = natsError(thrown);
    assertEquals([error.kind, error.message], [kind, words]);
    assertEquals(natsError(error), error);
  }
});

test("the place of a message, in the short and the long form", () => {
  assertEquals(placeOf("$JS.ACK.KV_knock.c.1.42.7.1700000000.3"), {
    sequence: 42,
    delivery: 7,
  });
  assertEquals(
    placeOf("$JS.ACK._.hash.KV_knock.c.1.42.7.1700000000.3.random"),
    { sequence: 42, delivery: 7 },
  );
  for (const reply of ["", "$JS.FC.x.y", "$JS.ACK.s.c.1.x.7.0.3", "_INBOX.a"]) {
    assertEquals(placeOf(reply), null, reply);
  }
});

test("settings that lose data are told, and a new bucket has none", () => {
  assertEquals(settingsThatLose("KV_k", newBucket("KV_k", "$KV.k.>", 3)), []);
  const told = (over: object) =>
    settingsThatLose("KV_k", {
      ...newBucket("KV_k", "$KV.k.>", 3),
      ...over,
    });
  const wrong: readonly (readonly [object, string])[] = [
    [{ storage: "memory" }, "storage: memory"],
    [{ num_replicas: 1 }, "replicas: 1"],
    [{ persist_mode: "async" }, "persist mode: async"],
    [{ no_ack: true }, "no_ack"],
    [{ allow_msg_ttl: false }, "no life of its own"],
    [{ discard: "old" }, "discard: old"],
    [{ max_age: 60e9 }, "max age: 60 s"],
    [{ retention: "workqueue" }, "retention: workqueue"],
    [{ sealed: true }, "sealed"],
  ];
  for (const [over, words] of wrong) {
    const lines = told(over);
    assertEquals(lines.length, 1, words);
    assert(lines[0]!.startsWith(`bucket KV_k: ${words}`), lines[0]);
  }
  assertEquals(newBucket("KV_k", "$KV.k.>", 2).num_replicas, 1);
  const { deny_delete, deny_purge } = newBucket("KV_k", "$KV.k.>", 3);
  assertEquals({ deny_delete, deny_purge }, {
    deny_delete: true,
    deny_purge: true,
  });
});
