import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import {
  digest,
  DIGEST_TYPES,
  digestLength,
  type DigestType,
} from "../../lib/dialects/crypto/hash.ts";
import type { PacketRefusal, Scene } from "../../lib/dialects/dialect.ts";
import { decrypt } from "../../lib/dialects/fwknop/cipher.ts";
import {
  CIPHER_MODES,
  type CipherMode,
} from "../../lib/dialects/fwknop/keys.ts";
import {
  decodeMessage,
  type Message,
} from "../../lib/dialects/fwknop/message.ts";
import { fwknopDialect } from "../../lib/dialects/fwknop/open.ts";
import { readSealed, splitPacket } from "../../lib/dialects/fwknop/packet.ts";
import type {
  FwknopClient,
  FwknopRequest,
} from "../../lib/dialects/fwknop/request.ts";
import {
  fwknopRandom,
  sealFwknop,
  sealMessage,
} from "../../lib/dialects/fwknop/seal.ts";
import { formatBareBase64 } from "../../lib/values/bytes.ts";
import { UsageError } from "../../lib/values/errors.ts";
import { formatPortRange, parsePortRange } from "../../lib/values/ports.ts";
import { sceneAt } from "../fakes/packets.ts";
import file from "../vectors/fwknop.json" with { type: "json" };

interface Vector {
  readonly name: string;
  readonly key_base64: string;
  readonly hmac_key_base64: string | null;
  readonly hmac_type: string | null;
  readonly encryption_mode: string;
  readonly packet: string;
  readonly expected: Readonly<Record<string, unknown>>;
}

const vectors = file.vectors as unknown as readonly Vector[];
const NOW_MS = 1_790_000_000_000;
const ascii = (text: string) => new TextEncoder().encode(text);
const fill = (size: number, byte: number) => new Uint8Array(size).fill(byte);
const typeOf = (name: string) => name.replace("_", "-") as DigestType;

const fresh = sceneAt(NOW_MS);
const alice: FwknopClient = {
  name: "alice",
  key: fill(32, 1),
  mode: "cbc",
  hmac: { type: "sha256", key: fill(64, 2) },
};
const random = fwknopRandom(fill(16, 9));
const request: FwknopRequest = {
  action: "open",
  ports: [parsePortRange("tcp/22")!],
  command: null,
  seconds: 0,
  address: "192.0.2.9",
  forward: null,
  user: "alice",
  checksum: "sha256",
};
const good = sealFwknop(alice, request, random, NOW_MS);
const dialect = fwknopDialect([alice]);

function clientOf(vector: Vector): FwknopClient {
  return {
    name: vector.name,
    key: Uint8Array.fromBase64(vector.key_base64),
    mode: vector.encryption_mode as CipherMode,
    hmac: vector.hmac_key_base64 === null ? null : {
      type: typeOf(vector.hmac_type!),
      key: Uint8Array.fromBase64(vector.hmac_key_base64),
    },
  };
}

function messageOf(
  client: FwknopClient,
  packet: Uint8Array,
): { message: Message; salt: Uint8Array; text: string } {
  const length = client.hmac ? digestLength(client.hmac.type) : 0;
  const { salt, ciphertext } = readSealed(
    splitPacket(packet, length)!.covered,
  )!;
  const text = decrypt(client.mode, client.key, salt, ciphertext);
  const decoded = decodeMessage(text);
  if (!decoded.ok) throw new Error(decoded.why);
  return {
    message: decoded.message,
    salt,
    text: new TextDecoder().decode(text),
  };
}

/** A request as the vectors put it. */
function summaryOf(message: Message) {
  return {
    rand: message.digits,
    username: message.user,
    timestamp: message.timestamp,
    version: message.version,
    message_type: message.type,
    message: message.text,
    digest_type: message.checksum.replace("-", "_"),
    ...message.nat !== null && { nat_access: message.nat },
    ...message.timeout !== null && { client_timeout: message.timeout },
  };
}

