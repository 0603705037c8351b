/**
 * Forwards as rules of the nft backend: connections from addresses with a grant
 * go to another machine or port (DNAT); others get nothing. The names of targets
 * become addresses here, and those that cannot are reported.
 * @module
 */

import type { Runtime } from "../../../runtime/runtime.ts";
import {
  type Endpoint,
  formatEndpoint,
  isLoopback,
  parseAddress,
} from "../../../values/address.ts";
import {
  mergePorts,
  type PortRange,
  type Protocol,
} from "../../../values/ports.ts";
import {
  FAMILIES,
  type Family,
  familyOf,
  FirewallError,
  type Guarded,
} from "../../firewall.ts";
import {
  type ChainText,
  eachSet,
  elsewhere,
  granted,
  isOfFamily,
  isOwnKind,
  mapName,
  mapText,
  packetKey,
  type TablePlace,
  toPorts,
} from "./sets.ts";
import { failing, type SystemError } from "../../../values/errors.ts";

/** Where connections of one family go. */
export interface ForwardTarget {
  readonly family: Family;
  /** Canonical. */
  readonly address: string;
  readonly port: number;
  /** True if the target is this machine itself. */
  readonly local: boolean;
}

/** A service whose connections go elsewhere. */
export interface ForwardRule {
  readonly name: string;
  readonly ports: readonly PortRange[];
  /** One a family at most; clients of a family without one are refused. */
  readonly targets: readonly ForwardTarget[];
  /** True if this machine's own address is the source there. */
  readonly masquerade: boolean;
}

/** Before and after the host's own; the first that leads a connection on decides. */
const DNAT_PRIORITY = "dstnat - 10";
const SNAT_PRIORITY = "srcnat - 10";

/** The chains that lead on; none where there is nothing to lead. */
export function natChains(
  place: TablePlace,
  forwards: readonly ForwardRule[],
  interfaces: readonly string[],
): ChainText[] {
  const forwarded = forwards.flatMap(({ ports }) => ports);
  const rules = [
    ...targetRules(place),
    ...forwards.flatMap((forward) => forwardRules(place, forward)),
    // Forwarded packets never reach this machine's own services: a single
    // use that a neighbour was faster to use, or the other IP version.
    ...(forwarded.length > 0
      ? [...elsewhere(interfaces), `${toPorts(forwarded)} counter drop`]
      : []),
  ];
  if (rules.length === 0) return [];
  const leaving = forwards.filter(({ masquerade }) => masquerade)
    .flatMap((forward) =>
      eachWay(forward).filter(({ target }) => !target.local)
        .map((way) => `${wasForwarded(way)} masquerade`)
    );
  const entering = {
    name: "nat_in",
    hook: `type nat hook prerouting priority ${DNAT_PRIORITY}; policy accept;`,
    // Those that only pass through this machine are for others.
    rules: ["fib daddr type != local accept", ...rules],
  };
  if (leaving.length === 0) return [entering];
  const hook =
    `type nat hook postrouting priority ${SNAT_PRIORITY}; policy accept;`;
  return [entering, { name: "nat_out", hook, rules: leaving }];
}

/** The rules that let through what was forwarded to this machine itself. */
export function landedRules(
  place: TablePlace,
  forwards: readonly ForwardRule[],
): string[] {
  const kinds = place.kinds.filter((kind) => kind === "landed");
  return [
    ...eachSet(
      { ...place, kinds },
      (kind, family) => `ct status dnat ${granted(place, kind, family)} accept`,
    ),
    ...forwards.flatMap((forward) =>
      eachWay(forward)
        .filter(({ target }) =>
          target.local && place.families.includes(target.family)
        )
        .map((way) => `${wasForwarded(way)} accept`)
    ),
  ];
}

/** The maps of where grants with a target of their own lead. */
export function targetMaps(): string[] {
  return FAMILIES.map(mapText);
}

function targetRules(place: TablePlace): string[] {
  const kinds = place.kinds.filter((kind) =>
    kind === "sent" || kind === "sentonce"
  );
  return eachSet(
    { ...place, kinds },
    (kind, family) =>
      `${granted(place, kind, family)} dnat ${ipWord(family)} to ` +
      `${packetKey(family)} map @${mapName(family)}`,
  );
}

function forwardRules(
  place: TablePlace,
  { ports, targets }: ForwardRule,
): string[] {
  return targets.flatMap((target) =>
    protocolsOf(ports).flatMap(([protocol, texts]) =>
      place.kinds.filter((kind) =>
        isOwnKind(kind) && isOfFamily(kind, target.family)
      ).map((kind) =>
        `${protocol} dport { ${texts.join(", ")} } ` +
        `${granted(place, kind, target.family)} ` +
        `dnat ${ipWord(target.family)} to ${
          formatEndpoint({ host: target.address, port: target.port })
        }`
      )
    )
  );
}

