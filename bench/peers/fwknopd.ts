/** The real fwknopd on a stage, behind iptables, and packets for it. */

import type { ChildProcess } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Trigger } from "../prober/orders.ts";
import { SERVICE_PORT, type Stage, until } from "../stage.ts";
import { fwknopKnock } from "./fwknop_packet.ts";
import { guardByIptables } from "./iptables.ts";

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

/** A running fwknopd. */
export interface Fwknopd {
  readonly pid: number;
  /** A packet of this moment that opens the service for an address. */
  knock(address: string): Trigger;
}

/** Starts fwknopd with its own defaults; it ends with the stage. */
export async function startFwknopd(
  stage: Stage,
  folder: string,
  hearing: Hearing,
): Promise<Fwknopd> {
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
  // deno-fmt-ignore
  const child = stage.pair.spawn(stage.pair.server, [
    "fwknopd", "-f", "-c", config, "-a", access, ...hearing === "udp" ? ["-U"] : [],
  ], "pipe");
  const said = collect(child);
  const ready = hearing === "udp"
    ? "Kicking off UDP server"
    : "Sniffing interface";
  await until(
    () => said().includes(ready) || child.exitCode !== null,
    `fwknopd did not start: ${said()}`,
  );
  if (child.exitCode !== null) throw new Error(`fwknopd ended: ${said()}`);
  return { pid: child.pid!, knock: (address) => fwknopKnock(KEYS, address) };
}

function collect(child: ChildProcess): () => string {
  let said = "";
  child.stdout!.on("data", (text) => said += text);
  child.stderr!.on("data", (text) => said += text);
  return () => said;
}
