/** `knock client set` and `knock client remove`: changes of an entry, in whichever file it is. */

import {
  type ClientChanges,
  editIncluded,
  removeClientText,
  setClientText,
} from "../../config/files/edit.ts";
import {
  loadConfig,
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
  const file = needConfig(runtime, options.value("config"));
  const config = readConfigText(runtime, file, readFile(runtime, file));
  const fleet = options.flag("local") ? null : config.fleet;
  if (!fleet) findClient(config, name);
  const changes = readChanges(
    options,
    () =>
      readOpen(options, config).map((entry) =>
        typeof entry === "string" ? scalar(entry) : formatPortRange(entry)
      ),
  );
  if (fleet && await setShared(runtime, config, fleet, name, changes)) return 0;
  const keys = [...changes].map(([key, value]) =>
    value === null ? `no ${key}` : `${key}: ${value}`
  );
  changeEntry(runtime, file, name, {
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
  const fleet = options.flag("local") ? null : fleetOf(runtime, file);
  if (fleet) {
    const isGone = await withFleet(
      runtime,
      fleet,
      (values) => values.dropClient(name),
    );
    if (isGone) {
      tellFleet(runtime);
      return 0;
    }
  }
  const { before, after } = changeEntry(runtime, file, name, {
    edit: (text) => removeClientText(text, name),
    byHand: `take the entry "${name}" out of "clients:" by hand`,
  });
  removeClientFiles(runtime, file, name, {
    before: clientsOf(before),
    after: clientsOf(after),
  });
  const { text, included } = after;
  return await reloadServer(
    runtime,
    readConfigText(runtime, file, text, included),
  );
}

/** The fleet of a configuration; null where there is none, or a mistake that removing a client may mend. */
function fleetOf(runtime: Runtime, file: string): FleetConfig | null {
  const load = () => loadConfig(runtime, file).fleet;
  return caught(ConfigError, load, () => null);
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

function readChanges(
  options: Options,
  readOpen: () => readonly string[],
): ClientChanges {
  const changes = new Map<string, string | null>();
  if (options.value("open") !== undefined) {
    changes.set("open", `[${readOpen().join(", ")}]`);
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

/** Texts of a configuration and of the files that it includes. */
interface Texts {
  readonly text: string;
  readonly included: readonly IncludedFile[];
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
): { readonly before: Texts; readonly after: Texts } {
  const text = readFile(runtime, file);
  const included = readIncluded(runtime, file);
  const before = { text, included };
  const replace = (place: string, edited: string, after: Texts) => {
    readConfigText(runtime, file, after.text, after.included);
    replaceConfig(runtime, place, edited);
    return { before, after };
  };
  const edited = edit(text);
  if (edited !== null) return replace(file, edited, { text: edited, included });
  for (const [index, { file: place, text: part }] of included.entries()) {
    const edited = editIncluded(part, edit);
    if (edited === null) continue;
    const changed = included.with(index, { file: place, text: edited });
    return replace(place, edited, { text, included: changed });
  }
  findClient(readConfigText(runtime, file, text, included), name);
  throw new FailureError(
    `${file} is not in a form that can be edited: it is as it was`,
    byHand,
  );
}

function clientsOf({ text, included }: Texts): Record<string, unknown> {
  const read = parseYaml(text);
  const { raw } = includeClients(read.ok ? read.value : null, included, []);
  return isMapping(raw) && isMapping(raw.clients) ? raw.clients : {};
}
