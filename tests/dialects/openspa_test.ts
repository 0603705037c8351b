import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { createCipheriv, createHash } from "node:crypto";
import { test } from "node:test";
import {
  sealSession,
  SessionOpener,
  signRsa,
} from "../../lib/dialects/crypto/rsa.ts";
import type {
  Answer,
  PacketRefusal,
  Request,
} from "../../lib/dialects/dialect.ts";
import {
  adkCheck,
  adkProof,
  parseAdkSecret,
} from "../../lib/dialects/openspa/adk.ts";
import {
  openEnvelope,
  readHeader,
  sealEnvelope,
  writeHeader,
} from "../../lib/dialects/openspa/envelope.ts";
import {
  MAX_PACKET_SIZE,
  MIN_PACKET_SIZE,
  openspaDialect,
  type OpenspaKeys,
  sealOpenspa,
} from "../../lib/dialects/openspa/open.ts";
import {
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse,
} from "../../lib/dialects/openspa/payload.ts";
import { writeItems } from "../../lib/dialects/openspa/tlv.ts";
import { UsageError } from "../../lib/values/errors.ts";
import {
  formatPortRange,
  parsePortRange,
  type PortRange,
} from "../../lib/values/ports.ts";
import { bytesOf, requestOf, sceneAt, why } from "../fakes/packets.ts";
import {
  CLIENT_PRIVATE as client,
  CLIENT_PUBLIC as clientPublic,
  RSA_PRIVATE as server,
  RSA_PUBLIC as serverPublic,
} from "../fakes/rsa.ts";
import vectors from "../vectors/openspa.json" with { type: "json" };

const NOW_MS = 1_700_000_000_000;

const hex = (text: string) => Uint8Array.fromHex(text);
const nothingSeen = sceneAt(NOW_MS);

const adkSecret = parseAdkSecret(vectors.adk_secret)!;

const uuidOf = (text: string) => hex(text.replaceAll("-", ""));
const alice = {
  name: "alice",
  uuid: uuidOf(vectors.v2[0]!.client_uuid),
  key: clientPublic,
};
/** Another client, with the server's key as its own. */
const bob = {
  name: "bob",
  uuid: uuidOf("11111111-2222-4333-8444-555555555555"),
  key: serverPublic,
};
const dialect = openspaDialect(server, [bob, alice], null);
const guarded = openspaDialect(server, [alice], adkSecret);

const keys: OpenspaKeys = {
  uuid: alice.uuid,
  key: client,
  server: serverPublic,
  adk_secret: adkSecret,
  random: bytesOf("random"),
};
const asked = {
  ports: parsePortRange("tcp/80-100")!,
  address: "88.200.23.30",
  target: "88.200.23.40",
};
const good = sealOpenspa(keys, asked, NOW_MS).packet;
const answer: Answer = {
  status: "done",
  count: 21,
  seconds: 10800,
  timeMs: NOW_MS,
  address: asked.address,
};

