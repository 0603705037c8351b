import { loadConfig } from "../../config/files/load.ts";
import { policyWarnings } from "../../config/checks/checks.ts";
import { needConfig } from "../../config/files/places.ts";
import { conntrackProblem } from "../../firewall/conntrack.ts";
import { interfaceWarnings } from "../../firewall/host/interfaces.ts";
import { readHost } from "../../firewall/host/read.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { describeHostFact, hostFacts } from "../../server/grants/host.ts";
import { caught, FailureError, OperatorError } from "../../values/errors.ts";
import { escapeUnsafe, formatJson } from "../../values/text.ts";
import {
  parseOptions,
  printHint,
  printWarning,
  takePositionals,
} from "../command.ts";

/** The text of `knock help check`. */
export const help = `Usage:
    knock check [--host] [--json] [FILE]

Validates a server's configuration and the files that it names: prints
"configuration OK", or every mistake on stderr, and exits with 2. Valid but
suspicious settings produce warnings on stderr and do not affect the exit
status.

Options:
        --json           Print one JSON object, also when there are mistakes.
        --host           Also ask this machine's own packet filters: exit with 1
                         if a service would stay closed after a knock.
                         Changes nothing; needs root.
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
  const path = needConfig(runtime, file ?? options.value("config"));
  const config = caught(
    OperatorError,
    () => loadConfig(runtime, path),
    (error) => {
      error.facts = { file: path };
      throw error;
    },
  );
  const problem = await conntrackProblem(runtime, config.services);
  const warnings = [
    ...config.warnings,
    ...problem ? [problem.message] : [],
    ...policyWarnings(config, runtime.nowMs()),
    ...interfaceWarnings(runtime, config.firewall),
  ];
  const isJson = options.flag("json");
  for (const warning of isJson ? [] : warnings) {
    printWarning(runtime, `${config.file}: ${warning}`);
  }
  if (!isJson) runtime.out("configuration OK\n");
  const rules = options.flag("host") ? await readHost(runtime) : undefined;
  if (rules === null) {
    throw new FailureError(
      "the packet filters of this machine cannot be listed",
      "run it as root, with the program nft installed",
    );
  }
  const facts = rules && hostFacts(rules, config);
  const isOk = !facts?.some(({ what }) => what === "service");
  if (isJson) {
    const found = {
      ok: isOk,
      file: config.file,
      warnings,
      mistakes: [],
      ...facts && {
        dropped_by_host: facts.map((fact) => ({
          ...fact,
          ports: [fact.ports],
        })),
      },
    };
    runtime.out(`${formatJson(found, 2)}\n`);
  }
  for (const fact of isJson ? [] : facts ?? []) {
    const level = fact.what === "service" ? "error" : "warning";
    const words = escapeUnsafe(describeHostFact({ ...fact, hint: null }));
    runtime.err(`knock: ${level}: ${words}\n`);
    printHint(runtime, escapeUnsafe(fact.hint));
  }
  return isOk ? 0 : 1;
}