for (const vector of vectors) {
  test(`fwknop opens the vector ${vector.name}, and seals the same bytes`, () => {
    const client = clientOf(vector);
    const packet = ascii(vector.packet);
    const { message, salt, text } = messageOf(client, packet);
    const summary: Record<string, unknown> = { ...summaryOf(message) };
    const { hmac: _h, hmac_ok: _o, digest: _d, plaintext, ...expected } =
      vector.expected;
    for (const [name, value] of Object.entries(expected)) {
      assertEquals(summary[name], value, name);
    }
    if (plaintext !== undefined) assertEquals(text, plaintext);

    const opened = fwknopDialect([client]).open(packet, fresh);
    if (!opened.ok) throw new Error(opened.why);
    assertEquals(opened.request.client, vector.name);
    assertEquals(opened.request.timestampMs, message.timestamp * 1000);
    assertEquals(opened.request.user, message.user);
    assertEquals(sealMessage(client, message, salt), packet);

    // The whole way: the request alone, with its randomness and its clock.
    const { action, ports, command, seconds, address, timestampMs, forward } =
      opened.request;
    if (action !== "open" && action !== "run") throw new Error(action);
    const again = sealFwknop(
      client,
      {
        action,
        ports,
        command,
        seconds,
        address,
        forward: forward ?? null,
        user: message.user,
        checksum: message.checksum,
      },
      { salt, digits: message.digits },
      timestampMs,
    );
    assertEquals(again, packet);
  });
}

test("fwknopDialect() makes requests of every type of message", () => {
  const cases: [Partial<Message>, Record<string, unknown> | PacketRefusal][] = [
    [{ type: 0, text: "192.0.2.9,/bin/systemctl restart nginx" }, {
      action: "run",
      command: "/bin/systemctl restart nginx",
      address: "192.0.2.9",
    }],
    [{ type: 0, text: "0.0.0.0,a,b" }, { command: "a,b", address: null }],
    [{ type: 0, text: "192.0.2.9," }, "payload"],
    [{ type: 0, text: "192.0.2.9" }, "payload"],
    [{ type: 1, text: "0.0.0.0,tcp/22,udp/53" }, {
      action: "open",
      address: null,
      ports: ["tcp/22", "udp/53"],
      seconds: 0,
      forward: undefined,
    }],
    [{ type: 1, text: "1.2.3.4,tcp/1,tcp/65535" }, {
      ports: ["tcp/1", "tcp/65535"],
    }],
    [{ type: 1, text: "1.2.3.4,tcp/0" }, "payload"],
    [{ type: 1, text: "1.2.3.4,tcp/65536" }, "payload"],
    [{ type: 1, text: "1.2.3.4,tcp/000022" }, "payload"],
    [{ type: 1, text: "1.2.3.4,tcp/22-23" }, "payload"],
    [{ type: 1, text: "1.2.3.4,icmp/1" }, "payload"],
    [{ type: 1, text: "1.2.3.4,none/0" }, "payload"],
    [{ type: 1, text: "1.2.3.4,tcp/22," }, "payload"],
    [{ type: 1, text: "1.2.3.4 ,tcp/22" }, "payload"],
    [{ type: 1, text: "01.2.3.4,tcp/22" }, "payload"],
    [{ type: 1, text: "1.2.3,tcp/22" }, "payload"],
    [{ type: 1, text: "::1,tcp/22" }, "payload"],
    [{ type: 1, text: "::ffff:1.2.3.4,tcp/22" }, "payload"],
    [{ type: 1, serverAuth: "anything" }, { seconds: 0 }],
    [{ type: 3, timeout: 120 }, { seconds: 120 }],
    [{ type: 3, timeout: 0 }, { seconds: 0 }],
    [{ type: 3, timeout: 65536, serverAuth: "x" }, { seconds: 65536 }],
    [{ type: 2, nat: "10.0.0.5,443" }, {
      ports: ["tcp/22"],
      forward: { kind: "nat", host: "10.0.0.5", port: 443 },
    }],
    [{ type: 2, nat: "web.example.org,443" }, {
      forward: { kind: "nat", host: "web.example.org", port: 443 },
    }],
    [{ type: 2, nat: "10.0.0.5" }, "payload"],
    [{ type: 2, nat: "10.0.0.5,0" }, "payload"],
    [{ type: 2, nat: "10.0.0.5,65536" }, "payload"],
    [{ type: 2, nat: "10.0.0.500,1" }, "payload"],
    [{ type: 2, nat: "a b,1" }, "payload"],
    [{ type: 2, nat: "a:1,1" }, "payload"],
    [{ type: 2, nat: "10.0.0.5,443,1" }, "payload"],
    [
      { type: 2, nat: "10.0.0.5,443", text: "1.2.3.4,tcp/1,tcp/2" },
      "payload",
    ],
    [{ type: 4, nat: "10.0.0.5,443", timeout: 9 }, {
      seconds: 9,
      forward: { kind: "nat", host: "10.0.0.5", port: 443 },
    }],
    [{ type: 5, nat: "127.0.0.1,22" }, {
      seconds: 0,
      forward: { kind: "local", host: "127.0.0.1", port: 22 },
    }],
    [{ type: 6, nat: "127.0.0.1,22", serverAuth: "x", timeout: 7 }, {
      seconds: 7,
      forward: { kind: "local", host: "127.0.0.1", port: 22 },
    }],
  ];
  for (const [fields, wanted] of cases) {
    const message = { ...plain, ...fields };
    const opened = dialect.open(sealMessage(alice, message, salt), fresh);
    const what = JSON.stringify(fields);
    if (typeof wanted === "string") {
      assertEquals(
        opened,
        { ok: false, why: wanted as PacketRefusal, client: "alice" },
        what,
      );
      continue;
    }
    if (!opened.ok) throw new Error(opened.why);
    const got: Record<string, unknown> = {
      ...opened.request,
      ports: opened.request.ports.map(formatPortRange),
    };
    for (const [name, value] of Object.entries(wanted)) {
      assertEquals(got[name], value, `${what} ${name}`);
    }
  }
});

