/** The real fwknopd on a stage, behind iptables, and packets for it. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SERVICE_PORT, type Stage } from "../stage.ts";
import { fwknopKnock } from "./fwknop_packet.ts";
import { guardByIptables } from "./iptables.ts";
import { type Peer, spawnPeer } from "./peer.ts";

/** Source of its packets: sniffing is its default. */
export type Hearing = "pcap" | "udp";

const GRANT_SECONDS = 10;
/** The longest pause between rounds: it sleeps a tenth of a second between looks. */
export const FWKNOPD_PAUSE_MS = 120;

const KEYS = {
  name: "alice",
  key: crypto.getRandomValues(new Uint8Array(32)),
  mode: "cbc",
  hmac: { type: "sha256", key: crypto.getRandomValues(new Uint8Array(64)) },
} as const;

/** Starts fwknopd with its own defaults; it ends with the stage. */
export async function startFwknopd(
  stage: Stage,
  folder: string,
  hearing: Hearing,
): Promise<Peer> {
  const own = join(folder, `fwknopd-${hearing}-${crypto.randomUUID()}`);
  mkdirSync(own, { mode: 0o700 });
  const access = join(own, "access.conf");
  const config = join(own, "fwknopd.conf");
  writeFileSync(
    access,
    [
      "SOURCE ANY",
      `OPEN_PORTS tcp/${SERVICE_PORT}`,
      `KEY_BASE64 ${KEYS.key.toBase64()}`,
      `HMAC_KEY_BASE64 ${KEYS.hmac.key.toBase64()}`,
      `FW_ACCESS_TIMEOUT ${GRANT_SECONDS}`,
      "",
    ].join("\n"),
    { mode: 0o600 },
  );
  writeFileSync(
    config,
    `FWKNOP_RUN_DIR ${own};\nPCAP_INTF eth0;\n`,
    { mode: 0o600 },
  );
  await guardByIptables(stage);
  const ready = hearing === "udp"
    ? "Kicking off UDP server"
    : "Sniffing interface";
  // deno-fmt-ignore
  const pid = await spawnPeer(stage, [
    "fwknopd", "-f", "-c", config, "-a", access, ...hearing === "udp" ? ["-U"] : [],
  ], ready);
  return { pid, knock: (address) => fwknopKnock(KEYS, address) };
}
