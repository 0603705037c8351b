import { assertEquals, assertThrows } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { Buffer } from "node:buffer";
import { createHash, createHmac } from "node:crypto";
import { test } from "node:test";
import { publicKeyOf } from "../../lib/dialects/crypto/curve25519.ts";
import { hmac } from "../../lib/dialects/crypto/hash.ts";
import type {
  Answer,
  Opened,
  PacketRefusal,
  PolicyRefusal,
  Request,
} from "../../lib/dialects/dialect.ts";
import { knock1Dialect } from "../../lib/dialects/knock1/open.ts";
import {
  decodeReply,
  encodeKnock,
  encodeReply,
  type Knock,
} from "../../lib/dialects/knock1/payload.ts";
import {
  PACKET_SIZE,
  REPLY_SIZE,
  tagOf,
  tagWindows,
} from "../../lib/dialects/knock1/tag.ts";
import { parseAddress } from "../../lib/values/address.ts";
import { UsageError } from "../../lib/values/errors.ts";
import { formatPortRange, parsePortRange } from "../../lib/values/ports.ts";
import { bytesOf, sceneAt, why } from "../fakes/packets.ts";
import vectors from "../vectors/knock1.json" with { type: "json" };
import {
  type Knock1Keys,
  type SealedKnock,
  sealKnock,
  sealPayload,
} from "../../lib/dialects/knock1/seal.ts";

const MAX_SKEW_MS = 120_000;
const NOW_MS = 1_790_000_000_000;
const WINDOW = Math.floor(NOW_MS / 60_000);

const hex = (text: string) => Uint8Array.fromHex(text);

const serverPrivate = bytesOf("server");
const alice = { key: bytesOf("alice"), psk: bytesOf("alice's psk") };
const bob = { key: bytesOf("bob"), psk: bytesOf("bob's psk") };
const enrol = (name: string, { key, psk }: typeof alice) => ({
  name,
  key: publicKeyOf(key),
  psk,
});
const dialect = knock1Dialect(
  serverPrivate,
  [enrol("bob", bob), enrol("alice", alice)],
  MAX_SKEW_MS,
);

const keys: Knock1Keys = {
  server: publicKeyOf(serverPrivate),
  ...alice,
  ephemeral: bytesOf("ephemeral"),
};
const request: Omit<Knock, "timestampMs"> = {
  action: "open",
  ports: [parsePortRange("tcp/22")!],
  command: null,
  seconds: 30,
  address: "192.0.2.9",
  code: null,
  wantsReply: true,
};
const answer: Answer = {
  status: "done",
  count: 1,
  seconds: 30,
  timeMs: NOW_MS + 5,
  address: "192.0.2.9",
};

const now = sceneAt(NOW_MS);
const good = sealKnock(keys, request, NOW_MS);

function openGood(sealed: SealedKnock): Opened & { ok: true } {
  const opened = dialect.open(sealed.packet, now);
  if (!opened.ok) throw new Error(`refused: ${opened.why}`);
  return opened;
}

/** Makes the mac good again after a change, as whoever knows the server's key can. */
function withMac(packet: Uint8Array): Uint8Array {
  const key = createHash("sha256").update("knock/1 mac").update(keys.server)
    .digest();
  const mac = createHmac("sha256", key).update(packet.subarray(0, 200))
    .digest();
  const whole = packet.slice();
  whole.set(mac.subarray(0, 16), 200);
  return whole;
}

function flip(bytes: Uint8Array, bit: number): Uint8Array {
  return bytes.with(bit >> 3, bytes[bit >> 3]! ^ 1 << (bit & 7));
}

// --- the vectors

type Vector = typeof vectors[number];

function knockOf(vector: Vector): Omit<Knock, "timestampMs"> {
  const { action, items, seconds, source, reply, one_time_code } =
    vector.request;
  return {
    action: action as Knock["action"],
    ports: Array.isArray(items)
      ? items.map((item: string) => parsePortRange(item)!)
      : [],
    command: Array.isArray(items) ? null : items,
    seconds,
    address: source,
    code: one_time_code,
    wantsReply: reply,
  };
}

