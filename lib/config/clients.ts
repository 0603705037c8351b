/** Clients of a configuration, in it, in `clients.d/*.yaml` beside it, or shared by a fleet. */

import type { ClientKeys } from "../dialects/keys.ts";
import { DIALECT_NAMES, DIALECTS } from "../dialects/table.ts";
import { parseCodeSecret } from "../dialects/crypto/codes.ts";
import {
  at,
  isMapping,
  type Mistake,
  type ReadKey,
  show,
} from "../values/schema.ts";
import { nearest } from "../values/text.ts";
import { formatDuration } from "../values/time.ts";
import { behindOf, type KnownServices, readOpen } from "./checks/checks.ts";
import type { Client, Config } from "./config.ts";
import type { SharedEntry } from "../fleet/fleet.ts";
import { client as clientSchema, type ClientYaml } from "./shape.ts";
import { parseYaml } from "../values/yaml.ts";

/** Facts that the text alone does not have. */
export interface Surroundings {
  /** The configuration's file, as messages show it. */
  readonly file: string;
  /** Reads the server's private key, 32 bytes, or says why it cannot. */
  readonly readKey: (name: string) => Uint8Array | Omit<Mistake, "path">;
  /** Reads the secret of a client's one-time codes, or says why it cannot. */
  readonly readCode: (name: string) => Uint8Array | Omit<Mistake, "path">;
  /** Reads another key; absent: there are no other files. */
  readonly readOther?: ReadKey;
  /** Files with more clients. */
  readonly included?: readonly IncludedFile[];
  /** This machine's name; absent: it has none. */
  readonly hostName?: string;
  /** The state folder; `written` is what the configuration says of it. */
  readonly stateFolder: (written: string | null) => string;
  /** Mistakes of the file itself, reported with all others. */
  readonly mistakes?: readonly Mistake[];
}

/** Settings and files that a client's entry refers to. */
interface Beside
  extends KnownServices, Pick<Surroundings, "readCode" | "readOther"> {
  readonly defaults: Config["defaults"];
}

/** Reads a client: what it may open is looked up, and what it leaves out is filled in. */
export function readClient(
  name: string,
  yaml: ClientYaml,
  beside: Beside,
  mistakes: Mistake[],
): Client {
  const { defaults, services, readOther } = beside;
  const path = at("clients", name);
  const maxForSeconds = yaml.max_for ?? defaults.maxForSeconds;
  if (yaml.for !== null && yaml.for > maxForSeconds) {
    const most = formatDuration(maxForSeconds);
    mistakes.push({
      path: `${path}.for`,
      text: `must be at most max_for, ${most}, got "${
        formatDuration(yaml.for)
      }"`,
      hint: yaml.max_for === null
        ? `${most} is the default: give the client a "max_for" too`
        : undefined,
    });
  }
  if (yaml.web && !yaml.knock) {
    mistakes.push({
      path: `${path}.web`,
      text: "is for a client with keys under knock: browsers knock by it alone",
    });
  }
  const keys = readClientKeys(yaml, path, readOther, mistakes);
  const open = readOpen(path, yaml, beside, mistakes);
  const behind = behindOf(services, yaml);
  // Without the ports of hosts behind this machine.
  const own = services.map((service) =>
    service.at ? { ...service, ports: [] } : service
  );
  const code = yaml.code === null ? null : beside.readCode(yaml.code);
  const isRead = code === null || code instanceof Uint8Array;
  if (!isRead) mistakes.push({ ...code, path: `${path}.code` });
  return {
    name,
    ...keys,
    open,
    ...behind.length > 0 && {
      behind,
      here: readOpen(path, yaml, { ...beside, services: own }, []),
    },
    forSeconds: Math.min(yaml.for ?? defaults.forSeconds, maxForSeconds),
    maxForSeconds,
    from: yaml.from,
    network: yaml.network,
    requireAddress: yaml.require_address,
    anyAddress: yaml.any_address,
    expiresMs: yaml.expires,
    hours: yaml.hours,
    code: isRead ? code : null,
    once: yaml.once,
    web: yaml.web,
    run: yaml.run,
  };
}

/**
 * Reads a client that a fleet shares, by the services, commands and defaults
 * of this gateway; or says what is wrong with it.
 */
export function readSharedClient(
  name: string,
  { entry, files }: SharedEntry,
  { services, defaults, commands }: Config,
): Client | readonly Mistake[] {
  const mistakes: Mistake[] = [];
  const path = at("clients", name);
  const yaml = clientSchema.read(entry, path, mistakes);
  if (!yaml) return mistakes;
  const missing = (name: string) => ({ text: `"${name}" is not shared` });
  const client = readClient(name, yaml, {
    defaults,
    services,
    serviceNames: services.map(({ name }) => name),
    readCode: (name) =>
      parseCodeSecret((files[name] ?? "").trim()) ?? missing(name),
    readOther: (name, kind) => {
      const key = kind.parse((files[name] ?? "").trim());
      return key ? { ok: true, key } : { ok: false, mistake: missing(name) };
    },
  }, mistakes);
  checkRun(name, yaml, [...commands.keys()], mistakes);
  checkDialects({ clients: { [name]: entry } }, mistakes);
  return mistakes.length > 0 ? mistakes : client;
}

