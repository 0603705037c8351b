import { assert, assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import {
  formatOpenmeProfiles,
  formatOpenmeQr,
  type OpenmeProfile,
  parseOpenmeProfiles,
} from "../../lib/dialects/openme/enrol.ts";
import {
  publicKeyOf,
  verifyingKeyOf,
} from "../../lib/dialects/crypto/curve25519.ts";
import {
  formatOpenmeSeed,
  parseOpenmeKey,
  parseOpenmeSeed,
} from "../../lib/dialects/openme/keys.ts";
import { ConfigError } from "../../lib/values/errors.ts";
import { bytesOf } from "../fakes/packets.ts";
import vectors from "../vectors/openme.json" with { type: "json" };

const profile: OpenmeProfile = {
  name: "home",
  server: { host: "gw.example.org", port: 54154 },
  serverKey: publicKeyOf(bytesOf("server")),
  seed: bytesOf("client"),
  key: verifyingKeyOf(bytesOf("client")),
  postKnock: null,
};

for (const vector of vectors.deterministic) {
  test(`openme's keys of "${vector.name}" are read and written`, () => {
    const text = vector.client_config_private_key_b64;
    const seed = parseOpenmeSeed(text)!;
    assertEquals(seed.toHex(), vector.client_ed25519_seed);
    assertEquals(formatOpenmeSeed(seed), text);
    assertEquals(parseOpenmeSeed(seed.toBase64()), seed);
    const key = Uint8Array.fromHex(vector.client_ed25519_public);
    assertEquals(verifyingKeyOf(parseOpenmeSeed(text)!), key);
  });
}

test("parseOpenmeSeed() takes no other text", () => {
  const both = new Uint8Array(64).fill(1);
  for (const text of ["", "x", both.toBase64(), "AAAA"]) {
    assertEquals(parseOpenmeSeed(text), null, text);
  }
  const key = bytesOf("x").toBase64();
  for (
    const text of [
      key.slice(0, -1),
      key + " ",
      new Uint8Array(32).toBase64(),
    ]
  ) {
    assertEquals(parseOpenmeKey(text), null, text);
  }
});

test("parseOpenmeProfiles() gives back what was written", () => {
  const profiles = [
    profile,
    {
      ...profile,
      name: "on the road",
      server: { host: "2001:db8::1", port: 7777 },
      postKnock: `ssh "me@gw": # yes`,
    },
    { ...profile, name: "no", seed: null },
  ];
  const text = formatOpenmeProfiles(profiles);
  assertEquals(parseOpenmeProfiles(text, "config.yaml"), profiles);
  assertEquals(parseOpenmeProfiles(formatOpenmeQr(profile), "-"), [profile]);
});

test("formatOpenmeQr() makes what openme's apps scan", () => {
  assertEquals(JSON.parse(formatOpenmeQr(profile)), {
    profile: "home",
    host: "gw.example.org",
    udp_port: 54154,
    server_pubkey: profile.serverKey.toBase64(),
    client_privkey: formatOpenmeSeed(profile.seed!),
    client_pubkey: profile.key.toBase64(),
  });
  assert(
    !("client_privkey" in JSON.parse(formatOpenmeQr({
      ...profile,
      seed: null,
    }))),
  );
});

test("parseOpenmeProfiles() tells every mistake, and no secret", () => {
  const text = `
profiles:
  a: { server_host: "a b", server_udp_port: x, private_key: SECRET }
  b:
    server_host: gw
    server_pubkey: "${profile.serverKey.toBase64()}"
    private_key: "${bytesOf("client").toBase64()}"
    public_key: "${bytesOf("other").toBase64()}"
`;
  const error = assertThrows(
    () => parseOpenmeProfiles(text, "config.yaml"),
    ConfigError,
  );
  assertEquals(error.lines, [
    `config.yaml: profiles.a.server_host: must be a name or an address, got "a b"`,
    `config.yaml: profiles.a.server_udp_port: must be 1 to 65535, got "x"`,
    `config.yaml: profiles.a.server_pubkey: is missing`,
    `config.yaml: profiles.a.private_key: must be a key of 32 or 64 bytes in base64, got 6 characters`,
    `config.yaml: profiles.a.public_key: is missing`,
    `config.yaml: profiles.b.public_key: must belong to private_key, got another`,
  ]);
  for (const text of ["", "[]", "{", "x"]) {
    assertThrows(() => parseOpenmeProfiles(text, "f"), ConfigError);
  }
});
