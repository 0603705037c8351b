/** Mode accept of the nft backend: whether the host's own rules come to ours. */

import type { Config } from "../../../config/config.ts";
import { hostChainOf } from "../../../firewall/nft/nft.ts";
import { formatHostChain } from "../../../firewall/nft/rules/nft_chain.ts";
import { hooked, type HostRules } from "../../../firewall/host/flow.ts";
import { findDrops, findJump } from "../../../firewall/host/jump.ts";
import { bad, type Finding, ok, warn } from "./finding.ts";

/** Judges the host's chains; null = they cannot be listed. */
export function checkAccept(
  { firewall, services }: Pick<Config, "firewall" | "services">,
  rules: Pick<HostRules, "chains"> | null,
): Finding[] {
  const host = firewall.backend === "nft" ? hostChainOf(firewall) : null;
  // That it cannot be listed is said once, for all.
  if (!host || rules === null) return [];
  const jump = findJump(rules, host);
  if (!jump.ok) return [bad(jump.problem.text, jump.problem.hint)];
  const findings = [
    ok(`chain ${jump.base} comes to ${formatHostChain(host)}`),
    ...findDrops(rules, host).map(({ text, hint }) => bad(text, hint)),
  ];
  if (services.some(({ to }) => to)) findings.push(...checkPassing(rules));
  return findings;
}

/** Whether the host lets through what is led on to other machines. */
function checkPassing({ chains }: Pick<HostRules, "chains">): Finding[] {
  return hooked(chains, "filter", "forward").filter(({ policy, rules }) =>
    policy === "drop" && !rules.some(({ text }) => /\bDNAT|dnat\b/.test(text))
  ).map(({ table, name }) =>
    warn(
      `chain ${name} of table ${table} may drop what is passed on to ` +
        "other machines",
      `nft add rule ${table} ${name} ct status dnat accept`,
    )
  );
}
