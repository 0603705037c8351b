/**
 * The question that the server, `check`, `init` and `doctor` ask of the model:
 * which granted ports stay closed, by which of the host's own rules, and what
 * lets them through. Pure.
 * @module
 */

import { type Endpoint, parseAddress } from "../../values/address.ts";
import { type PortRange, portText } from "../../values/ports.ts";
import {
  FAMILIES,
  type Family,
  familyOf,
  type FirewallConfig,
} from "../firewall.ts";
import { DEFAULT_CHAIN as OWN_CHAIN } from "../iptables/rules.ts";
import {
  DEFAULT_CHAIN as HOST_CHAIN,
  formatHostChain,
  parseHostChain,
} from "../nft/rules/sets.ts";
import { formatCause, judgePassing, type Passing } from "./flow.ts";
import type { FilterChain, HostRules, Own, Probe } from "./model.ts";
import { findJump } from "./jump.ts";

/** Ports that a grant opens, or that a caller asks about. */
export interface Wanted {
  readonly ports: PortRange;
  /** Where connections go instead of this machine; null = here. */
  readonly to: Endpoint | null;
  /** Host behind this machine, canonical; absent: here. */
  readonly at?: string;
}

/** A port that stays closed whatever is granted. */
export interface Blocked {
  readonly ports: PortRange;
  readonly family: Family;
  /** The rule that drops it. */
  readonly by: string;
  /** A command to type, or a line to write. */
  readonly hint: string;
  /** The chain that the kernel calls; null where a jump to ours is missing. */
  readonly base: FilterChain | null;
}

/** A firewall as a configuration describes it. */
type Described = Pick<FirewallConfig, "backend" | "mode" | "chain">;

/** Ports of a range that are asked about, from each of its ends. */
const PROBED = 8;

/** This program's own rules under a configuration; null = a program of the user's keeps them. */
export function ownOf({ backend, mode, chain }: Described): Own | null {
  const accepts = mode === "accept";
  switch (backend) {
    case "command":
      return null;
    case "iptables":
      return { chain: chain ?? OWN_CHAIN, accepts };
    case "nft": {
      const host = accepts ? parseHostChain(chain ?? HOST_CHAIN) : null;
      return { chain: host && formatHostChain(host), accepts };
    }
    case "gate":
      return { chain: null, accepts: false };
  }
}

/** The families that this machine has addresses of; both where it shows none. */
export function familiesHere({ local }: HostRules): readonly Family[] {
  const found = FAMILIES.filter((family) =>
    local.some((address) => familyOf(address) === family)
  );
  return found.length > 0 ? found : FAMILIES;
}

/** Answer for all ports of a range: "no" where each of them surely stays closed. */
export function judgeWanted(
  host: HostRules,
  { ports: { protocol, first, last }, to, at }: Wanted,
  about: Pick<Probe, "family" | "source">,
  own: Own,
): Passing {
  const forwarding = at !== undefined
    ? { forwardedTo: at, routed: true }
    : to === null
    ? {}
    : forwardingTo(host, to, about.family);
  const count = to !== null ? 1 : last - first + 1;
  const offsets = Array.from(
    { length: Math.min(count, 2 * PROBED) },
    (_, at) =>
      at < PROBED || count <= 2 * PROBED ? at : count - 2 * PROBED + at,
  );
  let answer: Passing | null = null;
  for (const offset of offsets) {
    const probe = { ...about, protocol, port: first + offset, ...forwarding };
    const one = judgePassing(host, probe, own);
    if (one.passes !== "no") return one;
    answer ??= one;
  }
  return answer!;
}

