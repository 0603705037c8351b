/** The backend that a configuration names. */

import type { Runtime } from "../runtime/runtime.ts";
import { commandFirewall } from "./command.ts";
import type { Firewall, FirewallConfig } from "./firewall.ts";
import { gateFirewall } from "./gate/gate.ts";
import { iptablesFirewall } from "./iptables/iptables.ts";
import { nftFirewall } from "./nft/nft.ts";

/** Opens the configured backend; throws FirewallError when it cannot be used here. */
export async function openBackend(
  runtime: Runtime,
  firewall: FirewallConfig,
): Promise<Firewall> {
  switch (firewall.backend) {
    case "nft":
      return await nftFirewall(runtime, firewall);
    case "gate":
      return gateFirewall(runtime);
    case "iptables":
      return await iptablesFirewall(runtime, firewall);
    case "command":
      return commandFirewall(runtime, firewall.commands!);
  }
}
