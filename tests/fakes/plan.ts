/** Plans of rulesets for tests. */

import { portsBehind } from "../../lib/firewall/nft/rules/behind.ts";
import type { Guarded } from "../../lib/firewall/firewall.ts";
import { ownPorts, type Plan } from "../../lib/firewall/nft/rules/plan.ts";

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
    prefilter: null,
    ingress: null,
    sniffed: null,
  };
}
