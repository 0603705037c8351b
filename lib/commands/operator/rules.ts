import { kernelSequences } from "../../config/sequences.ts";
import { loadConfig, loadNamed } from "../../config/files/load.ts";
import {
  defaultConfig,
  findConfig,
  stateFolder,
} from "../../config/files/places.ts";
import { nftRules } from "../../firewall/nft/nft.ts";
import { bootText } from "../../firewall/nft/sequences/rules.ts";
import { removeEverything } from "../../firewall/open.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { serverUsing } from "../../server/state/store.ts";
import { caught, ConfigError, FailureError } from "../../values/errors.ts";
import { parseOptions, takePositionals } from "../command.ts";

/** The text of `knock help rules`. */
export const help = `Usage:
    knock rules [FILE]
    knock rules --remove [FILE]

Prints the nftables ruleset of a configuration, without grants. Loaded at boot,
it hides the services before the server runs. It can be loaded again at any
time, also over the running server's ruleset: open ports stay open. In mode
accept it is the chain that the host's own input chain jumps to; load it before
the rule that jumps.

With --remove, deletes all rules, chains and sets of knock from nftables and
iptables, and prints their names: services are reachable as before. This needs
no configuration; the server of FILE must not be running.

Options:
        --remove         Remove all rules, chains and sets of knock.
    -c, --config FILE    The same as FILE.

FILE defaults to KNOCK_CONFIG, then to /etc/knock/server.yaml for root and
~/.config/knock/server.yaml for others. Host names in \`to\` are resolved now
and printed as addresses.

Example:
    # knock rules > /etc/knock/boot.nft
    # echo 'include "/etc/knock/boot.nft"' >> /etc/nftables.conf
    # nft -c -f /etc/nftables.conf
`;

/** Runs `knock rules`. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, help);
  const [file] = takePositionals(options, ["FILE"], 1);
  const named = file ?? options.value("config");
  if (options.flag("remove")) return await remove(runtime, named);
  const config = loadNamed(runtime, named);
  const { firewall, services, sequences } = config;
  if (firewall.backend !== "nft") {
    throw new ConfigError([
      `${config.file}: firewall.backend: must be nft for a ruleset of nftables, ` +
      `got "${firewall.backend}"`,
    ]);
  }
  runtime.out(
    await nftRules(runtime, firewall, services) +
      bootText(kernelSequences(sequences)),
  );
  return 0;
}

/** Takes all that is ours out of the kernel, whether there is a configuration or not. */
async function remove(
  runtime: Runtime,
  named: string | undefined,
): Promise<number> {
  const file = findConfig(runtime, named) ?? defaultConfig(runtime);
  const state = caught(
    ConfigError,
    () => loadConfig(runtime, file).state,
    () => stateFolder(runtime, file, null),
  );
  const pid = await serverUsing(runtime, state);
  if (pid !== null) {
    throw new FailureError(
      `a server is running with process id ${pid || "unknown"}: nothing was ` +
        "removed",
      `stop it first: systemctl stop knock${pid ? `, or kill ${pid}` : ""}`,
    );
  }
  const { removed, failures: [failure] } = await removeEverything(runtime);
  for (const what of removed) runtime.out(`removed ${what}\n`);
  if (failure) throw failure;
  if (removed.length === 0) runtime.out("nothing of knock is in the kernel\n");
  return 0;
}
