/** The real server of OpenSPA on a stage, behind iptables, and packets for it. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { OPENSPA_PORT, sealOpenspa } from "../../lib/dialects/openspa/open.ts";
import { SERVER } from "../../tests/netns/netns.ts";
import {
  CLIENT_PRIVATE,
  CLIENT_PUBLIC_PEM,
  RSA_PRIVATE_PEM,
  RSA_PUBLIC,
  RSA_PUBLIC_PEM,
} from "../../tests/fakes/rsa.ts";
import type { Trigger } from "../prober/orders.ts";
import { SERVICE_PORT, type Stage } from "../stage.ts";
import { guardByIptables } from "./iptables.ts";
import { type Peer, spawnPeer } from "./peer.ts";

const UUID = "c3b66a05-9098-4100-8141-be5695ada0e7";
const CHAIN = "OPENSPA-ALLOW";
const GRANT_SECONDS = 10;

/** Starts OpenSPA as its documents have it; it ends with the stage. */
export async function startOpenspa(
  stage: Stage,
  folder: string,
): Promise<Peer> {
  const own = join(folder, `openspa-${crypto.randomUUID()}`);
  mkdirSync(join(own, "keys"), { recursive: true, mode: 0o700 });
  const write = (name: string, text: string) => {
    const path = join(own, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  write(`keys/${UUID}.pub`, CLIENT_PUBLIC_PEM);
  const config = write(
    "config.yaml",
    `server: { ip: "0.0.0.0", port: ${OPENSPA_PORT}, requestHandlers: 100 }
firewall: { backend: iptables, iptables: { chain: ${CHAIN} } }
authorization: { backend: simple, simple: { duration: ${GRANT_SECONDS}s } }
crypto:
  cipherSuitePriority: [CipherSuite_RSA_SHA256_AES256CBC]
  rsa:
    client: { publicKeyLookupDir: ${join(own, "keys")} }
    server:
      privateKeyPath: ${write("server.pem", RSA_PRIVATE_PEM)}
      publicKeyPath: ${write("server.pub", RSA_PUBLIC_PEM)}
`,
  );
  await stage.pair.onServer(["iptables", "-N", CHAIN]);
  await stage.pair.onServer(["iptables", "-A", "INPUT", "-j", CHAIN]);
  await guardByIptables(stage);
  const argv = ["openspa", "server", "--config", config];
  return { pid: await spawnPeer(stage, argv, "Starting UDP server"), knock };
}

function knock(address: string): Trigger {
  const service = { protocol: "tcp", first: SERVICE_PORT, last: SERVICE_PORT };
  const { packet } = sealOpenspa(
    {
      uuid: Uint8Array.fromHex(UUID.replaceAll("-", "")),
      key: CLIENT_PRIVATE,
      server: RSA_PUBLIC,
      adk_secret: null,
      random: crypto.getRandomValues(new Uint8Array(96)),
    },
    { ports: service as never, address, target: SERVER[4] },
    Date.now(),
  );
  return { udp: packet.toBase64(), port: OPENSPA_PORT };
}
