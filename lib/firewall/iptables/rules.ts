/**
 * The rules of the iptables backend, as text of iptables-restore. Pure.
 * Everything that is ours is in one chain, and the jumps to it: from mangle
 * PREROUTING in mode guard, before any DNAT; from filter INPUT in mode accept.
 * @module
 */

import { isCanonical, isIpv4 } from "../../values/address.ts";
import { mergePorts, type PortRange, portText } from "../../values/ports.ts";
import {
  canCut,
  type Family,
  FirewallError,
  type Grant,
  type Guarded,
  lines,
} from "../firewall.ts";
import {
  type IptablesListing,
  MARK,
  ourChains,
  readListing,
} from "./listing.ts";

/** The chain of ours, unless the configuration names another. */
export const DEFAULT_CHAIN = "KNOCK";

/** The last moment of xt_time, in Unix seconds: in January 2038. */
export const LAST_STOP_SECONDS = 2_147_483_647;

/** Tables that a chain of ours may be in: of this mode, of the other, or of an older version. */
export const TABLES = ["filter", "mangle"] as const;

/** Where a chain of ours is, and the rules that jump to it. */
export interface ChainPlace {
  readonly table: (typeof TABLES)[number];
  readonly chain: string;
  /** The rules before all others of a built-in chain, behind "-A ". */
  readonly jumps: readonly string[];
  /** Rules of OUTPUT that keep connections which were cut from coming back. */
  readonly cuts: readonly string[];
}

/**
 * The place of a chain: in mode guard all that an input hook would see comes to
 * it. Multicast and the others are jumps of their own: ip6tables takes several
 * types for all of them at once.
 */
export function placeOf(
  { mode, chain }: Pick<Style, "mode" | "chain">,
  family: Family,
  cut: readonly PortRange[] = [],
): ChainPlace {
  const cuts = mergePorts(cut).filter(canCut).map(cutRule);
  if (mode === "accept") {
    return { table: "filter", chain, jumps: [`INPUT -j ${chain}`], cuts };
  }
  const types = family === 4
    ? ["LOCAL", "BROADCAST,MULTICAST"]
    : ["LOCAL", "MULTICAST", "ANYCAST"];
  const jumps = types.map((type) =>
    `PREROUTING -m addrtype --dst-type ${type} -j ${chain}`
  );
  return { table: "mangle", chain, jumps, cuts };
}

/** As the chain `cut` of the nft backend: of TCP anything but a first packet, of UDP all that no client began. */
function cutRule(ports: PortRange): string {
  const from = portsText(ports).replace("--d", "--s");
  const flags = ports.protocol === "tcp" ? "--tcp-flags SYN,RST NONE " : "";
  return `OUTPUT ! -o lo ${from} ${flags}` +
    `-m conntrack --ctstate NEW ${MARK} -j DROP`;
}

/** Form of the rules of a family. */
export interface Style {
  readonly chain: string;
  /** guard: drop what is not granted; accept: accept what is. */
  readonly mode: "guard" | "accept";
  /** Interfaces at which ports are guarded; none = all but the loopback. */
  readonly interfaces: readonly string[];
  /** True if the kernel has xt_time, and ends grants by itself. */
  readonly timed: boolean;
}

/**
 * The rule that lets a grant's packets through: back to the host's own rules
 * in guard mode. Its comment is `knock CLIENT until=SECONDS`, of a port
 * sequence `knock sequence NAME until=SECONDS`.
 */
export function grantRule(
  { address, ports, untilMs, client }: Grant,
  { mode, timed }: Style,
): string {
  // Nothing but an address and a name may come to be text of a script.
  if (!isCanonical(address)) {
    throw new FirewallError(`not an address: "${address}"`);
  }
  if (!/^(sequence )?[\w.-]+$/.test(client)) {
    throw new FirewallError(`not a client's name: "${client}"`);
  }
  const seconds = Math.ceil(untilMs / 1000);
  // The second of the stamp itself still matches, so the rule ends with it.
  const time = timed ? `-m time --datestop ${formatStop(seconds - 1)} ` : "";
  const source = address.includes("/")
    ? address
    : `${address}/${isIpv4(address) ? 32 : 128}`;
  return `-s ${source} ${portsText(ports)} ` +
    `${time}-m comment --comment "knock ${client} until=${seconds}" ` +
    `-j ${mode === "guard" ? "RETURN" : "ACCEPT"}`;
}