/** Reads a client's keys in every dialect; null, where it has none or with mistakes. */
function readClientKeys(
  yaml: ClientYaml,
  path: string,
  readOther: ReadKey | undefined,
  mistakes: Mistake[],
): ClientKeys {
  return Object.fromEntries(DIALECT_NAMES.map((name) => {
    const { client } = DIALECTS[name];
    const keys = yaml[name] && client.read
      ? client.read(yaml[name], at(path, name), mistakes, readOther)
      : yaml[name];
    return [name, keys];
  })) as unknown as ClientKeys;
}

/** Checks that the commands that a client may run are there. */
export function checkRun(
  name: string,
  { run }: ClientYaml,
  commands: readonly string[],
  mistakes: Mistake[],
): void {
  for (const command of run) {
    if (commands.includes(command)) continue;
    mistakes.push({
      path: at("clients", `${name}.run`),
      text: `must be the name of a command, got ${show(command)}`,
      hint: nearest(command, commands) ??
        `commands: { ${command}: [PROGRAM, ARGUMENT, ...] }`,
    });
  }
}

/** Checks that each client has the keys of some dialect; `raw` is what YAML made of the text. */
export function checkDialects(raw: unknown, mistakes: Mistake[]): void {
  if (!isMapping(raw) || !isMapping(raw.clients)) return;
  for (const [name, client] of Object.entries(raw.clients)) {
    const keys = isMapping(client) ? Object.keys(client) : [];
    if (client !== null && !isMapping(client)) continue;
    if (DIALECT_NAMES.some((dialect) => keys.includes(dialect))) continue;
    mistakes.push({
      path: at("clients", name),
      text: `must have the keys of a dialect, as in knock: { key, psk }`,
      hint: `\`knock client add ${name}\` makes the keys and this entry`,
    });
  }
}

// Files beside the configuration.

/** Folder beside the configuration whose files hold more clients. */
export const CLIENTS_FOLDER = "clients.d";

/** One of these files. */
export interface IncludedFile {
  readonly file: string;
  readonly text: string;
}

/**
 * Adds the clients of other files to a configuration's value, which is then
 * read as one file's; `origins` are the files of these clients, by client. A
 * file that cannot be used, or has a client that is there already, is noted.
 */
export function includeClients(
  raw: unknown,
  files: readonly IncludedFile[],
  mistakes: Mistake[],
): { raw: unknown; origins: ReadonlyMap<string, string> } {
  const origins = new Map<string, string>();
  const clients = isMapping(raw) ? raw.clients ?? {} : null;
  if (files.length === 0 || !isMapping(clients)) return { raw, origins };
  const all: Record<string, unknown> = { ...clients };
  for (const { file, text } of files) {
    const read = parseYaml(text);
    const own = read.ok ? clientsIn(read.value) : null;
    if (!read.ok) mistakes.push({ ...read.mistake, file });
    else if (!own) {
      const found = `must be a mapping of clients, got ${show(read.value)}`;
      mistakes.push({ path: "", text: found, file });
    }
    for (const [name, client] of Object.entries(own ?? {})) {
      if (Object.hasOwn(all, name)) {
        const other = origins.get(name) ?? "the configuration itself";
        mistakes.push({
          path: at("clients", name),
          text: `must be a client of its own, got one as in ${other}`,
          file,
        });
      } else {
        all[name] = client;
        origins.set(name, file);
      }
    }
  }
  return { raw: { ...raw as object, clients: all }, origins };
}

/** Clients of such a file: under `clients:`, or the whole of it; null if it is none. */
function clientsIn(value: unknown): Record<string, unknown> | null {
  const all = value ?? {};
  if (!isMapping(all)) return null;
  if (Object.keys(all).join() !== "clients") return all;
  const clients = all.clients ?? {};
  return isMapping(clients) ? clients : null;
}

/** The mistakes, those of included clients with the file that they are in. */
export function inTheirFiles(
  mistakes: readonly Mistake[],
  origins: ReadonlyMap<string, string>,
): Mistake[] {
  return mistakes.map((mistake) => {
    const [, file] = [...origins].find(([name]) => {
      const own = at("clients", name);
      return mistake.path === own || mistake.path.startsWith(`${own}.`);
    }) ?? [];
    return file === undefined ? mistake : { file, ...mistake };
  });
}