/** The rule that has a granted port stay closed, and what to do; null = it may pass. */
export function findBlocked(
  host: HostRules,
  wanted: Wanted,
  about: Pick<Probe, "family" | "source">,
  firewall: Described,
): Blocked | null {
  const own = ownOf(firewall);
  if (!own) return null;
  const { passes, cause, base } = judgeWanted(host, wanted, about, own);
  if (passes !== "no" || !cause || !base) return null;
  const { ports } = wanted;
  const { family } = about;
  const chain = firewall.backend === "nft" && own.chain !== null
    ? parseHostChain(own.chain)
    : null;
  const jump = chain && findJump(host, chain);
  if (jump && !jump.ok) {
    const { text, hint } = jump.problem;
    return { ports, family, by: text, hint, base: null };
  }
  const line = allowLine(host, base, family, wanted);
  const mode = own.accepts ? null : acceptMode(host, base);
  const hint = firewall.backend === "gate" || mode === null
    ? `allow it there: ${line}`
    : `allow it there, and knock alone opens it: ${line}; or let knock's own ` +
      `rules accept it: firewall: { backend: ${mode.backend}, mode: accept }`;
  const by = "dropped by the host's own " +
    (cause.rule === null ? "rules: " : "") + formatCause(cause);
  return { ports, family, by, hint, base };
}

/** Backend whose mode accept can let a port through that a chain drops. */
export interface AcceptMode {
  readonly backend: "nft" | "iptables";
  /** nft: the chain that the host's own chain has to jump to. */
  readonly chain: string | null;
}

/** The mode accept that fits the chain which drops; null where none does. */
export function acceptMode(
  host: HostRules,
  base: FilterChain,
): AcceptMode | null {
  if (base.hook?.at !== "input" || base.hook.kind !== "filter") return null;
  const { table } = base;
  if (/^(legacy )?ip6? filter$/.test(table) && base.name === "INPUT") {
    return { backend: "iptables", chain: null };
  }
  const isManaged = managerOf(host, table) === "firewalld" ||
    /^(legacy|netdev)/.test(table);
  return isManaged ? null : { backend: "nft", chain: `${table} knock` };
}

/** A line that lets a port through a chain that drops it, in the words of the tool that keeps the chain. */
function allowLine(
  host: HostRules,
  { table, name, hook }: FilterChain,
  family: Family,
  { ports, to, at }: Wanted,
): string {
  const { protocol } = ports;
  const [, inner] = /^(?:legacy )?ip6? (filter|mangle|raw|security)$/
    .exec(table) ?? [];
  const isIptables = inner !== undefined && name === name.toUpperCase();
  const iptables = family === 4 ? "iptables" : "ip6tables";
  const nft = `nft insert rule ${table} ${name}`;
  const dashed = portText(ports);
  const coloned = portText(ports, ":");
  if (at !== undefined) {
    return isIptables
      ? `${iptables} -I ${name} -d ${at} -p ${protocol} --dport ${coloned} ` +
        "-j ACCEPT"
      : `${nft} ${
        family === 4 ? "ip" : "ip6"
      } daddr ${at} ${protocol} dport ${dashed} accept`;
  }
  if (to !== null || hook?.at === "forward") {
    return isIptables
      ? `${iptables} -I ${name} -m conntrack --ctstate DNAT -j ACCEPT`
      : `${nft} ct status dnat accept`;
  }
  switch (hook?.at === "input" ? managerOf(host, table) : null) {
    case "ufw":
      return `ufw allow ${coloned}/${protocol}`;
    case "firewalld":
      return `firewall-cmd --permanent --add-port=${dashed}/${protocol} ` +
        "&& firewall-cmd --reload";
  }
  if (!isIptables) return `${nft} ${protocol} dport ${dashed} accept`;
  const program = iptables + (inner === "filter" ? "" : ` -t ${inner}`);
  return `${program} -I ${name} -p ${protocol} --dport ${coloned} -j ACCEPT`;
}

/** The tool that writes the rules of a table, as far as its names show. */
function managerOf(
  { chains }: Pick<HostRules, "chains">,
  table: string,
): "ufw" | "firewalld" | null {
  if (table === "inet firewalld") return "firewalld";
  const has = (pattern: RegExp) =>
    chains.some((chain) => chain.table === table && pattern.test(chain.name));
  if (has(/^ufw6?-/)) return "ufw";
  return has(/^INPUT_ZONES$/) ? "firewalld" : null;
}

/** A probe's way to where a service is; a name, or an address of the other family, is not known. */
function forwardingTo(
  { local }: HostRules,
  { host, port }: Endpoint,
  family: Family,
): Pick<Probe, "port" | "forwardedTo"> {
  const address = parseAddress(host);
  if (address !== null && local.includes(address)) return { port };
  const isKnown = address !== null && familyOf(address) === family;
  return { port, forwardedTo: isKnown ? address : null };
}
