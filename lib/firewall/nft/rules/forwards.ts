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
  portText,
  type Protocol,
} from "../../../values/ports.ts";
import {
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
  ipWord,
  isOfFamily,
  isOwnKind,
  mapName,
  packetKey,
  type TablePlace,
  toPorts,
} from "./sets.ts";
import { failing, orNull } from "../../../values/errors.ts";

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
    .flatMap((forward) => wasForwarded(forward, ({ local }) => !local))
    .map((was) => `${was} masquerade`);
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
  return [
    ...eachSet(
      place,
      (kind, family) => `ct status dnat ${granted(place, kind, family)} accept`,
      (kind) => kind === "landed",
    ),
    ...forwards.flatMap((forward) =>
      wasForwarded(
        forward,
        ({ local, family }) => local && place.families.includes(family),
      )
    ).map((was) => `${was} accept`),
  ];
}

function targetRules(place: TablePlace): string[] {
  return eachSet(
    place,
    (kind, family) =>
      `${granted(place, kind, family)} dnat ${ipWord(family)} to ` +
      `${packetKey(family)} map @${mapName(family)}`,
    (kind) => kind === "sent" || kind === "sentonce",
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

/** The conditions that a connection was forwarded, to targets that are meant. */
function wasForwarded(
  { ports, targets }: ForwardRule,
  isMeant: (target: ForwardTarget) => boolean,
): string[] {
  // nft 1.0.6 writes original ports into sets in the wrong byte order, so
  // each range has a rule of its own.
  return targets.filter(isMeant).flatMap(({ family, address, port }) =>
    protocolsOf(ports).flatMap(([protocol, texts]) =>
      texts.map((text) =>
        `ct status dnat meta l4proto ${protocol} ` +
        `ct original proto-dst ${text} ${ipWord(family)} daddr ${address} ` +
        `${protocol} dport ${port}`
      )
    )
  );
}

/** Ports of each protocol as rules name them: `8443`, `8000-8010`. */
export function protocolsOf(
  ports: readonly PortRange[],
): [protocol: Protocol, texts: string[]][] {
  return (["tcp", "udp"] as const).flatMap(
    (protocol): [Protocol, string[]][] => {
      const texts = mergePorts(ports)
        .filter((range) => range.protocol === protocol)
        .map((range) => portText(range));
      return texts.length > 0 ? [[protocol, texts]] : [];
    },
  );
}

/** Linux' switches of forwarding. */
const PASSES_ON: Readonly<Record<Family, string>> = {
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
  const words = `cannot forward to ${quote(to)}`;
  for (const address of await addressesOf(runtime, to.host, words)) {
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
  if (local) return;
  const words = `cannot forward to ${shown}: this machine passes no packets on`;
  checkPassesOn(runtime, family, words);
}

/** Throws FirewallError, with these words, where Linux does not forward a family's packets. */
export function checkPassesOn(
  runtime: Runtime,
  family: Family,
  words: string,
): void {
  const path = PASSES_ON[family];
  if (isOn(runtime, path)) return;
  const key = path.replace("/proc/sys/", "").replaceAll("/", ".");
  const hint = `sysctl -w ${key}=1, and the same in /etc/sysctl.d/`;
  throw new FirewallError(words, hint);
}

/** The addresses of a name, or the address that it is. Throws FirewallError: `WORDS: WHY`. */
export async function addressesOf(
  runtime: Runtime,
  host: string,
  words: string,
): Promise<string[]> {
  const address = parseAddress(host);
  if (address !== null) return [address];
  const failed = (why: string) =>
    new FirewallError(`${words}: ${why}`, "an address needs no name service");
  return await failing(
    ({ message }) => failed(message),
    () => runtime.resolve(host),
  );
}

/** True if a file of /proc says so. */
function isOn(runtime: Runtime, path: string): boolean {
  return Number(orNull(() => runtime.files.readText(path))) > 0;
}

function quote(endpoint: Endpoint): string {
  return `"${formatEndpoint(endpoint)}"`;
}
