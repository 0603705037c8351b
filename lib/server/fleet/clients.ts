/**
 * Clients that the fleet shares, in a file of their own beside the state: a
 * copy of the engine's, kept up by the watch. Looked up by name and by key;
 * few are in memory at a time, however many there are.
 * @module
 */

import type { Client, Config } from "../../config/config.ts";
import { readSharedClient } from "../../config/clients.ts";
import type { SharedEntry } from "../../fleet/fleet.ts";
import { DIALECT_NAMES, DIALECTS, dialectsOf } from "../../dialects/table.ts";
import type { DialectName } from "../../dialects/dialect.ts";
import type { Database, SqlValue, Statement } from "../../runtime/runtime.ts";
import { ifRefused } from "../../values/errors.ts";
import { isMapping } from "../../values/schema.ts";
import type { SharedClients } from "../state/fleet.ts";
import { FactFile } from "../state/store.ts";
import { RecentClients } from "./recent.ts";

/** Clients that are kept as they were read. */
const MAX_READ = 1024;

/** Most clients with the same keys that are looked at for one that is valid. */
const MAX_SAME = 16;

/** Most clients that are kept in memory, as no index finds them: fwknop's without an HMAC, or in OpenPGP. */
const MAX_LISTED = 1000;

/** Clients that are tried with each packet of a stranger's, from which on that takes half a second. */
const MANY = { openme: 10_000, fwknop: 100_000 } as const;

/** The copy of the engine's clients, and what else a gateway keeps of its fleet. Methods throw SystemError. */
export class FleetBook extends FactFile implements SharedClients {
  readonly #database: Database;
  readonly #config: () => Config;
  /** Called for a client that cannot be used here, or not as it is meant. */
  readonly #complain: (what: string, why: string) => void;
  readonly #read = new Map<string, Client | null>();
  readonly #sql: ReturnType<typeof prepare>;
  #round: number;
  /** Number of clients; kept, as counting a million takes a while. */
  size: number;
  dialects: readonly DialectName[] = [];
  hasWeb = false;
  readonly #listed = new Map<string, Client>();
  /** True if a listed client was put or dropped since the last look. */
  #isListedOld = true;
  readonly recent = new RecentClients();

  constructor(
    database: Database,
    config: () => Config,
    complain: (what: string, why: string) => void,
  ) {
    super(database);
    this.#database = database;
    this.#config = config;
    this.#complain = complain;
    this.#sql = prepare(database);
    this.#round = (this.fact("round") ?? 0) as number;
    this.size = (this.fact("size") ?? 0) as number;
    this.changed();
  }

  get listed(): readonly Client[] {
    return [...this.#listed.values()];
  }

  has(name: string): boolean {
    return this.#sql.byName.get(name) !== undefined;
  }

  get(name: string): Client | null {
    const known = this.#read.get(name);
    if (known !== undefined) return known;
    const row = this.#sql.byName.get(name);
    if (!row) return null;
    const client = this.#parse(name, row.value as string);
    if (this.#read.size >= MAX_READ) this.#read.clear();
    this.#read.set(name, client);
    return client;
  }

  find(dialect: DialectName, index: Uint8Array): Client | null {
    return this.#orElse(null, () => {
      const [first, second] = this.#sql.byIndex[dialect].all(index)
        .map(({ name }) => name as string)
        .filter((name) => this.get(name)?.[dialect]);
      if (first === undefined) return null;
      if (second !== undefined) {
        const words = `has the ${dialect} keys of ${first}, and is not used`;
        this.#complain(`client ${second}`, words);
      }
      return this.get(first);
    });
  }

