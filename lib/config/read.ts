/** The clients of a configuration. */

import { formatDuration } from "../values/duration.ts";
import { nearest } from "../values/nearest.ts";
import { formatPortRange, type PortRange } from "../values/ports.ts";
import type { Client, Service } from "./config.ts";
import { readOpenspa } from "./dialect_keys.ts";
import { readFwknopKeys } from "../dialects/fwknop/keys.ts";
import { at, isMapping, type Mistake, show } from "../values/mistake.ts";
import type { ClientYaml, ServerYaml } from "./shape.ts";
import type { Surroundings } from "./surroundings.ts";

/** The keys of a client, one of which it must have. */
const DIALECTS = ["knock", "fwknop", "openme", "openspa"];

/** What a client's entry refers to. */
export interface Beside {
  readonly defaults: ServerYaml["defaults"];
  readonly services: readonly Service[];
  /** All names of services, those with mistakes too. */
  readonly serviceNames: readonly string[];
  readonly surroundings: Surroundings;
}

/** Reads one: what it may open is looked up, and what it leaves out is filled in. */
export function readClient(
  name: string,
  yaml: ClientYaml,
  { defaults, services, serviceNames, surroundings }: Beside,
  mistakes: Mistake[],
): Client {
  const path = at("clients", name);
  const open = new Map<string, PortRange>();
  for (const [index, entry] of yaml.open.entries()) {
    if (typeof entry === "string" && !serviceNames.includes(entry)) {
      mistakes.push({
        path: yaml.open.length > 1 ? at(`${path}.open`, index) : `${path}.open`,
        text: `must be the name of a service, tcp/PORT or udp/PORT, ` +
          `got ${show(entry)}`,
        hint: nearest(entry, serviceNames),
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
    fwknop: yaml.fwknop && readFwknop(yaml.fwknop, path, mistakes),
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

function readFwknop(
  yaml: NonNullable<ClientYaml["fwknop"]>,
  path: string,
  mistakes: Mistake[],
): Client["fwknop"] {
  const keys = readFwknopKeys(yaml, yaml.gpg, at(path, "fwknop"), mistakes);
  const { require_username } = yaml;
  if (!keys || require_username === null) return keys;
  return { ...keys, requireUsername: require_username };
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
    if (DIALECTS.some((dialect) => keys.includes(dialect))) continue;
    mistakes.push({
      path: at("clients", name),
      text: `must have the keys of a dialect, as in knock: { key, psk }`,
      hint: `\`knock client add ${name}\` makes the keys and this entry`,
    });
  }
}