for (const vector of vectors.v2) {
  const ports = { first: vector.port_start, last: vector.port_end };
  const said = { protocol: "tcp", ...ports } as const;

  test(`open() opens OpenSPA's own request "${vector.name}"`, () => {
    const packet = hex(vector.request);
    assert(dialect.recognises(packet));
    const request = requestOf(dialect.open(packet, nothingSeen));
    const signed = hex(vector.request_header + vector.request_packet_tlv);
    assertEquals(request, {
      dialect: "openspa",
      client: "alice",
      action: "open",
      ports: [said],
      command: null,
      seconds: 0,
      timestampMs: vector.timestamp * 1000,
      address: vector.client_ip,
      code: null,
      identity: new Uint8Array(
        createHash("sha256").update(signed).digest(),
      ),
      wantsReply: true,
      target: vector.target_ip,
    });
  });

  test(`openEnvelope() opens OpenSPA's own response "${vector.name}"`, () => {
    const bytes = hex(vector.response);
    const letter = openEnvelope(bytes, new SessionOpener(client));
    if (typeof letter === "string") throw new Error(letter);
    assertEquals(letter.packet.toHex(), vector.response_packet_tlv);
    assertEquals(decodeResponse(letter.packet), {
      ports: said,
      target: vector.target_ip,
      seconds: vector.response_duration_s,
    });
  });

  test(`the items of "${vector.name}" are written byte for byte`, () => {
    const request = {
      timestampMs: vector.timestamp * 1000,
      uuid: alice.uuid,
      ports: said,
      address: vector.client_ip,
      target: vector.target_ip,
    };
    assertEquals(encodeRequest(request).toHex(), vector.request_packet_tlv);
    const response = {
      ports: said,
      target: vector.target_ip,
      seconds: vector.response_duration_s,
    };
    assertEquals(encodeResponse(response).toHex(), vector.response_packet_tlv);
  });

  test(`writeHeader() makes the headers of "${vector.name}"`, () => {
    for (const text of [vector.request_header, vector.response_header]) {
      assertEquals(writeHeader(readHeader(hex(text))!).toHex(), text);
    }
    assertEquals(readHeader(hex(vector.request)), {
      type: "request",
      version: 2,
      transaction: vector.transaction_id,
      suite: 1,
      adkProof: vector.adk_proof,
    });
  });

  test(`packets are as long as those of "${vector.name}"`, () => {
    assertEquals(good.length, vector.request_size);
    const opened = dialect.open(good, nothingSeen);
    if (!opened.ok) throw new Error(opened.why);
    const reply = opened.seal(answer, bytesOf("reply"));
    assertEquals(reply.length, vector.response_size);
  });
}

for (const { secret, unix_seconds, proof } of vectors.adk_vectors) {
  test(`adkProof() at ${unix_seconds} is ${proof}`, () => {
    const bytes = parseAdkSecret(secret)!;
    assertEquals(bytes.length, 4);
    assertEquals(adkProof(bytes, unix_seconds * 1000), proof);
  });
}

test("accepts() takes the proof of the minute before, of and after", () => {
  const accepts = adkCheck(adkSecret);
  for (let minute = -3; minute <= 3; minute++) {
    const proof = adkProof(adkSecret, NOW_MS + minute * 60_000);
    assertEquals(accepts(proof, NOW_MS), Math.abs(minute) <= 1);
  }
  assert(!accepts(0, NOW_MS));
});

test("parseAdkSecret() takes 7 characters of base32", () => {
  for (const text of ["", "7O4ZIR", "7O4ZIRIA", "7o4ziri", "7O4ZIR1"]) {
    assertEquals(parseAdkSecret(text), null, text);
  }
});

/** A packet sealed by hand, whose parts may be wrong. */
function seal(items: Uint8Array, over: Partial<OpenspaKeys> = {}): Uint8Array {
  const header = writeHeader({
    type: "request",
    version: 2,
    transaction: 7,
    suite: 1,
    adkProof: adkProof(adkSecret, NOW_MS),
  });
  const all = { ...keys, ...over };
  return sealEnvelope(header, items, all.key, all.server, all.random);
}

const request = { ...asked, timestampMs: NOW_MS, uuid: alice.uuid };
const items = encodeRequest(request);
const firewall = (...parts: [number, string][]) =>
  writeItems(
    [1, hex("000000006553f100")],
    [2, alice.uuid],
    [
      3,
      writeItems(
        ...parts.map(([type, text]) => [type, hex(text)] as const),
      ),
    ],
  );
const protocol: [number, string] = [1, "06"];
const ports: [number, string][] = [[2, "0050"], [3, "0064"]];
const here: [number, string] = [4, "58c8171e"];
const there: [number, string] = [6, "58c81728"];

