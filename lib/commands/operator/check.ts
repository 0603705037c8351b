import type { Config } from "../../config/config.ts";
import { loadConfig } from "../../config/files/load.ts";
import { policyWarnings } from "../../config/checks.ts";
import { needConfig } from "../../config/files/places.ts";
import { readHost } from "../../firewall/host/read.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { describeHostFact, hostFacts } from "../../server/grants/host.ts";
import { FailureError } from "../../values/errors.ts";
import { escapeUnsafe } from "../../values/text.ts";
import { parseOptions, takePositionals } from "../command.ts";

/** The text of `knock help check`. */
export const help = `Usage:
    knock check [--host] [FILE]

Validates a server's configuration with its key file: prints "configuration
OK", or every mistake on standard error and ends with 2. What is allowed and
wants a look is a warning on standard error, and changes nothing else.

Options:
        --host           Also ask this machine's own packet filters: exit with 1
                         where a service would surely stay closed after a knock.
                         Nothing is changed; needs root.
    -c, --config FILE    The same as FILE.

FILE defaults to KNOCK_CONFIG, then to /etc/knock/server.yaml for root and
~/.config/knock/server.yaml for others.

Example:
    $ knock check /etc/knock/server.yaml
    configuration OK
`;

/** Runs `knock check`. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, help);
  const [file] = takePositionals(options, ["FILE"], 1);
  const config = loadConfig(
    runtime,
    needConfig(runtime, file ?? options.value("config")),
  );
  const warnings = [
    ...config.warnings,
    ...policyWarnings(config, runtime.nowMs()),
  ];
  for (const warning of warnings) {
    runtime.err(
      `knock: warning: ${escapeUnsafe(`${config.file}: ${warning}`)}\n`,
    );
  }
  runtime.out("configuration OK\n");
  return options.flag("host") ? await checkHost(runtime, config) : 0;
}

/** Names what this machine's own rules would drop, and returns the exit status. */
async function checkHost(runtime: Runtime, config: Config): Promise<number> {
  const rules = await readHost(runtime);
  if (!rules) {
    throw new FailureError(
      "the packet filters of this machine cannot be listed",
      "run it as root, with the program nft installed",
    );
  }
  const facts = hostFacts(rules, config);
  for (const fact of facts) {
    const level = fact.what === "service" ? "error" : "warning";
    runtime.err(
      `knock: ${level}: ${
        escapeUnsafe(describeHostFact({ ...fact, hint: null }))
      }\nknock: hint: ${escapeUnsafe(fact.hint)}\n`,
    );
  }
  return facts.some(({ what }) => what === "service") ? 1 : 0;
}
