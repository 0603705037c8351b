import type { Config } from "../../config/config.ts";
import { loadConfig } from "../../config/files/load.ts";
import { findConfig } from "../../config/files/places.ts";
import { makeOwnKeys } from "../../config/files/write.ts";
import { interfaceWarnings } from "../../firewall/host/interfaces.ts";
import { openBackend } from "../../firewall/open.ts";
import type { Runtime, SignalName } from "../../runtime/runtime.ts";
import { describeArrivals } from "../../server/report/counters.ts";
import { createLog, type Log } from "../../server/report/log.ts";
import { reportReload } from "../../server/report/reports.ts";
import { RunningServer } from "../../server/server.ts";
import { openServerStore, type Store } from "../../server/state/store.ts";
import { FailureError, OperatorError, orNull } from "../../values/errors.ts";
import { VERSION } from "../../values/program.ts";
import { formatDuration } from "../../values/time.ts";
import { parseOptions, readDuration, takePositionals } from "../command.ts";

export const help = `Usage:
    knock serve [--config FILE] [--trial DURATION]

Options:
    -c, --config FILE       The configuration; KNOCK_CONFIG names it too.
        --trial DURATION    Remove all rules and exit with 1, saying what came
                            in, unless a knock succeeds within this time: you
                            cannot lock yourself out.

Runs the server in the foreground and logs to stderr. If there is no
configuration, it writes one with fresh keys and a first client. That one adds
a port of its own and closes nothing.

SIGHUP reloads the configuration: if it is invalid, nothing changes; grants
stay, and those of a removed client end at once. SIGTERM, SIGINT, or closing
the terminal that it was started in, stop the server: guarded services stay
guarded, and grants expire on time.

Example:
    $ knock serve --config /etc/knock/server.yaml --trial 5m
`;

/** Longest wait at the end for a reader of the log. */
const LAST_WORDS_MS = 1000;

/** Runs `knock serve` until a signal, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  try {
    return await serve(args, runtime);
  } finally {
    await runtime.log.flush(LAST_WORDS_MS);
  }
}

async function serve(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, help);
  takePositionals(options, []);
  const trialSeconds = readDuration(options, "trial", 1) ?? null;
  const file = findConfig(runtime, options.value("config")) ??
    await (await import("./init/first.ts")).writeFirstConfiguration(runtime);

  // From the start: a signal without a handler ends the process.
  const byHand = runtime.isTerminal("in");
  const started = Promise.withResolvers<() => void>();
  const stopped = Promise.withResolvers<SignalName>();
  const reload = runtime.onSignal("SIGHUP", () => {
    // The terminal was closed, and not `kill -HUP` typed in another one.
    if (byHand && !runtime.hasTerminal()) stopped.resolve("SIGHUP");
    else started.promise.then((reload) => reload());
  });

  const { config, log } = loadServing(runtime, file);
  const store = await openServerStore(runtime, config.state);
  const createFirewall = ({ firewall }: Config) =>
    openBackend(runtime, firewall);
  const world = { runtime, store, log, createFirewall };
  const server = await RunningServer.start(world, config);
  const { services, firewall: { backend, mode } } = config;
  // Where it opens, the host's own rules close the services.
  const isGuard = backend !== "command" && mode === "guard";
  const names = services.map(({ name }) => name).join(", ") || "nothing";
  log(
    "info",
    `knock ${VERSION}: ${server.backend}, ${isGuard ? "guards" : "opens"} ` +
      `${names}, listens on udp ${server.listening.join(", ")}`,
  );

  warn(runtime, config, log);

  started.resolve(() => reloadServer(runtime, server, file, log, store));
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    runtime.onSignal(name, () => stopped.resolve(name));
  }
  const signal = trialSeconds === null
    ? await stopped.promise
    : await duringTrial(
      runtime,
      server,
      file,
      log,
      trialSeconds,
      stopped.promise,
    );
  const proven = trialSeconds === null || server.hasOpened;
  const undone = "rules removed, services reachable as before";
  const outcome = proven
    ? "guarded services stay guarded"
    : `no knock has opened anything: ${undone}`;
  log("info", (signal ? `${signal}: stopping; ` : "") + outcome);
  reload.stop();
  const arrivals = proven ? null : describeArrivals(await server.counts());
  const ports = server.listening.join(", ");
  if (!proven) await server.unguard();
  await server.stop();
  store.close();
  if (signal !== null) return 0;
  const within = formatDuration(trialSeconds!);
  throw new FailureError(
    `no knock has opened anything within ${within} ` +
      `(${arrivals ?? "no packet came"}): ${undone}`,
    arrivals === null
      ? `check the address in the client's profile, and that udp ${ports} is ` +
        "let through: this machine's firewall, the router, the provider's firewall"
      : "run `knock log` here and `knock ping PROFILE` on the client; then try again",
  );
}

/**
 * Logs what the doctor finds wrong, and waits for a signal, or for the end of a
 * trial in which nothing was opened: null.
 */
async function duringTrial(
  runtime: Runtime,
  server: RunningServer,
  file: string,
  log: Log,
  seconds: number,
  stopped: Promise<SignalName>,
): Promise<SignalName | null> {
  const over = runtime.sleep(seconds * 1000).then(() => null);
  const left = formatDuration(seconds);
  log(
    "info",
    `trial: rules will be removed in ${left} unless a knock succeeds`,
  );
  const { examine } = await import("./doctor/doctor.ts");
  const groups = await examine(runtime, file, false, false);
  for (const { id, level, text, cure } of groups.flatMap(([, all]) => all)) {
    // That no packet has come yet is what the trial waits for.
    if (id === "packets_received") continue;
    if (level !== "warn" && level !== "bad") continue;
    log("warn", `doctor: ${text}${cure === undefined ? "" : `: ${cure}`}`);
  }
  const signal = await Promise.race([stopped, over]);
  if (signal !== null || !server.hasOpened) return signal;
  log("info", "the trial is over: a knock has opened, and guarding stays");
  return await stopped;
}

/** Reads the configuration; keys of the server's own that it lacks are made. */
function loadServing(
  runtime: Runtime,
  file: string,
): { config: Config; log: Log } {
  const config = loadConfig(runtime, file);
  const log = createLog(runtime, config.log);
  const made = makeOwnKeys(runtime, config);
  for (const path of made) {
    log("info", `made the key "${path}": keep a copy in a safe place`);
  }
  return { config: made.length > 0 ? loadConfig(runtime, file) : config, log };
}

async function reloadServer(
  runtime: Runtime,
  server: RunningServer,
  file: string,
  log: Log,
  store: Store,
): Promise<void> {
  const note = (mistake: string | null) =>
    orNull(() => reportReload(store, mistake));
  try {
    const { config } = loadServing(runtime, file);
    await server.reload(config);
    log("info", `reloaded "${file}"`);
    warn(runtime, config, log);
    note(null);
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    for (const line of error.lines) log("error", line);
    log("error", "not reloaded: the server goes on as it was");
    note(error.lines.join("; "));
  }
}

function warn(runtime: Runtime, config: Config, log: Log): void {
  const { file, warnings, firewall } = config;
  const all = [...warnings, ...interfaceWarnings(runtime, firewall)];
  for (const warning of all) log("warn", `${file}: ${warning}`);
}