const refused: [name: string, packet: Uint8Array, want: PacketRefusal][] = [
  ["an empty packet", new Uint8Array(), "length"],
  ["a packet too short", good.subarray(0, MIN_PACKET_SIZE - 1), "length"],
  ["a packet too long", new Uint8Array(MAX_PACKET_SIZE + 1), "length"],
  ["a response", good.with(0, 0xa0), "version"],
  ["another version", good.with(0, 0x10), "version"],
  ["another cipher suite", good.with(2, 255), "version"],
  ["a wrong ADK proof", good.with(4, good[4]! ^ 1), "adk"],
  ["no ADK proof", good.with(4, 0).with(5, 0).with(6, 0).with(7, 0), "adk"],
  ["a length past the end", good.subarray(0, good.length - 1), "form"],
  ["bytes behind the items", new Uint8Array([...good, 1]), "form"],
  ["another session", good.with(-1, good.at(-1)! ^ 1), "cipher"],
  ["another transaction", good.with(1, good[1]! ^ 1), "signature"],
  ["another first block", good.with(12, good[12]! ^ 1), "cipher"],
  [
    "a session for another key",
    seal(items, { server: clientPublic }),
    "cipher",
  ],
  ["another signer", seal(items, { key: server }), "signature"],
  [
    "a client that is not enrolled",
    seal(encodeRequest({ ...request, uuid: bytesOf("x").slice(16) })),
    "unknown client",
  ],
  ["no items", seal(new Uint8Array()), "payload"],
  ["an item past the end", seal(items.subarray(0, -1)), "payload"],
  ["no protocol", seal(firewall(...ports, here, there)), "payload"],
  [
    "port 0",
    seal(firewall(protocol, [2, "0000"], [3, "0001"], here, there)),
    "payload",
  ],
  [
    "a range that falls",
    seal(firewall(protocol, [2, "0064"], [3, "0050"], here, there)),
    "payload",
  ],
  ["no client's address", seal(firewall(protocol, ...ports, there)), "payload"],
  [
    "two client's addresses",
    seal(firewall(protocol, ...ports, here, [5, "20".repeat(16)], there)),
    "payload",
  ],
  [
    "an address of no host",
    seal(firewall(protocol, ...ports, [4, "00000000"], there)),
    "payload",
  ],
  [
    "an address of no host, mapped",
    seal(
      firewall(
        protocol,
        ...ports,
        [5, "00000000000000000000ffff00000000"],
        there,
      ),
    ),
    "payload",
  ],
  [
    "an address too long",
    seal(firewall(protocol, ...ports, [4, "58c8171e00"], there)),
    "payload",
  ],
  ["no target", seal(firewall(protocol, ...ports, here)), "payload"],
];

for (const [name, packet, want] of refused) {
  test(`open() refuses ${name}: ${want}`, () => {
    assertEquals(why(guarded.open(packet, nothingSeen)), want);
  });
}

test("open() asks before it uses the private key: rate", () => {
  const fresh = openspaDialect(server, [alice], adkSecret);
  let asked = 0;
  const scene = { ...nothingSeen, mayCost: () => ++asked > 1 };
  assertEquals(why(fresh.open(good.with(4, good[4]! ^ 1), scene)), "adk");
  assertEquals(why(fresh.open(good.subarray(0, -1), scene)), "form");
  assertEquals(asked, 0);
  assertEquals(why(fresh.open(good, scene)), "rate");
  assertEquals(why(fresh.open(good, scene)), null);
  // A copy costs the private key nothing.
  assertEquals(why(fresh.open(good, scene)), null);
  assertEquals(asked, 2);
});

for (const [name, number] of [["ICMP", 1], ["ICMPv6", 58]] as const) {
  test(`open() tells of ${name}, whatever its ports, and answers nothing`, () => {
    const item: [number, string] = [1, number.toString(16).padStart(2, "0")];
    for (const rest of [ports, []]) {
      const packet = seal(firewall(item, ...rest, here, there));
      const opened = guarded.open(packet, nothingSeen);
      assertEquals(requestOf(opened).protocol, number);
      assertEquals(requestOf(opened).ports, []);
      assertEquals(opened.ok && opened.seal(answer, bytesOf("r")).length, 0);
    }
  });
}

test("open() takes items in any order", () => {
  const packet = seal(firewall(there, here, ...ports, protocol));
  assertEquals(requestOf(guarded.open(packet, nothingSeen)).ports, [
    asked.ports,
  ]);
});

test("open() refuses a good packet with one bit of any byte flipped", () => {
  // One bit a byte, in turn: with all of them the RSA would take long.
  for (let at = 0; at < good.length; at++) {
    const flipped = good.with(at, good[at]! ^ 1 << (at & 7));
    assert(!guarded.open(flipped, nothingSeen).ok, `byte ${at}`);
  }
});

