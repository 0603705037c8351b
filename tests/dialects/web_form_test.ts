import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { createHash, createHmac } from "node:crypto";
import { test } from "node:test";
import { readStunAnswer } from "../../lib/client/address/stun.ts";
import {
  agree,
  importPublicKey,
  keyPairOf,
} from "../../lib/dialects/crypto/curve25519.ts";
import { tagOf } from "../../lib/dialects/knock1/tag.ts";
import {
  readWebPacket,
  Repeats,
  WEB_SIZE,
  webOpener,
  webTagText,
} from "../../lib/dialects/knock1/web/form.ts";
import type { Answer, Dialect, Scene } from "../../lib/dialects/dialect.ts";
import { knock1Dialect } from "../../lib/dialects/knock1/open.ts";
import {
  errorAnswer,
  successAnswer,
} from "../../lib/dialects/knock1/web/stun.ts";
import { UsageError } from "../../lib/values/errors.ts";
import { formatPortRange, parsePortRange } from "../../lib/values/ports.ts";
import { sceneAt } from "../fakes/packets.ts";
import { sealWebKnock, writeCheck } from "../fakes/web_knock.ts";
import web from "../vectors/knock1-web.json" with { type: "json" };

const MAX_SKEW_MS = 120_000;
const hex = (text: string) => Uint8Array.fromHex(text);

const { vectors } = web;
type Vector = typeof vectors[number];

function openerOf(vector: Vector, enrolled = true) {
  const own = keyPairOf(hex(vector.server_private));
  const publicKey = importPublicKey(hex(vector.client_public));
  return webOpener(
    own,
    MAX_SKEW_MS,
    (key) =>
      enrolled && key.toHex() === vector.client_public
        ? {
          name: "alice",
          psk: hex(vector.psk),
          publicKey,
          staticSecret: () => agree(own.secret, publicKey),
        }
        : null,
  );
}

function requestOf({ request }: Vector) {
  const { action, items, seconds, source, one_time_code } = request;
  return {
    action: action as "open" | "close" | "run" | "ping",
    ports: Array.isArray(items)
      ? items.map((item: string) => parsePortRange(item)!)
      : [],
    command: Array.isArray(items) ? null : items,
    seconds,
    address: source,
    code: one_time_code,
  };
}

function keysOf(vector: Vector) {
  return {
    server: hex(vector.server_public),
    key: hex(vector.client_private),
    psk: hex(vector.psk),
    ephemeral: hex(vector.ephemeral_private),
  };
}

function why(opened: ReturnType<typeof open>): string {
  return opened.ok ? "ok" : opened.why;
}

const first = vectors[0]!;
const open = openerOf(first);
const datagram = hex(first.datagram);
const scene = sceneAt(first.now_ms);

for (const [index, vector] of vectors.entries()) {
  test(`web vector ${index}: the datagram opens to its request`, () => {
    const opened = openerOf(vector)(
      hex(vector.datagram),
      sceneAt(vector.now_ms),
    );
    if (!opened.ok) throw new Error(opened.why);
    assertEquals(opened.password, vector.pwd);
    const { request } = opened;
    const { items, action, seconds, source, one_time_code, timestamp_ms } =
      vector.request;
    assertEquals(request.action, action);
    assertEquals(
      request.command ?? request.ports.map(formatPortRange),
      items,
    );
    assertEquals(request.seconds, seconds);
    assertEquals(request.address, source);
    assertEquals(request.code, one_time_code);
    assertEquals(request.timestampMs, timestamp_ms);
    assertEquals(request.wantsReply, true);
    assertEquals(request.identity.toHex().length, 64);
  });

  test(`web vector ${index}: the request seals to its ufrag and pwd`, () => {
    assertEquals(
      sealWebKnock(keysOf(vector), requestOf(vector), vector.now_ms),
      { ufrag: vector.ufrag, pwd: vector.pwd },
    );
  });
}

test("a web knock begins with the text that the prefilter lets pass", () => {
  const window = Math.floor(first.now_ms / 60_000);
  const tag = tagOf(hex(first.server_public), window);
  assertEquals(first.ufrag.slice(0, 8), webTagText(tag));
});

