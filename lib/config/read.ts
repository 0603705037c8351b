/** `server.yaml` as text -> a valid configuration, or every mistake in it. */

import {
  checkDialects,
  checkRun,
  includeClients,
  inTheirFiles,
  readClient,
  type Surroundings,
} from "./clients.ts";
import type { KeyedDialect, OwnKeys } from "../dialects/keys.ts";
import { DIALECT_NAMES, DIALECTS } from "../dialects/table.ts";
import { configError, isMapping, type Mistake } from "../values/schema.ts";
import { parseYaml } from "../values/yaml.ts";
import {
  checkBehind,
  checkKeys,
  checkListen,
  checkServices,
  keyWarnings,
  networkWarnings,
} from "./checks/checks.ts";
import {
  checkBackend,
  checkPrograms,
  readFirewall,
} from "./checks/firewall.ts";
import type { Config, Service } from "./config.ts";
import { readSequences, sequenceWarnings } from "./sequences.ts";
import { readFleet } from "./fleet.ts";
import { serverSchema, type ServerYaml, type ServiceYaml } from "./shape.ts";

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
export function readConfig(value: unknown, surroundings: Surroundings): Config {
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

  const services = [...yaml.services].map(readService);
  checkListen(yaml, mistakes);
  checkServices(yaml, services, mistakes);
  checkBehind(yaml, services, mistakes);
  checkBackend(yaml, services, mistakes);
  checkPrograms(yaml, mistakes);
  const serviceNames = namesIn(raw, "services");
  const defaults = {
    forSeconds: yaml.defaults.for,
    maxForSeconds: yaml.defaults.max_for,
  };
  const beside = { ...surroundings, services, serviceNames, defaults };
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
  const { listen } = yaml;
  return {
    file,
    listen: listen.filter(({ transport }) => transport === undefined),
    sniffed: listen.flatMap(({ transport, ...place }) =>
      transport === "sniff" ? [place] : []
    ),
    streams: listen.flatMap(({ transport, ...place }) =>
      transport && transport !== "sniff" ? [{ ...place, transport }] : []
    ),
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
    defaults,
    state: surroundings.stateFolder(yaml.state),
  };
}

/** True for profiles.yaml: each of its entries has a server and a client's keys for it. */
function looksLikeProfiles(raw: unknown): boolean {
  const entries = isMapping(raw) ? Object.values(raw).filter(isMapping) : [];
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

function readService([name, service]: [string, ServiceYaml]): Service {
  if (!("listen" in service)) {
    const plain = { to: null, masquerade: false, kill: false, cut: false };
    return { name, ports: service, ...plain };
  }
  const { listen, at, ...rest } = service;
  return { name, ports: listen, ...rest, ...at && { at } };
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