vectors.forEach((vector, index) => {
  const name = `vector ${index}, ${vector.request.action}`;

  test(`sealKnock() gives exactly the bytes of ${name}`, () => {
    const sealed = sealKnock(
      {
        server: hex(vector.server_public),
        key: hex(vector.client_private),
        psk: hex(vector.psk),
        ephemeral: hex(vector.ephemeral_private),
      },
      knockOf(vector),
      vector.now_ms,
    );
    assertEquals(sealed.packet.toHex(), vector.packet);
    assertEquals(
      publicKeyOf(hex(vector.client_private)).toHex(),
      vector.client_public,
    );
  });

  test(`open() gives exactly the request of ${name}`, () => {
    const server = knock1Dialect(
      hex(vector.server_private),
      [{
        name: "vector",
        key: hex(vector.client_public),
        psk: hex(vector.psk),
      }],
      MAX_SKEW_MS,
    );
    const packet = hex(vector.packet);
    const opened = server.open(packet, sceneAt(vector.now_ms));
    if (!opened.ok) throw new Error(`refused: ${opened.why}`);
    const want: Request = {
      dialect: "knock",
      client: "vector",
      ...knockOf(vector),
      timestampMs: vector.request.timestamp_ms,
      identity: packet.slice(8, 40),
    };
    assertEquals(opened.request, want);
  });
});

// --- the order of judging

test("open() refuses a good packet with any one bit flipped, by its region", () => {
  for (let bit = 0; bit < PACKET_SIZE * 8; bit++) {
    const got = why(dialect.open(flip(good.packet, bit), now));
    assertEquals(got, bit < 64 ? "tag" : "mac", `bit ${bit}`);
  }
});

test("open() refuses any one bit flipped under a good mac, and names who proved his key", () => {
  for (let bit = 64; bit < 200 * 8; bit++) {
    const opened = dialect.open(withMac(flip(good.packet, bit)), now);
    const want = bit < 88 * 8
      ? { ok: false, why: "noise" }
      : { ok: false, why: "noise", client: "alice" };
    assertEquals(opened, want as Opened, `bit ${bit}`);
  }
});

test("open() refuses every truncation and extension: length", () => {
  for (let size = 0; size < PACKET_SIZE; size++) {
    const cut = good.packet.subarray(0, size);
    assertEquals(why(dialect.open(cut, now)), "length");
    assertEquals(dialect.recognises(cut), false);
  }
  for (const more of [1, 2, 8, 1000, 65_000]) {
    const long = new Uint8Array(PACKET_SIZE + more);
    long.set(good.packet);
    assertEquals(why(dialect.open(long, now)), "length");
    assertEquals(dialect.recognises(long), false);
  }
  assertEquals(dialect.recognises(good.packet), true);
});

test("open() never throws, and opens no random bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
    assertEquals(dialect.open(bytes, now).ok, false);
  }));
  const exact = { minLength: 192, maxLength: 192 };
  fc.assert(fc.property(fc.uint8Array(exact), (message) => {
    const packet = new Uint8Array(PACKET_SIZE);
    packet.set(tagOf(keys.server, WINDOW));
    packet.set(message, 8);
    assertEquals(why(dialect.open(packet, now)), "mac");
    assertEquals(why(dialect.open(withMac(packet), now)), "noise");
  }));
});

test("open() refuses ephemeral keys of low order and out of the field", () => {
  const points = [
    "00".repeat(32),
    "01" + "00".repeat(31),
    "ff".repeat(32),
    "ec" + "ff".repeat(30) + "7f",
    "ed" + "ff".repeat(30) + "7f",
    "ee" + "ff".repeat(31),
  ];
  for (const point of points) {
    const packet = good.packet.slice();
    packet.set(hex(point), 8);
    assertEquals(why(dialect.open(withMac(packet), now)), "noise");
  }
});

test("open() refuses a wrong psk, and names the client", () => {
  const { packet } = sealKnock({ ...keys, psk: bob.psk }, request, NOW_MS);
  assertEquals(dialect.open(packet, now), {
    ok: false,
    why: "noise",
    client: "alice",
  });
});

test("open() refuses a client that is not enrolled, whatever its psk", () => {
  for (const psk of [alice.psk, bob.psk, bytesOf("other")]) {
    const { packet } = sealKnock(
      { ...keys, key: bytesOf("mallory"), psk },
      request,
      NOW_MS,
    );
    assertEquals(dialect.open(packet, now), {
      ok: false,
      why: "unknown client",
    });
  }
  const empty = knock1Dialect(serverPrivate, [], MAX_SKEW_MS);
  assertEquals(why(empty.open(good.packet, now)), "unknown client");
});

test("open() refuses a packet for another server: tag", () => {
  const other = knock1Dialect(
    bytesOf("other"),
    [enrol("alice", alice)],
    MAX_SKEW_MS,
  );
  assertEquals(why(other.open(good.packet, now)), "tag");
});

