/**
 * Packets of fwknop's form that one core judges a second, with ten enrolled
 * clients: `deno run -A bench/fwknop.ts`, or `bun bench/fwknop.ts`; with
 * `--json`, as one JSON object.
 *
 * @module
 */

import { createHash } from "node:crypto";
import type { PacketRefusal } from "../lib/dialects/dialect.ts";
import { fwknopDialect } from "../lib/dialects/fwknop/open.ts";
import type { FwknopClient } from "../lib/dialects/fwknop/request.ts";
import { fwknopRandom, sealFwknop } from "../lib/dialects/fwknop/seal.ts";
import { sceneAt } from "../tests/fakes/packets.ts";
import { expect, printRates, rate } from "./judged.ts";

/** Packets a second, by what they are. */
export interface FwknopMeasures {
  readonly fwknop_valid_per_s: number;
  /** Of fwknop's form and a likely length, from nobody. */
  readonly fwknop_bad_mac_per_s: number;
  /** Of fwknop's length, but other bytes. */
  readonly fwknop_bad_form_per_s: number;
}

const NOW_MS = 1_790_000_000_000;
const PACKETS = 256;
const CLIENTS = 10;

const bytesOf = (text: string) =>
  new Uint8Array(createHash("sha512").update(text).digest());

/** Measures for about three seconds. Throws if a packet is not judged as it should be. */
export function measureFwknop(): FwknopMeasures {
  const clients = Array.from({ length: CLIENTS }, (_, index): FwknopClient => ({
    name: `client${index}`,
    key: bytesOf(`key ${index}`).subarray(0, 32),
    mode: "cbc",
    hmac: { type: "sha256", key: bytesOf(`hmac ${index}`) },
  }));
  const dialect = fwknopDialect(clients);
  const packets = Array.from({ length: PACKETS }, (_, index) =>
    sealFwknop(
      clients[index % CLIENTS]!,
      {
        action: "open",
        ports: [{ protocol: "tcp", first: 22, last: 22 }],
        command: null,
        seconds: 0,
        address: "192.0.2.9",
        forward: null,
        user: "alice",
        checksum: "sha256",
      },
      fwknopRandom(bytesOf(`random ${index}`)),
      NOW_MS,
    ));
  const scene = sceneAt(NOW_MS);
  const measure = (
    sent: readonly Uint8Array[],
    wanted: PacketRefusal | null,
  ) => rate(sent, (packet) => expect(dialect.open(packet, scene), wanted));
  return {
    fwknop_valid_per_s: measure(packets, null),
    fwknop_bad_mac_per_s: measure(
      packets.map((packet) => packet.with(9, packet[9] === 65 ? 66 : 65)),
      "mac",
    ),
    fwknop_bad_form_per_s: measure(
      packets.map((packet) => packet.with(9, 0)),
      "form",
    ),
  };
}

if (import.meta.main) {
  printRates(measureFwknop());
}
