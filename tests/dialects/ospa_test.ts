import { assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import {
  formatOspa,
  type Ospa,
  parseOspa,
} from "../../lib/dialects/openspa/enrol.ts";
import { formatUuid, parseUuid } from "../../lib/values/bytes.ts";
import { ConfigError } from "../../lib/values/errors.ts";
import {
  CLIENT_PRIVATE_PEM,
  CLIENT_PUBLIC,
  RSA_PUBLIC_PEM,
} from "../fakes/rsa.ts";
import vectors from "../vectors/openspa.json" with { type: "json" };

const ospa: Ospa = {
  uuid: "c3b66a05-9098-4100-8141-be5695ada0e7",
  server: { host: "gw.example.org", port: 22211 },
  adkSecret: vectors.adk_secret,
  privateKey: CLIENT_PRIVATE_PEM,
  publicKey: String(CLIENT_PUBLIC.export({ format: "pem", type: "pkcs1" })),
  serverKey: RSA_PUBLIC_PEM,
};

test("parseOspa() gives back what was written", () => {
  const others = [
    { ...ospa, adkSecret: null },
    { ...ospa, server: { host: "2001:db8::1", port: 1 } },
  ];
  for (const written of [ospa, ...others]) {
    assertEquals(parseOspa(formatOspa(written), "me.ospa"), written);
  }
});

test("parseOspa() tells every mistake, and no secret", () => {
  const text = `
version: "0.1"
clientUUID: c3b66a05
serverPort: 0
adk: { secret: SECRET }
crypto:
  cipherSuitePriority: [CipherX]
  rsa: { client: { privateKey: KEY, publicKey: KEY } }
`;
  const error = assertThrows(() => parseOspa(text, "me.ospa"), ConfigError);
  const rsa = "of RSA with 2048 to 4096 bits, got 3 characters";
  assertEquals(error.lines, [
    `me.ospa: version: must be "0.2", got "0.1"`,
    `me.ospa: clientUUID: must be a UUID, got "c3b66a05"`,
    `me.ospa: serverHost: is missing`,
    `me.ospa: serverPort: must be 1 to 65535, got "0"`,
    `me.ospa: adk.secret: must be 7 characters of base32, got 6 characters`,
    `me.ospa: crypto.cipherSuitePriority: must have "CipherSuite_RSA_SHA256_AES256CBC" among it`,
    `me.ospa: crypto.rsa.client.privateKey: must be a private key in PEM, ${rsa}`,
    `me.ospa: crypto.rsa.client.publicKey: must be a public key in PEM, ${rsa}`,
    `me.ospa: crypto.rsa.server.publicKey: is missing`,
  ]);
});

test("parseOspa() refuses a private key where a public one belongs", () => {
  const text = formatOspa({ ...ospa, publicKey: ospa.privateKey });
  const error = assertThrows(() => parseOspa(text, "f"), ConfigError);
  assertEquals(error.message.includes("BEGIN"), false);
});

test("parseUuid() reads a UUID with its hyphens", () => {
  const bytes = parseUuid(ospa.uuid.toUpperCase())!;
  assertEquals(bytes.length, 16);
  assertEquals(formatUuid(bytes), ospa.uuid);
  for (const text of ["", ospa.uuid.slice(1), ospa.uuid.replaceAll("-", "")]) {
    assertEquals(parseUuid(text), null);
  }
});