const salt = fill(8, 3);
const plain: Message = {
  digits: "0123456789012345",
  user: "alice",
  timestamp: NOW_MS / 1000,
  version: "3.0.0",
  type: 1,
  text: "192.0.2.9,tcp/22",
  nat: null,
  serverAuth: null,
  timeout: null,
  checksum: "sha256",
};

test("fwknopDialect() refuses a packet with any one character changed", () => {
  const other = "ABab01+/89=-_\n".split("").map((c) => c.charCodeAt(0));
  for (let at = 0; at < good.length; at++) {
    for (const byte of [...other, 0, 255, good[at]! ^ 1, good[at]! ^ 32]) {
      if (byte === good[at]) continue;
      const opened = dialect.open(good.with(at, byte), fresh);
      if (opened.ok) throw new Error(`${byte} at ${at}`);
      assert(["form", "mac"].includes(opened.why));
    }
  }
});

test("fwknopDialect() refuses a packet cut or grown by any amount", () => {
  for (let size = 0; size < good.length; size++) {
    assert(!dialect.open(good.subarray(0, size), fresh).ok, `${size} bytes`);
    assert(!dialect.open(good.subarray(size + 1), fresh).ok);
  }
  for (const tail of ["=", "A", "AAAA", "A".repeat(43), "\0", "\n"]) {
    const longer = ascii(new TextDecoder().decode(good) + tail);
    assert(!dialect.open(longer, fresh).ok, tail);
  }
  assert(!dialect.recognises(fill(1501, 65)));
});

test("fwknopDialect() knows no second encoding without an HMAC", () => {
  const open = { ...alice, hmac: null };
  const none = fwknopDialect([open]);
  for (const user of ["a", "ab", "abc", "abcd", "abcdef", "abcdefghi"]) {
    const packet = sealFwknop(open, { ...request, user }, random, NOW_MS);
    const opened = none.open(packet, fresh);
    if (!opened.ok) throw new Error(opened.why);
    const seen: Scene = {
      nowMs: NOW_MS,
      seen: (identity) => identity.toHex() === opened.request.identity.toHex(),
      mayCost: () => true,
    };
    // Any other last character, and any number of blocks less or more.
    for (
      const character of ascii("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop")
    ) {
      const changed = packet.with(packet.length - 1, character);
      assert(!none.open(changed, seen).ok);
    }
    for (const by of [-32, -16, 16, 32]) {
      assert(!none.open(resize(packet, by), seen).ok, `${by}`);
    }
  }
});

