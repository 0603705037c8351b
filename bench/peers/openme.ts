/** The real server of openme on a stage, behind iptables by its own rules, and packets for it. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  publicKeyOf,
  verifyingKeyOf,
} from "../../lib/dialects/crypto/curve25519.ts";
import { OPENME_PORT, sealOpenme } from "../../lib/dialects/openme/open.ts";
import type { Trigger } from "../prober/orders.ts";
import { SERVICE_PORT, type Stage } from "../stage.ts";
import { type Peer, spawnPeer } from "./peer.ts";

const random = (size: number) => crypto.getRandomValues(new Uint8Array(size));
const SERVER_KEY = random(32);
const SEED = random(32);

/** Starts openme with its own defaults but for the backend, closing what it opens; it ends with the stage. */
export async function startOpenme(stage: Stage, folder: string): Promise<Peer> {
  const config = join(folder, `openme-${crypto.randomUUID()}.yaml`);
  writeFileSync(
    config,
    `server:
  host: 127.0.0.1
  udp_port: ${OPENME_PORT}
  firewall: iptables
  drop_ports: true
  private_key: ${SERVER_KEY.toBase64()}
  public_key: ${publicKeyOf(SERVER_KEY).toBase64()}
ports: { default: [${SERVICE_PORT}/tcp] }
clients:
  alice:
    ed25519_pubkey: ${verifyingKeyOf(SEED).toBase64()}
    allowed_ports: [default]
`,
    { mode: 0o600 },
  );
  const argv = ["openme", "serve", "--config", config];
  const pid = await spawnPeer(stage, argv, "listening");
  return { pid, knock };
}

function knock(): Trigger {
  const packet = sealOpenme(
    {
      server: publicKeyOf(SERVER_KEY),
      key: SEED,
      ephemeral: random(32),
      nonce: random(12),
      random: random(16),
    },
    null,
    BigInt(Date.now()) * 1_000_000n,
  );
  return { udp: packet.toBase64(), port: OPENME_PORT };
}
