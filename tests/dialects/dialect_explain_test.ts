/** `knock decode` of packets of openme and OpenSPA, on the server and on the client. */

import { assert, assertEquals } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import { recognisePacket } from "../../lib/commands/tools/explain.ts";
import { parseProfiles } from "../../lib/client/profile/profile.ts";
import type { Config } from "../../lib/config/config.ts";
import {
  publicKeyOf,
  verifyingKeyOf,
} from "../../lib/dialects/crypto/curve25519.ts";
import {
  parseRsaPrivateKey,
  parseRsaPublicKey,
} from "../../lib/dialects/crypto/rsa.ts";
import { formatOpenmeSeed } from "../../lib/dialects/openme/keys.ts";
import { sealOpenme } from "../../lib/dialects/openme/open.ts";
import { parseAdkSecret } from "../../lib/dialects/openspa/adk.ts";
import { sealOpenspa } from "../../lib/dialects/openspa/open.ts";
import { explainPacket } from "../../lib/server/explain.ts";
import { parseUuid } from "../../lib/values/bytes.ts";
import { START_MS } from "../fakes/fake_runtime.ts";
import { makeClient, makeConfig } from "../fakes/fixtures.ts";
import {
  CLIENT_PRIVATE_PEM,
  CLIENT_PUBLIC_PEM,
  RSA_PRIVATE_PEM,
  RSA_PUBLIC_PEM,
} from "../fakes/rsa.ts";

const KEY = new Uint8Array(32).fill(5);
const SEED = new Uint8Array(32).fill(6);
const UUID = "c3b66a05-9098-4100-8141-be5695ada0e7";
const ADK = "7O4ZIRI";
const HERE = "192.0.2.10";

const tablet = makeClient({
  name: "tablet",
  openme: { key: verifyingKeyOf(SEED) },
});
const box = makeClient({
  name: "box",
  openspa: {
    uuid: parseUuid(UUID)!,
    key: parseRsaPublicKey(CLIENT_PUBLIC_PEM)!,
  },
});
const config = makeConfig([tablet, box], {
  openme: { file: "openme.key", key: KEY },
  openspa: {
    file: "openspa.pem",
    key: parseRsaPrivateKey(RSA_PRIVATE_PEM),
    adkSecret: parseAdkSecret(ADK),
  },
});

function openme({ server = KEY, seed = SEED, ms = START_MS } = {}) {
  return sealOpenme(
    {
      server: publicKeyOf(server),
      key: seed,
      ephemeral: new Uint8Array(32).fill(8),
      nonce: new Uint8Array(12),
      random: new Uint8Array(16),
    },
    HERE,
    BigInt(ms) * 1_000_000n,
  );
}

function openspa(
  {
    uuid = UUID,
    key = CLIENT_PRIVATE_PEM,
    server = RSA_PUBLIC_PEM,
    ms = START_MS,
    adk = ADK as string | null,
  } = {},
) {
  return sealOpenspa(
    {
      uuid: parseUuid(uuid)!,
      key: parseRsaPrivateKey(key)!,
      server: parseRsaPublicKey(server)!,
      adk_secret: adk === null ? null : parseAdkSecret(adk),
      random: new Uint8Array(32).fill(9),
    },
    {
      ports: { protocol: "tcp", first: 22, last: 22 },
      address: HERE,
      target: "192.0.2.1",
    },
    ms,
  ).packet;
}

function explain(packet: Uint8Array, of: Config = config) {
  return explainPacket(of, packet, {
    nowMs: START_MS,
    source: HERE,
    seen: () => false,
  });
}

