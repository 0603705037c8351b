/** The state folder: who can use it, and whether it holds a state that can be read. */

import { unusedServices } from "../../../config/checks/checks.ts";
import type { PrefilterState } from "../../../firewall/firewall.ts";
import { type Config, hasSequencesAlone } from "../../../config/config.ts";
import type { Runtime } from "../../../runtime/runtime.ts";
import type { SniffFact } from "../../../server/packet/entrances.ts";
import type { SequenceFact } from "../../../server/sequences/sequences.ts";
import { askServer } from "../../../server/report/asked.ts";
import type { ServerFact } from "../../../server/report/status.ts";
import { openExistingStore } from "../../../server/state/store.ts";
import { caught, ifRefused, OperatorError } from "../../../values/errors.ts";
import { bad, type Finding, ok, unknown, warn } from "./finding.ts";

/** Permission bits of others than the owner. */
const OTHERS = 0o077;

/** Contents of the state file, and its faults. */
interface StateLook {
  readonly findings: readonly Finding[];
  /** Null: the state could not be read. */
  readonly state: ServerState | null;
}

/** Looks at the state folder and, where it may, into the state. */
export async function checkState(
  runtime: Runtime,
  folder: string,
): Promise<StateLook> {
  const what = `state folder ${folder}`;
  const unread = (finding: Finding): StateLook => ({
    findings: [finding],
    state: null,
  });
  const look = () =>
    ifRefused(
      () => readState(runtime, folder, what),
      ({ message }) =>
        unread(
          unknown("state_folder", `${what}: ${message}`, "run it as root"),
        ),
    );
  return await caught(
    OperatorError,
    look,
    ({ message, hint }) => unread(bad("state_folder", message, hint)),
  );
}

async function readState(
  runtime: Runtime,
  folder: string,
  what: string,
): Promise<StateLook> {
  const none: ServerState = { server: null, counters: {} };
  const found = runtime.files.stat(folder);
  if (!found) {
    const text = `${what}: the server makes it at its start`;
    return { findings: [ok("state_folder", text)], state: none };
  }
  if (!found.isFolder) {
    const cure = `mv ${folder} ${folder}.bad`;
    const file = bad("state_folder", `${what} is a file`, cure);
    return { findings: [file], state: null };
  }
  const findings: Finding[] = [];
  const userId = runtime.userId();
  if (((found.mode ?? 0) & OTHERS) !== 0) {
    const mode = (found.mode! & 0o777).toString(8);
    findings.push(warn(
      "state_folder_mode",
      `${what}: others can look into it (mode 0${mode})`,
      `chmod 700 ${folder}`,
    ));
  }
  if (userId !== null && userId !== 0 && userId !== found.owner) {
    findings.push(unknown(
      "state_folder",
      `${what} belongs to user id ${found.owner}, this is ${userId}`,
      "run it as that user, or as root",
    ));
    return { findings, state: null };
  }
  const isAsked = await askServer(runtime, folder);
  const store = await openExistingStore(runtime, folder);
  if (!store) {
    findings.push(ok("state_folder", `${what}: empty`));
    return { findings, state: none };
  }
  const server = (store.fact("server") ?? null) as ServerFact | null;
  const isAlive = server !== null &&
    (isAsked || runtime.signalProcess(server.pid, "test"));
  const state: ServerState = {
    server: isAlive ? server : null,
    counters: (store.fact("counters") ?? {}) as ServerState["counters"],
    sequences: (store.fact("sequences") ?? []) as readonly SequenceFact[],
    sniff: (store.fact("sniff") ?? null) as SniffFact | null,
    prefilter: store.fact("prefilter") as PrefilterState | null,
  };
  store.close();
  findings.push(ok("state_folder", `${what}: can be read and written`));
  return { findings, state };
}

// Clients who can knock and get nothing.

const DAY_MS = 86_400_000;
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
    const found: Finding[] = [];
    if (open.length === 0 && run.length === 0) {
      found.push(warn(
        "client_opens_nothing",
        `client "${name}" may open nothing`,
        `clients: { ${name}: { open: [SERVICE] } }`,
      ));
    }
    if (expiresMs === null) return found;
    const when = new Date(expiresMs).toISOString();
    if (expiresMs <= nowMs) {
      found.push(warn(
        "client_expired",
        `client "${name}" has expired (${when})`,
        `knock client set ${name} --expires TIME, or: knock client remove ${name}`,
      ));
    } else if (expiresMs - nowMs < SOON_DAYS * DAY_MS) {
      found.push(
        warn("client_expires_soon", `client "${name}" expires soon (${when})`),
      );
    }
    return found;
  });
  const unused = unusedServices(config).map((name) =>
    warn(
      "service_unused",
      `no client may open the service "${name}"`,
      `knock client set NAME --open ${name},…`,
    )
  );
  const all = names(clients.map(({ name }) => name));
  return [
    ok("clients_enrolled", `${clients.length} enrolled: ${all}`),
    ...findings,
    ...unused,
  ];
}

/** Most names on one line. */
const MAX_NAMES = 8;

function names(all: readonly string[]): string {
  const shown = all.slice(0, MAX_NAMES).join(", ");
  return all.length > MAX_NAMES
    ? `${shown} and ${all.length - MAX_NAMES} more`
    : shown;
}

/** State of a server. */
export interface ServerState {
  /** The server that runs; null: none. */
  readonly server: ServerFact | null;
  /** Counters since the server started. */
  readonly counters: Readonly<Record<string, number>>;
  /** Port sequences; absent: none. */
  readonly sequences?: readonly SequenceFact[];
  /** Facts about sniffed ports; null or absent: none. */
  readonly sniff?: SniffFact | null;
  /** Where the kernel drops junk; null or absent: nowhere. */
  readonly prefilter?: PrefilterState | null;
}
