import {
  loadConfig,
  loadNamed,
  readConfigText,
  readFile,
} from "../../config/files/load.ts";
import { needConfig, pathBeside } from "../../config/files/places.ts";
import { ENGINES } from "../../config/fleet.ts";
import type { EngineHealth, FleetConfig } from "../../fleet/fleet.ts";
import { withFleet } from "../../fleet/shared.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { differences, type GatewayValue } from "../../server/fleet/link.ts";
import { formatBase64url } from "../../values/bytes.ts";
import { FailureError, UsageError } from "../../values/errors.ts";
import {
  escapeUnsafe,
  formatJson,
  formatTable,
  nearest,
} from "../../values/text.ts";
import { formatSince } from "../../values/time.ts";
import { scalar } from "../../values/yaml.ts";
import { oneOf, parseOptions, printHint, takePositionals } from "../command.ts";
import { createWith, replaceConfig } from "../enrol/new_files.ts";
import { clocksApart } from "./doctor/fleet.ts";

const FILE_LINES =
  `    -c, --config FILE          The server's configuration; or set KNOCK_CONFIG.
`;

const INIT_OPTIONS =
  `${FILE_LINES}    -s, --server URL...        A server of the engine, such as
                               https://10.0.0.1:2379, or for NATS
                               tls://10.0.0.1:4222. May be repeated.
    -e, --engine NAME          etcd or nats. Default: etcd.
    -n, --name NAME            The name of this gateway. Default: that of this
                               machine.
    -p, --prefix PREFIX        The prefix of all keys, a fleet each. Default:
                               knock.
`;

const JSON_LINES = `        --json                 Print one JSON object.
`;

export const help = `Usage:
    knock fleet init [--server URL ...] [--engine NAME] [--name NAME]
                     [--prefix PREFIX] [--config FILE]
    knock fleet status [--json] [--config FILE]

Several gateways on one engine: a knock at any of them opens on all, and a
packet is accepted once among them all (docs/fleet.md).

\`init\` writes the section "fleet" into the configuration, makes its secret
beside it, and checks the engine. What is there already stays. \`status\` shows
each gateway with its lag and its grants, and which servers of the engine
answer. Both exit with 1 if none does.

Options of \`init\`:
${INIT_OPTIONS}
Options of \`status\`, beside --config:
${JSON_LINES}
Example:
    # knock fleet init --server https://10.0.0.1:2379 --name gw1
    # knock fleet status
    etcd 3.5.30, prefix knock: 3 of 3 servers answer
    GATEWAY  VERSION  UP   LAG   GRANTS
    gw1      0.1.0    2 h  3 ms  2
    gw2      0.1.0    2 h  4 ms  2
`;

/** The options of each subcommand. */
export const subcommands = {
  init: INIT_OPTIONS,
  status: FILE_LINES + JSON_LINES,
};

/** Runs `knock fleet`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const [name, ...rest] = args;
  if (name === "init") return await initFleet(rest, runtime);
  if (name === "status") return await showFleet(rest, runtime);
  if (name === undefined) {
    throw new UsageError(
      "init or status is missing",
      "`knock help fleet` explains them",
    );
  }
  throw new UsageError(
    `knock fleet must be init or status, got "${name}"`,
    nearest(name, ["init", "status"]),
  );
}

async function initFleet(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, INIT_OPTIONS);
  takePositionals(options, []);
  const file = needConfig(runtime, options.value("config"));
  const text = readFile(runtime, file);
  const servers = options.list("server");
  const isThere = /^fleet\s*:/m.test(text);
  if (isThere && servers.length > 0) {
    throw new FailureError(
      `there is a section "fleet" in ${file} already`,
      "change its servers there; without --server, `knock fleet init` makes its secret",
    );
  }
  if (!isThere && servers.length === 0) {
    throw new UsageError(
      "--server is missing: which servers does the engine have?",
      "knock fleet init --server https://10.0.0.1:2379 --server https://10.0.0.2:2379",
    );
  }
  const engine = oneOf("--engine", options.value("engine") ?? "etcd", ENGINES);
  const edited = isThere ? text : `${text.replace(/\n*$/, "\n")}
# Several gateways on one engine: docs/fleet.md. The same on each but for name.
fleet:
  engine: ${engine}
  servers: [${servers.map((one) => formatJson(one)).join(", ")}]
${line("name", options.value("name"))}${
    line("prefix", options.value("prefix"))
  }` +
    "  secret: fleet.secret\n";
  const secret = pathBeside(runtime, file, "fleet.secret");
  const isNew = runtime.files.stat(secret) === null;
  const data = `${formatBase64url(runtime.random(32))}\n`;
  createWith(runtime, isNew ? [{ path: secret, data }] : [], () => {
    readConfigText(runtime, file, edited);
    if (edited !== text) replaceConfig(runtime, file, edited);
  });
  const config = loadConfig(runtime, file);
  if (isNew) runtime.out(`made ${secret}\n`);
  if (edited !== text) runtime.out(`wrote the section "fleet" into ${file}\n`);
  printHint(
    runtime,
    "every gateway needs the same fleet.secret and server.key: copy both, " +
      "then `systemctl reload knock`",
  );
  if (config.fleet!.engine === "nats") {
    printHint(
      runtime,
      "give each nats-server `sync_interval: always` in its section " +
        "jetstream: without it, a power cut may lose what was accepted, and " +
        "from here it cannot be seen",
    );
  }
  return await withFleet(runtime, config.fleet!, async ({ engine }) => {
    const health = await engine.health();
    runtime.out(describeEngine(config.fleet!, health));
    return answers(health) ? 0 : 1;
  });
}

function line(key: string, value: string | undefined): string {
  return value === undefined ? "" : `  ${key}: ${scalar(value)}\n`;
}

/** A gateway; null: its value is not this fleet's. */
type Gateway = readonly [name: string, value: GatewayValue | null];

