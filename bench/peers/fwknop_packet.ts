import { fwknopRandom, sealFwknop } from "../../lib/dialects/fwknop/seal.ts";
import type { Trigger } from "../prober/orders.ts";
import { SERVICE_PORT } from "../stage.ts";
import type { FwknopKeys } from "../../lib/dialects/fwknop/keys.ts";

/** fwknopd's own default port, and this project's. */
export const FWKNOP_PORT = 62201;

/** A packet of this moment that opens the service for an address. */
export function fwknopKnock(keys: FwknopKeys, address: string): Trigger {
  const packet = sealFwknop(
    keys,
    {
      action: "open",
      ports: [{ protocol: "tcp", first: SERVICE_PORT, last: SERVICE_PORT }],
      command: null,
      seconds: 0,
      address,
      forward: null,
      user: "alice",
      checksum: "sha256",
    },
    fwknopRandom(crypto.getRandomValues(new Uint8Array(16))),
    Date.now(),
  );
  return { udp: packet.toBase64(), port: FWKNOP_PORT };
}
