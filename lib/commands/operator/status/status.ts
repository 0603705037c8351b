import { loadConfig } from "../../../config/files/load.ts";
import { needConfig } from "../../../config/files/places.ts";
import type { Runtime } from "../../../runtime/runtime.ts";
import { openExistingStore, type Store } from "../../../server/state/store.ts";
import { formatJson } from "../../../values/text.ts";
import { parseOptions, takePositionals } from "../../command.ts";
import { describeStatus, readStatus } from "./text.ts";
import { watch } from "./watch.ts";

export const help = `Usage:
    knock status [--json] [--watch] [--config FILE]

Options:
        --json           Print one JSON object; with --watch, one a line.
    -w, --watch          Look again each second until Ctrl-C, which ends it
                         with 0. Where there is no terminal, print a line for
                         each change.
    -c, --config FILE    The configuration; KNOCK_CONFIG names it too.

Says whether the server runs, what is open now, for whom, and how long still;
which ports the host's own rules keep closed; and what came in, counted. The
exit status is 0 when the server runs, else 1.

Example:
    $ knock status
    the server runs since 2026-11-21T14:00:02.000Z: nft (libnftables 1.0.6), udp [::]:62201
    CLIENT  ADDRESS      PORTS   LEFT
    alice   203.0.113.9  tcp/22  27s
`;

/** Runs `knock status`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, help);
  takePositionals(options, []);
  const { state } = loadConfig(
    runtime,
    needConfig(runtime, options.value("config")),
  );
  const json = options.flag("json");
  let store: Store | null = null;
  const look = async () => {
    // A server that starts later makes the state then.
    store ??= await openExistingStore(runtime, state);
    return readStatus(runtime, store);
  };
  try {
    if (options.flag("watch")) {
      const terminal = runtime.isTerminal("out");
      await watch(runtime, json ? "json" : terminal ? "screen" : "lines", look);
      return 0;
    }
    const status = await look();
    runtime.out(
      json ? formatJson(status, 2) + "\n" : describeStatus(status),
    );
    return status.running ? 0 : 1;
  } finally {
    (store as Store | null)?.close();
  }
}
