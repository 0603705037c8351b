/** Clients, requests and configurations for unit tests. */

import type { Client, Config } from "../../lib/config/config.ts";
import type { FirewallConfig } from "../../lib/firewall/firewall.ts";
import type { Request } from "../../lib/dialects/dialect.ts";
import {
  FIRST_PACKET,
  parseHit,
  type Sequence,
} from "../../lib/sequences/sequence.ts";
import { parsePortRange } from "../../lib/values/ports.ts";
import { START_MS } from "./fake_runtime.ts";

/** The default firewall. */
export const NFT_GUARD: FirewallConfig = {
  backend: "nft",
  mode: "guard",
  chain: null,
  interfaces: [],
  prefilter: "auto",
  refuse: "drop",
  commands: null,
};

/** A client that may open tcp/22 and tcp/8080-8090, for 30 s and at most an hour. */
export function makeClient(over: Partial<Client> = {}): Client {
  return {
    name: "alice",
    knock: null,
    fwknop: null,
    openme: null,
    openspa: null,
    open: [
      { protocol: "tcp", first: 22, last: 22 },
      { protocol: "tcp", first: 8080, last: 8090 },
    ],
    forSeconds: 30,
    maxForSeconds: 3600,
    from: null,
    requireAddress: false,
    anyAddress: false,
    expiresMs: null,
    hours: null,
    code: null,
    once: false,
    web: false,
    run: [],
    ...over,
  };
}

let made = 0;

/** A request of alice's to open all that she may, with an identity of its own. */
export function makeRequest(over: Partial<Request> = {}): Request {
  const identity = new Uint8Array(32);
  new DataView(identity.buffer).setUint32(0, ++made);
  return {
    dialect: "knock",
    client: "alice",
    action: "open",
    ports: [],
    command: null,
    seconds: 0,
    timestampMs: START_MS,
    address: null,
    code: null,
    identity,
    wantsReply: true,
    ...over,
  };
}

/** A sequence of hits such as "7000 8000:udp", within 5 s, that opens tcp/22 for 10 s. */
export function makeSequence(
  name: string,
  hits: string,
  over: Partial<Sequence> = {},
): Sequence {
  return {
    name,
    action: "open",
    hits: hits.split(" ").map((text) => parseHit(text)!),
    withinMs: 5000,
    open: [parsePortRange("tcp/22")!],
    forSeconds: 10,
    once: false,
    flags: FIRST_PACKET,
    target: null,
    ...over,
  };
}

/** A configuration with these clients. */
export function makeConfig(
  clients: readonly Client[],
  over: Partial<Config> = {},
): Config {
  return {
    file: "/etc/knock/server.yaml",
    listen: [{ host: "::", port: 62201 }],
    sniffed: [],
    streams: [],
    key: new Uint8Array(32).fill(7),
    openme: { file: "openme.key", key: null },
    openspa: { file: "openspa.pem", key: null, adkSecret: null },
    maxSkewMs: 120_000,
    reply: true,
    firewall: { ...NFT_GUARD, backend: "gate" },
    commands: new Map(),
    hooks: { open: null, close: null },
    services: [],
    clients,
    sequences: [],
    warnings: [],
    log: { format: "text", level: "info" },
    metrics: null,
    verify: null,
    fleet: null,
    defaults: { forSeconds: 30, maxForSeconds: 28_800 },
    state: "/var/lib/knock",
    ...over,
  };
}
