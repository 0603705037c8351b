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
import type { FleetConfig, SharedEntry } from "../../fleet/fleet.ts";
import { withFleet } from "../../fleet/shared.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { ReloadFact } from "../../server/report/reports.ts";
import { openExistingStore, serverUsing } from "../../server/state/store.ts";
import { FailureError, OperatorError } from "../../values/errors.ts";
import { configError, isMapping } from "../../values/schema.ts";
import { parseYaml } from "../../values/yaml.ts";
import { type Options, printHint } from "../command.ts";
import {
  codeFileOf,
  createWith,
  type NewFile,
  replaceConfig,
} from "./new_files.ts";
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

/** A new client, with what comes with it. */
interface Enrolling {
  readonly entry: NewClient;
  /** New files that the client needs. */
  readonly files: readonly NewFile[];
  /** Secret of its one-time codes, which one of the files holds; null: it has none. */
  readonly code: string | null;
  /** Secrets for the client, printed on stdout. */
  readonly out: string;
  /** Text of its QR code; null: it has none. */
  readonly qr: string | null;
}

/** A configuration without clients, for the entry of one that the fleet shares. */
const NO_CLIENTS = "clients: {}\n";

/**
 * Enrols a client: makes its files, adds it to the configuration or to its
 * fleet, and prints its secrets. Throws OperatorError if one of these fails:
 * then all is as before.
 */
export async function enrol(
  { runtime, options, config, text, fleet }: Adding,
  { entry, files, code, out, qr }: Enrolling,
): Promise<void> {
  const { file } = config;
  const edited = addClientText(fleet ? NO_CLIENTS : text, entry);
  if (edited === null) {
    // The file of a code is written by hand, with the entry.
    if (code === null) createWith(runtime, files, () => {});
    runtime.out(out);
    throw byHand(runtime, file, entry, code);
  }
  const svg = options.value("svg");
  const all = svg === undefined
    ? files
    : [...files, { path: svg, data: formatQrSvg(qr!), isOutput: true }];
  if (fleet) await share(runtime, config, fleet, entry.name, edited, all, out);
  else {
    createWith(runtime, all, () => {
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

/** The error where a configuration cannot be added to, with the entry to write by hand. */
function byHand(
  runtime: Runtime,
  file: string,
  entry: NewClient,
  code: string | null,
): FailureError {
  const path = pathBeside(runtime, file, codeFileOf(entry.name));
  return new FailureError(
    `${file} is not in a form that can be added to: it is as it was`,
    `add these lines by hand, under "clients:":\n` +
      indent(formatClient(entry), 2).trimEnd() +
      (code === null
        ? ""
        : `\nand make ${path}, mode 600, with this line:\n  ${code}`),
  );
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

/** Puts the entry in a text, and the files that it names, into the engine of a fleet. */
async function share(
  runtime: Runtime,
  config: Config,
  fleet: FleetConfig,
  name: string,
  text: string,
  files: readonly NewFile[],
  out: string,
): Promise<void> {
  const yaml = parseYaml(text);
  const raw = yaml.ok && isMapping(yaml.value) ? yaml.value.clients : null;
  const folder = pathBeside(runtime, config.file, ".");
  const own = files.filter(({ isOutput }) => !isOutput);
  const shared: SharedEntry = {
    entry: isMapping(raw) ? raw[name] : null,
    files: Object.fromEntries(
      own.map(({ path, data }) => [nameBeside(folder, path), textOf(data)]),
    ),
  };
  const read = readSharedClient(name, shared, config);
  if (!("name" in read)) throw configError(config.file, read);
  await withFleet(runtime, fleet, async (values) => {
    if (await values.client(name)) throw isThere(name, "the fleet");
    createWith(runtime, files.filter(({ isOutput }) => isOutput), () => {});
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

/** The name of a file in a folder, as an entry has it. */
function nameBeside(folder: string, path: string): string {
  const base = folder === "." || folder === "" ? "" : `${folder}/`;
  return path.startsWith(base) ? path.slice(base.length) : path;
}

function textOf(data: string | Uint8Array): string {
  return typeof data === "string" ? data : new TextDecoder().decode(data);
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
  try {
    const pid = runtime.platform === "windows"
      ? 0
      : await serverUsing(runtime, state);
    if (pid === null) {
      printHint(
        runtime,
        "no server is running: start it with `knock serve`, or " +
          "`systemctl start knock`",
      );
      return 0;
    }
    const words = pid === 0 ? null : await reload(runtime, state, pid);
    if (words !== null) {
      runtime.err(`${words}\n`);
      return 0;
    }
  } catch (error) {
    // The state is another user's: only that user's server knows.
    if (!(error instanceof OperatorError) || error instanceof NotReloaded) {
      throw error;
    }
  }
  printHint(
    runtime,
    runtime.platform === "windows"
      ? "restart a running server to apply it"
      : "have a running server reload it: `systemctl reload knock`, or " +
        "`kill -HUP`",
  );
  return 0;
}

/** The server has read the configuration and cannot use it. */
class NotReloaded extends FailureError {}

/** Words for the reload that a server has done; null if it has not answered. */
async function reload(
  runtime: Runtime,
  state: string,
  pid: number,
): Promise<string | null> {
  const store = await openExistingStore(runtime, state);
  if (!store) return null;
  try {
    const look = () => (store.fact("reload") ?? null) as ReloadFact | null;
    const before = look()?.count ?? 0;
    runtime.signalProcess(pid, "SIGHUP");
    const endMs = runtime.monotonicMs() + WAIT_MS;
    while (runtime.monotonicMs() < endMs) {
      await runtime.sleep(PAUSE_MS);
      const now = look();
      if (!now || now.count === before) continue;
      if (now.mistake === null) {
        return `the running server (process ${pid}) has reloaded`;
      }
      throw new NotReloaded(
        `the running server (process ${pid}) did not reload: ${now.mistake}`,
        "`knock check`, then `systemctl reload knock`",
      );
    }
    return null;
  } finally {
    store.close();
  }
}
