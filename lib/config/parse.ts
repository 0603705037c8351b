/** `server.yaml` as text -> a valid configuration, or every mistake in it. */

import { checkBackend, checkPrograms } from "./backend.ts";
import { checkListen, checkServices } from "./checks.ts";
import { checkKeys } from "./client_keys.ts";
import { checkDialects, checkRun, readClient } from "./read.ts";
import type { Config, Service } from "./config.ts";
import { readOwnKey } from "./dialect_keys.ts";
import { OPENME_KEY, OPENSPA_KEY } from "../dialects/openspa/keys.ts";
import { doorWarnings } from "./door_checks_.ts";
import { readDoors } from "./doors.ts";
import { readFirewall } from "./firewall.ts";
import { warnOfFwknop } from "../dialects/fwknop/keys.ts";
import { configError, isMapping, type Mistake } from "../values/mistake.ts";
import { serverSchema, type ServiceYaml } from "./shape.ts";
import type { Surroundings } from "./surroundings.ts";
import { parseYaml } from "../values/yaml.ts";

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
export function readConfig(raw: unknown, surroundings: Surroundings): Config {
  const { file } = surroundings;
  const mistakes: Mistake[] = [...surroundings.mistakes ?? []];
  if (raw === null || raw === undefined) {
    const hint = "`knock init --dir DIR` writes one to start from";
    mistakes.push({ path: "", text: "is empty", hint });
    throw configError(file, mistakes);
  }
  const yaml = serverSchema.read(raw, "", mistakes);
  if (!yaml) throw configError(file, mistakes);

  checkListen(yaml, mistakes);
  checkServices(yaml, mistakes);
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
  const doors = readDoors({ yaml, services, serviceNames }, mistakes);
  const firewall = readFirewall(yaml, mistakes);
  checkDialects(raw, mistakes);
  checkKeys(clients, mistakes);
  const openme = readOwnKey("openme", yaml, OPENME_KEY, surroundings, mistakes);
  const openspa = readOwnKey(
    "openspa",
    yaml,
    OPENSPA_KEY,
    surroundings,
    mistakes,
  );
  const key = surroundings.readKey(yaml.key);
  if (!(key instanceof Uint8Array)) mistakes.push({ ...key, path: "key" });
  if (mistakes.length > 0 || !(key instanceof Uint8Array)) {
    throw configError(file, mistakes);
  }
  return {
    file,
    listen: yaml.listen.filter((one) => !("transport" in one)),
    streams: yaml.listen.flatMap((one) => "transport" in one ? [one] : []),
    key,
    openme,
    openspa: { ...openspa, adkSecret: yaml.openspa.adk_secret },
    maxSkewMs: yaml.max_skew * 1000,
    reply: yaml.reply,
    firewall,
    services,
    clients,
    doors,
    warnings: [
      ...clients.map(warnOfFwknop).filter((words) => words !== null),
      ...doorWarnings(doors),
    ],
    commands: yaml.commands,
    hooks: yaml.hooks,
    log: yaml.log,
    metrics: yaml.metrics,
    state: surroundings.stateFolder(yaml.state),
  };
}

/** The names in a mapping of the text, those of entries with mistakes too. */
function namesIn(raw: unknown, key: "services" | "commands"): string[] {
  return isMapping(raw) && isMapping(raw[key]) ? Object.keys(raw[key]) : [];
}

function readService(name: string, service: ServiceYaml): Service {
  if (!("listen" in service)) {
    return { name, ports: service, to: null, masquerade: false, kill: false };
  }
  const { listen, to, masquerade, kill } = service;
  return { name, ports: listen, to, masquerade, kill };
}