test("open() asks for a replay after the mac and before Noise", () => {
  const asked: string[] = [];
  const scene = {
    nowMs: NOW_MS,
    seen: (identity: Uint8Array) => asked.push(identity.toHex()) > 0,
    mayCost: () => true,
  };
  assertEquals(why(dialect.open(good.packet, scene)), "replay");
  const e = good.packet.slice(8, 40).toHex();
  assertEquals(asked, [e]);
  // Noise would refuse this one, but a replay is found first.
  const broken = withMac(flip(good.packet, 150 * 8));
  assertEquals(why(dialect.open(broken, scene)), "replay");
  assertEquals(asked, [e, e]);
  // Not asked: the mac, the tag or the length is wrong.
  for (const bit of [0, 100, 150 * 8, 210 * 8]) {
    dialect.open(flip(good.packet, bit), scene);
  }
  dialect.open(good.packet.subarray(1), scene);
  assertEquals(asked.length, 2);
});

test("open() asks before Noise whether that may cost", () => {
  let asked = 0;
  const scene = {
    nowMs: NOW_MS,
    seen: () => false,
    mayCost: () => ++asked > 1,
  };
  assertEquals(why(dialect.open(good.packet, scene)), "rate");
  assertEquals(dialect.open(good.packet, scene).ok, true);
  // Not asked: the tag or the mac is wrong.
  for (const bit of [0, 210 * 8]) dialect.open(flip(good.packet, bit), scene);
  assertEquals(asked, 2);
});

test("open() keeps no part of the packet", () => {
  const buffer = Buffer.from(good.packet);
  const opened = dialect.open(buffer, now);
  if (!opened.ok) throw new Error(opened.why);
  const before = structuredClone(opened.request);
  buffer.fill(0xee);
  assertEquals(opened.request, before);
  const reply = opened.seal(answer, bytesOf("reply"));
  assertEquals(good.openReply(reply), answer);
});

test("open() opens a packet of any clock within the skew, and refuses the tags beyond: tag", () => {
  const edges: [offsetMs: number, want: PacketRefusal | null][] = [
    [0, null],
    [MAX_SKEW_MS, null],
    [-MAX_SKEW_MS, null],
    [MAX_SKEW_MS + 60_000, "tag"],
    [-MAX_SKEW_MS - 60_000, "tag"],
    [86_400_000, "tag"],
    [-86_400_000, "tag"],
  ];
  for (const [offset, want] of edges) {
    const { packet } = sealKnock(keys, request, NOW_MS + offset);
    assertEquals(why(dialect.open(packet, now)), want, `${offset} ms`);
  }
  // To the millisecond: the window of the tag has just one in reach.
  const start = WINDOW * 60_000;
  const { packet } = sealKnock(keys, request, start);
  const late = start + 59_999 + MAX_SKEW_MS;
  assertEquals(why(dialect.open(packet, sceneAt(late))), null);
  assertEquals(why(dialect.open(packet, sceneAt(late + 1))), "tag");
  const early = start - MAX_SKEW_MS;
  assertEquals(why(dialect.open(packet, sceneAt(early))), null);
  assertEquals(why(dialect.open(packet, sceneAt(early - 1))), "tag");
});

test("open() follows a clock that runs, jumps and goes back", () => {
  const server = knock1Dialect(
    serverPrivate,
    [enrol("alice", alice)],
    MAX_SKEW_MS,
  );
  for (const offset of [0, 60_000, 59_000, 7_200_000, 7_260_000, -50_000, 0]) {
    const { packet } = sealKnock(keys, request, NOW_MS + offset);
    assertEquals(why(server.open(packet, sceneAt(NOW_MS + offset))), null);
  }
});

test("tagWindows() are those whose tags open() takes", () => {
  assertEquals(tagWindows(600_000, 120_000), [8, 9, 10, 11, 12]);
  assertEquals(tagWindows(659_999, 120_000), [8, 9, 10, 11, 12]);
  assertEquals(tagWindows(660_000, 120_000), [9, 10, 11, 12, 13]);
  assertEquals(tagWindows(630_000, 20_000), [10]);
  assertEquals(tagWindows(630_000, 0), [10]);
  assertEquals(tagWindows(630_000, 40_000), [9, 10, 11]);
});

test("tagOf() computes the first eight bytes of a vector's packet", () => {
  for (const { server_public, now_ms, packet } of vectors) {
    const tag = tagOf(hex(server_public), Math.floor(now_ms / 60_000));
    assertEquals(tag.toHex(), packet.slice(0, 16));
  }
});

