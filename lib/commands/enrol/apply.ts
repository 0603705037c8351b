/** Changes of clients, carried out: written or shared with a fleet, printed, and the running server reloaded. */

import { readSharedClient } from "../../config/clients.ts";
import type { Config } from "../../config/config.ts";
import { addClientText } from "../../config/files/edit.ts";
import { readConfigText } from "../../config/files/load.ts";
import { pathBeside } from "../../config/files/places.ts";
import {
  formatClient,
  indent,
  type NewClient,
} from "../../config/files/write.ts";
import type { NewKeys } from "../../dialects/keys.ts";
import type { FleetConfig, SharedEntry } from "../../fleet/fleet.ts";
import { withFleet } from "../../fleet/shared.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { ReloadFact } from "../../server/report/reports.ts";
import { openExistingStore, serverUsing } from "../../server/state/store.ts";
import { caught, FailureError, OperatorError } from "../../values/errors.ts";
import { configError, isMapping } from "../../values/schema.ts";
import { parseYaml } from "../../values/yaml.ts";
import { type Options, printHint } from "../command.ts";
import { createWith, replaceConfig } from "./new_files.ts";
import { formatQrSvg, showQr } from "./words.ts";

/** The configuration that a client is added to. */
export interface Adding {
  readonly runtime: Runtime;
  readonly options: Options;
  readonly config: Config;
  readonly text: string;
  /** The fleet that shares the client; null: it goes into the configuration. */
  readonly fleet: FleetConfig | null;
}

/** A new client, with its files, its secrets for stdout, and the text of its QR code. */
interface Enrolling extends Pick<NewKeys, "files" | "out" | "qr"> {
  readonly entry: NewClient;
  /** Secret of its one-time codes, for the file that the entry names; null: it has none. */
  readonly code: string | null;
}

/**
 * Enrols a client: makes its files, adds it to the configuration or to its
 * fleet, and prints its secrets. Throws OperatorError if one of these fails:
 * then all is as before.
 */
export async function enrol(
  adding: Adding,
  { entry, files, code, out, qr }: Enrolling,
): Promise<void> {
  const { runtime, options, config, text, fleet } = adding;
  const { file } = config;
  const place = ({ name, ...rest }: NewKeys["files"][number]) => ({
    ...rest,
    path: rest.isOutput ? name : pathBeside(runtime, file, name),
  });
  const edited = fleet ? text : addClientText(text, entry);
  if (edited === null) {
    // The file of a code is written by hand, with the entry.
    createWith(runtime, files.map(place), () => {});
    runtime.out(out);
    const path = pathBeside(runtime, file, entry.code ?? "");
    throw new FailureError(
      `${file} is not in a form that can be added to: it is as it was`,
      `add these lines by hand, under "clients:":\n` +
        indent(formatClient(entry), 2).trimEnd() +
        (code === null
          ? ""
          : `\nand make ${path}, mode 600, with this line:\n  ${code}`),
    );
  }
  const svg = options.value("svg");
  const all = [
    ...files,
    ...code === null ? [] : [{ name: entry.code!, data: `${code}\n` }],
    ...svg === undefined
      ? []
      : [{ name: svg, data: formatQrSvg(qr!), isOutput: true }],
  ];
  if (fleet) await share(adding, fleet, entry, all, out);
  else {
    createWith(runtime, all.map(place), () => {
      // The new text is checked before it replaces the old one.
      readConfigText(runtime, file, edited);
      replaceConfig(runtime, file, edited);
      const failed = printSecrets(runtime, out);
      if (!failed) return;
      replaceConfig(runtime, file, text);
      throw failed;
    });
  }
  if (options.flag("qr")) {
    showQr(runtime, `the enrolment of ${entry.name}`, qr!);
  }
}

/** Prints secrets; the error if nobody can have read them. */
function printSecrets(runtime: Runtime, out: string): unknown {
  try {
    if (runtime.out(out)) return null;
    throw new FailureError("cannot write to stdout: nobody reads it");
  } catch (error) {
    return error instanceof FailureError
      ? new FailureError(`${error.message}: nobody was enrolled`)
      : error;
  }
}