async function showFleet(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, subcommands.status);
  takePositionals(options, []);
  const config = loadNamed(runtime, options.value("config"));
  const { file, fleet } = config;
  if (!fleet) {
    throw new UsageError(
      `there is no section "fleet" in ${file}`,
      "`knock fleet init` writes it; docs/fleet.md explains it",
    );
  }
  return await withFleet(runtime, fleet, async (values) => {
    const health = await values.engine.health();
    const isAnswered = answers(health);
    const gateways = isAnswered
      ? await Array.fromAsync(values.gateways()) as Gateway[]
      : [];
    // An engine lists them in an order of its own.
    gateways.sort(([a], [b]) => a < b ? -1 : 1);
    const nowMs = runtime.nowMs();
    const warnings = [
      ...health.warnings,
      ...gateways.flatMap(([name, value]) =>
        differences(value, config, nowMs).map((words) => `${name} ${words}`)
      ),
      ...[clocksApart(values.engine)].filter((words) => words !== null),
    ];
    if (options.flag("json")) {
      const { engine, prefix, name } = fleet;
      const shown = {
        ...{ engine, prefix, name, reachable: isAnswered },
        servers: health.servers,
        gateways: gateways.map(gatewayJson),
        warnings,
      };
      runtime.out(`${formatJson(shown, 2)}\n`);
    } else {
      runtime.out(describeEngine(fleet, { ...health, warnings }));
      const head = ["GATEWAY", "VERSION", "UP", "LAG", "GRANTS"];
      const rows = gateways.map((gateway) => gatewayRow(gateway, nowMs));
      if (rows.length > 0) runtime.out(formatTable(head, rows));
      else if (isAnswered) runtime.out("no gateway is running\n");
    }
    return isAnswered ? 0 : 1;
  });
}

function answers({ servers }: EngineHealth): boolean {
  return servers.some(({ trouble }) => trouble === null);
}

function describeEngine(
  { engine, prefix }: FleetConfig,
  { servers, warnings }: EngineHealth,
): string {
  const well = servers.filter(({ trouble }) => trouble === null);
  const versions = [
    ...new Set(servers.flatMap(({ version }) => version ?? [])),
  ];
  const lines = [
    `${[engine, ...versions].join(" ")}, prefix ${prefix}: ${well.length} of ` +
    `${servers.length} servers answer`,
    ...servers.filter(({ trouble }) => trouble !== null)
      .map(({ address, trouble }) => `  ${address}: ${trouble}`),
    ...warnings.map((words) => `warning: ${words}`),
  ];
  return lines.map((words) => `${escapeUnsafe(words)}\n`).join("");
}

function gatewayRow([name, value]: Gateway, nowMs: number): string[] {
  return value === null ? [name, "?", "?", "?", "?"] : [
    name,
    value.version,
    formatSince(nowMs - value.sinceMs),
    value.lagMs === null ? "-" : `${Math.round(value.lagMs)} ms`,
    String(value.grants),
  ];
}

function gatewayJson([name, value]: Gateway) {
  return value === null ? { name, readable: false } : {
    name,
    readable: true,
    version: value.version,
    since: new Date(value.sinceMs).toISOString(),
    seen: new Date(value.atMs).toISOString(),
    lag_ms: value.lagMs,
    revision: value.revision,
    grants: value.grants,
    server_key: value.key,
  };
}
