/** Mode accept of the nft backend: whether the host's own rules come to ours. */

import type { Config } from "../../config/config.ts";
import { hostChainOf } from "../../firewall/nft.ts";
import { formatHostChain } from "../../firewall/nft_chain.ts";
import { findDrops, findJump } from "../../firewall/nft_doctor.ts";
import { type ListedChain, readChains } from "../../firewall/nft_json.ts";
import { bad, type Finding, ok, warn } from "./finding.ts";

/** Judges the host's chains, of `nft -j list ruleset`; null = it cannot be listed. */
export function checkAccept(
  { firewall, services }: Pick<Config, "firewall" | "services">,
  listing: string | null,
): Finding[] {
  const host = firewall.backend === "nft" ? hostChainOf(firewall) : null;
  // That it cannot be listed is said once, for all.
  if (!host || listing === null) return [];
  const chains = readChains(listing);
  const jump = findJump(chains, host);
  if (!jump.ok) return [bad(jump.problem.text, jump.problem.hint)];
  const findings = [
    ok(`chain ${jump.path[0]!.name} comes to ${formatHostChain(host)}`),
    ...findDrops(chains, host).map(({ text, hint }) => bad(text, hint)),
  ];
  if (services.some(({ to }) => to)) findings.push(...checkPassing(chains));
  return findings;
}

/** Whether the host lets through what is led on to other machines. */
function checkPassing(chains: readonly ListedChain[]): Finding[] {
  return chains.filter(({ hook, type, policy, rules }) =>
    hook === "forward" && type === "filter" && policy === "drop" &&
    !rules.some((rule) => /"dnat"/.test(JSON.stringify(rule)))
  ).map(({ family, table, name }) =>
    warn(
      `chain ${name} of table ${family} ${table} may drop what is passed on to ` +
        "other machines",
      `nft add rule ${family} ${table} ${name} ct status dnat accept`,
    )
  );
}
