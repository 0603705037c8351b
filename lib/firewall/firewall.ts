/**
 * The interface of every firewall backend. A backend opens and ends grants;
 * it decides nothing. What it reports as done is done: it throws
 * {@linkcode FirewallError} otherwise, with nothing half-open.
 * @module
 */

import type { KernelForm } from "../dialects/dialect.ts";
import type { Sequence } from "../sequences/sequence.ts";
import { type Endpoint, isIpv4 } from "../values/address.ts";
import { OperatorError } from "../values/errors.ts";
import { formatPortRange, type PortRange } from "../values/ports.ts";

/** An address that may reach ports, and until when. */
export interface Grant {
  /** Canonical; or a network, "192.0.2.0/24", which is never for a single use and leads nowhere else. */
  readonly address: string;
  readonly ports: PortRange;
  /** Unix milliseconds. */
  readonly untilMs: number;
  /** Ends with the first new connection that uses it. */
  readonly once: boolean;
  /** For comments and messages; several clients may share a grant. */
  readonly client: string;
  /** Where connections go instead of this machine; null = a service of its own. */
  readonly to: Endpoint | null;
  /** Host behind this machine that it opens, canonical; absent: this machine. */
  readonly at?: string;
}

/** A service, as far as a firewall must know it. */
export interface Guarded {
  readonly name: string;
  readonly ports: readonly PortRange[];
  /** Where connections go, for forwarded and proxied services. */
  readonly to: Endpoint | null;
  /** True: forwarded connections get this machine's own address as their source. */
  readonly masquerade: boolean;
  /** True if connections end with their grant, and the service begins none by itself. */
  readonly cut?: boolean;
  /** Hosts behind this machine that its ports are of, canonical; absent: this machine. */
  readonly at?: readonly string[];
}

/** Facts by which the kernel drops junk before the program sees it. */
export interface Prefilter {
  /** UDP ports at which only knock/1 is spoken. */
  readonly ports: readonly number[];
  /** The tags, 8 bytes each, that a packet may begin with now. */
  readonly tags: readonly Uint8Array[];
  /** The first 8 characters of a browser's knock; absent: none may knock so. */
  readonly webTags?: readonly Uint8Array[];
}

/** Where junk is dropped now, besides the program itself. */
export interface PrefilterState {
  /** `nft`: in prerouting; `ingress`: by nft at the interfaces, too; `xdp`: at them, before nft. */
  readonly kind: "off" | "nft" | "ingress" | "xdp";
  /** Interfaces of `ingress` and `xdp`, with XDP's mode: "eth0", "eth0 (native)". */
  readonly interfaces: readonly string[];
  /** Why it is not as the configuration wants it; null = it is. */
  readonly problem: string | null;
}

/** This machine's place in its networks. */
export interface Facing {
  /** Names of interfaces that strangers come in by, sorted; at least one. */
  readonly devices: readonly string[];
  /** This machine's addresses, canonical and sorted. */
  readonly addresses: readonly string[];
}

/** UDP ports that the program watches without a socket: the kernel copies to it what can be a knock, and drops nothing. */
export interface Sniffed {
  readonly ports: readonly number[];
  /** Forms of packets without tags. */
  readonly forms: readonly KernelForm[];
  /** Tags, 8 bytes each, that a knock/1 may begin with now; null: no client speaks it. */
  readonly tags: readonly Uint8Array[] | null;
  /** As of the prefilter. */
  readonly webTags?: readonly Uint8Array[];
}

/** The firewall said no, or cannot be used. */
export class FirewallError extends OperatorError {}

/** A backend lacks something it works with: a program, a library, a part of the kernel. */
export class MissingError extends FirewallError {}

/** A backend. One call at a time: the caller waits for each before the next. */
export interface Firewall {
  /** The backend's name in the configuration, and how it works: "nft (libnftables 1.0.6)". */
  readonly name: string;

  /** True when grants end without the server; otherwise it closes them when their time is up. */
  readonly endsGrants: boolean;

  /**
   * Tables of nftables where a change may undo ours, such as "inet knock";
   * empty: ours is in the kernel, and nftables does not tell of it; absent: it
   * is not in the kernel.
   */
  readonly tables?: readonly string[];

  /**
   * Sets up, or mends, all that is ours, so that exactly these services are
   * guarded and exactly these grants are open. Safe to repeat: a server that
   * starts again or reloads calls it too; there is no moment in which a
   * guarded port is open to everybody.
   */
  apply(
    services: readonly Guarded[],
    grants: readonly Grant[],
    nowMs: number,
  ): Promise<void>;

  /**
   * Makes the ports of `touched` exactly as open as `live` says, which are all
   * grants of the addresses concerned: the latest end of each counts, and what
   * is not among them is closed. Nothing has changed when it throws, but what
   * could be closed.
   */
  change(
    touched: readonly Grant[],
    live: readonly Grant[],
    nowMs: number,
  ): Promise<void>;

  /**
   * Looks whether all that is ours is still in place; false when somebody
   * flushed or changed it (then the server applies it again).
   */
  intact(): Promise<boolean>;

