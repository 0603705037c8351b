/** The text of new configurations and of the entries in them, and the server's own keys in other dialects. */

import type { DialectName } from "../../dialects/dialect.ts";
import type { KeyedDialect } from "../../dialects/keys.ts";
import type { KnockClientKeys } from "../../dialects/knock1/keys.ts";
import { DIALECT_NAMES, DIALECTS, dialectsOf } from "../../dialects/table.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { formatEndpoint } from "../../values/address.ts";
import { formatBase64url } from "../../values/bytes.ts";
import { failing } from "../../values/errors.ts";
import { formatPortRange, type PortRange } from "../../values/ports.ts";
import { formatJson } from "../../values/text.ts";
import { formatDuration } from "../../values/time.ts";
import { scalar } from "../../values/yaml.ts";
import type { Config, NewService } from "../config.ts";
import { pathBeside } from "./places.ts";
import { createOwn } from "./rights.ts";
import type { BackendName, FirewallConfig } from "../../firewall/firewall.ts";

/** Settings of a new configuration. */
interface NewConfig {
  readonly port: number;
  readonly backend: BackendName;
  readonly mode: FirewallConfig["mode"];
  /** The host's chain of mode accept; null or absent: the default. */
  readonly chain?: string | null;
  readonly services: readonly NewService[];
  readonly clients: readonly NewClient[];
}

/** Entry of a new client. */
export interface NewClient {
  readonly name: string;
  /** Its keys of knock/1, or a line of YAML, such as `openme: { key: … }`. */
  readonly keys: KnockClientKeys | string;
  /** Names of services, and ports. */
  readonly open: readonly (string | PortRange)[];
  /** Null = the default. */
  readonly forSeconds: number | null;
  /** The file with the secret of its one-time codes, where it has one. */
  readonly code?: string;
  /** True if it may knock from a browser. */
  readonly web?: boolean;
}

/** Writes a new `server.yaml`, with comments for who edits it next. */
export function formatConfig(config: NewConfig): string {
  const { port, backend, services, clients } = config;
  return `# The server's configuration. It holds its clients' secrets: mode 0600.
# "knock check" validates it; every key is explained in docs/configuration.md.

# UDP, on every address. Allow it in your other firewalls.
listen: [${port}]

# The server's private key, beside this file. Keep a copy in a safe place.
key: server.key

firewall:
  # ${BACKEND_WORDS[backend]}
  backend: ${backend}
${formatBackend(config)}
# Ports that are closed to everyone who has not knocked.
${section("services", services.map(formatService))}
# How long a service stays open when a client does not say, and at most.
defaults: { for: 30s, max_for: 8h }

# "knock client add NAME" adds an entry here and prints the line to give to NAME.
${section("clients", clients.map(formatClient))}`;
}

/** Writes a mapping; its entries are lines of block YAML from column 0 on. */
export function section(name: string, entries: readonly string[]): string {
  return `${name}:${entries.length === 0 ? " {}" : ""}\n` +
    entries.map((entry) => indent(entry, 2)).join("");
}

/** Writes a client's entry as lines of block YAML from column 0 on. */
export function formatClient(client: NewClient): string {
  const { keys } = client;
  const open = client.open.map((entry) =>
    typeof entry === "string" ? scalar(entry) : formatPortRange(entry)
  );
  return `${scalar(client.name)}:
  ${typeof keys === "string" ? keys : knockKeys(keys)}
  open: [${open.join(", ")}]
` +
    (client.forSeconds === null
      ? ""
      : `  for: ${formatDuration(client.forSeconds)}\n`) +
    (client.code === undefined ? "" : `  code: ${scalar(client.code)}\n`) +
    (client.web ? "  web: true\n" : "");
}

function knockKeys({ key, psk }: KnockClientKeys): string {
  const text = (bytes: Uint8Array) => scalar(formatBase64url(bytes));
  return `knock: { key: ${text(key)}, psk: ${text(psk)} }`;
}

/** Puts more space before each line, and doubles what is there for wide indents. */
export function indent(block: string, columns: number): string {
  return block.replace(
    /^( *)(?=\S)/gm,
    (inner) => " ".repeat(columns + (inner.length / 2) * columns),
  );
}

const BACKEND_WORDS: Readonly<Record<BackendName, string>> = {
  nft: "nftables: the kernel drops what is not open, beside your own rules",
  iptables: "iptables and ip6tables, in a chain of our own",
  gate: "no firewall: knock itself listens and passes connections on",
  command: "your own program, on open and on close",
};

/** Settings that a backend needs beside its name. */
function formatBackend({ backend, mode, chain = null }: NewConfig): string {
  if (backend === "nft" || backend === "iptables") {
    const line = chain === null ? "" : `  chain: ${chain}\n`;
    return `  mode: ${mode}\n${line}`;
  }
  if (backend === "gate") return "";
  const words = '"{address}", "{protocol}", "{port}"';
  return `  # yours to write; docs/backends.md says what they have to do
  open: [/usr/local/bin/knock-open, ${words}]
  close: [/usr/local/bin/knock-close, ${words}]
`;
}

function formatService({ name, ports, to }: NewService): string {
  const ranges = ports.map(formatPortRange);
  const listen = ranges.length === 1 ? ranges[0] : `[${ranges.join(", ")}]`;
  const value = to === null
    ? listen
    : `{ listen: ${listen}, to: ${formatJson(formatEndpoint(to))} }`;
  return `${scalar(name)}: ${value}\n`;
}

/**
 * Makes the keys that are missing for what a configuration's clients use, and
 * those of `also`, as new files. The paths of what it made: then the
 * configuration has to be read again. Throws FailureError if it cannot.
 */
export function makeOwnKeys(
  runtime: Runtime,
  config: Config,
  also: readonly DialectName[] = [],
): string[] {
  const used = new Set([...config.clients.flatMap(dialectsOf), ...also]);
  return DIALECT_NAMES.flatMap((dialect) => {
    const { own } = DIALECTS[dialect];
    if (!own || !used.has(dialect)) return [];
    const { file, key } = config[dialect as KeyedDialect];
    if (key !== null) return [];
    const path = pathBeside(runtime, config.file, file);
    failing(
      `cannot write ${path}, the server's key for ${dialect}`,
      () => createOwn(runtime, path, own.make(runtime)),
      `as root: knock client add NAME --dialect ${dialect}, which makes it`,
    );
    return [path];
  });
}
