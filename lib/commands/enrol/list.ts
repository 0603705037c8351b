/** `knock client list` and `knock client show`. */

import type { Client, Config } from "../../config/config.ts";
import { loadConfig } from "../../config/files/load.ts";
import { needConfig } from "../../config/files/places.ts";
import { DIALECTS, dialectsOf } from "../../dialects/table.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { formatPrefix } from "../../values/address.ts";
import { UsageError } from "../../values/errors.ts";
import { formatPortRange } from "../../values/ports.ts";
import { escapeUnsafe, formatTable, nearest } from "../../values/text.ts";
import { formatDuration } from "../../values/time.ts";
import { parseOptions, takePositionals } from "../command.ts";

/** The option of each subcommand. */
export const FILE_OPTION =
  `    -c, --config FILE          The server's configuration. Default:
                               KNOCK_CONFIG, then /etc/knock/server.yaml for
                               root and ~/.config/knock/server.yaml for others.
`;

/** Runs `knock client list`. */
export function listClients(args: string[], runtime: Runtime): number {
  const options = parseOptions(args, FILE_OPTION);
  takePositionals(options, []);
  const file = needConfig(runtime, options.value("config"));
  const { clients } = loadConfig(runtime, file);
  if (clients.length === 0) {
    runtime.err(
      `no clients in ${
        escapeUnsafe(file)
      } yet: \`knock client add NAME\` enrols one\n`,
    );
    return 0;
  }
  runtime.out(formatTable(
    ["CLIENT", "DIALECTS", "OPEN", "FOR", "EXPIRES"],
    clients.map((client) => [
      client.name,
      dialectsOf(client).join(","),
      openOf(client),
      formatDuration(client.forSeconds),
      expiryOf(client),
    ]),
  ));
  return 0;
}

/** Runs `knock client show`. */
export function showClient(args: string[], runtime: Runtime): number {
  const options = parseOptions(args, FILE_OPTION);
  const name = takePositionals(options, ["NAME"])[0]!;
  const file = needConfig(runtime, options.value("config"));
  const client = findClient(loadConfig(runtime, file), name);
  const { from } = client;
  runtime.out(formatTable(["name", client.name], [
    ["dialects", dialectsOf(client).join(", ")],
    ...dialectsOf(client).flatMap((name) =>
      DIALECTS[name].client.show(client[name]).map(([title, value]) => [
        title,
        value,
      ])
    ),
    ["open", openOf(client)],
    ["for", formatDuration(client.forSeconds)],
    ["max_for", formatDuration(client.maxForSeconds)],
    ["from", from === null ? "any" : from.map(formatPrefix).join(", ")],
    ["require_address", String(client.requireAddress)],
    ["any_address", String(client.anyAddress)],
    ["expires", expiryOf(client)],
    ["hours", client.hours?.text ?? "any"],
    ["once", String(client.once)],
    ["run", client.run.join(", ") || "-"],
    ...client.code ? [["code", "(hidden)"]] : [],
  ]));
  return 0;
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

function openOf({ open }: Client): string {
  return open.length === 0 ? "-" : open.map(formatPortRange).join(",");
}

function expiryOf({ expiresMs }: Client): string {
  return expiresMs === null
    ? "never"
    : new Date(expiresMs).toISOString().replace(".000Z", "Z");
}