/** Puts the entry, and the files that it names, into the engine of a fleet. */
async function share(
  { runtime, config }: Adding,
  fleet: FleetConfig,
  entry: NewClient,
  files: NewKeys["files"],
  out: string,
): Promise<void> {
  const { name } = entry;
  const yaml = parseYaml(formatClient(entry));
  const own = files.filter(({ isOutput }) => !isOutput);
  const outputs = files.filter(({ isOutput }) => isOutput)
    .map(({ name, ...rest }) => ({ ...rest, path: name }));
  const shared: SharedEntry = {
    entry: yaml.ok && isMapping(yaml.value) ? yaml.value[name] : null,
    files: Object.fromEntries(own.map(({ name, data }) => [name, data])),
  };
  const read = readSharedClient(name, shared, config);
  if (!("name" in read)) throw configError(config.file, read);
  await withFleet(runtime, fleet, async (values) => {
    if (await values.client(name)) throw isThere(name, "the fleet");
    createWith(runtime, outputs, () => {});
    await values.putClient(name, shared);
    const failed = printSecrets(runtime, out);
    if (!failed) return;
    await values.dropClient(name);
    throw failed;
  });
  tellFleet(runtime);
}

/** The error for a name that a client has already. */
export function isThere(name: string, place: string): FailureError {
  return new FailureError(
    `there is a client "${name}" in ${place} already`,
    `\`knock client remove ${name}\` removes it; its keys stop working`,
  );
}

/** Prints that no server has to be reloaded. */
export function tellFleet(runtime: Runtime): void {
  printHint(runtime, "every gateway of the fleet takes it over at once");
}

/** Longest wait for the server's word, milliseconds, and the pause between looks. */
const WAIT_MS = 10_000;
const PAUSE_MS = 20;

/**
 * Has the running server read its configuration again, and prints that it has;
 * a hint where none runs. Returns the exit status; throws FailureError if the
 * server cannot use what it read.
 */
export async function reloadServer(
  runtime: Runtime,
  { state }: Config,
): Promise<number> {
  const isWindows = runtime.platform === "windows";
  const work = () => reload(runtime, state);
  // The state may be another user's: only that user's server knows.
  const reloaded = isWindows
    ? null
    : await caught(OperatorError, work, () => null);
  if (reloaded === null) {
    printHint(
      runtime,
      isWindows
        ? "restart a running server to apply it"
        : "have a running server reload it: `systemctl reload knock`, or " +
          "`kill -HUP`",
    );
  } else if (reloaded.pid === null) {
    printHint(
      runtime,
      "no server is running: start it with `knock serve`, or " +
        "`systemctl start knock`",
    );
  } else if (reloaded.mistake === null) {
    runtime.err(`the running server (process ${reloaded.pid}) has reloaded\n`);
  } else {
    throw new FailureError(
      `the running server (process ${reloaded.pid}) did not reload: ${reloaded.mistake}`,
      "`knock check`, then `systemctl reload knock`",
    );
  }
  return 0;
}

/**
 * Has the server reload: its process, null where none is running, and why it
 * cannot use what it read, null if it does. Null where it has not answered, or
 * its process is not known.
 */
async function reload(runtime: Runtime, state: string) {
  const pid = await serverUsing(runtime, state);
  if (pid === null) return { pid, mistake: null };
  const store = pid === 0 ? null : await openExistingStore(runtime, state);
  if (!store) return null;
  try {
    const look = () => (store.fact("reload") ?? null) as ReloadFact | null;
    const before = look()?.count ?? 0;
    runtime.signalProcess(pid, "SIGHUP");
    const endMs = runtime.monotonicMs() + WAIT_MS;
    while (runtime.monotonicMs() < endMs) {
      await runtime.sleep(PAUSE_MS);
      const now = look();
      if (now && now.count !== before) return { pid, mistake: now.mistake };
    }
    return null;
  } finally {
    store.close();
  }
}