interface Way {
  readonly protocol: Protocol;
  /** `8443` or `8000-8010`. */
  readonly ports: string;
  readonly target: ForwardTarget;
}

function eachWay({ ports, targets }: ForwardRule): Way[] {
  return targets.flatMap((target) =>
    protocolsOf(ports).flatMap(([protocol, texts]) =>
      texts.map((text) => ({ protocol, ports: text, target }))
    )
  );
}

/** The condition that a connection was forwarded this way. */
function wasForwarded({ protocol, ports, target }: Way): string {
  const { family, address, port } = target;
  // nft 1.0.6 writes original ports into sets in the wrong byte order, so
  // each range has a rule of its own.
  return `ct status dnat meta l4proto ${protocol} ` +
    `ct original proto-dst ${ports} ${ipWord(family)} daddr ${address} ` +
    `${protocol} dport ${port}`;
}

function ipWord(family: Family): "ip" | "ip6" {
  return family === 4 ? "ip" : "ip6";
}

function protocolsOf(
  ports: readonly PortRange[],
): [protocol: Protocol, texts: string[]][] {
  return (["tcp", "udp"] as const).map(
    (protocol): [Protocol, string[]] => [
      protocol,
      mergePorts(ports).filter((range) => range.protocol === protocol)
        .map(({ first, last }) =>
          first === last ? `${first}` : `${first}-${last}`
        ),
    ],
  ).filter(([, texts]) => texts.length > 0);
}

/** Linux' switches of forwarding. */
export const PASSES_ON: Readonly<Record<Family, string>> = {
  4: "/proc/sys/net/ipv4/ip_forward",
  6: "/proc/sys/net/ipv6/conf/all/forwarding",
};

/** Linux' switches of reaching 127.0.0.0/8 from outside. */
const ROUTE_LOCALNET = "/proc/sys/net/ipv4/conf/all/route_localnet";

/**
 * Resolves the services that lead elsewhere. Throws FirewallError where one
 * has no address; whether the kernel would lead there is not asked.
 */
export async function resolveForwards(
  runtime: Runtime,
  services: readonly Guarded[],
): Promise<ForwardRule[]> {
  const forwards: ForwardRule[] = [];
  for (const { name, ports, to, masquerade } of services) {
    if (!to) continue;
    const targets = await resolveTarget(runtime, to);
    const itself = targets.find(({ local, port }) =>
      local &&
      ports.some(({ first, last }) => first <= port && port <= last)
    );
    if (itself) {
      throw new FirewallError(
        `cannot forward to ${quote(to)}: that is this machine's own port`,
        "take `to` out of the service",
      );
    }
    forwards.push({ name, ports, targets, masquerade });
  }
  return forwards;
}

/** The addresses of a target, one a family at most. Throws FirewallError when it has none. */
export async function resolveTarget(
  runtime: Runtime,
  to: Endpoint,
): Promise<ForwardTarget[]> {
  const own = runtime.ownAddresses();
  const targets = new Map<Family, ForwardTarget>();
  for (const address of await addressesOf(runtime, to)) {
    const family = familyOf(address);
    if (targets.has(family)) continue;
    const local = isLoopback(address) || own.includes(address);
    targets.set(family, { family, address, port: to.port, local });
  }
  return [...targets.values()];
}

/** Throws FirewallError where the kernel would not lead a connection to its target. */
export function checkTarget(runtime: Runtime, target: ForwardTarget): void {
  const { family, address, port, local } = target;
  const shown = quote({ host: address, port });
  if (isLoopback(address)) {
    if (family === 4 && isOn(runtime, ROUTE_LOCALNET)) return;
    throw new FirewallError(
      `cannot forward to ${shown}: nftables leads no connection from outside to loopback`,
      "set firewall.backend to gate, or guard the service's own port without `to`",
    );
  }
  if (local || isOn(runtime, PASSES_ON[family])) return;
  const key = PASSES_ON[family].replace("/proc/sys/", "").replaceAll("/", ".");
  throw new FirewallError(
    `cannot forward to ${shown}: this machine passes no packets on`,
    `sysctl -w ${key}=1, and the same in /etc/sysctl.d/`,
  );
}

async function addressesOf(runtime: Runtime, to: Endpoint): Promise<string[]> {
  const address = parseAddress(to.host);
  if (address !== null) return [address];
  const unknown = ({ message }: SystemError) =>
    new FirewallError(
      `cannot forward to ${quote(to)}: ${message}`,
      "an address needs no name service",
    );
  return await failing(unknown, () => runtime.resolve(to.host));
}

/** True if a file of /proc says so. */
export function isOn(runtime: Runtime, path: string): boolean {
  try {
    return Number(runtime.files.readText(path)) > 0;
  } catch {
    return false;
  }
}

function quote(endpoint: Endpoint): string {
  return `"${formatEndpoint(endpoint)}"`;
}