test("readWebPacket() refuses each changed bit of the header by form, or leaves the knock whole", () => {
  // The transaction alone is free: 12 bytes that MESSAGE-INTEGRITY covers.
  for (let bit = 0; bit < 24 * 8; bit++) {
    const at = bit >> 3;
    const got = why(open(flip(datagram, bit), scene));
    // FINGERPRINT covers everything, so each is a wrong form.
    assertEquals(got, "form", `byte ${at}`);
  }
});

/** Makes FINGERPRINT good again after a change, as anybody can. */
function withFingerprint(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  // Without the attribute: it is not required.
  const cut = bytes.slice(0, bytes.length - 8);
  new DataView(cut.buffer).setUint16(2, cut.length - 20);
  return cut;
}

function flip(bytes: Uint8Array, bit: number): Uint8Array<ArrayBuffer> {
  const copy = bytes.slice();
  copy[bit >> 3]! ^= 1 << (bit & 7);
  return copy;
}

test("a web knock without FINGERPRINT opens", () => {
  assertEquals(why(open(withFingerprint(datagram), scene)), "ok");
});

test("every bit flipped in the 186 bytes is refused by name", () => {
  const packet = Uint8Array.fromBase64(first.ufrag);
  for (let bit = 0; bit < WEB_SIZE * 8; bit++) {
    const ufrag = flip(packet, bit).toBase64();
    const check = writeCheck(
      `${ufrag}:abcd`,
      hex(first.transaction),
      first.pwd,
    );
    const got = why(open(check, scene));
    assertEquals(got, bit < 6 * 8 ? "tag" : "mac", `bit ${bit}`);
  }
});

test("every bit flipped behind the mac's gate is refused by name", () => {
  // Who knows the server's public key can make the mac good again.
  const packet = Uint8Array.fromBase64(first.ufrag);
  const key = createHash("sha256").update("knock/1 web mac")
    .update(hex(first.server_public)).digest();
  for (let bit = 6 * 8; bit < 170 * 8; bit++) {
    const changed = flip(packet, bit);
    const mac = createHmac("sha256", key).update(changed.subarray(0, 170))
      .digest();
    changed.set(mac.subarray(0, 16), 170);
    const check = writeCheck(
      `${changed.toBase64()}:abcd`,
      hex(first.transaction),
      first.pwd,
    );
    assertEquals(why(open(check, scene)), "noise", `bit ${bit}`);
  }
});

test("every bit flipped in the checked part of the datagram is refused by name", () => {
  const bare = withFingerprint(datagram);
  const ufragEnd = 24 + 248;
  for (let bit = 0; bit < bare.length * 8; bit++) {
    const at = bit >> 3;
    const got = why(open(flip(bare, bit), scene));
    const wanted = at < 8
      ? ["form"]
      : at < 20
      ? ["integrity"]
      : at < 23
      ? ["form"]
      // A username that ends within its padding is one with another text.
      : at < 24
      ? ["form", "integrity"]
      : at < ufragEnd
      // Another character of the alphabet, or none of it.
      ? ["form", "tag", "mac"]
      : ["integrity", "form"];
    assert(wanted.includes(got), `byte ${at}: ${got}`);
  }
});

const refused: [string, () => ReturnType<typeof open>, string][] = [
  [
    "a client that is not enrolled for browsers",
    () => openerOf(first, false)(datagram, scene),
    "unknown client",
  ],
  [
    "a tag of three minutes ago",
    () => open(datagram, sceneAt(first.now_ms + 240_000)),
    "tag",
  ],
  [
    "a copy of an accepted one",
    () => open(datagram, { ...scene, seen: () => true }),
    "replay",
  ],
  [
    "one too many",
    () => open(datagram, { ...scene, mayCost: () => false }),
    "rate",
  ],
  ["another's password", () =>
    open(
      writeCheck(`${first.ufrag}:abcd`, hex(first.transaction), "x".repeat(43)),
      scene,
    ), "integrity"],
  ["a local ufrag of two characters", () =>
    open(
      writeCheck(`${first.ufrag}:ab`, hex(first.transaction), first.pwd),
      scene,
    ), "form"],
  ["a ufrag with a character more", () =>
    open(
      writeCheck(`${first.ufrag}A:abcd`, hex(first.transaction), first.pwd),
      scene,
    ), "form"],
  ["64 KB of attributes", () =>
    open(
      writeCheck(`${first.ufrag}:abcd`, hex(first.transaction), first.pwd, [
        [0x802a, new Uint8Array(60_000)],
      ]),
      scene,
    ), "form"],
  [
    "STUN of other programs",
    () => open(writeCheck("alice:bob", hex(first.transaction), "pwd"), scene),
    "form",
  ],
  ["a length that lies", () => {
    const lying = datagram.slice();
    lying[3]! -= 4;
    return open(lying, scene);
  }, "form"],
];
for (const [name, opening, wanted] of refused) {
  test(`webOpener() refuses ${name}: ${wanted}`, () => {
    assertEquals(why(opening()), wanted);
  });
}

