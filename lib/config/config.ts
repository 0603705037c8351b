/** A valid configuration, as the server uses it. `read.ts` makes it. */

import type { ClientKeys, OwnKeys } from "../dialects/keys.ts";
import type { FleetConfig } from "../fleet/fleet.ts";
import type { Sequence } from "../sequences/sequence.ts";
import type { Endpoint, Prefix } from "../values/address.ts";
import type { PortRange, Protocol } from "../values/ports.ts";
import type { Hours } from "../values/time.ts";
import type { Argv, FirewallConfig } from "../firewall/firewall.ts";

export interface Config extends OwnKeys {
  /** The file it was read from. */
  readonly file: string;
  /** Sockets for datagrams. */
  readonly listen: readonly Listen[];
  /** UDP ports that are watched without a socket. */
  readonly sniffed: readonly Listen[];
  /** Where packets come in connections of TCP. */
  readonly streams: readonly StreamListen[];
  /** The server's own X25519 private key, 32 bytes. */
  readonly key: Uint8Array;
  readonly maxSkewMs: number;
  /** False: the server sends no replies at all. */
  readonly reply: boolean;
  readonly firewall: FirewallConfig;
  readonly services: readonly Service[];
  readonly clients: readonly Client[];
  /** Port sequences and the ports they open. */
  readonly sequences: readonly SequenceEntry[];
  /** Valid but suspicious settings, a line each with its path. */
  readonly warnings: readonly string[];
  /** Commands that clients may `run`, by name. */
  readonly commands: ReadonlyMap<string, Argv>;
  /** Run beside the firewall when a grant opens and when it ends; null = nothing. */
  readonly hooks: { readonly open: Argv | null; readonly close: Argv | null };
  readonly log: LogConfig;
  /** Where GET /metrics is answered; null = nowhere. */
  readonly metrics: Endpoint | null;
  /** Where a reverse proxy asks whether an address has a grant; null = nowhere. */
  readonly verify: {
    readonly listen: Endpoint;
    /** Addresses of proxies that may ask; they are skipped in a client's list of hops. */
    readonly trust: readonly Prefix[];
  } | null;
  /** The fleet that this gateway belongs to; null = it stands alone. */
  readonly fleet: FleetConfig | null;
  /** Lengths of grants for clients that set none. */
  readonly defaults: Pick<Policy, "forSeconds" | "maxForSeconds">;
  /** The folder of the state file. */
  readonly state: string;
}

/** Where datagrams are received. */
export interface Listen extends Endpoint {
  /** "::" = every address, both families. */
  readonly host: string;
}

/** Where packets come as the first bytes of a connection, or as the path of an HTTP request. */
export interface StreamListen extends Listen {
  readonly transport: "tcp" | "http";
}

/** One entry of `listen`; without a transport, a UDP socket. */
export interface ListenEntry extends Listen {
  readonly transport?: StreamListen["transport"] | "sniff";
}

/** All UDP ports that knocks come to, with a socket or without. */
export function datagramPlaces(
  { listen, sniffed }: Pick<Config, "listen" | "sniffed">,
): Listen[] {
  return [...listen, ...sniffed];
}

/** Observer of a sequence's hits: nftables, tcpdump, or sockets of our own (UDP). */
export type Watch = "kernel" | "sniff" | "socket";

/** A port sequence and the ports it opens: a key under `sequences`. */
export interface SequenceEntry {
  readonly name: string;
  readonly watch: Watch;
  /** Sequences that open it; of one-time sequences, one at a time is right, in this order. */
  readonly opens: readonly Sequence[];
  /** True: each of them can be used once. */
  readonly oneTime: boolean;
  /** Sequence that closes it before its time; null = none. */
  readonly closes: Sequence | null;
  /** Sources that it answers to; null = any. */
  readonly from: readonly Prefix[] | null;
  /** Run when it opens. */
  readonly run: SequencePrograms;
  /** Run when its time is over. */
  readonly runAfter: SequencePrograms;
  /** Seconds in which `run` is run once for a source; null = each time. */
  readonly every: number | null;
}

/** Programs to run for an IPv4 and for an IPv6 source; null = none. */
export interface SequencePrograms {
  readonly ipv4: Argv | null;
  readonly ipv6: Argv | null;
}

