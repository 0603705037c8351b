/**
 * The ruleset of the nft backend, as text, and the plan it is made from. Pure. A grant is an element of one
 * of its sets, with a timeout, so that the kernel ends it by itself.
 * @module
 */

import {
  formatPortRange,
  mergePorts,
  onePort,
  type PortRange,
} from "../../../values/ports.ts";
import { type BehindPorts, behindRules, portsBehind } from "./behind.ts";
import { WIDEST_NETWORK } from "../../../values/address.ts";
import {
  type Facing,
  FAMILIES,
  type Guarded,
  lines,
  OWNER,
  type Prefilter,
  type Refuse,
  type Sniffed,
} from "../../firewall.ts";
import {
  type ForwardRule,
  landedRules,
  natChains,
  targetMaps,
} from "./forwards.ts";
import { counterText, gateChains, gateObjects } from "./prefilter.ts";
import {
  asked,
  chainRules,
  type ChainText,
  eachSet,
  elsewhere,
  emptyChain,
  formatHostChain,
  granted,
  type HostChain,
  hostPlace,
  isBehind,
  isOwnKind,
  networkKind,
  OWN_KINDS,
  ownPlace,
  type SetKind,
  setNames,
  setText,
  TABLE,
  type TablePlace,
  toPorts,
} from "./sets.ts";
import { SNIFF_COUNTER, sniffChain } from "./sniff.ts";

/** The chain that sends packets to guarded ports on to the next. */
export const GUARD = "guard";

/** The chain that drops what is not granted. */
const CLOSED = "closed";

/** The chain that does so for hosts behind. */
const BEHIND = "behind";

/**
 * After connection tracking (−200), before any DNAT (−100): what containers
 * publish, or other rules forward, is guarded by the port that is published.
 */
const PRIORITY = "mangle";

/**
 * The whole ruleset as one nft script, without grants. It may be loaded over
 * itself: the rules are replaced in one transaction, and the sets keep what
 * is in them. Also what a machine loads at boot.
 */
export function rulesetText(plan: Plan): string {
  return ownText(plan) + hostText(plan);
}

/** The names of all that a plan needs in our own table; none = no table at all. */
export function ownNames(plan: Plan): Set<string> {
  if (ownChains(plan).length === 0) return new Set();
  const { own } = placesOf(plan);
  const objects = [
    ...setNames(own),
    ...ownObjects(plan).map((line) => line.trim().split(" ")[1]!),
    ...ownChains(plan).map(({ name }) => name),
  ];
  return new Set(objects);
}

/** Lengths of all networks that grants may be for. */
const NETWORKS: readonly number[] = FAMILIES.flatMap((family) => {
  const widest = WIDEST_NETWORK[family];
  const most = family === 4 ? 32 : 128;
  return Array.from({ length: most - widest }, (_, index) => widest + index);
});

/** The names of all that this program ever puts into our own table, but for sequences. */
export const KNOWN_NAMES: ReadonlySet<string> = ownNames({
  host: null,
  interfaces: [],
  refuse: "reject",
  guarded: [onePort("tcp", 1)],
  behind: [{ at: "192.0.2.1", ports: onePort("tcp", 1) }],
  cut: [onePort("tcp", 1)],
  forwards: [{
    name: "",
    ports: [onePort("tcp", 1)],
    targets: [{ family: 4, address: "192.0.2.1", port: 1, local: false }],
    masquerade: true,
  }],
  hasTargets: true,
  networks: NETWORKS,
  gate: { ports: [1], tags: [] },
  ingress: { devices: ["lo"], addresses: [] },
  sniffed: { ports: [1], tags: null, forms: [] },
}).union(new Set(setNames(ownPlace(["landed"])))); // of older versions

function ownText(plan: Plan): string {
  const chains = ownChains(plan);
  if (chains.length === 0) return "";
  const { own } = placesOf(plan);
  return lines(
    `table ${TABLE} {`,
    `  comment "${OWNER}"`,
    ...chains.flatMap(emptyChain),
    `}`,
    ...chains.map(({ name }) => `flush chain ${TABLE} ${name}`),
    `table ${TABLE} {`,
    ...eachSet(own, (kind, family) => setText(own, kind, family)),
    ...ownObjects(plan),
    ...chains.flatMap(chainRules),
    `}`,
  );
}

