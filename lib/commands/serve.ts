import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { findConfig } from "../config/places.ts";
import type { Runtime, SignalName } from "../runtime/runtime.ts";
import { openBackend } from "../server/backends.ts";
import { createLog, type Log } from "../server/log.ts";
import { Server } from "../server/server.ts";
import { openStore } from "../server/store.ts";
import { ConfigError, OperatorError } from "../values/errors.ts";
import { VERSION } from "../values/version.ts";
import { parseOptions, takePositionals } from "./command.ts";
import { writeFirstConfiguration } from "./first.ts";

export const help = `Usage:
    knock serve [--config FILE]

Options:
    --config FILE    The configuration; KNOCK_CONFIG names it too.

Runs the server in the foreground, and logs to standard error. Where there is
no configuration it writes one with fresh keys and a first client, which opens
a gate of its own and closes nothing of this machine.

SIGHUP reads the configuration again: a bad one changes nothing, grants stay,
a client that was removed is closed at once. SIGTERM and SIGINT stop the
server: guarded services stay guarded, grants end in their time.

Example:
    $ knock serve --config /etc/knock/server.yaml
`;

/** Runs `knock serve` until a signal, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, { values: { config: "" } });
  takePositionals(options, []);
  const file = findConfig(runtime, options.value("config")) ??
    await writeFirstConfiguration(runtime);

  const config = loadConfig(runtime, file);
  const log = createLog(runtime, config.log);
  const store = await openStore(runtime, config.state);
  const createFirewall = (config: Config) => openBackend(runtime, config);
  const server = await Server.start(
    { runtime, store, log, createFirewall },
    config,
  );
  log(
    "info",
    `knock ${VERSION}: ${server.backend}, guards ${
      config.services.map(({ name }) => name).join(", ") || "nothing"
    }, listens on udp ${server.listening.join(", ")}`,
  );

  const reload = runtime.onSignal("SIGHUP", () => {
    reloadServer(runtime, server, file, log);
  });
  const signal = await firstSignal(runtime, ["SIGINT", "SIGTERM"]);
  log("info", `${signal}: stopping; what is guarded stays guarded`);
  reload.stop();
  await server.stop();
  store.close();
  return 0;
}

async function reloadServer(
  runtime: Runtime,
  server: Server,
  file: string,
  log: Log,
): Promise<void> {
  try {
    await server.reload(loadConfig(runtime, file));
    log("info", `reloaded "${file}"`);
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    const lines = error instanceof ConfigError
      ? error.mistakes
      : [error.message];
    for (const line of lines) log("error", line);
    log("error", "not reloaded: the server goes on as it was");
  }
}

function firstSignal(
  runtime: Runtime,
  names: readonly SignalName[],
): Promise<SignalName> {
  return new Promise((resolve) => {
    for (const name of names) runtime.onSignal(name, () => resolve(name));
  });
}
