/** `knock client set` and `knock client remove`: changes of an entry, in whichever file it is. */

import {
  type ClientChanges,
  editIncluded,
  removeClientText,
  setClientText,
} from "../../config/files/edit.ts";
import {
  loadConfig,
  loadNamed,
  readConfigText,
  readFile,
  readIncluded,
} from "../../config/files/load.ts";
import { needConfig } from "../../config/files/places.ts";
import type { Config } from "../../config/config.ts";
import {
  includeClients,
  type IncludedFile,
  readSharedClient,
} from "../../config/clients.ts";
import type { FleetConfig } from "../../fleet/fleet.ts";
import { withFleet } from "../../fleet/shared.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import {
  caught,
  ConfigError,
  FailureError,
  UsageError,
} from "../../values/errors.ts";
import { formatPortRange } from "../../values/ports.ts";
import { configError, isMapping } from "../../values/schema.ts";
import { formatDuration, parseTime } from "../../values/time.ts";
import { parseYaml, scalar } from "../../values/yaml.ts";
import { type Options, readDuration } from "../command.ts";
import { readOpen } from "./add.ts";
import { findClient } from "./list.ts";
import { reloadServer, tellFleet } from "./apply.ts";
import { removeClientFiles, replaceConfig } from "./new_files.ts";

/** Runs `knock client set`. */
export async function setClient(
  runtime: Runtime,
  options: Options,
  name: string,
): Promise<number> {
  const config = loadNamed(runtime, options.value("config"));
  const fleet = options.flag("local") ? null : config.fleet;
  if (!fleet) findClient(config, name);
  const changes = readChanges(options, config);
  if (fleet && await setShared(runtime, config, fleet, name, changes)) return 0;
  const keys = [...changes].map(([key, value]) =>
    value === null ? `no ${key}` : `${key}: ${value}`
  );
  changeEntry(runtime, config.file, name, {
    edit: (text) => setClientText(text, name, changes),
    byHand: `write ${keys.join(", ")} into the entry "${name}" by hand`,
  });
  return await reloadServer(runtime, config);
}

/** Runs `knock client remove`. */
export async function removeClient(
  runtime: Runtime,
  options: Options,
  name: string,
): Promise<number> {
  const file = needConfig(runtime, options.value("config"));
  // A mistake in it may be what removing the client mends.
  const load = () => loadConfig(runtime, file).fleet;
  const fleet = options.flag("local")
    ? null
    : caught(ConfigError, load, () => null);
  const isGone = fleet &&
    await withFleet(runtime, fleet, (values) => values.dropClient(name));
  if (isGone) {
    tellFleet(runtime);
    return 0;
  }
  const { before, after, config } = changeEntry(runtime, file, name, {
    edit: (text) => removeClientText(text, name),
    byHand: `take the entry "${name}" out of "clients:" by hand`,
  });
  removeClientFiles(runtime, file, name, {
    before: clientsOf(before),
    after: clientsOf(after),
  });
  return await reloadServer(runtime, config);
}

/** Changes a client that the fleet shares; false where there is none. */
function setShared(
  runtime: Runtime,
  config: Config,
  fleet: FleetConfig,
  name: string,
  changes: ClientChanges,
): Promise<boolean> {
  return withFleet(runtime, fleet, async (values) => {
    const before = await values.client(name);
    if (!before) return false;
    const entry: Record<string, unknown> = {
      ...isMapping(before.entry) ? before.entry : {},
    };
    for (const [key, text] of changes) {
      const yaml = text === null ? null : parseYaml(text);
      if (yaml?.ok) entry[key] = yaml.value;
      else delete entry[key];
    }
    const after = { ...before, entry };
    const read = readSharedClient(name, after, config);
    if (!("name" in read)) throw configError(config.file, read);
    await values.putClient(name, after);
    tellFleet(runtime);
    return true;
  });
}

function readChanges(options: Options, config: Config): ClientChanges {
  const changes = new Map<string, string | null>();
  if (options.value("open") !== undefined) {
    const open = readOpen(options, config).map((entry) =>
      typeof entry === "string" ? scalar(entry) : formatPortRange(entry)
    );
    changes.set("open", `[${open.join(", ")}]`);
  }
  for (const [option, key] of [["for", "for"], ["max-for", "max_for"]]) {
    const seconds = readDuration(options, option!, 1);
    if (seconds !== undefined) changes.set(key!, formatDuration(seconds));
  }
  const expires = options.value("expires");
  if (expires === "never") changes.set("expires", null);
  else if (expires !== undefined) {
    if (parseTime(expires) === null) {
      throw new UsageError(
        `--expires must be never or a time such as 2027-01-01T18:00:00Z, ` +
          `got "${expires}"`,
      );
    }
    changes.set("expires", expires);
  }
  if (options.flag("web") && options.flag("no-web")) {
    throw new UsageError("options --web and --no-web exclude each other");
  }
  if (options.flag("web")) changes.set("web", "true");
  if (options.flag("no-web")) changes.set("web", null);
  if (changes.size > 0) return changes;
  throw new UsageError(
    "there is nothing to set",
    "give --open, --for, --max-for, --expires, --web or --no-web",
  );
}

/** Changes a client's entry in its file; throws OperatorError and changes nothing if it cannot. */
function changeEntry(
  runtime: Runtime,
  file: string,
  name: string,
  { edit, byHand }: {
    readonly edit: (text: string) => string | null;
    readonly byHand: string;
  },
) {
  const own = { file, text: readFile(runtime, file) };
  const before: readonly IncludedFile[] = [own, ...readIncluded(runtime, file)];
  const read = ([own, ...included]: readonly IncludedFile[]) =>
    readConfigText(runtime, file, own!.text, included);
  for (const [index, part] of before.entries()) {
    const text = index === 0 ? edit(part.text) : editIncluded(part.text, edit);
    if (text === null) continue;
    const after = before.with(index, { ...part, text });
    // The new text is checked before it replaces the old one.
    const config = read(after);
    replaceConfig(runtime, part.file, text);
    return { before, after, config };
  }
  findClient(read(before), name);
  throw new FailureError(
    `${file} is not in a form that can be edited: it is as it was`,
    byHand,
  );
}

/** All clients of a configuration and of the files that it includes, as YAML makes them. */
function clientsOf(
  [own, ...included]: readonly IncludedFile[],
): Record<string, unknown> {
  const yaml = parseYaml(own!.text);
  const { raw } = includeClients(yaml.ok ? yaml.value : null, included, []);
  return isMapping(raw) && isMapping(raw.clients) ? raw.clients : {};
}
