import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import { explainFwknop } from "../../lib/dialects/fwknop/explain.ts";
import type {
  FwknopClient,
  FwknopRequest,
} from "../../lib/dialects/fwknop/request.ts";
import { fwknopRandom, sealFwknop } from "../../lib/dialects/fwknop/seal.ts";
import { parsePortRange } from "../../lib/values/ports.ts";
import { sceneAt } from "../fakes/packets.ts";

const NOW_MS = 1_790_000_000_000;
const fresh = sceneAt(NOW_MS);
const fill = (size: number, byte: number) => new Uint8Array(size).fill(byte);
const alice: FwknopClient = {
  name: "alice",
  key: fill(32, 1),
  mode: "cbc",
  hmac: { type: "sha256", key: fill(64, 2) },
};
const bob: FwknopClient = {
  name: "bob",
  key: fill(32, 3),
  mode: "ctr",
  hmac: { type: "sha512", key: fill(64, 4) },
};
const bare: FwknopClient = { ...bob, name: "bare", hmac: null };
const request: FwknopRequest = {
  action: "open",
  ports: [parsePortRange("tcp/22")!],
  command: null,
  seconds: 60,
  address: "192.0.2.9",
  forward: null,
  user: "al",
  checksum: "md5",
};
const random = fwknopRandom(fill(16, 9));
const seal = (as: FwknopClient) => sealFwknop(as, request, random, NOW_MS);

const cases: [
  name: string,
  enrolled: readonly FwknopClient[],
  packet: Uint8Array,
  verdict: string,
  client: string | null,
  words: string,
][] = [
  ["a good packet", [bob, alice], seal(alice), "request", "alice", "tcp/22"],
  [
    "another HMAC key",
    [bob, alice],
    seal({ ...alice, hmac: { type: "sha256", key: fill(64, 9) } }),
    "mac",
    "alice",
    `the HMAC is not of the key of "alice"`,
  ],
  [
    "another HMAC type",
    [bob, alice],
    seal({ ...alice, hmac: { ...alice.hmac!, type: "sha3-256" } }),
    "mac",
    "alice",
    "but the server is set to sha256",
  ],
  [
    "no HMAC",
    [bob, alice],
    seal({ ...alice, hmac: null }),
    "mac",
    "alice",
    `the passphrase of "alice" decrypts it`,
  ],
  [
    "another passphrase",
    [bob, alice],
    seal({ ...alice, key: fill(3, 3) }),
    "cipher",
    "alice",
    "does not decrypt it",
  ],
  [
    "another mode",
    [bob, alice],
    seal({ ...alice, mode: "ofb" }),
    "cipher",
    "alice",
    "in mode ofb, but the server is set to cbc",
  ],
  [
    "a client without an HMAC",
    [alice, bare],
    seal(bare),
    "request",
    "bare",
    "no HMAC",
  ],
  [
    "a stranger",
    [alice],
    seal(bob),
    "mac",
    null,
    "no HMAC key and no passphrase of 1 client fits",
  ],
  ["a short packet", [alice], fill(9, 65), "form", null, "has 9 bytes"],
  [
    "a packet with a line end",
    [alice],
    seal(alice).with(3, 10),
    "form",
    null,
    "byte 3 is 10",
  ],
  [
    "a GPG packet",
    [alice],
    fill(700, 65),
    "form",
    null,
    "does not start with one of 8 9 + /",
  ],
];

for (const [name, enrolled, packet, verdict, client, words] of cases) {
  test(`explainFwknop() explains ${name}`, () => {
    const explained = explainFwknop(enrolled, packet, fresh);
    assertEquals(explained.verdict, verdict);
    assertEquals(explained.client, client);
    const text = explained.steps.map(({ text }) => text).join("\n");
    assertStringIncludes(text, words);
    const allWell = explained.steps.every(({ ok }) => ok);
    assertEquals(allWell, verdict === "request");
    assertEquals(explained.request === null, verdict !== "request");
  });
}

test("explainFwknop() shows the fields as they were sent", () => {
  assertEquals(explainFwknop([alice], seal(alice), fresh).fields, {
    digits: random.digits,
    user: "al",
    version: "3.0.0",
    message_type: 3,
    message_kind: "access with timeout",
    message: "192.0.2.9,tcp/22",
    client_timeout: 60,
    checksum: "md5",
    hmac: "sha256",
    mode: "cbc",
  });
});

test("explainFwknop() never throws", () => {
  const packet = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.stringMatching(/^[89+/][A-Za-z0-9+/]{139,400}$/).map((text) =>
      new TextEncoder().encode(text)
    ),
  );
  fc.assert(fc.property(packet, (packet) => {
    const { verdict } = explainFwknop([alice, bob, bare], packet, fresh);
    assert(verdict !== "request");
  }));
});
