/** `server.yaml` as text -> a valid configuration, or every mistake in it. */

import type { ClientKeys, KeyedDialect, OwnKeys } from "../dialects/keys.ts";
import { DIALECT_NAMES, DIALECTS } from "../dialects/table.ts";
import { parseCodeSecret } from "../dialects/crypto/codes.ts";
import {
  at,
  configError,
  isMapping,
  type Mistake,
  type ReadKey,
  show,
} from "../values/schema.ts";
import { nearest } from "../values/text.ts";
import { formatDuration } from "../values/time.ts";
import { parseYaml } from "../values/yaml.ts";
import {
  ALL,
  checkBackend,
  checkKeys,
  checkListen,
  checkPrograms,
  checkServices,
  readFirewall,
  readOpen,
} from "./checks/checks.ts";
import { checkBehind } from "./checks/behind.ts";
import type {
  Client,
  Config,
  Listen,
  Service,
  StreamListen,
} from "./config.ts";
import { readSequences, sequenceWarnings } from "./sequences.ts";
import { includeClients, type IncludedFile, inTheirFiles } from "./include.ts";
import type { SharedEntry } from "../fleet/fleet.ts";
import { readFleet } from "./fleet.ts";
import { keyWarnings, networkWarnings } from "./checks/warnings.ts";
import {
  client as clientSchema,
  type ClientYaml,
  serverSchema,
  type ServerYaml,
  type ServiceYaml,
} from "./shape.ts";

/** Reads a configuration. Throws ConfigError with every mistake. */
export function parseConfig(text: string, surroundings: Surroundings): Config {
  const raw = parseYaml(text);
  if (!raw.ok) {
    const mistakes = [...surroundings.mistakes ?? [], raw.mistake];
    throw configError(surroundings.file, mistakes);
  }
  return readConfig(raw.value, surroundings);
}

/** Reads what YAML made of the text. Throws ConfigError with every mistake. */
export function readConfig(
  value: unknown,
  surroundings: Surroundings,
): Config {
  const { file, included = [] } = surroundings;
  const mistakes: Mistake[] = [...surroundings.mistakes ?? []];
  const { raw, origins } = includeClients(value, included, mistakes);
  const wrong = () => configError(file, inTheirFiles(mistakes, origins));
  if (raw === null || raw === undefined) {
    const hint = "`knock init --dir DIR` writes one to start from";
    mistakes.push({ path: "", text: "is empty", hint });
    throw wrong();
  }
  if (looksLikeProfiles(raw)) {
    mistakes.push({
      path: "",
      text: "is a client's file of profiles, not a server's configuration",
      hint: `\`knock profiles --profiles ${file}\` reads it`,
    });
    throw wrong();
  }
  const yaml = serverSchema.read(raw, "", mistakes);
  if (!yaml) throw wrong();

  checkListen(yaml, mistakes);
  checkServices(yaml, mistakes);
  checkBehind(yaml, mistakes);
  checkBackend(yaml, mistakes);
  checkPrograms(yaml, mistakes);
  const services = [...yaml.services].map(([name, service]) =>
    readService(name, service)
  );
  const serviceNames = namesIn(raw, "services");
  const { defaults } = yaml;
  const beside = { defaults, services, serviceNames, surroundings };
  const clients = [...yaml.clients].map(([name, client]) =>
    readClient(name, client, beside, mistakes)
  );
  const commands = namesIn(raw, "commands");
  for (const [name, client] of yaml.clients) {
    checkRun(name, client, commands, mistakes);
  }
  const sequences = readSequences({ yaml, services, serviceNames }, mistakes);
  const firewall = readFirewall(yaml, mistakes);
  checkDialects(raw, mistakes);
  checkKeys(clients, mistakes);
  const own = readOwnKeys(yaml, surroundings, mistakes);
  const { hostName = "", readOther } = surroundings;
  const fleet = readFleet(yaml.fleet, hostName, readOther, mistakes);
  const key = surroundings.readKey(yaml.key);
  if (!(key instanceof Uint8Array)) mistakes.push({ ...key, path: "key" });
  if (mistakes.length > 0 || !(key instanceof Uint8Array)) throw wrong();
  return {
    file,
    ...readListen(yaml),
    key,
    ...own,
    maxSkewMs: yaml.max_skew * 1000,
    reply: yaml.reply,
    firewall,
    services,
    clients,
    sequences,
    warnings: [
      ...keyWarnings(clients),
      ...networkWarnings(clients),
      ...sequenceWarnings(sequences),
    ],
    commands: yaml.commands,
    hooks: yaml.hooks,
    log: yaml.log,
    metrics: yaml.metrics,
    verify: yaml.verify,
    fleet,
    defaults: { forSeconds: defaults.for, maxForSeconds: defaults.max_for },
    state: surroundings.stateFolder(yaml.state),
  };
}

function readListen(
  { listen }: ServerYaml,
): Pick<Config, "listen" | "sniffed" | "streams"> {
  const sniffed: Listen[] = [];
  const streams: StreamListen[] = [];
  for (const { host, port, transport } of listen) {
    if (transport === "sniff") sniffed.push({ host, port });
    else if (transport) streams.push({ host, port, transport });
  }
  return {
    listen: listen.filter(({ transport }) => transport === undefined),
    sniffed,
    streams,
  };
}