const stranger = new Uint8Array(32).fill(1);
const other = "00000000-0000-4000-8000-000000000000";
const cases: [
  name: string,
  packet: Uint8Array,
  verdict: string,
  client: string | null,
  words: string,
][] = [
  ["openme's", openme(), "request", "tablet", 'signed by "tablet"'],
  [
    "openme's for another server",
    openme({ server: stranger }),
    "cipher",
    null,
    "another server's openme key",
  ],
  [
    "openme's of a stranger",
    openme({ seed: stranger }),
    "unknown client",
    null,
    "signed by none of 1 client",
  ],
  [
    "openme's of another version",
    openme().with(0, 2),
    "version",
    null,
    "openme's version 2",
  ],
  [
    "openme's that is stale",
    openme({ ms: START_MS - 200_000 }),
    "time",
    "tablet",
    "200 s behind",
  ],
  ["OpenSPA's", openspa(), "request", "box", 'signed by "box"'],
  [
    "OpenSPA's without a proof",
    openspa({ adk: null }),
    "adk",
    "box",
    "it has no ADK proof",
  ],
  [
    "OpenSPA's with another secret",
    openspa({ adk: "AAAAAAA" }),
    "adk",
    "box",
    "of another secret",
  ],
  [
    "OpenSPA's of an hour ago",
    openspa({ ms: START_MS - 3_600_000 }),
    "adk",
    "box",
    "of 60 minutes ago",
  ],
  [
    "OpenSPA's for another server",
    openspa({ server: CLIENT_PUBLIC_PEM }),
    "cipher",
    null,
    "another server's RSA key",
  ],
  [
    "OpenSPA's of a stranger",
    openspa({ uuid: other }),
    "unknown client",
    null,
    `the UUID ${other}`,
  ],
  [
    "OpenSPA's with another key",
    openspa({ key: RSA_PRIVATE_PEM }),
    "signature",
    null,
    'it names "box" and is not signed',
  ],
];
for (const [name, packet, verdict, client, words] of cases) {
  test(`explainPacket() of one of ${name}: ${verdict}`, async () => {
    const explained = await explain(packet);
    const texts = explained.steps.map(({ text }) => text).join("\n");
    assertEquals([explained.verdict, explained.client], [verdict, client]);
    assert(texts.includes(words), texts);
    assertEquals(
      explained.steps.every(({ ok }) => ok),
      verdict === "request",
      texts,
    );
  });
}

test("explainPacket() tells when the server has no key for a dialect yet", async () => {
  const young = makeConfig([tablet]);
  const { verdict, dialect, steps } = await explain(openme(), young);
  assertEquals([verdict, dialect], ["form", "openme"]);
  assert(steps[0]!.text.includes("no key yet"), steps[0]!.text);
});

const profiles = [
  ...parseProfiles(
    `home:
  server: a.example:54154
  openme: { server: "${publicKeyOf(KEY).toBase64()}", key: "${
      formatOpenmeSeed(SEED)
    }" }
work:
  server: a.example:22211
  openspa:
    uuid: ${UUID}
    adk_secret: ${ADK}
    key: |
${CLIENT_PRIVATE_PEM.replace(/^/gm, "      ")}
    server: |
${RSA_PUBLIC_PEM.replace(/^/gm, "      ")}
`,
    "profiles.yaml",
  ).values(),
];

const known: [packet: Uint8Array, verdict: string, profile: string | null][] = [
  [openme(), "sealed", "home"],
  [openme({ seed: stranger }), "signature", null],
  [openspa(), "sealed", "work"],
  [openspa({ adk: "AAAAAAA" }), "adk", null],
];
for (const [row, [packet, verdict, profile]] of known.entries()) {
  test(`recognisePacket() of row ${row}: ${verdict}`, async () => {
    const found = await recognisePacket(profiles, packet, START_MS);
    assertEquals([found.verdict, found.profile], [verdict, profile]);
    const none = await recognisePacket([], packet, START_MS);
    assertEquals(none.profile, null);
  });
}

test("explainPacket() and recognisePacket() never throw", async () => {
  const near = fc.tuple(
    fc.constantFrom(openme(), openspa()),
    fc.nat(),
    fc.integer({ min: 0, max: 255 }),
  ).map(([packet, at, byte]) => packet.with(at % packet.length, byte));
  const any = fc.oneof(near, fc.uint8Array({ maxLength: 700 }));
  await fc.assert(
    fc.asyncProperty(any, async (packet) => {
      await explain(packet);
      await recognisePacket(profiles, packet, START_MS);
    }),
    { numRuns: 60 },
  );
});
