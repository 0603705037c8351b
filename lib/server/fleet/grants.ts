/**
 * Grants that the fleet shares: told to the others, and taken from them, each
 * judged again by this gateway's own policy.
 * @module
 */

import type { PolicyRefusal, Request } from "../../dialects/dialect.ts";
import { sha256 } from "../../dialects/crypto/hash.ts";
import type { Database } from "../../runtime/runtime.ts";
import { grantee } from "../../sequences/sequence.ts";
import { parseAddress, prefixContains } from "../../values/address.ts";
import { formatBase64url } from "../../values/bytes.ts";
import { orNull } from "../../values/errors.ts";
import {
  containsPorts,
  formatPortRange,
  overlapPorts,
  parsePortRange,
  type PortRange,
  withoutPorts,
} from "../../values/ports.ts";
import { carryOut } from "../grants/change.ts";
import { type Change, record } from "../grants/records.ts";
import { takenOf } from "../packet/decide.ts";
import { judge } from "../packet/judge.ts";
import { explainRefusal, stateTrouble } from "../report/log.ts";
import { clientOf, type Server } from "../state/server.ts";
import { FROM_FLEET } from "./settle.ts";

/** A grant as the engine has it. */
export interface SharedGrant {
  /** Client, or sequence. */
  readonly client: string;
  /** Canonical. */
  readonly address: string;
  readonly ports: PortRange;
  /** Unix milliseconds. */
  readonly untilMs: number;
  /** Gateway that gave it. */
  readonly gateway: string;
}

/** The key of a grant, below its folder: the same for the same ports of a client at an address by one gateway. */
export function grantId(
  { client, address, ports, gateway }: SharedGrant,
): string {
  const text = JSON.stringify([
    gateway,
    client,
    address,
    formatPortRange(ports),
  ]);
  const hash = sha256(new TextEncoder().encode(text));
  return formatBase64url(hash.subarray(0, 18));
}

/** A grant as a value. */
export function writeGrant({ ports, ...grant }: SharedGrant): object {
  return { ...grant, ports: formatPortRange(ports) };
}

/** Reads a value, or a row; null where it is no grant. */
export function readGrant(
  { client, address, ports, untilMs, gateway }: Readonly<
    Record<string, unknown>
  >,
): SharedGrant | null {
  const range = typeof ports === "string" ? parsePortRange(ports) : null;
  const canonical = typeof address === "string" ? parseAddress(address) : null;
  return typeof client === "string" && typeof gateway === "string" &&
      Number.isSafeInteger(untilMs) && range && canonical !== null
    ? {
      ...{ client, gateway, ports: range },
      address: canonical,
      untilMs: untilMs as number,
    }
    : null;
}

/** The engine's grants, by key. What its file cannot take, as on a full disk, is known meanwhile. */
export class GrantMirror {
  readonly #sql: ReturnType<typeof prepare>;
  /** Changes that the file has not taken yet, by key. */
  readonly #unwritten = new Map<string, Unwritten>();
  #round: number;

  constructor(database: Database) {
    database.exec(`
      create table if not exists grants (
        key text primary key,
        client text not null,
        address text not null,
        ports text not null,
        until_ms integer not null,
        gateway text not null,
        round integer not null
      ) without rowid;
      create index if not exists grants_client on grants (client, address);`);
    this.#sql = prepare(database);
    this.#round = Number(this.#sql.round.get()!.round ?? 0);
  }

  put(key: string, grant: SharedGrant): void {
    this.#change(key, { grant, round: this.#round });
  }

  /** Takes a grant out; null where it was not there. */
  take(key: string): SharedGrant | null {
    const unwritten = this.#unwritten.get(key);
    if (unwritten?.round === null) return null;
    const row = this.#sql.get.get(key);
    const grant = unwritten?.grant ?? (row ? readGrant(row) : null);
    if (grant) this.#change(key, { grant, round: null });
    return grant;
  }

