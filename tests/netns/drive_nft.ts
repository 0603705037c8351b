/**
 * Drives the nft backend, as drive.ts says. Arguments: `--forked`, `--accept`,
 * `--reject`, `--prefilter=NAME`, `--chain=FAMILY TABLE CHAIN` and
 * `--interfaces=NAME,NAME`.
 */

import process from "node:process";
import type { PrefilterChoice } from "../../lib/firewall/firewall.ts";
import { nftFirewall } from "../../lib/firewall/nft/nft.ts";
import { runtime } from "../fakes/runtime.ts";
import { follow } from "./drive.ts";

if (import.meta.main) {
  const forked = process.argv.includes("--forked");
  const chain = process.argv.find((one) => one.startsWith("--chain="))
    ?.slice("--chain=".length) ?? null;
  const interfaces = process.argv.find((one) => one.startsWith("--interfaces="))
    ?.slice("--interfaces=".length).split(",") ?? [];
  const prefilter = process.argv.find((one) => one.startsWith("--prefilter="))
    ?.slice("--prefilter=".length) ?? "auto";
  const mode = process.argv.includes("--accept") ? "accept" : "guard";
  await follow(() =>
    nftFirewall(
      forked
        ? { ...runtime, openLibrary: () => Promise.resolve(null) }
        : runtime,
      {
        ...{ mode, chain, interfaces },
        prefilter: prefilter as PrefilterChoice,
        refuse: process.argv.includes("--reject") ? "reject" : "drop",
      },
    )
  );
}
