import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import {
  publicKeyOf,
  verifyingKeyOf,
} from "../../lib/dialects/crypto/curve25519.ts";
import type { Opened, PacketRefusal } from "../../lib/dialects/dialect.ts";
import {
  openmeDialect,
  type OpenmeKeys,
  PACKET_SIZE,
  sealOpenme,
} from "../../lib/dialects/openme/open.ts";
import { openmeExplain } from "../../lib/dialects/openme/explain.ts";
import { UsageError } from "../../lib/values/errors.ts";
import { bytesOf, requestOf, sceneAt, why } from "../fakes/packets.ts";
import vectors from "../vectors/openme.json" with { type: "json" };

const NOW_MS = 1_790_000_000_000;
const NOW_NS = BigInt(NOW_MS) * 1_000_000n;

const hex = (text: string) => Uint8Array.fromHex(text);
const nothingSeen = sceneAt(NOW_MS);

const serverPrivate = bytesOf("server");
const names = ["alice", "bob", "carol"];
const dialect = openmeDialect(
  serverPrivate,
  names.map((name) => ({ name, key: verifyingKeyOf(bytesOf(name)) })),
);
const keysOf = (name: string, count = 0): OpenmeKeys => ({
  server: publicKeyOf(serverPrivate),
  key: bytesOf(name),
  ephemeral: bytesOf(`${name} ephemeral ${count}`),
  nonce: bytesOf(`${name} nonce ${count}`).slice(0, 12),
  random: bytesOf(`${name} random ${count}`).slice(0, 16),
});
const good = sealOpenme(keysOf("bob"), "192.0.2.9", NOW_NS);

for (const vector of vectors.deterministic) {
  const target = vector.target_ip === "(source)" ? null : vector.target_ip;

  test(`sealOpenme() makes the vector "${vector.name}"`, () => {
    const packet = sealOpenme(
      {
        server: hex(vector.server_x25519_public),
        key: hex(vector.client_ed25519_seed),
        ephemeral: hex(vector.ephemeral_x25519_private),
        nonce: hex(vector.aead_nonce),
        random: hex(vector.random_nonce),
      },
      target,
      BigInt(vector.timestamp_unix_ns),
    );
    assertEquals(packet.toHex(), vector.packet);
  });

  test(`open() opens the vector "${vector.name}"`, () => {
    const key = hex(vector.client_ed25519_public);
    const opened = openmeDialect(hex(vector.server_x25519_private), [
      { name: "other", key: verifyingKeyOf(bytesOf("other")) },
      { name: "client", key },
    ]).open(hex(vector.packet), nothingSeen);
    assertEquals(requestOf(opened), {
      dialect: "openme",
      client: "client",
      action: "open",
      ports: [],
      command: null,
      seconds: 0,
      timestampMs: 1_700_000_000_123,
      address: target,
      code: null,
      identity: Uint8Array.fromHex(
        vector.random_nonce + vector.client_ed25519_public,
      ),
      wantsReply: false,
    });
  });
}

test("open() opens packets of openme's own command line", () => {
  const { captured } = vectors;
  const client = { name: "cli", key: hex(captured.client_ed25519_public) };
  const server = openmeDialect(hex(captured.server_x25519_private), [client]);
  for (const { packet, timestamp_unix_ns } of captured.packets) {
    const opened = server.open(hex(packet), nothingSeen);
    const request = requestOf(opened);
    assertEquals(
      request.timestampMs,
      Number(BigInt(timestamp_unix_ns) / 1_000_000n),
    );
    assertEquals(request.address, null);
  }
});

const refused: [name: string, packet: Uint8Array, want: PacketRefusal][] = [
  ["an empty packet", new Uint8Array(), "length"],
  ["a byte too many", new Uint8Array([...good, 0]), "length"],
  ["a later version", good.with(0, 2), "version"],
  ["another ephemeral key", good.with(1, good[1]! ^ 1), "cipher"],
  [
    "a key of low order",
    new Uint8Array([...good]).fill(0, 1, 33),
    "cipher",
  ],
  ["a changed nonce", good.with(33, good[33]! ^ 1), "cipher"],
  ["a changed tag", good.with(100, good[100]! ^ 1), "cipher"],
  ["a changed signature", good.with(164, good[164]! ^ 1), "unknown client"],
  [
    "a client that is not enrolled",
    sealOpenme(keysOf("mallory"), null, NOW_NS),
    "unknown client",
  ],
];

for (const [name, packet, want] of refused) {
  test(`open() refuses ${name}: ${want}`, () => {
    assertEquals(why(dialect.open(packet, nothingSeen)), want);
  });
}

test("open() refuses a good packet with any one bit flipped", () => {
  for (let bit = 0; bit < PACKET_SIZE * 8; bit++) {
    const at = bit >> 3;
    const flipped = good.with(at, good[at]! ^ 1 << (bit & 7));
    assert(!dialect.open(flipped, nothingSeen).ok, `bit ${bit}`);
  }
});