test("open() refuses every bit flipped in the header and the lengths", () => {
  const lengths = [8, 9, 265, 266, 348, 349, 605, 606];
  for (const at of [...Array(8).keys(), ...lengths]) {
    for (let bit = 0; bit < 8; bit++) {
      const flipped = good.with(at, good[at]! ^ 1 << bit);
      assert(!dialect.open(flipped, nothingSeen).ok || at === 3, `${at}`);
    }
  }
});

test("open() refuses every truncation", () => {
  for (let size = 0; size < good.length; size++) {
    const want = size < MIN_PACKET_SIZE ? "length" : "form";
    assertEquals(why(guarded.open(good.subarray(0, size), nothingSeen)), want);
  }
});

test("open() never throws, whatever the packet", () => {
  const near = fc.tuple(fc.nat(good.length - 1), fc.nat(255))
    .map(([at, byte]) => good.with(at, byte));
  const long = fc.uint8Array({ minLength: 528, maxLength: 700 })
    .map((bytes) => bytes.with(0, 0x20).with(2, 1));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), long, near), (bytes) => {
      dialect.open(bytes, nothingSeen);
    }),
    { numRuns: 200 },
  );
});

test("decodeRequest() never throws, and gives back what was written", () => {
  fc.assert(fc.property(fc.uint8Array(), (bytes) => {
    decodeRequest(bytes);
    decodeResponse(bytes);
  }));
  const port = fc.integer({ min: 1, max: 65535 });
  const address = fc.ipV4().filter((text) => text !== "0.0.0.0");
  fc.assert(fc.property(
    fc.constantFrom("tcp" as const, "udp" as const),
    port,
    port,
    address,
    fc.nat(0xffff_ffff),
    (protocol, a, b, target, seconds) => {
      const written = {
        timestampMs: seconds * 1000,
        uuid: alice.uuid,
        ports: { protocol, first: Math.min(a, b), last: Math.max(a, b) },
        address: "2001:db8::1",
        target,
      };
      assertEquals(decodeRequest(encodeRequest(written)), written);
    },
  ));
});

test("open() refuses a copy of what was accepted, in any re-encoding", () => {
  const accepted = requestOf(dialect.open(good, nothingSeen)).identity.toHex();
  const seen = (identity: Uint8Array) => identity.toHex() === accepted;
  const scene = { ...nothingSeen, seen };
  assertEquals(why(dialect.open(good, scene)), "replay");
  // The session before the ciphertext, with separators.
  const swapped = new Uint8Array([
    ...good.subarray(0, 8),
    0,
    ...good.subarray(348),
    0,
    ...good.subarray(8, 348),
  ]);
  assertEquals(why(dialect.open(swapped, scene)), "replay");
  assertEquals(why(dialect.open(swapped, nothingSeen)), null);
});

test("openReply() opens the response to its request and no other", () => {
  const sealed = sealOpenspa(keys, asked, NOW_MS);
  const opened = dialect.open(sealed.packet, nothingSeen);
  if (!opened.ok) throw new Error(opened.why);
  const reply = opened.seal(answer, bytesOf("reply"));
  assertEquals(sealed.openReply(reply), { ...answer, timeMs: 0 });
  for (const status of ["refused", "failed"] as const) {
    // OpenSPA's client would say "access for 0s".
    const silence = opened.seal({ ...answer, status }, bytesOf("r"));
    assertEquals(silence.length, 0, status);
  }
  const no = opened.seal({ ...answer, seconds: 0 }, bytesOf("r"));
  assertEquals(sealed.openReply(no), {
    ...answer,
    status: "refused",
    count: 0,
    seconds: 0,
    timeMs: 0,
  });
  const other = sealOpenspa({ ...keys, random: bytesOf("b") }, asked, NOW_MS);
  assertEquals(other.openReply(reply), null);
  assertEquals(sealed.openReply(sealed.packet), null);
  for (let at = 0; at < reply.length; at += 7) {
    const flipped = reply.with(at, reply[at]! ^ 0x10);
    assertEquals(sealed.openReply(flipped), null, `byte ${at}`);
  }
  for (const size of [0, 1, 8, 300, reply.length - 1]) {
    assertEquals(sealed.openReply(reply.subarray(0, size)), null);
  }
});

