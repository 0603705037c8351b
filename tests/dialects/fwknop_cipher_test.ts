import { assertEquals } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { DIGEST_TYPES, hmac } from "../../lib/dialects/crypto/hash.ts";
import { decrypt, encrypt } from "../../lib/dialects/fwknop/cipher.ts";
import {
  CIPHER_MODES,
  type CipherMode,
} from "../../lib/dialects/fwknop/keys.ts";

const hex = (text: string) => Uint8Array.fromHex(text);
const ascii = (text: string) => new TextEncoder().encode(text);

// openssl enc -aes-256-MODE -md md5 -S 0123456789abcdef -k "pass word"
const vectors: [CipherMode, string][] = [
  [
    "cbc",
    "85ef687c90a4f4851680861163ba73d8b0599acced0a72f2ebe475d2444bf62f" +
    "cb6091572e3be5cba3bb3a6fd36dd95e",
  ],
  // Without padding: ours goes on to the end of the block.
  [
    "ctr",
    "75d23e94f64952b877373f1993182da87337b1f9542b2cc63b3e498a644556e9" +
    "4b123568052152",
  ],
  [
    "cfb",
    "75d23e94f64952b877373f1993182da843946875df4f6f3e376411c424bbcae9" +
    "ea3aadc4e4bb32",
  ],
  [
    "ofb",
    "75d23e94f64952b877373f1993182da8e3697de14d12e4bf2ba898b7b907cdae" +
    "63303c0387add3",
  ],
  [
    "ecb",
    "b6d051820b9c2906e035ec3c4ee419ecbb49717fc9b26a49268a3eec9a74364b" +
    "299b7ea7ad1d52c93c610ed15f577af8",
  ],
];

const salt = hex("0123456789abcdef");
const plaintext = ascii("sixteen bytes at a time, and three more");

for (const [mode, want] of vectors) {
  test(`encrypt() and decrypt() do ${mode} as OpenSSL does`, () => {
    const key = ascii("pass word");
    const got = encrypt(mode, key, salt, plaintext);
    assertEquals(got.length, 48);
    assertEquals(got.toHex().slice(0, want.length), want);
    assertEquals(decrypt(mode, key, salt, got), plaintext);
  });
}

test("decrypt() undoes encrypt() in every mode", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...CIPHER_MODES),
      fc.uint8Array({ minLength: 1, maxLength: 32 }),
      fc.uint8Array({ minLength: 8, maxLength: 8 }),
      fc.uint8Array({ maxLength: 100 }),
      (mode, key, salt, text) => {
        const sealed = encrypt(mode, key, salt, text);
        assertEquals(decrypt(mode, key, salt, sealed), new Uint8Array(text));
      },
    ),
  );
});

test("decrypt() leaves padding that is not well formed", () => {
  const key = ascii("k");
  // Two blocks, of which the first alone is not padded.
  const sealed = encrypt("cbc", key, salt, ascii("exactly 16 bytes"));
  assertEquals(sealed.length, 32);
  const first = decrypt("cbc", key, salt, sealed.subarray(0, 16));
  assertEquals(first, ascii("exactly 16 bytes"));
});

test("hmac() does as node:crypto does, for keys and messages of any length", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...DIGEST_TYPES),
      fc.uint8Array({ minLength: 1, maxLength: 200 }),
      fc.array(fc.uint8Array({ maxLength: 1500 }), { maxLength: 4 }),
      (type, key, messages) => {
        const mac = hmac(type, key);
        for (const message of messages) {
          assertEquals(
            mac(message).toHex(),
            createHmac(type, key).update(message).digest("hex"),
          );
        }
      },
    ),
  );
});
