/** Drives the iptables backend, as drive.ts says: `drive_iptables.ts VARIANT MODE CHAIN INTERFACE`. */

import process from "node:process";
import { iptablesFirewall } from "../../lib/firewall/iptables/iptables.ts";
import { runtime } from "../fakes/runtime.ts";
import { follow } from "./drive.ts";

if (import.meta.main) {
  const [variant, mode, chain, only] = process.argv.slice(2);
  await follow(() =>
    iptablesFirewall(runtime, {
      mode: mode === "accept" ? "accept" : "guard",
      chain: chain || null,
      interfaces: only === undefined ? [] : [only],
    }, variant === "legacy" ? "-legacy" : "-nft")
  );
}
