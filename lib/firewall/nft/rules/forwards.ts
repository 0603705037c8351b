/**
 * Forwards as rules of the nft backend: who has a grant is led on to another
 * machine or port (DNAT); who has none gets nothing. Pure.
 * @module
 */

import { formatEndpoint } from "../../../values/address.ts";
import type { PortRange, Protocol } from "../../../values/ports.ts";
import { FAMILIES, type Family } from "../../family.ts";
import type { ChainText } from "./nft_chain_text.ts";
import {
  eachSet,
  granted,
  mapName,
  mapText,
  OWN_KINDS,
  packetKey,
  type Place,
  type SetKind,
} from "./sets.ts";
import { mergePorts } from "../../../values/segments.ts";

/** Where connections of one family go. */
export interface Target {
  readonly family: Family;
  /** Canonical. */
  readonly address: string;
  readonly port: number;
  /** Whether it is this machine itself. */
  readonly local: boolean;
}

/** A service whose connections go elsewhere. */
export interface Forward {
  readonly name: string;
  readonly ports: readonly PortRange[];
  /** One a family at most; who comes by a family without one is refused. */
  readonly targets: readonly Target[];
  /** Whether this machine's own address is the source there. */
  readonly masquerade: boolean;
}

/** Before and after the host's own; the first that leads a connection on decides. */
const DNAT_PRIORITY = "dstnat - 10";
const SNAT_PRIORITY = "srcnat - 10";

/** The chains that lead on; none where there is nothing to lead. */
export function natChains(
  place: Place,
  forwards: readonly Forward[],
): ChainText[] {
  const rules = [
    ...targetRules(place),
    ...forwards.flatMap((forward) => forwardRules(place, forward)),
  ];
  if (rules.length === 0) return [];
  const leaving = forwards.filter(({ masquerade }) => masquerade)
    .flatMap((forward) =>
      eachWay(forward).filter(({ target }) => !target.local)
        .map((way) => `${led(way)} masquerade`)
    );
  const entering = {
    name: "nat_in",
    hook: `type nat hook prerouting priority ${DNAT_PRIORITY}; policy accept;`,
    // Those that only pass through this machine are for somebody else.
    rules: ["fib daddr type != local accept", ...rules],
  };
  if (leaving.length === 0) return [entering];
  const hook =
    `type nat hook postrouting priority ${SNAT_PRIORITY}; policy accept;`;
  return [entering, { name: "nat_out", hook, rules: leaving }];
}

/** The rules that let through what was led on to this machine itself. */
export function landedRules(
  place: Place,
  forwards: readonly Forward[],
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
        .map((way) => `${led(way)} accept`)
    ),
  ];
}

/** The maps of where grants with a target of their own lead. */
export function targetMaps(): string[] {
  return FAMILIES.map(mapText);
}

function targetRules(place: Place): string[] {
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

function forwardRules(place: Place, { ports, targets }: Forward): string[] {
  const kinds: readonly SetKind[] = OWN_KINDS;
  return targets.flatMap((target) =>
    protocolsOf(ports).flatMap(([protocol, texts]) =>
      kinds.map((kind) =>
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
  readonly target: Target;
}

function eachWay({ ports, targets }: Forward): Way[] {
  return targets.flatMap((target) =>
    protocolsOf(ports).flatMap(([protocol, texts]) =>
      texts.map((text) => ({ protocol, ports: text, target }))
    )
  );
}

/** The condition that a connection was led this way. */
function led({ protocol, ports, target }: Way): string {
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
