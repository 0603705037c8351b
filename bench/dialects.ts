/**
 * Cost of packets on one core in openme and OpenSPA, in microseconds: valid
 * ones, and junk at each gate. No socket, no firewall. `deno run -A
 * bench/dialects.ts`, or `bun bench/dialects.ts`.
 *
 * @module
 */

import { constants, publicEncrypt } from "node:crypto";
import process from "node:process";
import {
  publicKeyOf,
  verifyingKeyOf,
} from "../lib/dialects/crypto/curve25519.ts";
import type { Dialect, PacketRefusal } from "../lib/dialects/dialect.ts";
import { openmeDialect, sealOpenme } from "../lib/dialects/openme/open.ts";
import { parseAdkSecret } from "../lib/dialects/openspa/adk.ts";
import { openspaDialect, sealOpenspa } from "../lib/dialects/openspa/open.ts";
import { writeItems } from "../lib/dialects/openspa/tlv.ts";
import { bytesOf, sceneAt } from "../tests/fakes/packets.ts";
import {
  CLIENT_PRIVATE,
  CLIENT_PUBLIC,
  RSA_PRIVATE,
  RSA_PUBLIC,
} from "../tests/fakes/rsa.ts";
import vectors from "../tests/vectors/openspa.json" with { type: "json" };
import { expect } from "./judged.ts";

const NOW_MS = 1_790_000_000_000;
const MEASURE_MS = 500;

/** Measures for about eight seconds. Throws if a packet is not judged as it should be. */
export function measureDialects(): Record<string, number> {
  return { ...measureOpenme(), ...measureOpenspa() };
}

function measureOpenme(): Record<string, number> {
  const server = bytesOf("server");
  const withClients = (count: number) =>
    openmeDialect(
      server,
      Array.from({ length: count }, (_, index) => ({
        name: `client${index}`,
        key: verifyingKeyOf(bytesOf(`client ${index}`)),
      })),
    );
  const packet = sealOpenme(
    {
      server: publicKeyOf(server),
      key: bytesOf("client 0"),
      ephemeral: bytesOf("ephemeral"),
      nonce: bytesOf("nonce").slice(0, 12),
      random: bytesOf("random").slice(0, 16),
    },
    null,
    BigInt(NOW_MS) * 1_000_000n,
  );
  const one = withClients(1);
  const unsigned = packet.with(164, packet[164]! ^ 1);
  return {
    openme_valid: cost(one, packet, null),
    openme_version: cost(one, packet.with(0, 2), "version"),
    openme_junk: cost(one, packet.with(60, packet[60]! ^ 1), "cipher"),
    openme_unsigned_1_client: cost(one, unsigned, "unknown client"),
    openme_unsigned_20_clients: cost(
      withClients(20),
      unsigned,
      "unknown client",
    ),
    openme_copy_20_clients: cost(withClients(20), packet, "replay"),
  };
}

function measureOpenspa(): Record<string, number> {
  const adkSecret = parseAdkSecret(vectors.adk_secret)!;
  const uuid = bytesOf("uuid").slice(0, 16);
  const enrolled = { name: "client", uuid, key: CLIENT_PUBLIC };
  const make = () => openspaDialect(RSA_PRIVATE, [enrolled], adkSecret);
  const dialect = make();
  const { packet } = sealOpenspa(
    {
      uuid,
      key: CLIENT_PRIVATE,
      server: RSA_PUBLIC,
      adk_secret: adkSecret,
      random: bytesOf("random"),
    },
    {
      ports: { protocol: "tcp", first: 22, last: 22 },
      address: "192.0.2.9",
      target: "192.0.2.1",
    },
    NOW_MS,
  );
  // Both end at the ciphertext, and must cost the same.
  const junk = (padding: number) => {
    const block = new Uint8Array(256).fill(0xaa);
    block.set([0, padding]);
    block[207] = 0;
    const raw = constants.RSA_NO_PADDING;
    const session = publicEncrypt({ key: RSA_PUBLIC, padding: raw }, block);
    return new Uint8Array([
      ...packet.subarray(0, 8),
      ...writeItems([1, new Uint8Array(320)], [2, session]),
    ]);
  };
  const opened = dialect.open(packet, scene);
  if (!opened.ok) throw new Error(opened.why);
  const answer = {
    status: "done",
    count: 1,
    seconds: 30,
    timeMs: NOW_MS,
    address: "192.0.2.9",
  } as const;
  return {
    openspa_wrong_adk: cost(dialect, packet.with(5, packet[5]! ^ 1), "adk"),
    openspa_junk_right_padding: cost(dialect, junk(2), "cipher"),
    openspa_junk_wrong_padding: cost(dialect, junk(1), "cipher"),
    openspa_copy: cost(dialect, packet, "replay"),
    // A copy whose session is known already: what a first one costs besides RSA.
    openspa_valid_without_rsa: cost(dialect, packet, null),
    openspa_reply: time(() => opened.seal(answer, bytesOf("reply"))),
  };
}

const scene = sceneAt(NOW_MS);

function cost(
  dialect: Dialect,
  packet: Uint8Array,
  why: PacketRefusal | null,
): number {
  const seen = () => why === "replay";
  return time(() => {
    expect(dialect.open(packet, { ...scene, seen }), why);
  });
}

/** Microseconds that work takes. */
function time(work: () => unknown): number {
  // The first rounds let the compiler see what it has to do.
  for (let round = 0; round < 50; round++) work();
  const start = performance.now();
  let rounds = 0;
  let elapsed = 0;
  while (elapsed < MEASURE_MS) {
    for (let round = 0; round < 20; round++) work();
    rounds += 20;
    elapsed = performance.now() - start;
  }
  return Math.round(elapsed / rounds * 10_000) / 10;
}

if (import.meta.main) {
  const measures = measureDialects();
  const text = process.argv.includes("--json")
    ? JSON.stringify(measures)
    : Object.entries(measures)
      .map(([name, us]) => `${name.padEnd(30)}${us} us`)
      .join("\n");
  process.stdout.write(`${text}\n`);
}
