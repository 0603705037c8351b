/** Plans of rulesets for tests. */

import type { Guarded } from "../../lib/firewall/firewall.ts";
import { type Plan, planOf } from "../../lib/firewall/nft/rules/plan.ts";

/** A plan of services alone, in mode guard. */
export function guardPlan(services: readonly Guarded[]): Plan {
  const place = { host: null, interfaces: [], refuse: "drop" } as const;
  return planOf(place, services);
}