function ownObjects({ hasTargets, gate, sniffed }: Plan): string[] {
  return [
    ...(hasTargets ? targetMaps() : []),
    ...(gate ? gateObjects() : []),
    ...(sniffed ? [counterText(SNIFF_COUNTER)] : []),
  ];
}

function ownChains(plan: Plan): ChainText[] {
  const { host, interfaces, refuse, cut, forwards, gate, ingress, sniffed } =
    plan;
  const { own } = placesOf(plan);
  return [
    ...(host ? [] : guardChains(plan)),
    ...cutChains(cut),
    ...natChains(own, forwards, interfaces),
    ...(gate ? gateChains(gate, ingress, refuse) : []),
    ...(sniffed ? [sniffChain(sniffed)] : []),
  ];
}

function guardChains(plan: Plan): ChainText[] {
  const { guarded, behind, interfaces, forwards, refuse } = plan;
  const { own } = placesOf(plan);
  const guard = {
    name: GUARD,
    hook: `type filter hook prerouting priority ${PRIORITY}; policy accept;`,
    rules: [
      // Not "related": what another connection has announced, such as FTP's
      // data, needs a grant as well. ICMP errors are not to a guarded port.
      `ct state established accept`,
      `iif lo accept`,
      ...elsewhere(interfaces),
      ...behindRules(behind, BEHIND),
      `${notHere("fib daddr type")} ${notHere("fib daddr . iif type")} accept`,
      ...(guarded.length > 0 ? [`${toPorts(guarded)} jump ${CLOSED}`] : []),
    ],
  };
  const chains: ChainText[] = [guard];
  if (behind.length > 0) {
    const kinds = own.kinds.filter(isBehind);
    const rules = eachSet(
      { ...own, kinds },
      (kind, family) => `${asked(own, kind, family)} accept`,
    );
    chains.push({
      name: BEHIND,
      hook: null,
      rules: [...rules, ...refusals(refuse)],
    });
  }
  if (guarded.length === 0) return chains;
  const forwarded = forwards.flatMap(({ ports }) => ports);
  const closed = {
    name: CLOSED,
    hook: null,
    rules: [
      // The rule that forwards it uses it up.
      ...(forwarded.length > 0
        ? eachSet(
          { ...own, kinds: ["once"] },
          (kind, family) =>
            `${toPorts(forwarded)} ${asked(own, kind, family)} accept`,
        )
        : []),
      ...acceptRules(own),
      ...refusals(refuse),
    ],
  };
  return [...chains, closed];
}

/** Last rules of a chain that lets nobody else through. */
function refusals(refuse: Refuse): string[] {
  if (refuse === "drop") return ["counter drop"];
  // As the kernel answers where nothing listens.
  return [
    "meta l4proto tcp counter reject with tcp reset",
    "counter reject with icmpx type port-unreachable",
  ];
}

/** Widest range of UDP ports, in ports, whose services begin nothing by themselves. */
export const MAX_CUT_UDP = 256;

/**
 * Keeps connections that were cut from coming back by a packet of the service
 * itself, which connection tracking would take for a new one: of TCP anything
 * but its first packet, of UDP all that no client began.
 */
function cutChains(ports: readonly PortRange[]): ChainText[] {
  if (ports.length === 0) return [];
  const sport = (protocol: PortRange["protocol"]) => {
    const texts = mergePorts(ports).filter((range) =>
      range.protocol === protocol &&
      // More of them are others' ports, too: of clients on this machine.
      (protocol === "tcp" || range.last - range.first < MAX_CUT_UDP)
    ).map((range) => formatPortRange(range).slice("tcp/".length));
    return texts.length > 0
      ? [`${protocol} sport { ${texts.join(", ")} }`]
      : [];
  };
  return [{
    name: "cut",
    hook: `type filter hook output priority ${PRIORITY}; policy accept;`,
    rules: [
      "ct state != new accept",
      "oif lo accept",
      ...sport("tcp").map((from) =>
        `${from} tcp flags & (syn | rst) == 0 counter drop`
      ),
      ...sport("udp").map((from) => `${from} counter drop`),
    ],
  }];
}

/** A packet that is not for this machine; by its interface's own routes (VRF) neither. */
function notHere(type: string): string {
  return `${type} != { local, broadcast, anycast, multicast }`;
}