/** Service that clients may open. */
export interface Service {
  /** Key under `services`. */
  readonly name: string;
  /** Ports of the service. */
  readonly ports: readonly PortRange[];
  /** Target that connections are forwarded (nft) or proxied (gate) to; null = the machine's own service. */
  readonly to: Endpoint | null;
  /** True if forwarded connections get this machine's own address as their source. */
  readonly masquerade: boolean;
  /** True if `close` ends established connections, too. */
  readonly kill: boolean;
  /** True if established connections end with their grant, however that ends. */
  readonly cut?: boolean;
  /** Hosts behind this machine that the ports are of, by address or name; absent: this machine's own. */
  readonly at?: readonly string[];
}

export interface LogConfig {
  readonly format: "text" | "json";
  readonly level: "debug" | "info" | "warn" | "error";
}

/** An enrolled client: its keys in each dialect, and its policy. */
export interface Client extends ClientKeys, Policy {
  readonly name: string;
  /** True if a grant ends with the first connection that uses it. */
  readonly once: boolean;
  /** True if the client may knock from a browser, by the web form of knock/1. */
  readonly web: boolean;
  /** Names of services of hosts behind this machine that the client may open; absent: none. */
  readonly behind?: readonly string[];
  /** The part of `open` that is this machine's own; absent: all of it. */
  readonly here?: readonly PortRange[];
}

/** Rights of one client, as the judge applies them. */
export interface Policy {
  /** Ports that the client may open, services resolved, in the file's order. */
  readonly open: readonly PortRange[];
  /** Length of a grant when the request asks for 0 seconds. */
  readonly forSeconds: number;
  /** Longest grant, seconds; a longer request is shortened to it. */
  readonly maxForSeconds: number;
  /** Networks that may receive a grant; null = any. */
  readonly from: readonly Prefix[] | null;
  /** Bits of the network around the address that a grant is for; absent or null: the address alone. */
  readonly network?: NetworkBits | null;
  /** True if every request must name its address. */
  readonly requireAddress: boolean;
  /** True if the client may open for addresses other than its own. */
  readonly anyAddress: boolean;
  /** Unix milliseconds from which every request is refused; null = never. */
  readonly expiresMs: number | null;
  /** Hours of the week in which requests are accepted; null = always. */
  readonly hours: Hours | null;
  /** Secret of the client's one-time codes (RFC 6238), raw bytes; null = no code required. */
  readonly code: Uint8Array | null;
  /** Names of the commands that the client may run. */
  readonly run: readonly string[];
}

/** Bits of the networks that grants are for; null: an address of that family alone. */
export interface NetworkBits {
  /** 16 to 32; null = an IPv4 address alone. */
  readonly ipv4: number | null;
  /** 48 to 128; null = an IPv6 address alone. */
  readonly ipv6: number | null;
}

/** True if no client can send a packet: none is enrolled, and sequences open. */
export function hasSequencesAlone({ clients, sequences }: Config): boolean {
  return clients.length === 0 && sequences.length > 0;
}

/** One of our own sockets that knocks have to reach through the host's rules. */
interface KnockSocket extends Listen {
  readonly protocol: Protocol;
}

/** The sockets that knocks have to reach: those of clients, and of sequences with `watch: socket`. */
export function knockSocketsOf(config: Config): KnockSocket[] {
  const { listen, streams, sequences } = config;
  const own = hasSequencesAlone(config) ? [] : [...listen, ...streams];
  const sockets = own.map((entry: ListenEntry): KnockSocket => ({
    host: entry.host,
    port: entry.port,
    protocol: entry.transport ? "tcp" : "udp",
  }));
  const hits = sequences.filter(({ watch }) => watch === "socket")
    .flatMap(({ opens, closes }) => [...opens, ...closes ? [closes] : []])
    .flatMap(({ hits }) => hits);
  for (const { protocol, port } of hits) {
    const isThere = (one: KnockSocket) =>
      one.protocol === protocol && one.port === port;
    if (!sockets.some(isThere)) sockets.push({ host: "::", port, protocol });
  }
  return sockets;
}

/** Entry of a new service. */
export type NewService = Pick<Service, "name" | "ports" | "to">;