  after(
    dialect: DialectName,
    index: Uint8Array,
    start: Uint8Array,
    most: number,
  ): Uint8Array {
    const [first] = start;
    const end = first === undefined ? BEHIND_ALL : Uint8Array.of(first + 1);
    return this.#orElse(new Uint8Array(0), () => {
      const row = this.#sql.after[dialect].get(index, end, most);
      return Uint8Array.fromHex((row?.part ?? "") as string);
    });
  }

  /** Keeps a client's entry. */
  put(name: string, shared: SharedEntry): void {
    const entry = isMapping(shared.entry) ? shared.entry : {};
    const indexes = DIALECT_NAMES.map((dialect) => indexOf(dialect, entry));
    const before = this.#sql.byName.get(name);
    if (!before) this.size++;
    const isListed = indexes.includes(null);
    if (isListed || before?.listed) this.#isListedOld = true;
    this.#listed.delete(name);
    this.#sql.put.run(
      name,
      ...indexes.map((index) => index ?? null),
      isListed ? 1 : 0,
      entry.web === true ? 1 : 0,
      JSON.stringify(shared),
      this.#round,
    );
    this.#read.delete(name);
  }

  /** Forgets a client. */
  drop(name: string): void {
    if (this.#listed.delete(name)) this.#isListedOld = true;
    this.#read.delete(name);
    this.size -= this.#sql.drop.run(name);
  }

  /** All clients follow; those that are not put until {@linkcode sweep} are gone. */
  begin(): void {
    this.#round++;
    this.setFact("round", this.#round);
  }

  /** Forgets those that were not put since {@linkcode begin}. */
  sweep(): void {
    this.#reread();
    this.size -= this.#database
      .prepare("delete from clients where round <> ?").run(this.#round);
  }

  /** Looks anew at what changed; true if there are other dialects, or other listed clients. */
  changed(): boolean {
    const one = (condition: string, ...values: SqlValue[]) =>
      this.#database.prepare(`select 1 from clients where ${condition}`)
        .get(...values) !== undefined;
    const isListedOld = this.#isListedOld;
    if (isListedOld) this.#list();
    const listed = new Set(this.listed.flatMap(dialectsOf));
    const dialects = DIALECT_NAMES.filter((name) =>
      listed.has(name) || one(`${name} is not null limit 1`)
    );
    for (const [dialect, many] of Object.entries(MANY)) {
      if (!one(`${dialect} is not null limit 1 offset ?`, many)) continue;
      this.#complain(
        "clients",
        `more than ${many} of the fleet speak ${dialect}, and its packets ` +
          "name none of them: the first knock of one from a new address may " +
          "take a second",
      );
    }
    const hasWeb = one("web = 1 limit 1");
    const isOther = isListedOld || hasWeb !== this.hasWeb ||
      dialects.join() !== this.dialects.join();
    this.dialects = dialects;
    this.hasWeb = hasWeb;
    return isOther;
  }

  /** Reads all clients anew, by another configuration. */
  reread(): void {
    this.#reread();
    this.changed();
  }

  override transaction<T>(work: () => T): T {
    const before = this.size;
    try {
      return super.transaction(() => {
        const result = work();
        if (this.size !== before) this.setFact("size", this.size);
        return result;
      });
    } catch (error) {
      this.size = before;
      throw error;
    }
  }

  /** Notes an identity that was accepted without the engine. */
  noteUnclaimed(identity: Uint8Array, client: string, untilMs: number): void {
    this.#database.prepare("insert or ignore into unclaimed values (?, ?, ?)")
      .run(identity, client, untilMs);
  }

  /** Identities that were accepted without the engine, a part of them at a time. */
  unclaimed(nowMs: number): { identity: Uint8Array; client: string }[] {
    this.#database.prepare("delete from unclaimed where until_ms < ?")
      .run(nowMs);
    return this.#database.prepare(
      "select identity, client from unclaimed limit 100",
    ).all() as unknown as { identity: Uint8Array; client: string }[];
  }

  forgetUnclaimed(identity: Uint8Array): void {
    this.#database.prepare("delete from unclaimed where identity = ?")
      .run(identity);
  }

  close(): void {
    this.#database.close();
  }

  /** Looks up; what cannot be read, as the file is damaged or closed, opens nothing. */
  #orElse<T>(nothing: T, lookUp: () => T): T {
    return ifRefused(lookUp, ({ message }) => {
      this.#complain("clients", message);
      return nothing;
    }) as T;
  }

  #reread(): void {
    this.#read.clear();
    this.#listed.clear();
    this.#isListedOld = true;
  }

  /** Reads the clients that no index finds. */
  #list(): void {
    const rows = this.#database.prepare(
      "select name from clients where listed = 1 limit ?",
    ).all(MAX_LISTED + 1);
    const names = rows.map(({ name }) => name as string);
    if (names.length > MAX_LISTED) {
      this.#complain(
        `client ${names.pop()!}`,
        `more than ${MAX_LISTED} of the fleet speak fwknop in OpenPGP or ` +
          "without an HMAC: this one is left out",
      );
    }
    for (const name of names) {
      const client = this.#listed.get(name) ?? this.get(name);
      if (client) this.#listed.set(name, client);
    }
    this.#isListedOld = false;
  }

  #parse(name: string, value: string): Client | null {
    const shared = JSON.parse(value) as SharedEntry;
    const read = readSharedClient(name, shared, this.#config());
    if ("name" in read) return read;
    const [{ path, text }] = read as [{ path: string; text: string }];
    this.#complain(`client ${name}`, `${path}: ${text}`);
    return null;
  }
}

function prepare(database: Database) {
  const forEach = (sql: (dialect: DialectName) => string) =>
    Object.fromEntries(
      DIALECT_NAMES.map((name) => [name, database.prepare(sql(name))]),
    ) as Record<DialectName, Statement>;
  return {
    byName: database.prepare(
      "select value, listed from clients where name = ?",
    ),
    put: database.prepare(
      `insert or replace into clients (name, ${DIALECT_NAMES.join()}, listed,
         web, value, round)
       values (${"?, ".repeat(DIALECT_NAMES.length)} ?, ?, ?, ?, ?)`,
    ),
    drop: database.prepare("delete from clients where name = ?"),
    byIndex: forEach((dialect) =>
      `select name from clients where ${dialect} = ?
       order by name limit ${MAX_SAME}`
    ),
    // As one text: a row each would take longer than an HMAC.
    after: forEach((dialect) =>
      `select group_concat(hex(part), '') as part from (
         select ${dialect} as part from clients
         where ${dialect} > ? and ${dialect} < ?
         order by ${dialect} limit ?)`
    ),
  };
}

/** Behind every index. */
const BEHIND_ALL = new Uint8Array(256).fill(0xff);

/** The index of a client's keys of a dialect; null: they have none; undefined: there are none that can be read. */
function indexOf(
  dialect: DialectName,
  entry: Readonly<Record<string, unknown>>,
): Uint8Array | null | undefined {
  if (entry[dialect] == null) return undefined;
  const { client } = DIALECTS[dialect];
  const yaml = client.schema.read(entry[dialect], dialect, []);
  return yaml === undefined ? undefined : client.index(yaml);
}
