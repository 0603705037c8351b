/** The one state of a server: made in one place, and handed to the functions that work on it. */

import type { Client, Config } from "../../config/config.ts";
import type { Dialect } from "../../dialects/dialect.ts";
import type { SharedKeys } from "../../dialects/keys.ts";
import { createDialects } from "../../dialects/table.ts";
import type { Firewall } from "../../firewall/firewall.ts";
import { grantee } from "../../sequences/sequence.ts";
import { clocksOf, ClockWatch } from "./clock.ts";
import { HostWatch } from "../grants/host.ts";
import { Queue } from "../grants/queue.ts";
import { Gpg } from "../packet/gpg.ts";
import { EventLog, LogLimit, type Outside } from "../report/log.ts";
import { Counters } from "../report/counters.ts";
import { createRunner, type Runner } from "../runner.ts";
import type { Fleet, SharedClients } from "./fleet.ts";

/** Configuration, dialects and firewall in use; a reload replaces all of it at once. */
export interface Active {
  readonly config: Config;
  readonly firewall: Firewall;
  readonly dialects: readonly Dialect[];
  readonly clients: ReadonlyMap<string, Client>;
}

export interface Server extends Outside {
  readonly counters: Counters;
  readonly clock: ClockWatch;
  readonly runner: Runner;
  readonly events: EventLog;
  readonly limit: LogLimit;
  readonly queue: Queue;
  readonly host: HostWatch;
  readonly gpg: Gpg;
  /** Start of this server, Unix milliseconds. */
  readonly sinceMs: number;
  active: Active;
  /** The fleet that this gateway belongs to; null where it stands alone. */
  fleet: Fleet | null;
  hasOpened: boolean;
  /** Addresses that no client has, and when they were read, by the monotonic clock. */
  taken: { readonly addresses: ReadonlySet<string>; readonly readMs: number };
  /** Addresses whose grants could not be closed, and when to try again. */
  readonly closeAgainMs: Map<string, number>;
  /** Reason why the host's own chain keeps grants from counting, as last logged. */
  jumpProblem: string | null;
  /** Time window of the tags in the kernel; null without a prefilter. */
  prefilterWindow: number | null;
}

/** Outer parts of a server; the two optional ones are made unless given. */
export type ServerWorld =
  & Outside
  & Partial<Pick<Server, "counters" | "runner">>;

/** Makes the state of a server that has done nothing yet. */
export async function makeServer(
  { runtime, store, log, counters = new Counters(), runner }: ServerWorld,
  config: Config,
  firewall: Firewall,
): Promise<Server> {
  const world = { runtime, store, log };
  const gpg = new Gpg(runtime);
  return {
    ...world,
    counters,
    clock: new ClockWatch(clocksOf(runtime)),
    runner: runner ?? createRunner(runtime, log, counters),
    events: new EventLog(world),
    limit: new LogLimit(log),
    queue: new Queue(),
    host: new HostWatch(world),
    gpg,
    sinceMs: runtime.nowMs(),
    active: activate(config, firewall, await loadDialects(config, gpg)),
    fleet: null,
    hasOpened: false,
    taken: { addresses: new Set(), readMs: -Infinity },
    closeAgainMs: new Map(),
    jumpProblem: null,
    prefilterWindow: null,
  };
}

/** Loads the dialects of a configuration's clients, and of those that a fleet shares. */
export function loadDialects(
  config: Config,
  gpg: Gpg,
  fleet: Fleet | null = null,
): Promise<readonly Dialect[]> {
  const { clients } = config;
  const names = new Set(clients.map(({ name }) => name));
  // The file's own come first: whoever is in both is as the file says.
  const keys = fleet === null ? config : {
    ...config,
    clients: [
      ...clients,
      ...fleet.clients.listed.filter(({ name }) => !names.has(name)),
    ],
    shared: sharedKeys(fleet.clients, names),
  };
  return createDialects(keys, (home, message) => gpg.open(home, message));
}

/** Keys of the clients that a fleet shares, but of those that the configuration has, too. */
function sharedKeys(
  clients: SharedClients,
  own: ReadonlySet<string>,
): SharedKeys {
  return {
    dialects: clients.dialects,
    hasWeb: clients.hasWeb,
    find(dialect, index) {
      const client = clients.find(dialect, index);
      return client && !own.has(client.name) ? client : null;
    },
    after: (dialect, index, start, most) =>
      clients.after(dialect, index, start, most),
    likely: (dialect, source) => clients.recent.of(dialect, source),
    note: (dialect, index, source) =>
      clients.recent.note(dialect, index, source),
  };
}

/** Makes what is in use with a configuration and its firewall. */
export function activate(
  config: Config,
  firewall: Firewall,
  dialects: readonly Dialect[],
): Active {
  const clients = new Map(config.clients.map((one) => [one.name, one]));
  return { config, firewall, dialects, clients };
}

/** Finds a client of the active configuration, or one that the fleet shares. */
export function clientOf(
  { active, fleet }: Server,
  name: string,
): Client | null {
  return active.clients.get(name) ?? fleet?.clients.get(name) ?? null;
}

/** Returns true if the grants of a client or a sequence are for one connection. */
export function isOnce(server: Server, name: string): boolean {
  const { sequences } = server.active.config;
  const sequence = sequences.find((one) => grantee(one.name) === name);
  const given = sequence ? sequence.opens[0] : clientOf(server, name);
  return given?.once === true;
}

/** Clients and sequences of a configuration, and clients of the fleet, by the names under which grants are given. */
export function granteesOf(
  { clients, sequences }: Config,
  fleet: Fleet | null,
): { has(name: string): boolean; get(name: string): Client | null } {
  const own = new Map(clients.map((one) => [one.name, one]));
  const others = new Set(sequences.map(({ name }) => grantee(name)));
  return {
    has: (name) =>
      own.has(name) || others.has(name) || fleet?.clients.has(name) === true,
    // Null of a sequence: no policy ends its grants.
    get: (name) => own.get(name) ?? fleet?.clients.get(name) ?? null,
  };
}