test("hmac() computes what node:crypto does", () => {
  const key = { maxLength: 200 };
  fc.assert(fc.property(fc.uint8Array(key), fc.uint8Array(), (key, message) => {
    const authenticate = hmac("sha256", key);
    const want = createHmac("sha256", key).update(message).digest("hex");
    assertEquals(authenticate(message).toHex(), want);
    assertEquals(authenticate(message).toHex(), want, "a second time");
  }));
  // Keys around the size of a block, and every place where a message can end.
  const all = Uint8Array.from({ length: 200 }, (_, index) => index);
  for (let length = 0; length <= all.length; length++) {
    const part = all.subarray(0, length);
    for (const [key, message] of [[all.subarray(0, 32), part], [part, all]]) {
      const want = createHmac("sha256", key!).update(message!).digest("hex");
      assertEquals(hmac("sha256", key!)(message!).toHex(), want, `${length}`);
    }
  }
});

// --- the payload

const raw = (changes: Record<number, number[]>): Uint8Array => {
  const payload = encodeKnock({ ...request, timestampMs: NOW_MS });
  for (const [offset, bytes] of Object.entries(changes)) {
    payload.set(bytes, Number(offset));
  }
  return payload;
};
const zeros = (count: number) => new Array<number>(count).fill(0);
const run = (count: number[], ...name: number[]) =>
  raw({ 0: [3], 2: count, 36: [...name, ...zeros(60 - name.length)] });
const ping = { 0: [4], 2: [0, 0], 36: zeros(60) };

const refused: [name: string, payload: Uint8Array][] = [
  ["action 0", raw({ 0: [0] })],
  ["action 5", raw({ 0: [5] })],
  ["action 255", raw({ 0: [255] })],
  ["an unknown flag", raw({ 1: [2] })],
  ["an unknown flag beside a known one", raw({ 1: [3] })],
  ["the highest flag", raw({ 1: [0x81] })],
  ["a port less than it counts", raw({ 2: [0, 0] })],
  ["a port more than it counts", raw({ 2: [0, 2] })],
  ["16 ports", raw({ 2: [0, 16] })],
  ["256 ports", raw({ 2: [1, 0] })],
  ["65535 ports", raw({ 2: [255, 255] })],
  ["one-time code 1000000", raw({ 32: [0, 0x0f, 0x42, 0x41] })],
  ["one-time code 4294967294", raw({ 32: [255, 255, 255, 255] })],
  ["protocol 0", raw({ 36: [0] })],
  ["protocol 1", raw({ 36: [1] })],
  ["protocol 7", raw({ 36: [7] })],
  ["a byte set between protocol and port", raw({ 37: [1] })],
  ["port 0", raw({ 38: [0, 0] })],
  ["a byte set after the last port", raw({ 40: [6] })],
  ["a byte set at the end", raw({ 95: [1] })],
  ["close with a byte set after its port", raw({ 0: [2], 43: [1] })],
  ["ping with a port", raw({ 0: [4] })],
  ["ping with a count", raw({ ...ping, 2: [0, 1] })],
  ["ping with a byte set at the end", raw({ ...ping, 95: [1] })],
  ["run without a name", run([0, 0])],
  ["run with a name and no count", run([0, 0], 0x78)],
  ["run with a name longer than its count", run([0, 1], 0x78, 0x79)],
  ["run with 61 bytes", run([0, 61], ...new Array(60).fill(0x78))],
  ["run with 257 bytes", run([1, 1], 0x78)],
  ["run with a byte that is not UTF-8", run([0, 1], 0xff)],
  ["run with a cut character", run([0, 1], 0xc3)],
  ["run with an overlong character", run([0, 2], 0xc0, 0xaf)],
  ["run with a surrogate", run([0, 3], 0xed, 0xa0, 0x80)],
  ["95 bytes", raw({}).subarray(1)],
];

for (const [name, payload] of refused) {
  test(`open() refuses a payload with ${name}`, () => {
    const { packet } = sealPayload(keys, payload, WINDOW);
    const want: Opened = payload.length === 96
      ? { ok: false, why: "payload", client: "alice" }
      : { ok: false, why: "length" };
    assertEquals(dialect.open(packet, now), want);
  });
}