  /** Grants of a client at an address, by key. */
  of(client: string, address: string, nowMs: number) {
    const rows = this.#sql.of.all(client, address, nowMs).map((row) =>
      [row.key as string, readGrant(row)!] as const
    );
    const own = this.#held(({ grant }) =>
      grant.client === client && grant.address === address &&
      grant.untilMs > nowMs
    );
    return [...rows.filter(([key]) => !this.#unwritten.has(key)), ...own];
  }

  begin(): void {
    this.#round++;
  }

  /** Keys that were not put since {@linkcode begin}. */
  old(): string[] {
    const rows = this.#sql.old.all(this.#round)
      .map(({ key }) => key as string)
      .filter((key) => !this.#unwritten.has(key));
    const own = this.#held(({ round }) => round !== this.#round);
    return [...rows, ...own.map(([key]) => key)];
  }

  /** Forgets what ended before a time, and writes what the file did not take. Throws SystemError. */
  prune(beforeMs: number): void {
    for (const [key, { grant }] of this.#unwritten) {
      if (grant.untilMs < beforeMs) this.#unwritten.delete(key);
    }
    this.#write();
    this.#sql.prune.run(beforeMs);
  }

  #held(isWanted: (one: Unwritten) => boolean) {
    return [...this.#unwritten]
      .filter(([, one]) => one.round !== null && isWanted(one))
      .map(([key, { grant }]) => [key, grant] as const);
  }

  #change(key: string, change: Unwritten): void {
    this.#unwritten.set(key, change);
    // The next heartbeat tries again, and tells of it.
    orNull(() => this.#write());
  }

  #write(): void {
    for (const [key, { grant, round }] of this.#unwritten) {
      const { client, address, ports, untilMs, gateway } = grant;
      const range = formatPortRange(ports);
      const own = [client, address, range, untilMs, gateway];
      if (round === null) this.#sql.drop.run(key);
      else this.#sql.put.run(key, ...own, round);
      this.#unwritten.delete(key);
    }
  }
}

/** A grant that is to be put into the file; taken out, where the round is null. */
interface Unwritten {
  readonly grant: SharedGrant;
  readonly round: number | null;
}

function prepare(database: Database) {
  const columns = "key, client, address, ports, until_ms as untilMs, gateway";
  return {
    put: database.prepare(
      "insert or replace into grants values (?, ?, ?, ?, ?, ?, ?)",
    ),
    get: database.prepare(`select ${columns} from grants where key = ?`),
    drop: database.prepare("delete from grants where key = ?"),
    of: database.prepare(
      `select ${columns} from grants where client = ? and address = ?
       and until_ms > ?`,
    ),
    old: database.prepare("select key from grants where round <> ?"),
    prune: database.prepare("delete from grants where until_ms < ?"),
    round: database.prepare("select max(round) as round from grants"),
  };
}

/** Longer life of a grant's key than of the grant, milliseconds: what is dropped earlier was closed. */
export const GRANT_REST_MS = 60_000;

/** Difference by which two ends of the same grant may differ, milliseconds. */
const SAME_MS = 1500;

type Opening = Omit<Change, "before">;

/** Opens what other gateways granted, if this one would have, too: what one knock opened there, in one change. */
export function openShared(
  server: Server,
  grants: readonly SharedGrant[],
): void {
  const nowMs = server.runtime.nowMs();
  const opened = new Map<string, Opening[]>();
  // The longest first: what it covers need not be opened again.
  for (const grant of grants.toSorted((a, b) => b.untilMs - a.untilMs)) {
    const change = toOpen(server, grant, nowMs);
    if (!change) continue;
    const whose = JSON.stringify([grant.client, grant.address]);
    const others = opened.get(whose) ?? [];
    if (
      others.some(({ ports: [range] }) => containsPorts(range!, grant.ports))
    ) continue;
    others.push(change);
    opened.set(whose, others);
  }
  for (const changes of opened.values()) {
    for (
      const same of Map.groupBy(changes, ({ seconds }) => seconds).values()
    ) {
      const ports = same.flatMap(({ ports }) => ports);
      perform(server, { ...same[0]!, ports }, nowMs);
    }
  }
}

