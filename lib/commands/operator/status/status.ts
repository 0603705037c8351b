import { loadNamed } from "../../../config/files/load.ts";
import type { Runtime } from "../../../runtime/runtime.ts";
import { askServer } from "../../../server/report/asked.ts";
import { readStatus, statusJson } from "../../../server/report/status.ts";
import { openExistingStore, type Store } from "../../../server/state/store.ts";
import { formatJson } from "../../../values/text.ts";
import {
  pageOf,
  parseOptions,
  printPainted,
  takePositionals,
  untilStopped,
} from "../../command.ts";
import { describeStatus } from "./text.ts";
import { watch } from "./watch.ts";

export const help = `Usage:
    knock status [--json] [--watch] [--config FILE]

Options:
        --json           Print one JSON object; with --watch, one a line.
    -w, --watch          Show the status each second until Ctrl-C, which ends it
                         with 0. Without a terminal, print a line for each
                         change.
    -c, --config FILE    The configuration; KNOCK_CONFIG names it too.

Shows whether the server is running; open ports, for whom, and the time left;
ports that the host's own rules keep closed; and what came in, counted, with
what each counter means. "once": the grant ends with its first connection;
"capped": it is shorter than was asked for. Exits with 0 if the server is
running, else with 1.

Example:
    $ knock status
    server running since 14:00:02 (4 min): nft (libnftables 1.0.6), udp [::]:62201
    CLIENT  ADDRESS      LEFT    PORTS
    alice   203.0.113.9  1h59m   tcp/22

        1  refused: ports  ports that the client may not open
        3  received        packets that reached the server
        2  open            requests that opened ports
`;

/** Runs `knock status`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, help);
  takePositionals(options, []);
  const { state } = loadNamed(runtime, options.value("config"));
  const json = options.flag("json");
  let store: Store | null = null;
  const look = async () => {
    const isAsked = await askServer(runtime, state);
    // A server that starts later makes the state then.
    store ??= await openExistingStore(runtime, state);
    return readStatus(
      store,
      runtime.nowMs(),
      (pid) => isAsked || runtime.signalProcess(pid, "test"),
    );
  };
  try {
    const page = pageOf(runtime);
    if (options.flag("watch")) {
      const manner = json ? "json" : page.isTerminal ? "screen" : "lines";
      await untilStopped(runtime, (stop) => watch(runtime, manner, look, stop));
      return 0;
    }
    const status = await look();
    if (json) runtime.out(formatJson(statusJson(status), 2) + "\n");
    else printPainted(runtime, describeStatus(status, page));
    return status.server ? 0 : 1;
  } finally {
    (store as Store | null)?.close();
  }
}