  /** Stops what runs inside this process. Guarded ports stay guarded. */
  stop(): Promise<void>;

  /** Takes all that is ours back: what was guarded is as it was before. */
  remove(): Promise<void>;

  /**
   * Picks those of some grants for one connection that were not used yet.
   * Absent: the backend has no such grants.
   */
  unused?(grants: readonly Grant[]): Promise<readonly Grant[]>;

  /** The part that only nftables has. */
  readonly kernel?: KernelExtras;
}

/** The abilities of the kernel that only nftables offers. */
export interface KernelExtras {
  /**
   * Why nothing that is opened is reachable, though all that is ours is in
   * place: the host's own rules do not come to ours. Null = they do.
   */
  jumpProblem(): Promise<string | null>;

  /**
   * Lets only what can be a knock through to the program: datagrams of 216
   * bytes that begin with one of these tags, and of those only so many a
   * source. Replaces what was set before, in one step; null takes it away.
   * What comes to a sniffed port is not dropped, but logged where it can be a knock.
   */
  setPrefilter(
    prefilter: Prefilter | null,
    sniffed?: Sniffed | null,
  ): Promise<void>;

  /** Tells where it drops junk now. */
  readonly prefilter: PrefilterState;

  /**
   * Has the kernel judge port sequences, from the next apply() on, which puts
   * them in place together with all else.
   */
  setSequences(sequences: readonly Sequence[]): void;

  /** Counts of the kernel by name, such as "kernel: wrong tag". */
  counters(): Promise<Record<string, number>>;
}

/** The two versions of IP, which a firewall keeps apart. */
export type Family = 4 | 6;

export const FAMILIES: readonly Family[] = [4, 6];

/** Which family a canonical address is of. */
export function familyOf(address: string): Family {
  return isIpv4(address) ? 4 : 6;
}

/** Address and ports of a grant. */
export type Opening = Pick<Grant, "address" | "ports" | "at">;

/** Tells one opening from another: two of the same are one to a firewall. */
export function openingKey({ address, ports, at }: Opening): string {
  return `${address} ${formatPortRange(ports)}${at ? ` at ${at}` : ""}`;
}

/** The live grants of the same address, ports and kind as one that is touched: what is to be open of it. */
export function openAmong(
  touched: readonly Grant[],
  live: readonly Grant[],
): Grant[] {
  const keyOf = (grant: Grant) =>
    `${openingKey(grant)} ${grant.once} ${grant.to !== null}`;
  const keys = new Set(touched.map(keyOf));
  return live.filter((grant) => keys.has(keyOf(grant)));
}

/** The grants with the latest end of each opening, by its key. */
export function latestEnds<T extends Grant>(
  grants: readonly T[],
  keyOf: (grant: T) => string = openingKey,
): Map<string, T> {
  const latest = new Map<string, T>();
  for (const grant of grants) {
    const key = keyOf(grant);
    const other = latest.get(key);
    if (!other || other.untilMs < grant.untilMs) latest.set(key, grant);
  }
  return latest;
}

/** Widest range of UDP ports, in ports, whose services begin nothing by themselves. */
const MAX_CUT_UDP = 256;

/**
 * True if what a service sends from these ports can be kept from bringing a
 * connection back that was cut: more UDP ports are others', too, of clients here.
 */
export function canCut({ protocol, first, last }: PortRange): boolean {
  return protocol === "tcp" || last - first < MAX_CUT_UDP;
}

/**
 * The comment by which what is in the kernel is known as ours. nft needs 0.9.7
 * and Linux 5.10 for it; it must never change, or an older server's is refused.
 */
export const OWNER = "made by knock";

export function lines(...all: readonly string[]): string {
  return all.map((line) => line + "\n").join("");
}

/** Where junk is dropped before the program sees it. */
export type PrefilterChoice = "auto" | "nft" | "xdp" | "off";

/** Answer of a closed port: silence, or a TCP reset and ICMP port unreachable. */
export type Refuse = "drop" | "reject";

export type BackendName = "nft" | "iptables" | "gate" | "command";

/** A program and its arguments, never for a shell; `{…}` stands for a part of the grant. */
export type Argv = readonly [program: string, ...args: string[]];

export interface FirewallConfig {
  readonly backend: BackendName;
  readonly mode: "guard" | "accept";
  /** Where mode accept puts its rules: "FAMILY TABLE CHAIN" (nft), or a chain (iptables); null = the default. */
  readonly chain: string | null;
  /** Interfaces that strangers come in by: mode guard closes ports there alone; none = by all but the loopback. */
  readonly interfaces: readonly string[];
  /** nft's own, in prerouting; auto: at the interfaces, too, where the kernel can; xdp: before nft at them. */
  readonly prefilter: PrefilterChoice;
  /** Answer of a closed port: none, or that of a port at which nothing listens (nft in mode guard). */
  readonly refuse: Refuse;
  /** The backend command: argv to open and to close; null for other backends. */
  readonly commands: { readonly open: Argv; readonly close: Argv } | null;
}
