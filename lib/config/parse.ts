/** `server.yaml` as text -> a valid configuration, or every mistake in it. */

import { DEFAULT_CHAIN, parseHostChain } from "../firewall/nft_chain.ts";
import { formatDuration } from "../values/duration.ts";
import { nearest } from "../values/nearest.ts";
import type { PortRange } from "../values/ports.ts";
import { formatPortRange } from "../values/ports.ts";
import { checkBackend, checkPrograms } from "./backend.ts";
import { checkListen, checkServices } from "./checks.ts";
import type { Client, Config, Service } from "./config.ts";
import { checkKeys } from "./client_keys.ts";
import { OPENME_KEY, OPENSPA_KEY } from "./dialect_schema.ts";
import { readOpenspa, readOwnKey } from "./dialect_keys.ts";
import { readFwknopKeys, warnOfFwknop } from "./fwknop_keys.ts";
import type { ReadKey } from "./key_file.ts";
import { doorWarnings } from "./door_checks.ts";
import { readDoors } from "./doors.ts";
import { at, configError, isMapping, type Mistake, show } from "./mistake.ts";
import {
  type ClientYaml,
  serverSchema,
  type ServerYaml,
  type ServiceYaml,
} from "./server_schema.ts";
import { parseYaml } from "./yaml.ts";

/** What the text alone does not say. */
export interface Surroundings {
  /** The configuration's file, as messages show it. */
  readonly file: string;
  /** Reads the server's private key, 32 bytes, or says why it cannot. */
  readonly readKey: (name: string) => Uint8Array | Omit<Mistake, "path">;
  /** Reads the secret of a client's one-time codes, or says why it cannot. */
  readonly readCode: (name: string) => Uint8Array | Omit<Mistake, "path">;
  /** Reads another key; absent: there are no other files. */
  readonly readOther?: ReadKey;
  /** The state folder; `written` is what the configuration says of it. */
  readonly stateFolder: (written: string | null) => string;
  /** What is wrong with the file itself, to be told with all else. */
  readonly mistakes?: readonly Mistake[];
}

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
  const names = isMapping(raw) && isMapping(raw.services)
    ? Object.keys(raw.services)
    : [];
  const clients = [...yaml.clients].map(([name, client]) =>
    readClient(name, client, yaml, surroundings, services, names, mistakes)
  );
  const commands = isMapping(raw) && isMapping(raw.commands)
    ? Object.keys(raw.commands)
    : [];
  for (const [name, client] of yaml.clients) {
    checkRun(name, client, commands, mistakes);
  }
  const doors = readDoors({ yaml, services, serviceNames: names }, mistakes);
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

function readService(name: string, service: ServiceYaml): Service {
  if (!("listen" in service)) {
    return { name, ports: service, to: null, masquerade: false, kill: false };
  }
  const { listen, to, masquerade, kill } = service;
  return { name, ports: listen, to, masquerade, kill };
}

function readClient(
  name: string,
  yaml: ClientYaml,
  { defaults }: ServerYaml,
  surroundings: Surroundings,
  services: readonly Service[],
  names: readonly string[],
  mistakes: Mistake[],
): Client {
  const path = at("clients", name);
  const open = new Map<string, PortRange>();
  for (const [index, entry] of yaml.open.entries()) {
    if (typeof entry === "string" && !names.includes(entry)) {
      mistakes.push({
        path: yaml.open.length > 1 ? at(`${path}.open`, index) : `${path}.open`,
        text: `must be the name of a service, tcp/PORT or udp/PORT, ` +
          `got ${show(entry)}`,
        hint: nearest(entry, names),
      });
    }
    const ranges = typeof entry === "string"
      ? services.find((service) => service.name === entry)?.ports ?? []
      : [entry];
    for (const range of ranges) open.set(formatPortRange(range), range);
  }
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
    knock: yaml.knock,
    fwknop: yaml.fwknop &&
      readFwknopKeys(
        yaml.fwknop,
        yaml.fwknop.gpg,
        at(path, "fwknop"),
        mistakes,
      ),
    openme: yaml.openme,
    openspa: yaml.openspa &&
      readOpenspa(yaml.openspa, path, surroundings, mistakes),
    open: [...open.values()],
    forSeconds: Math.min(yaml.for ?? defaults.for, maxForSeconds),
    maxForSeconds,
    from: yaml.from,
    requireAddress: yaml.require_address,
    anyAddress: yaml.any_address,
    expiresMs: yaml.expires,
    hours: yaml.hours,
    code: yaml.code === null
      ? null
      : readCode(yaml.code, `${path}.code`, surroundings, mistakes),
    once: yaml.once,
    run: yaml.run,
  };
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

function readFirewall(
  { firewall }: ServerYaml,
  mistakes: Mistake[],
): Config["firewall"] {
  const { backend, mode, chain, open, close } = firewall;
  const wrong = (key: string, text: string, hint?: string) =>
    mistakes.push({ path: `firewall.${key}`, text, hint });
  if (backend === "command") {
    const argv = `[PROGRAM, "{address}", "{protocol}", "{port}"]`;
    const missing = "is missing with the command backend";
    if (!open) wrong("open", missing, `open: ${argv}`);
    if (!close) wrong("close", missing, `close: ${argv}`);
  } else {
    if (open) wrong("open", "is for the command backend");
    if (close) wrong("close", "is for the command backend");
  }
  if (mode === "accept" && backend !== "nft" && backend !== "iptables") {
    wrong("mode", `must be guard with the ${backend} backend, got "accept"`);
  }
  if (chain !== null && mode !== "accept") {
    wrong("chain", "is for mode accept", "firewall: { mode: accept, … }");
  }
  if (
    chain !== null && mode === "accept" && backend === "nft" &&
    parseHostChain(chain) === null
  ) {
    wrong(
      "chain",
      `must be FAMILY TABLE CHAIN with inet, ip or ip6, got ${show(chain)}`,
      `chain: ${DEFAULT_CHAIN}`,
    );
  }
  const commands = open && close ? { open, close } : null;
  return { backend, mode, chain, commands };
}

function checkDialects(raw: unknown, mistakes: Mistake[]): void {
  if (!isMapping(raw) || !isMapping(raw.clients)) return;
  for (const [name, client] of Object.entries(raw.clients)) {
    const keys = isMapping(client) ? Object.keys(client) : [];
    if (client !== null && !isMapping(client)) continue;
    if (DIALECTS.some((dialect) => keys.includes(dialect))) continue;
    mistakes.push({
      path: at("clients", name),
      text: `must have the keys of a dialect, as in knock: { key, psk }`,
      hint: `\`knock client add ${name}\` makes the keys and this entry`,
    });
  }
}

const DIALECTS = ["knock", "fwknop", "openme", "openspa"];
