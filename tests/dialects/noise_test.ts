import { assertEquals } from "@std/assert";
import { test } from "node:test";
import {
  agree,
  importPublicKey,
  keyPairOf,
  publicKeyOf,
} from "../../lib/dialects/crypto/curve25519.ts";
import {
  beginHandshake,
  decrypt,
  derive,
  encrypt,
  type Initiator,
  readMessage1,
  readMessage2,
  writeMessage1,
  writeMessage2,
} from "../../lib/dialects/knock1/noise.ts";
import vectors from "../vectors/noise-ikpsk1.json" with { type: "json" };

const hex = (text: string) => Uint8Array.fromHex(text);
const vector = vectors.vectors[0]!;
const [one, two, ...rest] = vector.messages.map(({ payload, ciphertext }) => ({
  payload: hex(payload),
  ciphertext: hex(ciphertext),
}));

const server = keyPairOf(hex(vector.resp_static));
const serverKey = importPublicKey(hex(vector.init_remote_static));
const client = keyPairOf(hex(vector.init_static));
const clientEphemeral = keyPairOf(hex(vector.init_ephemeral));
const serverEphemeral = keyPairOf(hex(vector.resp_ephemeral));
const psk = hex(vector.init_psks[0]!);
const begun = beginHandshake(hex(vector.init_prologue), server.publicKey);
const known: Initiator = {
  publicKey: importPublicKey(client.publicKey),
  psk,
  staticSecret: () => agree(server.secret, importPublicKey(client.publicKey)),
};
const find = (key: Uint8Array) =>
  key.toHex() === client.publicKey.toHex() ? known : null;

// Points of low order on Curve25519 and its twist: any secret gives all zero.
const LOW_ORDER = [
  "00".repeat(32),
  "01" + "00".repeat(31),
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
];

function first() {
  const keys = {
    own: client,
    ephemeral: clientEphemeral,
    responder: serverKey,
    psk,
  };
  const sent = writeMessage1(begun, keys, one!.payload);
  if (!sent) throw new Error("no message 1");
  return sent;
}

function handshake() {
  const sent = first();
  const read = readMessage1(begun, server, sent.message, find);
  if (!read.ok) throw new Error(read.why);
  const answer = writeMessage2(
    read.chain,
    serverEphemeral,
    { ephemeral: read.ephemeral, static: known.publicKey },
    two!.payload,
  );
  if (!answer) throw new Error("no message 2");
  return { sent, read, answer };
}

test("publicKeyOf() computes the public key of the vector", () => {
  assertEquals(
    publicKeyOf(hex(vector.resp_static)).toHex(),
    vector.init_remote_static,
  );
});

test("agree() computes the shared secret of RFC 7748 §6.1", () => {
  const bob = keyPairOf(
    hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"),
  );
  const alice = importPublicKey(
    hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"),
  );
  assertEquals(
    agree(bob.secret, alice)?.toHex(),
    "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
  );
});

for (const point of LOW_ORDER) {
  test(`agree() refuses the point of low order ${point.slice(0, 8)}…`, () => {
    assertEquals(agree(server.secret, importPublicKey(hex(point))), null);
  });
}

test("writeMessage1() and writeMessage2() write the vector's messages", () => {
  const { sent, answer } = handshake();
  assertEquals(sent.message.toHex(), one!.ciphertext.toHex());
  assertEquals(answer.message.toHex(), two!.ciphertext.toHex());
  assertEquals(answer.chain.h.toHex(), vector.handshake_hash);
});

test("readMessage1() and readMessage2() read the vector's messages", () => {
  const { sent, read } = handshake();
  assertEquals(read.payload.toHex(), one!.payload.toHex());
  const done = readMessage2(
    sent.chain,
    { ephemeral: clientEphemeral, static: client },
    two!.ciphertext,
  );
  if (!done) throw new Error("message 2 was refused");
  assertEquals(done.payload.toHex(), two!.payload.toHex());
  assertEquals(done.chain.h.toHex(), vector.handshake_hash);
});

test("the chain splits into the keys of the vector's transport messages", () => {
  const none = new Uint8Array();
  const keys = derive(handshake().answer.chain.ck, none, 2);
  rest.forEach(({ payload, ciphertext }, index) => {
    const key = keys[index % 2]!;
    const counter = index >> 1;
    assertEquals(
      encrypt(key, counter, none, payload).toHex(),
      ciphertext.toHex(),
    );
    assertEquals(
      decrypt(key, counter, none, ciphertext)?.toHex(),
      payload.toHex(),
    );
  });
});

test("readMessage1() refuses each changed byte and each truncation", () => {
  const { message } = first();
  for (let at = 0; at < message.length; at++) {
    const changed = message.with(at, message[at]! ^ 0x10);
    const read = readMessage1(begun, server, changed, find);
    // The static key is proved up to byte 80; after that the sender is known.
    const sender = at < 80 ? null : known;
    assertEquals(read, { ok: false, why: "forged", initiator: sender });
  }
  for (let size = 0; size < message.length; size++) {
    const cut = message.subarray(0, size);
    assertEquals(readMessage1(begun, server, cut, find).ok, false);
  }
});

test("readMessage1() ends at an unknown key before it uses a psk", () => {
  const read = readMessage1(begun, server, first().message, () => null);
  assertEquals(read, { ok: false, why: "unknown" });
});

test("readMessage1() refuses a psk, a prologue and a server that are others", () => {
  const { message } = first();
  const otherPsk = { ...known, psk: new Uint8Array(32) };
  const otherPrologue = beginHandshake(Uint8Array.of(1), server.publicKey);
  const otherServer = keyPairOf(new Uint8Array(32).fill(5));
  assertEquals(
    readMessage1(begun, server, message, () => otherPsk).ok,
    false,
  );
  assertEquals(readMessage1(otherPrologue, server, message, find).ok, false);
  assertEquals(readMessage1(begun, otherServer, message, find).ok, false);
});

test("readMessage1() refuses ephemeral and static keys of low order", () => {
  const { message } = first();
  for (const point of LOW_ORDER) {
    const changed = message.slice();
    changed.set(hex(point));
    assertEquals(readMessage1(begun, server, changed, find).ok, false);
  }
  const weak = { ...known, staticSecret: () => null };
  assertEquals(
    readMessage1(begun, server, message, () => weak),
    { ok: false, why: "forged", initiator: weak },
  );
});

test("writeMessage1() gives null for a server key of low order", () => {
  for (const point of LOW_ORDER) {
    const keys = {
      own: client,
      ephemeral: clientEphemeral,
      responder: importPublicKey(hex(point)),
      psk,
    };
    assertEquals(writeMessage1(begun, keys, one!.payload), null);
  }
});

test("readMessage2() refuses each changed byte and each truncation", () => {
  const { sent, answer: { message } } = handshake();
  const ours = { ephemeral: clientEphemeral, static: client };
  for (let at = 0; at < message.length; at++) {
    const changed = message.with(at, message[at]! ^ 0x01);
    assertEquals(readMessage2(sent.chain, ours, changed), null);
    assertEquals(
      readMessage2(sent.chain, ours, message.subarray(0, at)),
      null,
    );
  }
  for (const point of LOW_ORDER) {
    const changed = message.slice();
    changed.set(hex(point));
    assertEquals(readMessage2(sent.chain, ours, changed), null);
  }
});