test("fwknopDialect() opens what has no padding, as old clients send it", () => {
  const client = { ...alice, hmac: null };
  const none = fwknopDialect([client]);
  let cut = 0;
  for (let size = 1; size <= 48; size++) {
    const user = "u".repeat(size);
    const ports = [parsePortRange("tcp/2222")!];
    const wanted = { ...request, user, ports };
    const packet = sealFwknop(client, wanted, random, NOW_MS);
    const full = none.open(packet, fresh);
    if (!full.ok) throw new Error(full.why);
    const shorter = none.open(resize(packet, -16), fresh);
    if (!shorter.ok) continue;
    cut++;
    // Without its padding an old packet is no fresh one.
    assertEquals(shorter.request.identity, full.request.identity);
  }
  assert(cut > 0);
});

/** A packet without an HMAC, some bytes longer or shorter. */
function resize(packet: Uint8Array, by: number): Uint8Array {
  const text = "U2FsdGVkX1" + new TextDecoder().decode(packet);
  const bytes = Uint8Array.fromBase64(text, { lastChunkHandling: "loose" });
  const other = new Uint8Array(bytes.length + by);
  other.set(bytes.subarray(0, other.length));
  return ascii(other.toBase64({ omitPadding: true }).slice(10));
}

test("fwknopDialect() finds who sent it, by the HMAC first", () => {
  const others = Array.from({ length: 8 }, (_, index): FwknopClient => ({
    name: `other${index}`,
    // The same passphrase: only the HMAC tells them apart.
    key: alice.key,
    mode: "cbc",
    hmac: index === 0 ? null : {
      type: DIGEST_TYPES[index - 1]!,
      key: fill(64, 100 + index),
    },
  }));
  const many = fwknopDialect([...others, alice]);
  for (const client of [...others, alice]) {
    const opened = many.open(
      sealFwknop(client, request, random, NOW_MS),
      fresh,
    );
    if (!opened.ok) throw new Error(opened.why);
    assertEquals(opened.request.client, client.name);
  }
  const stranger = {
    ...alice,
    hmac: { type: "sha256", key: fill(9, 9) },
  } as const;
  assertEquals(
    many.open(sealFwknop(stranger, request, random, NOW_MS), fresh),
    { ok: false, why: "mac" },
  );
});

test("fwknopDialect() asks once whether a packet may cost", () => {
  let asked = 0;
  const counted: Scene = { ...fresh, mayCost: () => ++asked > 0 };
  const clients = [
    { ...alice, name: "bare", hmac: null },
    { ...alice, hmac: { type: "sha512", key: fill(9, 9) } },
    { ...alice, hmac: { type: "sha1", key: fill(9, 9) } },
  ] as const;
  const bare = sealFwknop(clients[0], request, random, NOW_MS);
  assert(fwknopDialect(clients).open(bare, counted).ok);
  assertEquals(asked, 1);
  const never: Scene = { ...fresh, mayCost: () => false };
  assertEquals(dialect.open(good, never), { ok: false, why: "rate" });
  assertEquals(dialect.open(fill(204, 65), never), { ok: false, why: "form" });
});

test("fwknopDialect() names each refusal", () => {
  const why = (client: FwknopClient, packet: Uint8Array, scene = fresh) => {
    const opened = fwknopDialect([client]).open(packet, scene);
    return opened.ok ? "request" : opened.why;
  };
  assertEquals(why(alice, good), "request");
  assertEquals(why(alice, good, { ...fresh, seen: () => true }), "replay");
  assertEquals(why({ ...alice, key: fill(32, 7) }, good), "cipher");
  assertEquals(why({ ...alice, mode: "ecb" }, good), "cipher");
  assertEquals(
    why({ ...alice, hmac: { type: "sha3-256", key: fill(64, 2) } }, good),
    "mac",
  );
  const bare = { ...alice, hmac: null };
  const packet = sealFwknop(bare, request, random, NOW_MS);
  assertEquals(why(bare, packet), "request");
  assertEquals(why(bare, packet, { ...fresh, seen: () => true }), "replay");
  assertEquals(why({ ...bare, key: fill(5, 7) }, packet), "cipher");
  assertEquals(why(alice, fill(204, 65)), "form");
  assertEquals(why(alice, new Uint8Array()), "form");
});