/** A message cut to so many bytes, with a length that is right again. */
function cutTo(bytes: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const cut = bytes.slice(0, size);
  if (size >= 20) new DataView(cut.buffer).setUint16(2, size - 20);
  return cut;
}

test("webOpener() refuses a check cut anywhere by form, though its length is right", () => {
  const whole = withFingerprint(datagram).length;
  for (let size = 0; size < whole; size++) {
    assertEquals(why(open(cutTo(datagram, size), scene)), "form", `${size}`);
  }
});

test("knock1Dialect() refuses a client that may not knock from a browser beside one that may", () => {
  const alice = {
    name: "alice",
    key: hex(first.client_public),
    psk: hex(first.psk),
  };
  const bob = { ...alice, name: "bob", key: hex(first.server_public) };
  const side = (web: boolean) =>
    knock1Dialect(
      hex(first.server_private),
      [{ ...alice, web }, { ...bob, web: true }],
      MAX_SKEW_MS,
    ).open(datagram, SOURCE_SCENE);
  assert(side(true).ok);
  const opened = side(false);
  assertEquals(!opened.ok && opened.why, "unknown client");
});

test("webOpener() refuses every cut datagram by form", () => {
  for (let size = 0; size < datagram.length; size++) {
    assertEquals(why(open(datagram.slice(0, size), scene)), "form");
  }
});

test("webOpener() never throws", () => {
  fc.assert(fc.property(
    fc.uint8Array({ maxLength: 420 }),
    fc.nat(datagram.length - 1),
    (bytes, at) => {
      open(bytes, scene);
      const mixed = datagram.slice();
      mixed.set(bytes.subarray(0, mixed.length - at), at);
      assert(why(open(mixed, scene)) !== undefined);
    },
  ));
});

test("sealWebKnock() refuses a ninth port and a name of 33 bytes", () => {
  const ports = Array.from({ length: 9 }, (_, index) => ({
    protocol: "tcp" as const,
    first: index + 1,
    last: index + 1,
  }));
  const request = requestOf(first);
  for (
    const wrong of [
      { ...request, action: "open" as const, ports, command: null },
      {
        ...request,
        action: "run" as const,
        ports: [],
        command: "n".repeat(33),
      },
    ]
  ) {
    assertThrows(
      () => sealWebKnock(keysOf(first), wrong, first.now_ms),
      UsageError,
    );
  }
});

// --- answers

const transaction = hex(first.transaction);
const AT = { host: "203.0.113.9", port: 40001 };

test("successAnswer() tells the asker's address, signed with the password", () => {
  for (const host of ["203.0.113.9", "2001:db8::9"]) {
    const answer = successAnswer(transaction, { host, port: 40001 }, first.pwd);
    assertEquals(readStunAnswer(answer, transaction), host);
    // MESSAGE-INTEGRITY by hand: RFC 8489 §14.5, without the 8 of FINGERPRINT.
    const end = answer.length - 8 - 24;
    const covered = answer.slice(0, end);
    new DataView(covered.buffer).setUint16(2, end + 24 - 20);
    assertEquals(
      new Uint8Array(createHmac("sha1", first.pwd).update(covered).digest()),
      answer.slice(end + 4, end + 24),
    );
  }
});

