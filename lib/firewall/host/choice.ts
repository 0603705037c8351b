import type { Endpoint } from "../../values/address.ts";
import {
  formatPortRange,
  onePort,
  type PortRange,
} from "../../values/ports.ts";
import { DEFAULT_CHAIN } from "../nft/rules/sets.ts";
import type { FilterChain, HostRules } from "./model.ts";
import {
  type AcceptMode,
  acceptMode,
  type Blocked,
  familiesHere,
  findBlocked,
} from "./granted.ts";
import type { BackendName, FirewallConfig } from "../firewall.ts";

/** Backend and mode of a new configuration, as far as the user named them. */
interface WantedFirewall {
  readonly backend: BackendName;
  /** False: another backend may fit better. */
  readonly isNamed: boolean;
  /** Null = not named. */
  readonly mode: FirewallConfig["mode"] | null;
  readonly services: readonly {
    readonly ports: readonly PortRange[];
    readonly to: Endpoint | null;
  }[];
  /** The UDP port of the knocks. */
  readonly port: number;
  /** True: `iptables` here works on the kernel's own tables, not on nftables. */
  readonly isLegacy: boolean;
}

/** Backend and mode that fit this host. */
interface Choice {
  readonly backend: BackendName;
  readonly mode: FirewallConfig["mode"];
  /** For nft in mode accept, where it is not the default. */
  readonly chain: string | null;
  /** Lines for the user: why, and what to type. */
  readonly notes: readonly string[];
}

/** Chooses by what the host's rules do with the services; null = they are not known. */
export function chooseFirewall(
  rules: HostRules | null,
  wish: WantedFirewall,
): Choice {
  const asked = {
    backend: wish.backend,
    mode: wish.mode ?? "guard",
    chain: null,
  } as const;
  if (!rules || wish.backend === "command") return { ...asked, notes: [] };
  const knocks = blockedOf(rules, [onePort("udp", wish.port)]);
  const notes = knocks.map((one) => `knocks: ${explain(one)}`);
  const ports = wish.services.flatMap(({ ports, to }) =>
    to === null || wish.backend === "gate" ? ports : []
  );
  const blocked = blockedOf(rules, ports);
  const isAll = ports.length > 0 &&
    blocked.length === ports.length * familiesHere(rules).length;
  const fitting = isAll ? acceptOf(rules, blocked, wish) : null;
  if (fitting && wish.mode !== "guard") {
    const { accept, base } = fitting;
    const isDefault = accept.chain === null || accept.chain === DEFAULT_CHAIN;
    return {
      backend: accept.backend,
      mode: "accept",
      chain: isDefault ? null : accept.chain,
      notes: [...notes, ...explainAccept(blocked[0]!, accept, base)],
    };
  }
  if (wish.mode === "accept") {
    if (blocked.length === 0 && ports.length > 0) {
      notes.push(
        "this host's own rules let the services' ports through: mode accept " +
          "closes nothing here; --mode guard does",
      );
    }
    return { ...asked, notes };
  }
  return {
    ...asked,
    notes: [...new Set([...notes, ...blocked.map(explain)])],
  };
}

/** The ports that the host's rules certainly drop, once for each family. */
function blockedOf(rules: HostRules, ports: readonly PortRange[]): Blocked[] {
  const firewall = { backend: "gate", mode: "guard", chain: null } as const;
  return ports.flatMap((range) =>
    familiesHere(rules).flatMap((family) =>
      findBlocked(rules, { ports: range, to: null }, { family }, firewall) ?? []
    )
  );
}

/** The one mode accept that lets all of these through, if the user's wish allows it. */
function acceptOf(
  rules: HostRules,
  blocked: readonly Blocked[],
  { backend, isNamed, isLegacy }: WantedFirewall,
): { accept: AcceptMode; base: FilterChain } | null {
  if (backend === "gate") return null;
  const [base] = blocked.map((one) => one.base);
  const accept = base ? acceptMode(rules, base) : null;
  if (!base || !accept || isNamed && accept.backend !== backend) return null;
  const tables = new Set(blocked.map((one) => one.base));
  for (const other of tables) {
    if (!other) return null;
    const same = acceptMode(rules, other);
    if (same?.backend !== accept.backend || same.chain !== accept.chain) {
      return null;
    }
    if (accept.backend !== "iptables") continue;
    if (other.table.startsWith("legacy ") !== isLegacy) return null;
  }
  // Whether another chain drops them, too.
  const chains = rules.chains.filter((chain) => !tables.has(chain));
  const rest = blockedOf(
    { ...rules, chains },
    blocked.map(({ ports }) => ports),
  );
  return rest.length === 0 ? { accept, base } : null;
}

function explainAccept(
  { ports, by }: Blocked,
  { backend, chain }: AcceptMode,
  { table, name }: FilterChain,
): string[] {
  const why = `mode accept, as ${formatPortRange(ports)} is ${by}: ` +
    "knock's own rules accept what is granted";
  if (backend === "iptables" || chain === null) return [why];
  const own = chain.split(" ")[2]!;
  return [
    `${why}; the host's chain has to jump to them, in its own file, too:`,
    `    nft add chain ${chain}`,
    `    nft insert rule ${table} ${name} jump ${own}`,
  ];
}

function explain({ ports, by, hint }: Blocked): string {
  return `${formatPortRange(ports)} is ${by}; ${hint}`;
}