test("fwknop goes round in every mode, HMAC, checksum and type", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...CIPHER_MODES),
      fc.option(fc.constantFrom(...DIGEST_TYPES)),
      fc.constantFrom(...DIGEST_TYPES),
      fc.uint8Array({ minLength: 1, maxLength: 32 }),
      fc.uint8Array({ minLength: 1, maxLength: 128 }),
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.record({
        run: fc.boolean(),
        ports: fc.array(
          fc.record({
            protocol: fc.constantFrom("tcp" as const, "udp" as const),
            port: fc.integer({ min: 1, max: 65535 }),
          }),
          { minLength: 1, maxLength: 8 },
        ),
        seconds: fc.integer({ min: 0, max: 65536 }),
        address: fc.option(
          fc.ipV4().filter((text) => text !== "0.0.0.0"),
        ),
        forward: fc.option(fc.record({
          kind: fc.constantFrom("nat" as const, "local" as const),
          host: fc.oneof(fc.ipV4(), fc.domain()),
          port: fc.integer({ min: 1, max: 65535 }),
        })),
        // Long enough that no message is under fwknop's 140 bytes.
        user: fc.stringMatching(/^[A-Za-z0-9._ @-]{32,48}$/),
        command: fc.stringMatching(/^[ -~]{1,150}$/),
      }),
      (mode, type, checksum, key, macKey, bytes, made) => {
        const client: FwknopClient = {
          name: "alice",
          key,
          mode,
          hmac: type === null ? null : { type, key: macKey },
        };
        const forward = made.run ||
            (made.forward && made.forward.host.length > 150)
          ? null
          : made.forward;
        const ports = made.run ? [] : made.ports
          .map(({ protocol, port }) => ({ protocol, first: port, last: port }))
          .slice(0, forward ? 1 : 8);
        const wanted: FwknopRequest = {
          action: made.run ? "run" : "open",
          ports,
          command: made.run ? made.command : null,
          seconds: made.run ? 0 : made.seconds,
          address: made.address,
          forward,
          user: made.user,
          checksum,
        };
        const packet = sealFwknop(client, wanted, fwknopRandom(bytes), NOW_MS);
        const server = fwknopDialect([client]);
        assert(server.recognises(packet));
        const opened = server.open(packet, fresh);
        if (!opened.ok) throw new Error(opened.why);
        const { checksum: _, ...rest } = wanted;
        assertEquals({ forward: null, ...opened.request }, {
          ...rest,
          dialect: "fwknop",
          client: "alice",
          timestampMs: NOW_MS,
          code: null,
          identity: opened.request.identity,
          wantsReply: false,
        });
        assertEquals(opened.request.identity.length, 32);
      },
    ),
    { numRuns: 300 },
  );
});

test("fwknopDialect() never throws", () => {
  const clients = DIGEST_TYPES.map((type, index): FwknopClient => ({
    name: type,
    key: fill(16, 1),
    mode: CIPHER_MODES[index % CIPHER_MODES.length]!,
    hmac: { type, key: fill(16, 2) },
  }));
  const bare = CIPHER_MODES.map((mode): FwknopClient => ({
    name: mode,
    key: fill(16, 1),
    mode,
    hmac: null,
  }));
  const all = fwknopDialect([...clients, ...bare]);
  const base64 = fc.stringMatching(/^[89+/][A-Za-z0-9+/]{139,400}$/);
  fc.assert(
    fc.property(fc.oneof(base64.map(ascii), fc.uint8Array()), (packet) => {
      assert(!all.open(packet, fresh).ok);
    }),
    { numRuns: 300 },
  );
});

test("decodeMessage() never throws, and refuses what it would not write", () => {
  const text = fc.oneof(
    fc.string(),
    fc.tuple(fc.stringMatching(/^\d{16}$/), fc.string()).map(([digits, rest]) =>
      `${digits}:${rest}`
    ),
  );
  fc.assert(fc.property(text, (text) => {
    assert(!decodeMessage(ascii(text)).ok);
  }));
});