/** The script that makes the chain exactly this, in one step, and has the jumps before all else. */
export function applyScript(
  style: Style,
  { table, jumps, cuts }: ChainPlace,
  services: readonly Guarded[],
  grants: readonly Grant[],
  found: IptablesListing,
): string {
  const { chain } = style;
  const isPlaced = found.first && found.jumps.length === jumps.length;
  const hasCuts = sameRules(found.cuts, cuts);
  return restoreText(
    table,
    `:${chain} - [0:0]`, // flushes one that is there
    ...[
      ...headRules(style),
      ...grants.map((grant) => grantRule(grant, style)),
      ...tailRules(style, services),
    ].map((rule) => `-A ${chain} ${rule}`),
    ...isPlaced ? [] : [
      ...found.jumps.map((jump) => `-D ${jump}`),
      ...jumps.toReversed().map((jump) => `-I ${jump.replace(" ", " 1 ")}`),
    ],
    ...hasCuts ? [] : [
      ...found.cuts.map((rule) => `-D ${rule}`),
      ...cuts.map((rule) => `-A ${rule}`),
    ],
  );
}

/** True if two lists hold the same rules, in whatever order. */
export function sameRules(
  some: readonly string[],
  others: readonly string[],
): boolean {
  return some.toSorted().join("\n") === others.toSorted().join("\n");
}

/** The script that takes some rules out of the chain and puts others in. */
export function changeScript(
  style: Style,
  { table }: Pick<ChainPlace, "table">,
  gone: readonly string[],
  fresh: readonly string[],
): string {
  const place = headRules(style).length + 1;
  return restoreText(
    table,
    ...fresh.map((rule) => `-I ${style.chain} ${place} ${rule}`),
    ...gone.map((rule) => `-D ${style.chain} ${rule}`),
  );
}

/** The script that takes the jump and the chain away; an emptied chain stays where others' rules lead to it. */
export function removeScript(
  { table, chain }: { readonly table: string; readonly chain: string },
  found: IptablesListing,
): string {
  return restoreText(
    table,
    ...[...found.jumps, ...found.cuts].map((rule) => `-D ${rule}`),
    `-F ${chain}`,
    ...found.shared ? [] : [`-X ${chain}`],
  );
}

/** The chains of ours in a table's listing but one, and the script that takes each away. */
export function removals(table: string, listing: string, kept?: string) {
  const chains = ourChains(listing).filter((chain) => chain !== kept);
  return chains.map((chain, index) => {
    const found = readListing(listing, { chain, jumps: [] });
    // The rules of OUTPUT are those of the chain that stays, or go with the first.
    const cuts = kept === undefined && index === 0 ? found.cuts : [];
    const script = removeScript({ table, chain }, { ...found, cuts });
    return { chain, isShared: found.shared, script };
  });
}

/** The rules before the grants. */
function headRules({ mode }: Style): string[] {
  return mode === "accept" ? [] : [
    "-m conntrack --ctstate ESTABLISHED -j RETURN",
    "-i lo -j RETURN",
  ];
}

/** The rules after the grants: the drops, and the mark. */
function tailRules(
  { mode, interfaces, timed }: Style,
  services: readonly Guarded[],
): string[] {
  const from = interfaces.length > 0
    ? interfaces.map((name) => `-i ${name} `)
    : [""];
  const guarded = mode === "accept" ? [] : services;
  const ports = mergePorts(guarded.flatMap((service) => service.ports));
  // With a time of its own, the mark shows whether this kernel has xt_time.
  const time = timed ? `-m time --datestop ${formatStop(FAR_SECONDS)} ` : "";
  return [
    ...from.flatMap((one) =>
      ports.map((range) => `${one}${portsText(range)} -j DROP`)
    ),
    `${time}${MARK}`,
  ];
}

/** 2037-12-31T00:00:00Z, as unix seconds. */
const FAR_SECONDS = 2_145_830_400;

function portsText(ports: PortRange): string {
  const { protocol } = ports;
  return `-p ${protocol} -m ${protocol} --dport ${portText(ports, ":")}`;
}

/** Unix seconds as xt_time reads them, UTC. */
function formatStop(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(0, 19);
}

function restoreText(table: string, ...rules: readonly string[]): string {
  return lines(`*${table}`, ...rules, "COMMIT");
}
