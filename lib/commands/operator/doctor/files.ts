/** The state folder: who can use it, and whether it holds a state that can be read. */

import { unusedServices } from "../../../config/checks/checks.ts";
import { type Config, hasSequencesAlone } from "../../../config/config.ts";
import type { Runtime } from "../../../runtime/runtime.ts";
import { askServer } from "../../../server/report/asked.ts";
import { readStatus, type Status } from "../../../server/report/status.ts";
import { openExistingStore } from "../../../server/state/store.ts";
import { caught, ifRefused, OperatorError } from "../../../values/errors.ts";
import { bad, type Finding, findingsOf, ok, unknown, warn } from "./finding.ts";

/** Permission bits of others than the owner. */
const OTHERS = 0o077;

/** Contents of the state file, and its faults. */
interface StateLook {
  readonly findings: readonly Finding[];
  /** Null: the state could not be read. */
  readonly state: Status | null;
}

/** Looks at the state folder and, where it may, into the state. */
export async function checkState(
  runtime: Runtime,
  folder: string,
): Promise<StateLook> {
  const what = `state folder ${folder}`;
  const unread = (finding: Finding) => ({ findings: [finding], state: null });
  return await caught(
    OperatorError,
    () =>
      ifRefused(
        () => readState(runtime, folder, what),
        ({ message }) =>
          unread(
            unknown("state_folder", `${what}: ${message}`, "run it as root"),
          ),
      ),
    ({ message, hint }) => unread(bad("state_folder", message, hint)),
  );
}

async function readState(
  runtime: Runtime,
  folder: string,
  what: string,
): Promise<StateLook> {
  const nothing = readStatus(null, 0, () => false);
  const found = runtime.files.stat(folder);
  if (!found) {
    const text = `${what}: the server makes it at its start`;
    return { findings: [ok("state_folder", text)], state: nothing };
  }
  if (!found.isFolder) {
    const cure = `mv ${folder} ${folder}.bad`;
    const file = bad("state_folder", `${what} is a file`, cure);
    return { findings: [file], state: null };
  }
  const mode = (found.mode ?? 0) & 0o777;
  const open = (mode & OTHERS) !== 0 && warn(
    "state_folder_mode",
    `${what}: others can look into it (mode 0${mode.toString(8)})`,
    `chmod 700 ${folder}`,
  );
  const userId = runtime.userId();
  if (userId !== null && userId !== 0 && userId !== found.owner) {
    const other = unknown(
      "state_folder",
      `${what} belongs to user id ${found.owner}, this is ${userId}`,
      "run it as that user, or as root",
    );
    return { findings: findingsOf(open, other), state: null };
  }
  const isAsked = await askServer(runtime, folder);
  const store = await openExistingStore(runtime, folder);
  const state = readStatus(
    store,
    runtime.nowMs(),
    (pid) => isAsked || runtime.signalProcess(pid, "test"),
    0,
  );
  store?.close();
  const words = store ? "can be read and written" : "empty";
  const read = ok("state_folder", `${what}: ${words}`);
  return { findings: findingsOf(open, read), state };
}

// Clients who can knock and get nothing.

const DAY_MS = 86_400_000;
/** Most names on one line. */
const MAX_NAMES = 8;
/** Days before its end from which a client is reported. */
const SOON_DAYS = 14;

/** Looks at every client's policy. */
export function checkClients(config: Config, nowMs: number): Finding[] {
  const { clients } = config;
  if (hasSequencesAlone(config)) {
    return [ok(
      "clients_enrolled",
      "none is enrolled: port sequences alone open here",
    )];
  }
  if (clients.length === 0) {
    return [
      bad("clients_enrolled", "no client is enrolled", "knock client add NAME"),
    ];
  }
  const findings = clients.flatMap(({ name, open, run, expiresMs }) => {
    const leftMs = expiresMs === null ? Infinity : expiresMs - nowMs;
    const when = new Date(expiresMs ?? 0).toISOString();
    return findingsOf(
      open.length === 0 && run.length === 0 && warn(
        "client_opens_nothing",
        `client "${name}" may open nothing`,
        `clients: { ${name}: { open: [SERVICE] } }`,
      ),
      leftMs <= 0 && warn(
        "client_expired",
        `client "${name}" has expired (${when})`,
        `knock client set ${name} --expires TIME, or: knock client remove ${name}`,
      ),
      leftMs > 0 && leftMs < SOON_DAYS * DAY_MS &&
        warn("client_expires_soon", `client "${name}" expires soon (${when})`),
    );
  });
  const unused = unusedServices(config).map((name) =>
    warn(
      "service_unused",
      `no client may open the service "${name}"`,
      `knock client set NAME --open ${name},…`,
    )
  );
  const shown = clients.slice(0, MAX_NAMES).map(({ name }) => name).join(", ");
  const left = clients.length - MAX_NAMES;
  const all = left > 0 ? `${shown} and ${left} more` : shown;
  return [
    ok("clients_enrolled", `${clients.length} enrolled: ${all}`),
    ...findings,
    ...unused,
  ];
}
