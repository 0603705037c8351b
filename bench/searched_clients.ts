/**
 * Packets of clients of a fleet in the dialects of other tools, on one core:
 * of a client that the server has to search for, and of one that it opened
 * before. `deno run -A bench/searched_clients.ts FOLDER DIALECT COUNT` fills
 * FOLDER/fleet.db with so many clients first.
 *
 * @module
 */

import process from "node:process";
import {
  publicKeyOf,
  verifyingKeyOf,
} from "../lib/dialects/crypto/curve25519.ts";
import type { Opened } from "../lib/dialects/dialect.ts";
import { fwknopDialect } from "../lib/dialects/fwknop/open.ts";
import { fwknopRandom, sealFwknop } from "../lib/dialects/fwknop/seal.ts";
import type { SharedKeys } from "../lib/dialects/keys.ts";
import { openmeDialect, sealOpenme } from "../lib/dialects/openme/open.ts";
import { openspaDialect, sealOpenspa } from "../lib/dialects/openspa/open.ts";
import { FleetBook } from "../lib/server/fleet/clients.ts";
import { openFleetDatabase } from "../lib/server/state/fleet_file.ts";
import { formatUuid } from "../lib/values/bytes.ts";
import { makeConfig } from "../tests/fakes/fixtures.ts";
import { bytesOf } from "../tests/fakes/packets.ts";
import {
  CLIENT_PRIVATE,
  CLIENT_PUBLIC_PEM,
  RSA_PRIVATE,
  RSA_PUBLIC,
} from "../tests/fakes/rsa.ts";
import { runtime } from "../tests/fakes/runtime.ts";

const BATCH = 10_000;
const MEASURE_MS = 1000;
const SERVER = bytesOf("server");
const SOURCE = { host: "192.0.2.9", port: 62_201 };
const SSH = { protocol: "tcp", first: 22, last: 22 } as const;

const SPOKEN = {
  openme: {
    keys: (word: string) => ({
      key: verifyingKeyOf(bytesOf(word)).toBase64(),
    }),
    seal: (word: string, nowMs: number) =>
      sealOpenme(
        {
          ...{ server: publicKeyOf(SERVER), key: bytesOf(word) },
          ephemeral: runtime.random(32),
          ...{ nonce: runtime.random(12), random: runtime.random(16) },
        },
        null,
        BigInt(nowMs) * 1_000_000n,
      ),
    dialect: (shared: SharedKeys) => openmeDialect(SERVER, [], shared),
  },
  fwknop: {
    keys: (word: string) => ({
      key_base64: bytesOf("passphrase").toBase64(),
      hmac_key_base64: bytesOf(word).toBase64(),
    }),
    seal: (word: string, nowMs: number) =>
      sealFwknop(
        {
          ...{ key: bytesOf("passphrase"), mode: "cbc" },
          hmac: { type: "sha256", key: bytesOf(word) },
        },
        {
          ...{ action: "open", ports: [SSH], command: null, seconds: 0 },
          ...{ address: null, forward: null, user: "u", checksum: "sha256" },
        },
        fwknopRandom(runtime.random(16)),
        nowMs,
      ),
    dialect: (shared: SharedKeys) => fwknopDialect([], undefined, shared),
  },
  openspa: {
    keys: (word: string) => ({
      uuid: formatUuid(bytesOf(word).subarray(0, 16)),
      key: "client.pem",
    }),
    seal: (word: string, nowMs: number) =>
      sealOpenspa(
        {
          uuid: bytesOf(word).subarray(0, 16),
          ...{ key: CLIENT_PRIVATE, server: RSA_PUBLIC, adk_secret: null },
          random: runtime.random(32),
        },
        { ports: SSH, address: "192.0.2.9", target: "192.0.2.1" },
        nowMs,
      ).packet,
    dialect: (shared: SharedKeys) =>
      openspaDialect(RSA_PRIVATE, [], null, shared),
  },
} as const;

/** A dialect that is measured. */
export type SearchedDialect = keyof typeof SPOKEN;

/** Measures for about four seconds: milliseconds of a packet. Throws if one is not judged as it should be. */
export async function measureSearched(
  folder: string,
  name: SearchedDialect,
  count: number,
) {
  const { keys, seal, dialect: make } = SPOKEN[name];
  const config = makeConfig([]);
  const book = new FleetBook(
    await openFleetDatabase(runtime, folder),
    () => config,
    () => {},
  );
  const files = { "client.pem": CLIENT_PUBLIC_PEM };
  for (let done = 0; done < count; done += BATCH) {
    book.transaction(() => {
      for (let at = done; at < Math.min(count, done + BATCH); at++) {
        const entry = { [name]: keys(`client ${at}`) };
        book.put(`client${at}`, { entry, files });
      }
    });
  }
  book.changed();
  const dialect = make({
    ...{ dialects: book.dialects, hasWeb: false },
    find: (...asked) => book.find(...asked),
    after: (...asked) => book.after(...asked),
    likely: (...asked) => book.recent.of(...asked),
    note: (...asked) => book.recent.note(...asked),
  });
  const nowMs = Date.now();
  const open = (packet: Uint8Array, why: string | null) => {
    let opened: Opened = dialect.open(packet, {
      ...{ nowMs, source: SOURCE, seen: () => false, mayCost: () => true },
    });
    while (!opened.ok && opened.more) opened = opened.more();
    const result = opened.ok ? null : opened.why;
    if (result !== why) throw new Error(`${result} in place of ${why}`);
  };
  const msOf = (word: string, why: string | null) => {
    const packet = seal(word, nowMs);
    open(packet, why);
    const startMs = performance.now();
    let opened = 0;
    while (performance.now() - startMs < MEASURE_MS) {
      open(packet, why);
      opened++;
    }
    return (performance.now() - startMs) / opened;
  };
  const why = name === "fwknop" ? "mac" : "unknown client";
  const strangerMs = msOf("a stranger", why);
  const lateMs = msOf("client 0", null);
  book.close();
  return { stranger_ms: strangerMs, late_ms: lateMs };
}

if (import.meta.main) {
  const [folder, name, count] = process.argv.slice(2);
  const measured = await measureSearched(
    folder!,
    name as SearchedDialect,
    Number(count),
  );
  process.stdout.write(`${JSON.stringify(measured)}\n`);
}