test("openReply() opens no response that grants other ports", () => {
  const sealed = sealOpenspa(keys, asked, NOW_MS);
  const { transaction } = readHeader(sealed.packet)!;
  const header = writeHeader({
    type: "response",
    version: 2,
    transaction,
    suite: 1,
    adkProof: 0,
  });
  const { protocol, first, last } = asked.ports;
  const granted: [PortRange, boolean][] = [
    [asked.ports, true],
    [{ protocol, first, last: last + 1 }, false],
    [{ protocol, first: first - 1, last }, false],
    [{ protocol: protocol === "tcp" ? "udp" : "tcp", first, last }, false],
  ];
  for (const [ports, isOurs] of granted) {
    const response = { ports, target: asked.target, seconds: 30 };
    const reply = sealEnvelope(
      header,
      encodeResponse(response),
      server,
      clientPublic,
      bytesOf("reply"),
    );
    assertEquals(sealed.openReply(reply) !== null, isOurs);
  }
});

test("open() refuses a nonce of two bytes and takes one of three", () => {
  const session = bytesOf("session").slice(0, 32);
  const whole = new Uint8Array([...session, ...session.slice(0, 16)]);
  const header = good.slice(0, 8);
  const signature = signRsa(keys.key, new Uint8Array([...header, ...items]));
  for (const [size, ok] of [[2, false], [3, true]] as const) {
    const aes = createCipheriv(
      "aes-256-cbc",
      whole.subarray(16),
      whole.subarray(0, 16),
    );
    const inner = writeItems(
      [1, items],
      [3, new Uint8Array(size)],
      [2, signature],
    );
    const padding = (size: number) => new Uint8Array(size).fill(7);
    const outer = writeItems(
      [1, new Uint8Array([...aes.update(inner), ...aes.final()])],
      [2, sealSession(keys.server, whole, padding)],
    );
    const packet = new Uint8Array([...header, ...outer]);
    const opened = dialect.open(packet, nothingSeen);
    assertEquals(opened.ok ? "ok" : opened.why, ok ? "ok" : "payload");
  }
});

test("sealOpenspa() refuses addresses that are none", () => {
  assertThrows(
    () => sealOpenspa(keys, { ...asked, address: "x" }, NOW_MS),
    UsageError,
    `the address must be one of a host, got "x"`,
  );
});

test("a range is asked for as it stands", () => {
  const sealed = sealOpenspa(
    keys,
    {
      ports: parsePortRange("udp/53")!,
      address: "2001:db8::9",
      target: "2001:db8::1",
    },
    NOW_MS,
  );
  assertEquals(sealed.packet.length, 624);
  const request = requestOf(guarded.open(sealed.packet, nothingSeen));
  assertEquals(request.ports.map(formatPortRange), ["udp/53"]);
  assertEquals(request.address, "2001:db8::9");
  assertEquals(request.target, "2001:db8::1");
});

test("open() opens each of 10,000 packets in one buffer for its own sender", () => {
  const random = (text: string) => bytesOf(text);
  const made = ["a", "b"].flatMap((text) => [
    { name: "alice", keys: { ...keys, random: random(text) } },
    {
      name: "bob",
      keys: { ...keys, uuid: bob.uuid, key: server, random: random(text) },
    },
  ]).map(({ name, keys }) => ({
    name,
    packet: sealOpenspa(keys, asked, NOW_MS).packet,
  }));
  const buffer = new Uint8Array(good.length);
  const identities = new Set<string>();
  const results: { name: string; request: Request }[] = [];
  // Copies do not cost RSA again, so all rounds fit a test.
  for (let round = 0; round < 10_000; round++) {
    if (round % 2 === 1) {
      buffer.fill(round & 0xff);
      assert(!dialect.open(buffer, nothingSeen).ok);
      continue;
    }
    const { name, packet } = made[(round / 2) % made.length]!;
    buffer.set(packet);
    const request = requestOf(dialect.open(buffer, nothingSeen));
    results.push({ name, request });
  }
  for (const { name, request } of results) {
    assertEquals(request.client, name);
    identities.add(request.identity.toHex());
  }
  assertEquals(identities.size, made.length);
});