/** True for profiles.yaml: each of its entries has a server and a client's keys for it. */
function looksLikeProfiles(raw: unknown): boolean {
  if (!isMapping(raw)) return false;
  const entries = Object.values(raw).filter(isMapping);
  return entries.length > 0 &&
    entries.every((entry) =>
      Object.hasOwn(entry, "server") &&
      DIALECT_NAMES.some((name) => Object.hasOwn(entry, name))
    );
}

/** The names in a mapping of the text, those of entries with mistakes too. */
function namesIn(raw: unknown, key: "services" | "commands"): string[] {
  return isMapping(raw) && isMapping(raw[key]) ? Object.keys(raw[key]) : [];
}

function readService(name: string, service: ServiceYaml): Service {
  if (!("listen" in service)) {
    const plain = { to: null, masquerade: false, kill: false, cut: false };
    return { name, ports: service, ...plain };
  }
  const { listen, at, ...rest } = service;
  return { name, ports: listen, ...rest, ...at && { at } };
}

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

/** Settings that a client's entry refers to. */
interface Beside {
  readonly defaults: ServerYaml["defaults"];
  readonly services: readonly Service[];
  /** All names of services, those with mistakes too. */
  readonly serviceNames: readonly string[];
  readonly surroundings: Surroundings;
}

/** Reads one: what it may open is looked up, and what it leaves out is filled in. */
function readClient(
  name: string,
  yaml: ClientYaml,
  beside: Beside,
  mistakes: Mistake[],
): Client {
  const { defaults, surroundings } = beside;
  const path = at("clients", name);
  const maxForSeconds = yaml.max_for ?? defaults.max_for;
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
  return {
    name,
    ...readClientKeys(yaml, path, surroundings, mistakes),
    open: readOpen(path, yaml, beside, mistakes),
    ...readBehind(path, yaml, beside),
    forSeconds: Math.min(yaml.for ?? defaults.for, maxForSeconds),
    maxForSeconds,
    from: yaml.from,
    network: yaml.network,
    requireAddress: yaml.require_address,
    anyAddress: yaml.any_address,
    expiresMs: yaml.expires,
    hours: yaml.hours,
    code: yaml.code === null
      ? null
      : readCode(yaml.code, `${path}.code`, surroundings, mistakes),
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
  { services, defaults, commands, file }: Config,
): Client | readonly Mistake[] {
  const mistakes: Mistake[] = [];
  const path = at("clients", name);
  const yaml = clientSchema.read(entry, path, mistakes);
  if (!yaml) return mistakes;
  const missing = (name: string) => ({ text: `"${name}" is not shared` });
  const surroundings: Surroundings = {
    file,
    readKey: missing,
    readCode: (name) =>
      parseCodeSecret((files[name] ?? "").trim()) ?? missing(name),
    readOther: (name, kind) => {
      const key = files[name] === undefined
        ? null
        : kind.parse(files[name].trim());
      return key ? { ok: true, key } : { ok: false, mistake: missing(name) };
    },
    stateFolder: () => "",
  };
  const client = readClient(name, yaml, {
    defaults: { for: defaults.forSeconds, max_for: defaults.maxForSeconds },
    services,
    serviceNames: services.map(({ name }) => name),
    surroundings,
  }, mistakes);
  checkRun(name, yaml, [...commands.keys()], mistakes);
  checkDialects({ clients: { [name]: entry } }, mistakes);
  return mistakes.length > 0 ? mistakes : client;
}

/** Splits what a client may open, where some of it is of hosts behind this machine. */
function readBehind(
  path: string,
  yaml: ClientYaml,
  beside: Beside,
): Pick<Client, "behind" | "here"> {
  const open: readonly unknown[] = yaml.open;
  const behind = beside.services.filter(({ name, at }) =>
    at && (open.includes(name) || open.includes(ALL))
  ).map(({ name }) => name);
  if (behind.length === 0) return {};
  const services = beside.services.map((service) =>
    service.at ? { ...service, ports: [] } : service
  );
  return { behind, here: readOpen(path, yaml, { ...beside, services }, []) };
}

/** Reads a client's keys in every dialect; null, where it has none or with mistakes. */
function readClientKeys(
  yaml: ClientYaml,
  path: string,
  { readOther }: Surroundings,
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

function readCode(
  file: string,
  path: string,
  { readCode }: Surroundings,
  mistakes: Mistake[],
): Uint8Array | null {
  const secret = readCode(file);
  if (secret instanceof Uint8Array) return secret;
  mistakes.push({ ...secret, path });
  return null;
}

/** Checks that the commands that a client may run are there. */
function checkRun(
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

/** Reads the server's own keys; there may be none yet. */
function readOwnKeys(
  yaml: ServerYaml,
  { readOther }: Surroundings,
  mistakes: Mistake[],
): OwnKeys {
  return Object.fromEntries(DIALECT_NAMES.flatMap((name) => {
    const { own } = DIALECTS[name];
    if (!own) return [];
    const settings = yaml[name as KeyedDialect];
    const { key: file } = settings;
    const read = readOther?.(file, own.kind) ?? { ok: true, key: null };
    if (!read.ok) mistakes.push({ path: `${name}.key`, ...read.mistake });
    const key = read.ok ? read.key : null;
    return [[name, { file, key, ...own.settings?.(settings) }]];
  })) as unknown as OwnKeys;
}
