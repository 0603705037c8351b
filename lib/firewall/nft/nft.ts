/** The nft backend: how it is opened, and its ruleset for a machine's start. */

import type { Runtime } from "../../runtime/runtime.ts";
import {
  type Firewall,
  type FirewallConfig,
  FirewallError,
  type Guarded,
} from "../firewall.ts";
import { NftFirewall } from "./backend.ts";
import { type Nft, openNft } from "./library.ts";
import { findRemovals, findTable } from "./listing.ts";
import { resolveBehind } from "./rules/behind.ts";
import { resolveForwards } from "./rules/forwards.ts";
import { rulesetText } from "./rules/ruleset.ts";
import { planOf } from "./rules/plan.ts";
import {
  DEFAULT_CHAIN,
  type HostChain,
  parseHostChain,
  probeText,
} from "./rules/sets.ts";

/** Without interfaces, all but the loopback; without the others, auto and drop. */
type NftOptions =
  & Pick<FirewallConfig, "mode" | "chain">
  & Partial<Pick<FirewallConfig, "interfaces" | "prefilter" | "refuse">>;

/** Opens the nft backend; throws FirewallError when nftables cannot be used. */
export async function nftFirewall(
  runtime: Runtime,
  options: NftOptions = { mode: "guard", chain: null },
): Promise<Firewall> {
  const host = hostChainOf(options);
  const nft = await openNft(runtime);
  const name = `nft (${nft.name}${host ? ", accept" : ""})`;
  const { interfaces = [], refuse = "drop" } = options;
  if (refuse === "reject") await checkReject(nft);
  const place = { host, interfaces, refuse };
  const choice = options.prefilter ?? "auto";
  return new NftFirewall(runtime, name, nft, place, choice);
}

/** The host's chain of mode accept; null in mode guard. Throws FirewallError. */
export function hostChainOf({ mode, chain }: NftOptions): HostChain | null {
  if (mode === "guard") return null;
  const host = parseHostChain(chain ?? DEFAULT_CHAIN);
  if (host) return host;
  throw new FirewallError(
    `firewall.chain: must be FAMILY TABLE CHAIN, got "${chain}"`,
    `chain: ${DEFAULT_CHAIN}`,
  );
}

/**
 * The ruleset that guards these services, without grants, for the machine to
 * load at boot. Throws FirewallError.
 */
export async function nftRules(
  runtime: Runtime,
  options: NftOptions,
  named: readonly Guarded[],
): Promise<string> {
  const services = await resolveBehind(runtime, named);
  const { interfaces = [], refuse = "drop" } = options;
  const place = { host: hostChainOf(options), interfaces, refuse };
  const forwards = await resolveForwards(runtime, services);
  return rulesetText({ ...planOf(place, services), forwards });
}

/** Fails where the kernel cannot reject before routing, as before Linux 5.9. */
const REJECT_PROBE = probeText(
  "type filter hook prerouting priority mangle; policy accept;",
  "meta l4proto tcp reject with tcp reset",
);

/** Throws FirewallError where the kernel lacks what `refuse: reject` needs. */
async function checkReject(nft: Nft): Promise<void> {
  try {
    await nft.run(REJECT_PROBE);
  } catch (error) {
    nft.close();
    if (!(error instanceof FirewallError)) throw error;
    throw new FirewallError(
      `firewall.refuse: this kernel cannot reject in prerouting, which needs ` +
        `Linux 5.9 (${error.message})`,
      "firewall: { refuse: drop }",
    );
  }
}

/** Takes away all that is ours, whatever the configuration is, and names it. Throws FirewallError. */
export async function removeFromNft(runtime: Runtime): Promise<string[]> {
  const nft = await openNft(runtime);
  try {
    const removed: string[] = [];
    const list = () => nft.run("list ruleset\n");
    for (const { what, script, chain, table } of findRemovals(await list())) {
      await nft.run(script);
      const stays = chain !== null &&
        !await nft.run(`delete chain ${chain}\n`).then(() => true, () => false);
      removed.push(
        stays ? `${what}: emptied, as other rules jump to it` : what,
      );
      if (findTable(await list(), table) === `table ${table} {\n}\n`) {
        await nft.run(`delete table ${table}\n`);
      }
    }
    return removed;
  } finally {
    nft.close();
  }
}
