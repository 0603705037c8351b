/**
 * The ruleset of the nft backend, as text. Pure. A grant is an element of one
 * of its sets, with a timeout, so that the kernel ends it by itself.
 * @module
 */

import { NETWORKS, placesOf, type Plan } from "./plan.ts";
import { mergePorts, onePort, type PortRange } from "../../../values/ports.ts";
import { behindRules } from "./behind.ts";
import { canCut, FAMILIES, lines, OWNER, type Refuse } from "../../firewall.ts";
import { landedRules, natChains, protocolsOf } from "./forwards.ts";
import {
  counterText,
  JUNK_COUNTERS,
  prefilterChains,
  SNIFF_COUNTER,
  sniffChain,
} from "./prefilter.ts";
import {
  asked,
  chainRules,
  type ChainText,
  eachSet,
  elsewhere,
  emptyChain,
  formatHostChain,
  granted,
  isBehind,
  isOwnKind,
  mapText,
  setNames,
  setText,
  TABLE,
  type TablePlace,
  toPorts,
} from "./sets.ts";

/** The chain that sends packets to guarded ports on to the next. */
const GUARD = "guard";

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
  prefilter: { ports: [1], tags: [] },
  ingress: { devices: ["lo"], addresses: [] },
  sniffed: { ports: [1], tags: null, forms: [] },
});

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

function ownObjects({ hasTargets, prefilter, sniffed }: Plan): string[] {
  return [
    ...(hasTargets ? FAMILIES.map(mapText) : []),
    ...(prefilter ? JUNK_COUNTERS.map(counterText) : []),
    ...(sniffed ? [counterText(SNIFF_COUNTER)] : []),
  ];
}

function ownChains(plan: Plan): ChainText[] {
  const { refuse, prefilter, ingress, sniffed } = plan;
  const { own } = placesOf(plan);
  return [
    ...(plan.host ? [] : guardChains(plan)),
    ...cutChains(plan.cut),
    ...natChains(own, plan.forwards, plan.interfaces),
    ...(prefilter ? prefilterChains(prefilter, ingress, refuse) : []),
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
    const rules = eachSet(
      own,
      (kind, family) => `${asked(own, kind, family)} accept`,
      isBehind,
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
      ...eachSet(
        own,
        (kind, family) =>
          `${toPorts(forwarded)} ${asked(own, kind, family)} accept`,
        (kind) => kind === "once" && forwarded.length > 0,
      ),
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

/**
 * Keeps connections that were cut from coming back by a packet of the service
 * itself, which connection tracking would take for a new one: of TCP anything
 * but its first packet, of UDP all that no client began.
 */
function cutChains(ports: readonly PortRange[]): ChainText[] {
  if (ports.length === 0) return [];
  const flags = { tcp: "tcp flags & (syn | rst) == 0 ", udp: "" } as const;
  return [{
    name: "cut",
    hook: `type filter hook output priority ${PRIORITY}; policy accept;`,
    rules: [
      "ct state != new accept",
      "oif lo accept",
      ...protocolsOf(mergePorts(ports).filter(canCut)).map((
        [protocol, texts],
      ) =>
        `${protocol} sport { ${texts.join(", ")} } ` +
        `${flags[protocol]}counter drop`
      ),
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
  return eachSet(
    place,
    (kind, family) => `${granted(place, kind, family)} accept`,
    isOwnKind,
  );
}