const b64 = (text: string) => formatBareBase64(ascii(text));
const fields = [
  "0123456789012345",
  b64("alice"),
  "1790000000",
  "3.0.0",
  "1",
  b64("192.0.2.9,tcp/22"),
];
const TIMED = "3";
/** Messages with a good checksum: what is changed, by place; what is added. */
const messages: readonly [
  name: string,
  change: Readonly<Record<number, string>>,
  more: readonly string[],
  ok: boolean,
][] = [
  ["nothing changed", {}, [], true],
  ["a server's word", {}, [b64("word")], true],
  ["a field more than there are", {}, [b64("word"), b64("more")], false],
  ["a timestamp of 12 digits", { 2: "179000000000" }, [], true],
  ["a timestamp of 13 digits", { 2: "1790000000000" }, [], false],
  ["a timestamp below zero", { 2: "-1" }, [], false],
  ["a version of 8 characters", { 3: "3.0.0.10" }, [], true],
  ["a version of 9 characters", { 3: "3.0.0.100" }, [], false],
  ["no version", { 3: "" }, [], false],
  ["type 7", { 4: "7" }, [], false],
  ["type 9", { 4: "9" }, [], false],
  ["type 10", { 4: "10" }, [], false],
  ["a type that is none", { 4: "x" }, [], false],
  ["a user with a control character", { 1: b64("al\x1bice") }, [], false],
  ["a user with a slash", { 1: b64("al/ice") }, [], false],
  ["a request with a control character", { 5: b64("a\x1bb") }, [], false],
  ["a request with DEL", { 5: b64("a\x7fb") }, [], false],
  ["a request with a zero", { 5: b64("a\0b") }, [], false],
  ["a request of 192 bytes", { 5: b64("a".repeat(192)) }, [], true],
  ["a request of 193 bytes", { 5: b64("a".repeat(193)) }, [], false],
  ["an empty request", { 5: "" }, [], false],
  ["spare bits in a field", { 5: "AB" }, [], false],
  ["a timeout", { 4: TIMED }, ["65535"], true],
  ["the longest timeout", { 4: TIMED }, ["65536"], true],
  ["a longer timeout", { 4: TIMED }, ["65537"], false],
  ["a timeout of six digits", { 4: TIMED }, ["000030"], false],
  ["a timeout that is no number", { 4: TIMED }, ["1e3"], false],
  ["no timeout where its type has one", { 4: TIMED }, [], false],
];
for (const [name, change, more, ok] of messages) {
  test(`decodeMessage() ${ok ? "reads" : "refuses"} a message with ${name}`, () => {
    const body = [
      ...fields.map((field, index) => change[index] ?? field),
      ...more,
    ].join(":");
    const sum = formatBareBase64(digest("sha256", ascii(body)));
    const decoded = decodeMessage(ascii(`${body}:${sum}`));
    assertEquals(decoded.ok || decoded.why, ok || "payload");
  });
}

test("fwknopRandom() makes 16 digits of any bytes", () => {
  assertEquals(fwknopRandom(fill(16, 0)).digits, "0000000000000000");
  assertEquals(fwknopRandom(fill(16, 255)).digits, "6744073709551615");
  assertEquals(fwknopRandom(fill(16, 255)).salt, fill(8, 255));
});

test("sealFwknop() says what does not go into a packet", () => {
  const cases: [Partial<FwknopRequest>, string][] = [
    [{ ports: [] }, "must name the ports"],
    [{ ports: [parsePortRange("tcp/1-100")!] }, "at most 32 ports"],
    [{ ports: [parsePortRange("tcp/10001-10030")!] }, "1 to 192 bytes"],
    [{ address: "::1" }, `only IPv4, got the address "::1"`],
    [{ address: "0.0.0.0" }, "only IPv4"],
    [{ seconds: 65537 }, "at most 65536"],
    [{ seconds: 1.5 }, "whole seconds"],
    [{ user: "" }, "user's name must have"],
    [{ user: "a:b" }, "does not go into"],
    [{ user: "u".repeat(49) }, "1 to 48 bytes"],
    [{ action: "run", command: "x".repeat(200) }, "1 to 192 bytes"],
    [{ forward: { kind: "nat", host: "h".repeat(200), port: 1 } }, "NAT"],
    [{
      forward: { kind: "nat", host: "h", port: 1 },
      ports: [parsePortRange("tcp/1-2")!],
    }, "one port at a time"],
  ];
  for (const [over, words] of cases) {
    assertThrows(
      () => sealFwknop(alice, { ...request, ...over }, random, NOW_MS),
      UsageError,
      words,
    );
  }
});
