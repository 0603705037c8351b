/** `knock client list` and `knock client show`. */

import type { Client, Config } from "../../config/config.ts";
import { loadNamed } from "../../config/files/load.ts";
import { DIALECTS, dialectsOf } from "../../dialects/table.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { formatPrefix } from "../../values/address.ts";
import { readSharedClient } from "../../config/clients.ts";
import { withFleet } from "../../fleet/shared.ts";
import { openExistingStore } from "../../server/state/store.ts";
import { OperatorError, SystemError, UsageError } from "../../values/errors.ts";
import { formatPortRange } from "../../values/ports.ts";
import {
  escapeUnsafe,
  formatJson,
  formatTable,
  nearest,
  toIdentifier,
  wrapLine,
} from "../../values/text.ts";
import { formatDuration, formatSince } from "../../values/time.ts";
import {
  type Options,
  paintFor,
  printPainted,
  printWarning,
} from "../command.ts";

/** Runs `knock client list`. */
export async function listClients(
  runtime: Runtime,
  options: Options,
): Promise<number> {
  const config = loadNamed(runtime, options.value("config"));
  const { file, state } = config;
  const shared = await sharedClients(runtime, config, options);
  const clients = [...config.clients, ...shared];
  const knocks = await readLastKnocks(runtime, state);
  const nowMs = runtime.nowMs();
  if (options.flag("json")) {
    const all = clients.map((one) => clientJson(one, knocks, nowMs));
    runtime.out(`${formatJson(all, 2)}\n`);
    return 0;
  }
  if (clients.length === 0) {
    const place = escapeUnsafe(file);
    runtime.err(
      `no clients in ${place} yet: \`knock client add NAME\` enrols one\n`,
    );
    return 0;
  }
  const isTerminal = runtime.isTerminal("out");
  const paint = paintFor(runtime, "out");
  const table = formatTable(
    ["CLIENT", "DIALECTS", "FOR", "LAST KNOCK", "EXPIRES", "OPEN"],
    clients.map((client) => [
      client.name,
      dialectsOf(client).join(","),
      formatDuration(client.forSeconds),
      lastKnockOf(client, knocks, nowMs, isTerminal),
      isExpired(client, nowMs) ? "expired" : expiryOf(client, isTerminal),
      [openOf(client, ", "), ...marksOf(client)].join("; "),
    ]),
  );
  const columns = isTerminal ? runtime.columns() : Infinity;
  const lines = table.trimEnd().split("\n").flatMap((line, index) =>
    wrapLine(line, columns, "    ").map((part) =>
      index === 0
        ? paint("bold", part)
        : isExpired(clients[index - 1]!, nowMs)
        ? paint("yellow", part)
        : part
    )
  );
  printPainted(runtime, lines);
  return 0;
}

/** Runs `knock client show`. */
export async function showClient(
  runtime: Runtime,
  options: Options,
  name: string,
): Promise<number> {
  const config = loadNamed(runtime, options.value("config"));
  const client = await findShared(runtime, config, options, name) ??
    findClient(config, name);
  const knocks = await readLastKnocks(runtime, config.state);
  const nowMs = runtime.nowMs();
  if (options.flag("json")) {
    const keys = dialectsOf(client).map((name) => [
      name,
      Object.fromEntries(
        DIALECTS[name].client.show(client[name])
          .filter(([, value]) => value !== "(hidden)")
          .map(([title, value]) => [toIdentifier(title), value]),
      ),
    ]);
    const shown = {
      ...clientJson(client, knocks, nowMs),
      keys: Object.fromEntries(keys),
    };
    runtime.out(`${formatJson(shown, 2)}\n`);
    return 0;
  }
  const { from } = client;
  const isTerminal = runtime.isTerminal("out");
  runtime.out(formatTable(["name", client.name], [
    ["dialects", dialectsOf(client).join(", ")],
    ...dialectsOf(client).flatMap((name) =>
      DIALECTS[name].client.show(client[name])
    ),
    ["open", openOf(client, ",")],
    ["for", formatDuration(client.forSeconds)],
    ["max_for", formatDuration(client.maxForSeconds)],
    ["from", from === null ? "any" : from.map(formatPrefix).join(", ")],
    ["require_address", String(client.requireAddress)],
    ["any_address", String(client.anyAddress)],
    [
      "expires",
      expiryOf(client, false) + (isExpired(client, nowMs) ? " (expired)" : ""),
    ],
    ["hours", client.hours?.text ?? "any"],
    ["once", String(client.once)],
    ["web", String(client.web)],
    ["run", client.run.join(", ") || "-"],
    ["last knock", lastKnockOf(client, knocks, nowMs, isTerminal)],
    ...client.code ? [["code", "(hidden)"]] : [],
  ]));
  return 0;
}