test("open() refuses every truncation", () => {
  for (let size = 0; size < PACKET_SIZE; size++) {
    const cut = good.subarray(0, size);
    assertEquals(why(dialect.open(cut, nothingSeen)), "length");
    assert(!dialect.recognises(cut));
  }
});

test("open() refuses a copy of what was accepted before it tries signatures", () => {
  const opened = dialect.open(good, nothingSeen);
  const accepted = requestOf(opened).identity.toHex();
  const seen = (identity: Uint8Array) => identity.toHex() === accepted;
  const copy = good.with(164, good[164]! ^ 1);
  assertEquals(why(dialect.open(copy, { ...nothingSeen, seen })), "replay");
  // Nobody else knows these random bytes, so another signer is a copy too.
  const other = sealOpenme(
    { ...keysOf("alice"), random: keysOf("bob").random },
    null,
    NOW_NS,
  );
  assertEquals(why(dialect.open(other, { ...nothingSeen, seen })), "replay");
});

test("open() asks before it agrees on a key: rate", () => {
  let asked = 0;
  const scene = { ...nothingSeen, mayCost: () => ++asked > 1 };
  assertEquals(why(dialect.open(good.with(0, 2), scene)), "version");
  assertEquals(asked, 0);
  assertEquals(why(dialect.open(good, scene)), "rate");
  assertEquals(why(dialect.open(good, scene)), null);
});

test("open() takes both forms of no address as the packet's source", () => {
  const packet = sealOpenme(keysOf("bob"), null, NOW_NS);
  const opened = dialect.open(packet, nothingSeen);
  assertEquals(requestOf(opened).address, null);
  for (const address of ["0.0.0.0", "::", "x"]) {
    assertThrows(
      () => sealOpenme(keysOf("bob"), address, NOW_NS),
      UsageError,
      `the address must be one of a host, got "${address}"`,
    );
  }
});

test("sealOpenme() refuses a server key of low order", () => {
  const keys = { ...keysOf("bob"), server: new Uint8Array(32) };
  assertThrows(() => sealOpenme(keys, null, NOW_NS), UsageError);
});

test("open() gives back what was sealed", () => {
  const address = fc.oneof(
    fc.constant(null),
    fc.ipV4().filter((text) => text !== "0.0.0.0"),
  );
  fc.assert(
    fc.property(
      address,
      fc.integer({ min: -(2 ** 42), max: 2 ** 43 - 1 }),
      fc.constantFrom(...names),
      (address, timeMs, name) => {
        const timeNs = BigInt(timeMs) * 1_000_000n;
        const packet = sealOpenme(keysOf(name), address, timeNs);
        const opened = dialect.open(packet, nothingSeen);
        const request = requestOf(opened);
        assertEquals(request.client, name);
        assertEquals(request.address, address);
        assertEquals(request.timestampMs, timeMs);
      },
    ),
    { numRuns: 100 },
  );
});

test("open() never throws, whatever the packet", () => {
  const sized = fc.uint8Array({ minLength: PACKET_SIZE, maxLength: 165 })
    .map((bytes) => bytes.with(0, 1));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), sized), (bytes) => {
      assert(!dialect.open(bytes, nothingSeen).ok);
    }),
    { numRuns: 500 },
  );
});

test("open() keeps nothing of a buffer that the next packet fills", () => {
  const buffer = new Uint8Array(PACKET_SIZE);
  const seen = new Set<string>();
  // A few packets of each, laid into one buffer 10,000 times, junk between.
  const packets = names.flatMap((name) =>
    [0, 1, 2].map((count) => ({
      name,
      random: keysOf(name, count).random.toHex(),
      packet: sealOpenme(keysOf(name, count), null, NOW_NS),
    }))
  );
  const opened: { opened: Opened; name: string; random: string }[] = [];
  for (let round = 0; round < 10_000; round++) {
    if (round % 2 === 1) {
      buffer.fill(round & 0xff);
      buffer[0] = round % 4 === 1 ? 1 : 2;
      assert(!dialect.open(buffer, nothingSeen).ok);
      continue;
    }
    const { packet, name, random } = packets[(round / 2) % packets.length]!;
    buffer.set(packet);
    opened.push({ opened: dialect.open(buffer, nothingSeen), name, random });
  }
  for (const { opened: result, name, random } of opened) {
    const request = requestOf(result);
    assertEquals(request.client, name);
    const identity = request.identity.toHex();
    assert(identity.startsWith(random));
    seen.add(identity);
  }
  assertEquals(seen.size, packets.length);
});

test("hasForm() looks at what is in the clear", () => {
  const packet = hex(vectors.deterministic[0]!.packet);
  assert(openmeExplain.hasForm(packet));
  assert(!openmeExplain.hasForm(good.subarray(1)));
  packet[0] = 2;
  assert(!openmeExplain.hasForm(packet));
});
