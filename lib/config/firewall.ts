/** The firewall that a configuration names, and how it is to work. */

import {
  DEFAULT_CHAIN,
  parseHostChain,
} from "../firewall/nft/rules/nft_chain.ts";
import type { Config } from "./config.ts";
import { type Mistake, show } from "../values/mistake.ts";
import type { ServerYaml } from "./shape.ts";

/** Reads it, and notes what does not go together. */
export function readFirewall(
  { firewall }: ServerYaml,
  mistakes: Mistake[],
): Config["firewall"] {
  const { backend, mode, chain, open, close } = firewall;
  const wrong = (key: string, text: string, hint?: string) =>
    mistakes.push({ path: `firewall.${key}`, text, hint });
  if (backend === "command") {
    const argv = `[PROGRAM, "{address}", "{protocol}", "{port}"]`;
    const missing = "is missing with the command backend";
    if (!open) wrong("open", missing, `open: ${argv}`);
    if (!close) wrong("close", missing, `close: ${argv}`);
  } else {
    if (open) wrong("open", "is for the command backend");
    if (close) wrong("close", "is for the command backend");
  }
  if (mode === "accept" && backend !== "nft" && backend !== "iptables") {
    wrong("mode", `must be guard with the ${backend} backend, got "accept"`);
  }
  if (chain !== null && mode !== "accept") {
    wrong("chain", "is for mode accept", "firewall: { mode: accept, … }");
  }
  if (
    chain !== null && mode === "accept" && backend === "nft" &&
    parseHostChain(chain) === null
  ) {
    wrong(
      "chain",
      `must be FAMILY TABLE CHAIN with inet, ip or ip6, got ${show(chain)}`,
      `chain: ${DEFAULT_CHAIN}`,
    );
  }
  const commands = open && close ? { open, close } : null;
  return { backend, mode, chain, commands };
}
