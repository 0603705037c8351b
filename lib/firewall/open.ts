/** The backend that a configuration names. */

import type { Config } from "../config/config.ts";
import { commandFirewall } from "./command.ts";
import type { Firewall } from "./firewall.ts";
import { gateFirewall } from "./gate/gate.ts";
import { iptablesFirewall } from "./iptables/iptables.ts";
import { nftFirewall } from "./nft/nft.ts";
import type { Runtime } from "../runtime/runtime.ts";

/** Opens the configured backend; throws FirewallError when it cannot be used here. */
export async function openBackend(
  runtime: Runtime,
  { firewall }: Config,
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