/** Times of the last knocks by client, Unix milliseconds; none where the state cannot be read. */
async function readLastKnocks(
  runtime: Runtime,
  folder: string,
): Promise<ReadonlyMap<string, number>> {
  try {
    const store = await openExistingStore(runtime, folder);
    const knocks = store?.history.lastKnocks() ?? new Map<string, number>();
    store?.close();
    return knocks;
  } catch (error) {
    // Not everybody who may read the configuration may read the state.
    if (error instanceof OperatorError || error instanceof SystemError) {
      return new Map();
    }
    throw error;
  }
}

/** A client as JSON, without secrets: docs/json.md, "client". */
function clientJson(
  client: Client,
  knocks: ReadonlyMap<string, number>,
  nowMs: number,
) {
  const { name, open, from, expiresMs } = client;
  const last = knocks.get(name);
  return {
    name,
    dialects: dialectsOf(client),
    open: open.map(formatPortRange),
    for_seconds: client.forSeconds,
    max_for_seconds: client.maxForSeconds,
    from: from && from.map(formatPrefix),
    require_address: client.requireAddress,
    any_address: client.anyAddress,
    expires: expiresMs === null ? null : new Date(expiresMs).toISOString(),
    expired: isExpired(client, nowMs),
    hours: client.hours?.text ?? null,
    once: client.once,
    web: client.web,
    code: client.code !== null,
    run: client.run,
    last_knock: last === undefined ? null : new Date(last).toISOString(),
  };
}

function isExpired({ expiresMs }: Client, nowMs: number): boolean {
  return expiresMs !== null && expiresMs <= nowMs;
}

function marksOf({ once, web, code }: Client): string[] {
  return [
    ...once ? ["once"] : [],
    ...web ? ["web"] : [],
    ...code ? ["code"] : [],
  ];
}

function lastKnockOf(
  { name }: Client,
  knocks: ReadonlyMap<string, number>,
  nowMs: number,
  isTerminal: boolean,
): string {
  const last = knocks.get(name);
  if (last === undefined) return "-";
  return isTerminal
    ? `${formatSince(nowMs - last)} ago`
    : new Date(last).toISOString();
}

/** Clients that the fleet shares, valid here; none without one, or with --local. */
async function sharedClients(
  runtime: Runtime,
  config: Config,
  options: Options,
): Promise<Client[]> {
  const { fleet, clients } = config;
  if (!fleet || options.flag("local")) return [];
  const names = new Set(clients.map(({ name }) => name));
  return await withFleet(runtime, fleet, async (values) => {
    const found: Client[] = [];
    for await (const [name, shared] of values.clients()) {
      const read = shared && readSharedClient(name, shared, config);
      if (read && "name" in read) {
        if (!names.has(name)) found.push(read);
        continue;
      }
      const why = read ? `${read[0]!.path}: ${read[0]!.text}` : UNSEALED;
      const words = `client ${name} of the fleet cannot be used here: ${why}`;
      printWarning(runtime, words);
    }
    // An engine lists them in an order of its own.
    return found.sort((a, b) => a.name < b.name ? -1 : 1);
  });
}

const UNSEALED = "its value is not sealed under this fleet's secret";

/** Finds a client of the fleet by its name; null where the file has it, or nobody. */
async function findShared(
  runtime: Runtime,
  config: Config,
  options: Options,
  name: string,
): Promise<Client | null> {
  const { fleet, clients } = config;
  if (!fleet || options.flag("local")) return null;
  if (clients.some((client) => client.name === name)) return null;
  return await withFleet(runtime, fleet, async (values) => {
    const shared = await values.client(name);
    const read = shared && readSharedClient(name, shared, config);
    return read && "name" in read ? read : null;
  });
}

/** Finds a client by its name; throws UsageError with the nearest one. */
export function findClient(config: Config, name: string): Client {
  const found = config.clients.find((client) => client.name === name);
  if (found) return found;
  const names = config.clients.map((client) => client.name);
  throw new UsageError(
    `there is no client "${name}" in ${config.file}`,
    nearest(name, names) ?? "`knock client list` lists them",
  );
}

function openOf({ open }: Client, comma: string): string {
  return open.length === 0 ? "-" : open.map(formatPortRange).join(comma);
}

function expiryOf({ expiresMs }: Client, isShort: boolean): string {
  if (expiresMs === null) return "never";
  const time = new Date(expiresMs).toISOString().replace(".000Z", "Z");
  return isShort ? time.slice(0, "2026-01-01".length) : time;
}
