/** `knock client list` and `knock client show`. */

import type { Client, Config } from "../../config/config.ts";
import { loadNamed } from "../../config/files/load.ts";
import { DIALECTS, dialectsOf } from "../../dialects/table.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { formatPrefix } from "../../values/address.ts";
import { readSharedClient } from "../../config/clients.ts";
import type { FleetConfig } from "../../fleet/fleet.ts";
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
  const fleet = options.flag("local") ? null : config.fleet;
  const shared = fleet ? await sharedClients(runtime, config, fleet) : [];
  const all = [...config.clients, ...shared];
  const clients = await look(runtime, config, all);
  if (options.flag("json")) {
    runtime.out(`${formatJson(clients.map(clientJson), 2)}\n`);
    return 0;
  }
  if (clients.length === 0) {
    const place = escapeUnsafe(config.file);
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
      lastKnockOf(runtime, client),
      client.isExpired ? "expired" : expiryOf(client).slice(
        0,
        isTerminal ? "2026-01-01".length : undefined,
      ),
      [openOf(client, ", "), ...MARKS.filter((mark) => client[mark])]
        .join("; "),
    ]),
  );
  const columns = isTerminal ? runtime.columns() : Infinity;
  const lines = table.trimEnd().split("\n").flatMap((line, index) =>
    wrapLine(line, columns, "    ").map((part) =>
      index === 0
        ? paint("bold", part)
        : clients[index - 1]!.isExpired
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
  const fleet = options.flag("local") ? null : config.fleet;
  const isOwn = config.clients.some((client) => client.name === name);
  const shared = fleet && !isOwn
    ? await withFleet(runtime, fleet, async (values) => {
      const entry = await values.client(name);
      const read = entry && readSharedClient(name, entry, config);
      return read && "name" in read ? read : null;
    })
    : null;
  const found = shared ?? findClient(config, name);
  const client = (await look(runtime, config, [found]))[0]!;
  const dialects = dialectsOf(client);
  const keys = dialects.map((name) => DIALECTS[name].client.show(client[name]));
  if (options.flag("json")) {
    const shown = keys.map((rows, index) => [
      dialects[index],
      Object.fromEntries(
        rows.filter(([, value]) => value !== "(hidden)")
          .map(([title, value]) => [toIdentifier(title), value]),
      ),
    ]);
    const json = { ...clientJson(client), keys: Object.fromEntries(shown) };
    runtime.out(`${formatJson(json, 2)}\n`);
    return 0;
  }
  const { from, isExpired } = client;
  runtime.out(formatTable(["name", client.name], [
    ["dialects", dialects.join(", ")],
    ...keys.flat(),
    ["open", openOf(client, ",")],
    ["for", formatDuration(client.forSeconds)],
    ["max_for", formatDuration(client.maxForSeconds)],
    ["from", from === null ? "any" : from.map(formatPrefix).join(", ")],
    ["require_address", String(client.requireAddress)],
    ["any_address", String(client.anyAddress)],
    ["expires", `${expiryOf(client)}${isExpired ? " (expired)" : ""}`],
    ["hours", client.hours?.text ?? "any"],
    ["once", String(client.once)],
    ["web", String(client.web)],
    ["run", client.run.join(", ") || "-"],
    ["last knock", lastKnockOf(runtime, client)],
    ...client.code ? [["code", "(hidden)"]] : [],
  ]));
  return 0;
}

/** A client as it is at a moment. */
interface Sight extends Client {
  /** The moment, Unix milliseconds. */
  readonly nowMs: number;
  /** Unix milliseconds; null: never, or the state cannot be read. */
  readonly lastKnockMs: number | null;
  readonly isExpired: boolean;
}

async function look(
  runtime: Runtime,
  { state }: Config,
  clients: readonly Client[],
): Promise<readonly Sight[]> {
  let knocks: ReadonlyMap<string, number> = new Map();
  try {
    const store = await openExistingStore(runtime, state);
    knocks = store?.history.lastKnocks() ?? knocks;
    store?.close();
  } catch (error) {
    // Not everybody who may read the configuration may read the state.
    if (!(error instanceof OperatorError || error instanceof SystemError)) {
      throw error;
    }
  }
  const nowMs = runtime.nowMs();
  return clients.map((client) => ({
    ...client,
    nowMs,
    lastKnockMs: knocks.get(client.name) ?? null,
    isExpired: client.expiresMs !== null && client.expiresMs <= nowMs,
  }));
}

/** A client as JSON, without secrets: docs/json.md, "client". */
function clientJson(client: Sight) {
  return {
    name: client.name,
    dialects: dialectsOf(client),
    open: client.open.map(formatPortRange),
    for_seconds: client.forSeconds,
    max_for_seconds: client.maxForSeconds,
    from: client.from && client.from.map(formatPrefix),
    require_address: client.requireAddress,
    any_address: client.anyAddress,
    expires: formatMoment(client.expiresMs),
    expired: client.isExpired,
    hours: client.hours?.text ?? null,
    once: client.once,
    web: client.web,
    code: client.code !== null,
    run: client.run,
    last_knock: formatMoment(client.lastKnockMs),
  };
}

const MARKS = ["once", "web", "code"] as const;

function openOf({ open }: Client, comma: string): string {
  return open.map(formatPortRange).join(comma) || "-";
}

function expiryOf({ expiresMs }: Client): string {
  return formatMoment(expiresMs)?.replace(".000Z", "Z") ?? "never";
}

function lastKnockOf(runtime: Runtime, { lastKnockMs, nowMs }: Sight): string {
  return lastKnockMs !== null && runtime.isTerminal("out")
    ? `${formatSince(nowMs - lastKnockMs)} ago`
    : formatMoment(lastKnockMs) ?? "-";
}

function formatMoment(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}

/** Clients that the fleet shares, valid here and not in the configuration. */
async function sharedClients(
  runtime: Runtime,
  config: Config,
  fleet: FleetConfig,
): Promise<Client[]> {
  const names = new Set(config.clients.map(({ name }) => name));
  return await withFleet(runtime, fleet, async (values) => {
    const found: Client[] = [];
    for await (const [name, shared] of values.clients()) {
      const read = shared && readSharedClient(name, shared, config);
      if (!read || !("name" in read)) {
        const why = read
          ? `${read[0]!.path}: ${read[0]!.text}`
          : "its value is not sealed under this fleet's secret";
        const words = `client ${name} of the fleet cannot be used here: ${why}`;
        printWarning(runtime, words);
      } else if (!names.has(name)) found.push(read);
    }
    // An engine lists them in an order of its own.
    return found.sort((a, b) => a.name < b.name ? -1 : 1);
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
