/** As drive_nft.ts, for the iptables backend: `drive_iptables.ts VARIANT MODE CHAIN`. */

import process from "node:process";
import { iptablesFirewall } from "../../lib/firewall/iptables.ts";
import { runtime } from "../runtime.ts";
import { drive } from "./drive_nft.ts";

const [variant = "nft", mode = "guard", chain] = process.argv.slice(2);
await drive(
  await iptablesFirewall(runtime, {
    mode: mode === "accept" ? "accept" : "guard",
    chain: chain ?? null,
  }, variant === "legacy" ? "-legacy" : "-nft"),
);