/** The change that opens a grant here; null where it is open already, or may not be. */
function toOpen(
  server: Server,
  grant: SharedGrant,
  nowMs: number,
): Opening | null {
  const { store, counters, events, limit } = server;
  const { client, address, ports, untilMs } = grant;
  const isOpen = store.ledger.ofAddress(address, nowMs).some((entry) =>
    entry.client === client && untilMs - entry.untilMs < SAME_MS &&
    containsPorts(entry.ports, ports)
  );
  if (isOpen || untilMs <= nowMs) return null;
  const seconds = judgeShared(server, grant, nowMs);
  const change: Opening = {
    ...{ client, address, ports: [ports], dialect: FROM_FLEET, command: null },
    ...{ action: "open", to: null, run: null, inKernel: false },
    seconds: typeof seconds === "number" ? seconds : 0,
  };
  if (typeof seconds === "number") return seconds > 0 ? change : null;
  counters.add("fleet: grant refused");
  if (limit.tells(client, "policy", nowMs)) {
    const words = `${explainRefusal(seconds, address)} (granted by ` +
      `${grant.gateway})`;
    events.say("warn", "refused", change, words);
  }
  return null;
}

/** Closes what was dropped before its end: a client closed it on another gateway. False if that cannot be recorded. */
export function closeShared(
  server: Server,
  { client, address, ports, untilMs }: SharedGrant,
  others: readonly SharedGrant[],
): boolean {
  const nowMs = server.runtime.nowMs();
  // Leases end later than grants: this one was not dropped by hand.
  if (untilMs <= nowMs) return true;
  const left = withoutPorts(ports, others.map(({ ports }) => ports));
  const open = server.store.ledger.ofAddress(address, nowMs);
  const closed = left.filter((range) =>
    open.some((entry) =>
      entry.client === client && overlapPorts(entry.ports, range)
    )
  );
  return closed.length === 0 || perform(server, {
    ...{ client, address, ports: closed, dialect: FROM_FLEET, command: null },
    ...{ action: "close", to: null, run: null, inKernel: false, seconds: 0 },
  }, nowMs);
}

/** Seconds for which this gateway's own policy grants it, or why not. */
function judgeShared(
  server: Server,
  { client: name, address, ports, untilMs }: SharedGrant,
  nowMs: number,
): number | PolicyRefusal {
  const seconds = Math.floor((untilMs - nowMs) / 1000);
  const sequence = server.active.config.sequences.find((sequence) =>
    grantee(sequence.name) === name
  );
  if (sequence) {
    const [model] = sequence.opens;
    if (sequence.from?.every((prefix) => !prefixContains(prefix, address))) {
      return "source";
    }
    if (!model || model.once) return "nothing to open";
    return model.open.some((range) => containsPorts(range, ports))
      ? Math.min(seconds, model.forSeconds)
      : "ports";
  }
  const client = clientOf(server, name);
  if (!client || client.once) return "nothing to open";
  const request: Request = {
    ...{ dialect: "knock", client: name, action: "open", ports: [ports] },
    ...{ command: null, seconds, timestampMs: nowMs, address, code: null },
    ...{ identity: new Uint8Array(0), wantsReply: false },
  };
  // The code was checked where the packet came.
  const policy = { ...client, code: null };
  const machine = { ...NO_FORWARDS, taken: takenOf(server) };
  const verdict = judge(request, policy, address, nowMs, machine);
  return verdict.ok ? verdict.seconds : verdict.why;
}

const NO_FORWARDS = { services: [], commands: new Map(), ownAddresses: [] };

/** Records a change and has it done; false if it cannot be recorded. */
function perform(
  server: Server,
  change: Omit<Change, "before">,
  nowMs: number,
): boolean {
  try {
    const recorded = server.store.transaction(() =>
      record(server, change, nowMs)
    );
    void carryOut(server, { ok: true, change: recorded });
    return true;
  } catch (error) {
    server.counters.add("failed: state");
    server.events.say("error", "failed", change, stateTrouble(error));
    return false;
  }
}