test("successAnswer() masks the port with the cookie", () => {
  const answer = successAnswer(transaction, AT, first.pwd);
  const view = new DataView(answer.buffer);
  assertEquals(view.getUint16(20), 0x0020);
  assertEquals(view.getUint16(26) ^ 0x2112, AT.port);
});

test("errorAnswer() is a 403 without a phrase", () => {
  const answer = errorAnswer(transaction, first.pwd);
  const view = new DataView(answer.buffer);
  assertEquals(view.getUint16(0), 0x0111);
  assertEquals([...answer.subarray(20, 28)], [0, 9, 0, 4, 0, 0, 4, 3]);
});

// --- the server's side, with repeats

const SOURCE_SCENE = { ...scene, source: AT };
const ANSWER: Answer = {
  status: "done",
  count: 1,
  seconds: 30,
  timeMs: first.now_ms,
  address: AT.host,
};

/** Another check of the same knock, as a browser repeats it. */
const again = writeCheck(`${first.ufrag}:abcd`, new Uint8Array(12), first.pwd);

function server(web = true) {
  const client = {
    name: "alice",
    key: hex(first.client_public),
    psk: hex(first.psk),
    web,
  };
  return knock1Dialect(hex(first.server_private), [client], MAX_SKEW_MS);
}

function openAt(dialect: Dialect, answer: Answer = ANSWER) {
  const opened = dialect.open(datagram, SOURCE_SCENE);
  if (!opened.ok) throw new Error(opened.why);
  return opened.seal(answer, new Uint8Array(32));
}

test("knock1Dialect() answers a browser's check, and its repeats from there alone, for 10 s", () => {
  const dialect = server();
  assert(dialect.recognises(datagram));
  assertEquals(openAt(dialect), successAnswer(transaction, AT, first.pwd));
  const seen = { ...SOURCE_SCENE, seen: () => true };
  const repeat = (bytes: Uint8Array, over: Partial<Scene>) => {
    const opened = dialect.open(bytes, { ...seen, ...over });
    return opened.ok ? "ok" : opened.answer ?? opened.why;
  };
  assertEquals(
    repeat(again, {}),
    successAnswer(new Uint8Array(12), AT, first.pwd),
  );
  assertEquals(repeat(again, { source: { ...AT, port: 40002 } }), "replay");
  assertEquals(
    repeat(again, { source: { ...AT, host: "203.0.113.8" } }),
    "replay",
  );
  const forged = writeCheck(`${first.ufrag}:abcd`, transaction, "x");
  assertEquals(repeat(forged, {}), "replay");
  const last = repeat(again, { nowMs: first.now_ms + 10_000 });
  assert(last instanceof Uint8Array);
  assertEquals(repeat(again, { nowMs: first.now_ms + 10_001 }), "replay");
  assertEquals(repeat(again, {}), "replay");
});

test("knock1Dialect() answers a refusal with 403, again and again", () => {
  for (const status of ["refused", "failed"] as const) {
    const dialect = server();
    const wanted = errorAnswer(transaction, first.pwd);
    assertEquals(openAt(dialect, { ...ANSWER, status }), wanted);
    const opened = dialect.open(datagram, SOURCE_SCENE);
    assertEquals(!opened.ok && opened.answer, wanted);
  }
});

test("knock1Dialect() has no ear for browsers where no client may knock so", () => {
  const dialect = server(false);
  assertEquals(dialect.recognises(datagram), false);
  const opened = dialect.open(datagram, SOURCE_SCENE);
  assertEquals(!opened.ok && opened.why, "length");
});

test("Repeats keeps 1,024 knocks", () => {
  const repeats = new Repeats();
  const kept = { source: AT, password: first.pwd, done: true, untilMs: 10 };
  const identity = readWebPacket(datagram)!.packet.slice(6, 38);
  repeats.keep(identity, kept);
  assert(repeats.find(datagram, AT, 0) !== null);
  for (let index = 0; index < 1024; index++) {
    const other = new Uint8Array(32);
    new DataView(other.buffer).setUint32(0, index);
    repeats.keep(other, kept);
  }
  assertEquals(repeats.find(datagram, AT, 0), null);
});