const accepted: [name: string, payload: Uint8Array, want: Partial<Request>][] =
  [
    ["code 0", raw({ 32: [0, 0, 0, 1] }), { code: 0 }],
    ["code 999999", raw({ 32: [0, 0x0f, 0x42, 0x40] }), { code: 999_999 }],
    ["no ports", raw({ 2: [0, 0], 36: zeros(4) }), { ports: [] }],
    ["no address", raw({ 16: zeros(16) }), { address: null }],
    ["address ::1", raw({ 16: [...zeros(15), 1] }), { address: "::1" }],
    ["seconds 4294967295", raw({ 4: [255, 255, 255, 255] }), {
      seconds: 0xffff_ffff,
    }],
    ["a time of long ago", raw({ 8: zeros(8) }), { timestampMs: 0 }],
    ["the last time", raw({ 8: new Array(8).fill(255) }), {
      timestampMs: 2 ** 64,
    }],
    ["ping", raw(ping), { action: "ping", ports: [] }],
    ["a byte order mark in a name", run([0, 4], 0xef, 0xbb, 0xbf, 0x78), {
      command: "\ufeffx",
    }],
  ];

for (const [name, payload, want] of accepted) {
  test(`open() accepts a payload with ${name}`, () => {
    const opened = openGood(sealPayload(keys, payload, WINDOW));
    assertEquals({ ...opened.request, ...want }, opened.request);
  });
}

// --- sealing

const addresses = fc.oneof(
  fc.constant(null),
  fc.ipV4().map((text) => parseAddress(text)!),
  fc.ipV6().map((text) => parseAddress(text)!).filter((text) => text !== "::"),
);
const port = fc.record({
  protocol: fc.constantFrom("tcp", "udp"),
  port: fc.integer({ min: 1, max: 65_535 }),
}).map(({ protocol, port }) => parsePortRange(`${protocol}/${port}`)!);
const command = fc.string({ unit: "binary", minLength: 1, maxLength: 60 })
  .filter((name) => new TextEncoder().encode(name).length <= 60);
const common = {
  seconds: fc.integer({ min: 0, max: 0xffff_ffff }),
  address: addresses,
  code: fc.option(fc.integer({ min: 0, max: 999_999 })),
  wantsReply: fc.boolean(),
};
const none = { ports: fc.constant([]), command: fc.constant(null) };
const requests = fc.oneof(
  fc.record({
    ...common,
    ...none,
    action: fc.constantFrom("open", "close"),
    ports: fc.array(port, { maxLength: 15 }),
  }),
  fc.record({ ...common, ...none, action: fc.constant("run"), command }),
  fc.record({ ...common, ...none, action: fc.constant("ping") }),
) as fc.Arbitrary<Omit<Knock, "timestampMs">>;
const answers: fc.Arbitrary<Answer> = fc.record({
  status: fc.constantFrom("done" as const, "refused", "failed"),
  count: fc.integer({ min: 0, max: 65_535 }),
  seconds: fc.integer({ min: 0, max: 0xffff_ffff }),
  timeMs: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  address: addresses.map((address) => address ?? "192.0.2.1"),
});

test("open() gives back every request that sealKnock() seals, and seal() every answer", () => {
  const seed = fc.uint8Array({ minLength: 32, maxLength: 32 });
  const time = fc.integer({ min: 0, max: 2 ** 52 });
  fc.assert(
    fc.property(requests, answers, seed, time, (wanted, answer, seed, ms) => {
      const sealed = sealKnock({ ...keys, ephemeral: seed }, wanted, ms);
      assertEquals(sealed.packet.length, PACKET_SIZE);
      const opened = dialect.open(sealed.packet, sceneAt(ms));
      if (!opened.ok) throw new Error(opened.why);
      assertEquals(opened.request, {
        dialect: "knock",
        client: "alice",
        ...wanted,
        timestampMs: ms,
        identity: sealed.packet.slice(8, 40),
      });
      const reply = opened.seal(answer, seed.map((byte) => byte ^ 0x55));
      assertEquals(reply.length, REPLY_SIZE);
      assertEquals(sealed.openReply(reply), answer);
    }),
  );
});

test("sealKnock() writes a range as its ports", () => {
  const wanted = ["tcp/8080-8083", "udp/53"].map((text) =>
    parsePortRange(text)!
  );
  const opened = openGood(
    sealKnock(keys, { ...request, ports: wanted }, NOW_MS),
  );
  assertEquals(
    opened.request.ports.map(formatPortRange),
    ["tcp/8080", "tcp/8081", "tcp/8082", "tcp/8083", "udp/53"],
  );
});

