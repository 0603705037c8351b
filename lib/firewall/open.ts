/** The backend that a configuration names, and the removal of what any backend left. */

import type { Runtime } from "../runtime/runtime.ts";
import { caught } from "../values/errors.ts";
import { commandFirewall } from "./command/command.ts";
import {
  type Firewall,
  type FirewallConfig,
  FirewallError,
  MissingError,
} from "./firewall.ts";
import { GateFirewall } from "./gate/gate.ts";
import { iptablesFirewall, removeFromIptables } from "./iptables/iptables.ts";
import { nftFirewall, removeFromNft } from "./nft/nft.ts";

/** Opens the configured backend; throws FirewallError when it cannot be used here. */
export async function openBackend(
  runtime: Runtime,
  firewall: FirewallConfig,
): Promise<Firewall> {
  switch (firewall.backend) {
    case "nft":
      return await nftFirewall(runtime, firewall);
    case "gate":
      return new GateFirewall(runtime);
    case "iptables":
      return await iptablesFirewall(runtime, firewall);
    case "command":
      return commandFirewall(runtime, firewall.commands!);
  }
}

/**
 * Takes all that is ours out of the kernel: every backend's, in every mode.
 * The removed objects, and the failures of backends that it could not see.
 */
export async function removeEverything(
  runtime: Runtime,
): Promise<{ removed: string[]; failures: FirewallError[] }> {
  const removed: string[] = [];
  const failures: FirewallError[] = [];
  // iptables first: its chains may be shown by nft, too.
  for (const remove of [removeFromIptables, removeFromNft]) {
    const failed = (error: FirewallError) => void failures.push(error);
    const found = await caught(FirewallError, () => remove(runtime), failed);
    removed.push(...found ?? []);
  }
  // Where one of them is missing, the other has looked at all there is.
  const told = failures.filter((error) =>
    failures.length === 2 || !(error instanceof MissingError)
  );
  return { removed, failures: told };
}
