import { kernelSequences } from "../../config/sequences.ts";
import { loadConfig } from "../../config/files/load.ts";
import { needConfig } from "../../config/files/places.ts";
import { nftRules } from "../../firewall/nft/nft.ts";
import { bootText } from "../../firewall/nft/sequences/rules.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { ConfigError } from "../../values/errors.ts";
import { parseOptions, takePositionals } from "../command.ts";

/** The text of `knock help rules`. */
export const help = `Usage:
    knock rules [FILE]

Prints the nftables ruleset that a configuration means, without any grant: what
the machine loads at boot, so that the services are shut before the server
runs. It may be loaded over itself, and over the running server's: what is open
stays open. In mode accept it is the chain that the host's own input chain
jumps to; load it before the rule that jumps.

Options:
    -c, --config FILE    The same as FILE.

FILE defaults to KNOCK_CONFIG, then to /etc/knock/server.yaml for root and
~/.config/knock/server.yaml for others. Names of hosts behind \`to\` are looked
up now, and are addresses in what is printed.

Example:
    # knock rules > /etc/knock/boot.nft
    # echo 'include "/etc/knock/boot.nft"' >> /etc/nftables.conf
    # nft -c -f /etc/nftables.conf
`;

/** The options of `knock rules`. */
export const optionNames = { values: { config: "c" } };

/** Runs `knock rules`. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, optionNames);
  const [file] = takePositionals(options, ["FILE"], 1);
  const path = needConfig(runtime, file ?? options.value("config"));
  const { firewall, services, doors } = loadConfig(runtime, path);
  if (firewall.backend !== "nft") {
    throw new ConfigError([
      `${path}: firewall.backend: must be nft for a ruleset of nftables, ` +
      `got "${firewall.backend}"`,
    ]);
  }
  runtime.out(
    await nftRules(runtime, firewall, services) +
      bootText(kernelSequences(doors)),
  );
  return 0;
}