const impossible: [
  name: string,
  change: Partial<Knock>,
  message: string,
][] = [
  [
    "16 ports",
    { ports: [parsePortRange("tcp/1-16")!] },
    'a knock names at most 15 ports, got "16"',
  ],
  [
    "a command without a name",
    { action: "run", command: "" },
    'a command\'s name must have 1 to 60 bytes, got ""',
  ],
  [
    "a command with a name of 61 bytes",
    { action: "run", command: "x".repeat(61) },
    "must have 1 to 60 bytes",
  ],
  [
    "a command with half a character",
    { action: "run", command: "\ud800" },
    "must have 1 to 60 bytes",
  ],
  [
    "too many seconds",
    { seconds: 2 ** 32 },
    'must be 0 to 4294967295 whole seconds, got "4294967296"',
  ],
  ["half a second", { seconds: 0.5 }, 'whole seconds, got "0.5"'],
  [
    "a code of seven digits",
    { code: 1_000_000 },
    "a one-time code must have six digits",
  ],
  [
    "an address that is none",
    { address: "home" },
    'the address must be one of a host, got "home"',
  ],
  [
    "the address ::",
    { address: "::" },
    'the address must be one of a host, got "::"',
  ],
];

for (const [name, change, message] of impossible) {
  test(`sealKnock() throws for ${name}`, () => {
    assertThrows(
      () => sealKnock(keys, { ...request, ...change }, NOW_MS),
      UsageError,
      message,
    );
  });
}

test("sealKnock() throws for a server key of low order", () => {
  assertThrows(
    () => sealKnock({ ...keys, server: new Uint8Array(32) }, request, NOW_MS),
    UsageError,
    "the server's public key is not usable",
  );
});

// --- the reply

test("openReply() refuses a reply with any one bit flipped, cut or longer", () => {
  const reply = openGood(good).seal(answer, bytesOf("reply"));
  assertEquals(good.openReply(reply), answer);
  for (let bit = 0; bit < REPLY_SIZE * 8; bit++) {
    assertEquals(good.openReply(flip(reply, bit)), null, `bit ${bit}`);
  }
  for (let size = 0; size < REPLY_SIZE; size++) {
    assertEquals(good.openReply(reply.subarray(0, size)), null);
  }
  assertEquals(good.openReply(new Uint8Array([...reply, 0])), null);
});

test("openReply() refuses the reply to another packet of the same client", () => {
  const other = sealKnock(
    { ...keys, ephemeral: bytesOf("other") },
    request,
    NOW_MS,
  );
  const reply = openGood(other).seal(answer, bytesOf("reply"));
  assertEquals(other.openReply(reply), answer);
  assertEquals(good.openReply(reply), null);
});

test("openReply() never throws, whatever the bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
    assertEquals(good.openReply(bytes), null);
  }));
  const exact = { minLength: REPLY_SIZE, maxLength: REPLY_SIZE };
  fc.assert(fc.property(fc.uint8Array(exact), (bytes) => {
    assertEquals(good.openReply(bytes), null);
  }));
});

const REASONS: readonly PolicyRefusal[] = [
  "expired",
  "hours",
  "address required",
  "address",
  "source",
  "ports",
  "nothing to open",
  "command",
  "code",
  "code used",
  "code tries",
  "forward",
];

test("decodeReply() reads each reason of a refusal, and ignores others", () => {
  const refused = { ...answer, status: "refused" } as const;
  for (const [index, reason] of REASONS.entries()) {
    const bytes = encodeReply({ ...refused, reason });
    assertEquals(bytes[1], index + 1);
    assertEquals(decodeReply(bytes), { ...refused, reason });
  }
  assertEquals(encodeReply({ ...refused, reason: "protocol" })[1], 0);
  assertEquals(decodeReply(encodeReply(refused).with(1, 13)), refused);
  assertEquals(decodeReply(encodeReply(refused).with(1, 255)), refused);
  assertEquals(encodeReply({ ...answer, reason: "hours" })[1], 0);
});

test("decodeReply() refuses what has no meaning", () => {
  const bytes = encodeReply(answer);
  assertEquals(decodeReply(bytes), answer);
  assertEquals(decodeReply(bytes.with(0, 2))?.status, "failed");
  assertEquals(decodeReply(bytes.with(0, 1))?.status, "refused");
  assertEquals(decodeReply(bytes.with(0, 3)), null);
  assertEquals(decodeReply(bytes.with(1, 1)), null);
  assertEquals(decodeReply(bytes.with(0, 2).with(1, 1)), null);
  assertEquals(decodeReply(bytes.subarray(1)), null);
});