function hostText(plan: Plan): string {
  const { host, forwards } = plan;
  const place = placesOf(plan).host;
  if (!host || !place) return "";
  const forwarded = forwards.flatMap(({ ports }) => ports);
  const rules = [
    ...landedRules(place, forwards),
    // Forwarded packets never reach this machine's own services.
    ...(forwarded.length > 0 ? [`${toPorts(forwarded)} return`] : []),
    ...acceptRules(place),
  ];
  return lines(
    `table ${place.table} {`,
    ...eachSet(place, (kind, family) => setText(place, kind, family)),
    `  chain ${host.chain} {`,
    `  }`,
    `}`,
    `flush chain ${formatHostChain(host)}`,
    `table ${place.table} {`,
    ...chainRules({
      name: host.chain,
      rules: rules.map((rule) => `${rule} comment "${OWNER}"`),
    }),
    `}`,
  );
}

function acceptRules(place: TablePlace): string[] {
  const own = place.kinds.filter(isOwnKind);
  return eachSet(
    { ...place, kinds: own },
    (kind, family) => `${granted(place, kind, family)} accept`,
  );
}

/** All that the ruleset depends on, but the grants. */
export interface Plan {
  /** The host's chain that holds the accept rules; null in mode guard. */
  readonly host: HostChain | null;
  /** The interfaces of mode guard; none = all but the loopback. */
  readonly interfaces: readonly string[];
  /** Answer of a closed port, and of the knocks' port to what is no knock. */
  readonly refuse: Refuse;
  /** The ports of all services. */
  readonly guarded: readonly PortRange[];
  /** Ports of hosts behind this machine. */
  readonly behind: readonly BehindPorts[];
  /** Those of services whose connections end with their grant. */
  readonly cut: readonly PortRange[];
  readonly forwards: readonly ForwardRule[];
  /** True if there are grants with a target of their own. */
  readonly hasTargets: boolean;
  /** Lengths of the networks that grants are for, in bits of their family; each once. */
  readonly networks: readonly number[];
  readonly gate: Prefilter | null;
  /** Where the gate is besides prerouting; null = nowhere. */
  readonly ingress: Facing | null;
  readonly sniffed: Sniffed | null;
}

/** Ports of services that are this machine's own. */
export function ownPorts(services: readonly Guarded[]): PortRange[] {
  return services.filter(({ at }) => !at).flatMap(({ ports }) => ports);
}

/** A plan of services alone, in mode guard. */
export function guardPlan(services: readonly Guarded[]): Plan {
  const guarded = ownPorts(services);
  return {
    host: null,
    interfaces: [],
    refuse: "drop",
    guarded,
    behind: portsBehind(services),
    cut: services.filter(({ cut }) => cut).flatMap(({ ports }) => ports),
    forwards: [],
    hasTargets: false,
    networks: [],
    gate: null,
    ingress: null,
    sniffed: null,
  };
}

/** The sets of a plan: those of our own table, and those of the host's. */
export function placesOf(
  plan: Plan,
): { own: TablePlace; host: TablePlace | null } {
  const { host, forwards, hasTargets, networks } = plan;
  const ownKinds = [...OWN_KINDS, ...networks.map(networkKind)];
  const behind: SetKind[] = plan.behind.length > 0
    ? ["at", ...networks.map((bits) => `at${networkKind(bits)}` as const)]
    : [];
  const targets: SetKind[] = hasTargets ? ["sent", "sentonce"] : [];
  const landed: SetKind[] = hasTargets ? ["landed"] : [];
  if (!host) {
    return { own: ownPlace([...ownKinds, ...behind, ...targets]), host: null };
  }
  // A rule asks sets of its own table only: what forwards ask is there twice.
  const asked = forwards.length > 0 ? ownKinds : [];
  return {
    own: ownPlace([...asked, ...targets]),
    host: hostPlace(host, [...ownKinds, ...landed]),
  };
}

/** All of {@linkcode placesOf}, in order. */
export function allPlaces(plan: Plan): TablePlace[] {
  const { own, host } = placesOf(plan);
  return host ? [own, host] : [own];
}

/** The sets that mode accept ever makes in the host's table. */
export function knownHostPlace(host: HostChain): TablePlace {
  const networks = NETWORKS.map(networkKind);
  return hostPlace(host, [...OWN_KINDS, "landed", ...networks]);
}
