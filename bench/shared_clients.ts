/**
 * Packets a second that one core opens for clients of a fleet, which are in its
 * file and not in memory. `deno run -A bench/shared_clients.ts FOLDER COUNT`
 * fills FOLDER/fleet.db with so many clients first.
 *
 * @module
 */

import process from "node:process";
import { publicKeyOf } from "../lib/dialects/crypto/curve25519.ts";
import { knock1Dialect } from "../lib/dialects/knock1/open.ts";
import { sealKnock } from "../lib/dialects/knock1/seal.ts";
import { FleetBook } from "../lib/server/fleet/clients.ts";
import { openFleetDatabase } from "../lib/server/state/fleet_file.ts";
import { formatBase64url } from "../lib/values/bytes.ts";
import { makeConfig } from "../tests/fakes/fixtures.ts";
import { bytesOf } from "../tests/fakes/packets.ts";
import { runtime } from "../tests/fakes/runtime.ts";

/** Packets, each of a client of its own where there are as many; the other clients' keys nobody holds. */
const PACKETS = 2048;
const WARM_UP = 256;
const BATCH = 10_000;
const PSK = bytesOf("psk");
const SERVER = bytesOf("server");

/** Measures for about a second. Throws if a packet is refused. */
export async function measureShared(folder: string, count: number) {
  const book = new FleetBook(
    await openFleetDatabase(runtime, folder),
    () => makeConfig([]),
    (name, why) => {
      throw new Error(`${name}: ${why}`);
    },
  );
  const knocking = Math.min(count, PACKETS);
  const keys = Array.from(
    { length: knocking },
    (_, at) => bytesOf(`key ${at}`),
  );
  for (let done = 0; done < count; done += BATCH) {
    book.transaction(() => {
      for (let at = done; at < Math.min(count, done + BATCH); at++) {
        const key = at < knocking ? publicKeyOf(keys[at]!) : runtime.random(32);
        const knock = { key: formatBase64url(key), psk: formatBase64url(PSK) };
        book.put(`client${at}`, { entry: { knock }, files: {} });
      }
    });
  }
  book.changed();
  const nowMs = Date.now();
  const packets = Array.from({ length: PACKETS }, (_, at) =>
    sealKnock(
      {
        server: publicKeyOf(SERVER),
        key: keys[at % knocking]!,
        psk: PSK,
        ephemeral: bytesOf(`ephemeral ${at}`),
      },
      {
        ...{ action: "open", ports: [], command: null, seconds: 0 },
        ...{ address: null, code: null, wantsReply: true },
      },
      nowMs,
    ).packet);
  const dialect = knock1Dialect(
    SERVER,
    [],
    120_000,
    {
      hasWeb: false,
      find(key) {
        const client = book.find("knock", key);
        return client?.knock ? { ...client.knock, name: client.name } : null;
      },
    },
  );
  const open = (packet: Uint8Array) => {
    const opened = dialect.open(packet, {
      nowMs,
      seen: () => false,
      mayCost: () => true,
    });
    if (!opened.ok) throw new Error(`refused: ${opened.why}`);
  };
  for (const packet of packets.slice(0, WARM_UP)) open(packet);
  const start = performance.now();
  for (const packet of packets.slice(WARM_UP)) open(packet);
  const elapsed = performance.now() - start;
  book.close();
  return { opened_per_s: Math.round((PACKETS - WARM_UP) / elapsed * 1000) };
}

if (import.meta.main) {
  const [folder, count] = process.argv.slice(2);
  const measured = await measureShared(folder!, Number(count));
  process.stdout.write(`${JSON.stringify(measured)}\n`);
}
