import { readProfiles } from "../../../client/profile/file.ts";
import { loadConfig } from "../../../config/files/load.ts";
import {
  findConfig,
  hasProfiles,
  profilesFile,
} from "../../../config/files/places.ts";
import { readInterfaces } from "../../../firewall/host/interfaces.ts";
import { readHost } from "../../../firewall/host/read.ts";
import type { Runtime } from "../../../runtime/runtime.ts";
import { caught, ConfigError, OperatorError } from "../../../values/errors.ts";
import { VERSION } from "../../../values/program.ts";
import {
  counted,
  formatJson,
  toIdentifier,
  wrapLine,
} from "../../../values/text.ts";
import {
  type Page,
  pageOf,
  parseOptions,
  printPainted,
  takePositionals,
} from "../../command.ts";
import { checkAccept, checkBackend } from "./backend.ts";
import { checkClients, checkState } from "./files.ts";
import { checkFirewall } from "./filter.ts";
import { checkFleet } from "./fleet.ts";
import { bad, type Finding, ok, unknown, warn } from "./finding.ts";
import { checkClock, checkSequences, checkServer } from "./server.ts";
import { checkServices, readSockets } from "./services.ts";

export const help = `Usage:
    knock doctor [--json] [--config FILE] [--profiles FILE]

Checks this machine's setup and suggests fixes: files, the backend and its
rights, the server and its port, services, other packet filters, containers
that are reachable past the guard, the clock, clients and profiles. Changes
nothing.

Options:
        --json             One JSON object: { "ok": …, "findings": [ … ] }.
    -c, --config FILE      The server's configuration; or set KNOCK_CONFIG.
        --profiles FILE    The client's profiles; or set KNOCK_PROFILES.

"?" marks a check that was not possible; run it as root to see most. Exit
status: 0 if nothing is bad, else 1.

Example:
    # knock doctor
    server
      ok    server running since 14:00:02 (4 min): nft (libnftables 1.0.6), udp [::]:62201
      BAD   chain INPUT of table ip filter drops knocks to udp/62201 by IPv4
            -> with ufw: ufw allow 62201/udp; …
`;

/** Findings by what they are about, in the order in which they are shown. */
type Groups =
  readonly (readonly [group: string, findings: readonly Finding[]])[];

/** Runs `knock doctor`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, help);
  takePositionals(options, []);
  const isJson = options.flag("json");
  const page = pageOf(runtime);
  const groups: Groups = [
    ...await examine(
      runtime,
      options.value("config"),
      hasProfiles(runtime),
      page.isTerminal && !isJson,
    ),
    ["client", checkProfiles(runtime, options.value("profiles"))],
  ];
  const isOk = groups.every(([, all]) =>
    all.every(({ level }) => level !== "bad")
  );
  if (isJson) runtime.out(showJson(groups, isOk));
  else printPainted(runtime, showText(groups, page));
  return isOk ? 0 : 1;
}

/** Everything about the server of a configuration. */
export async function examine(
  runtime: Runtime,
  named: string | undefined,
  isClient: boolean,
  isTerminal: boolean,
): Promise<Groups> {
  const config = caught(OperatorError, () => {
    const file = findConfig(runtime, named);
    return file === null ? null : loadConfig(runtime, file);
  }, explainMistakes);
  if (config === null) {
    const missing = isClient
      ? ok("configuration_missing", "there is no server's configuration here")
      : bad(
        "configuration_missing",
        "there is no configuration",
        "knock init, or: knock serve",
      );
    return [["configuration", [missing]]];
  }
  if (Array.isArray(config)) return [["configuration", config]];
  const { findings, state } = await checkState(runtime, config.state);
  const sockets = readSockets(runtime);
  const ruleset = await readHost(runtime);
  const running = state?.server != null;
  const server = state
    ? checkServer(config, state, sockets, isTerminal)
    : [unknown(
      "server_running",
      "it is not known whether the server is running",
    )];
  return [
    ["configuration", [
      ok("configuration", `${config.file}: valid, and closed to others`),
      ...config.warnings.map((text) => warn("configuration_warning", text)),
      ...findings,
    ]],
    ["backend", await checkBackend(runtime, config)],
    ["server", server],
    ["fleet", await checkFleet(runtime, config)],
    ["services", checkServices(config, sockets)],
    ["packet filter", [
      ...checkFirewall(config, ruleset, running, readInterfaces(runtime)),
      ...checkAccept(config, ruleset),
    ]],
    [
      "sequences",
      checkSequences(config, running ? state.sequences : null),
    ],
    ["clock", [await checkClock(runtime, config.maxSkewMs)]],
    ["clients", checkClients(config, runtime.nowMs())],
  ];
}

function explainMistakes(error: OperatorError): Finding[] {
  const { lines, hint } = error;
  return lines.map((line, index) =>
    bad("configuration", line, index < lines.length - 1 ? undefined : hint)
  );
}

function checkProfiles(
  runtime: Runtime,
  named: string | undefined,
): Finding[] {
  return caught(
    OperatorError,
    () => {
      const file = profilesFile(runtime, named);
      if (!runtime.files.stat(file)) {
        return [ok("profiles", `no profiles in ${file}`)];
      }
      const count = counted(readProfiles(runtime, file).size, "profile");
      return [ok("profiles", `${file}: ${count}, closed to others`)];
    },
    (error) =>
      error instanceof ConfigError
        ? explainMistakes(error)
        : [unknown("profiles", error.message, error.hint)],
  );
}

const MARKS = {
  ok: ["ok  ", "green"],
  warn: ["warn", "yellow"],
  bad: ["BAD ", "red"],
  unknown: ["?   ", "dim"],
} as const;

function showText(groups: Groups, { columns, paint }: Page): string[] {
  const lines = [paint("dim", `knock ${VERSION}`)];
  for (const [group, findings] of groups) {
    if (findings.length > 0) lines.push(paint("bold", group));
    for (const { level, text, cure } of findings) {
      const [mark, style] = MARKS[level];
      const [first, ...rest] = [
        ...wrapLine(text, columns - INDENT),
        ...cure === undefined
          ? []
          : wrapLine(`-> ${cure}`, columns - INDENT, "   "),
      ];
      lines.push(
        `  ${paint(style, mark)}  ${first}`,
        ...rest.map((line) => " ".repeat(INDENT) + line),
      );
    }
  }
  const count = (level: Finding["level"]) =>
    groups.flatMap(([, all]) => all)
      .filter((finding) => finding.level === level).length;
  lines.push(
    `${count("bad")} bad, ${count("warn")} to look at, ` +
      `${count("unknown")} not known, ${count("ok")} ok`,
  );
  return lines;
}

/** Column of a finding's text. */
const INDENT = 8;

function showJson(groups: Groups, isOk: boolean): string {
  const findings = groups.flatMap(([group, all]) =>
    all.map(({ id, level, text, cure = null }) => ({
      id,
      group: toIdentifier(group),
      level,
      text,
      cure,
    }))
  );
  return formatJson({ ok: isOk, version: VERSION, findings }, 2) + "\n";
}
