import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { constants, generateKeyPairSync, publicEncrypt } from "node:crypto";
import { test } from "node:test";
import {
  modulusSize,
  parseRsaPrivateKey,
  parseRsaPublicKey,
  sealSession,
  SESSION_SIZE,
  SessionOpener,
} from "../../lib/dialects/crypto/rsa.ts";
import { bytesOf } from "../fakes/packets.ts";
import { RSA_PRIVATE as key, RSA_PUBLIC as publicKey } from "../fakes/rsa.ts";

const SIZE = 256;

const opener = new SessionOpener(key);
const session = new Uint8Array(SESSION_SIZE).map((_, index) => index);

/** Encrypts a whole block, with its padding. */
function encrypt(block: Uint8Array): Uint8Array {
  const padding = constants.RSA_NO_PADDING;
  return publicEncrypt({ key: publicKey, padding }, block);
}

/** A good block: 00 02, 205 bytes that are not zero, 00, the session. */
const block = new Uint8Array(SIZE).fill(0xaa);
block[0] = 0;
block[1] = 2;
block[SIZE - SESSION_SIZE - 1] = 0;
block.set(session, SIZE - SESSION_SIZE);

test("open() opens what node:crypto padded, and what sealSession() did", () => {
  const padding = constants.RSA_PKCS1_PADDING;
  const sealed = publicEncrypt({ key: publicKey, padding }, session);
  assertEquals(opener.open(sealed), session);
  const own = sealSession(
    publicKey,
    session,
    (size) => new Uint8Array(size).fill(7),
  );
  assertEquals(own.length, SIZE);
  assertEquals(opener.open(own), session);
  assertEquals(opener.open(encrypt(block)), session);
});

const faults: [name: string, block: Uint8Array][] = [
  ["another first byte", block.with(0, 1)],
  ["a first byte of high bits", block.with(0, 0x10)],
  ["another block type", block.with(1, 1)],
  ["a block type of high bits", block.with(1, 0x82)],
  ["a zero at the start of the padding", block.with(2, 0)],
  ["a zero in the padding", block.with(100, 0)],
  ["a zero at the end of the padding", block.with(206, 0)],
  ["no zero before the session", block.with(207, 1)],
  ["all zero", new Uint8Array(SIZE)],
];

for (const [name, block] of faults) {
  test(`open() gives a session of its own for ${name}`, () => {
    const sealed = encrypt(block);
    const got = opener.open(sealed)!;
    assertEquals(got.length, SESSION_SIZE);
    assertNotEquals(got, block.slice(SIZE - SESSION_SIZE));
    // The same again, or a second look would tell.
    assertEquals(opener.open(sealed), got);
    assertEquals(new SessionOpener(key).open(sealed), got);
  });
}

test("open() gives another session for each wrong padding, in key and IV", () => {
  const keys = new Set<string>();
  const ivs = new Set<string>();
  for (let byte = 1; byte <= 20; byte++) {
    const wrong = encrypt(block.with(1, 1).with(2, byte));
    const session = opener.open(wrong)!;
    ivs.add(session.subarray(0, 16).toHex());
    keys.add(session.subarray(16, 32).toHex());
    keys.add(session.subarray(32).toHex());
  }
  assertEquals([ivs.size, keys.size], [20, 40]);
});

test("parseRsaPublicKey() refuses a file that holds a private key, too", () => {
  const secret = String(key.export({ format: "pem", type: "pkcs8" }));
  const open = String(publicKey.export({ format: "pem", type: "spki" }));
  assertNotEquals(parseRsaPublicKey(open), null);
  for (const pem of [secret, secret + open, open + secret]) {
    assertEquals(parseRsaPublicKey(pem), null);
  }
});

test("open() gives nothing for what is no size or number of this key", () => {
  assertEquals(opener.open(new Uint8Array(SIZE).fill(0xff)), null);
  assertEquals(opener.open(new Uint8Array(SIZE - 1)), null);
  assertEquals(opener.open(new Uint8Array(0)), null);
});

test("keep() spares the private key's work, for so many sessions", () => {
  const opener = new SessionOpener(key);
  const other = bytesOf("other");
  const sealed = (index: number) => {
    const bytes = new Uint8Array(SIZE).fill(0xff);
    new DataView(bytes.buffer).setUint32(4, index);
    return bytes;
  };
  for (let index = 0; index < 1025; index++) opener.keep(sealed(index), other);
  assertEquals(opener.open(sealed(0)), null);
  assertEquals(opener.open(sealed(1)), other);
  assertEquals(opener.open(sealed(1024)), other);
});

test("keys are read from PEM in each form, of RSA with 2048 to 4096 bits", () => {
  const pkcs1 = String(key.export({ format: "pem", type: "pkcs1" }));
  const pkcs8 = String(key.export({ format: "pem", type: "pkcs8" }));
  const spki = String(publicKey.export({ format: "pem", type: "spki" }));
  const old = String(publicKey.export({ format: "pem", type: "pkcs1" }));
  assert(pkcs1.includes("BEGIN RSA PRIVATE KEY"));
  assert(old.includes("BEGIN RSA PUBLIC KEY"));
  for (const pem of [pkcs1, pkcs8]) {
    assertEquals(modulusSize(parseRsaPrivateKey(pem)!), SIZE);
    assertEquals(parseRsaPublicKey(pem), null);
  }
  for (const pem of [spki, old]) {
    assertEquals(modulusSize(parseRsaPublicKey(pem)!), SIZE);
    assertEquals(parseRsaPrivateKey(pem), null);
  }
  for (const text of ["", "x", pkcs1.slice(0, 200), pkcs1.replace("M", "N")]) {
    assertEquals(parseRsaPrivateKey(text), null);
    assertEquals(parseRsaPublicKey(text), null);
  }
  const short = generateKeyPairSync("rsa", { modulusLength: 1024 });
  const curve = generateKeyPairSync("ed25519");
  for (const { privateKey, publicKey } of [short, curve]) {
    const secret = privateKey.export({ format: "pem", type: "pkcs8" });
    const shared = publicKey.export({ format: "pem", type: "spki" });
    assertEquals(parseRsaPrivateKey(String(secret)), null);
    assertEquals(parseRsaPublicKey(String(shared)), null);
  }
});
