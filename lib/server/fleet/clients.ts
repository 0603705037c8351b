/**
 * Clients that the fleet shares, in a file of their own beside the state: a
 * copy of the engine's, kept up by the watch. Looked up by name and by key;
 * few are in memory at a time, however many there are.
 * @module
 */

import { join } from "node:path";
import type { Client, Config } from "../../config/config.ts";
import { readSharedClient } from "../../config/clients.ts";
import type { SharedEntry } from "../../fleet/fleet.ts";
import { DIALECT_NAMES, dialectsOf } from "../../dialects/table.ts";
import type { DialectName } from "../../dialects/dialect.ts";
import type { Knock1Client } from "../../dialects/knock1/open.ts";
import { parseKey } from "../../dialects/knock1/keys.ts";
import type { Database, Runtime, Statement } from "../../runtime/runtime.ts";
import { SystemError } from "../../values/errors.ts";
import { isMapping } from "../../values/schema.ts";
import type { SharedClients } from "../state/fleet.ts";

/** The file's name in the state folder. */
const FLEET_FILE = "fleet.db";

/** Clients that are kept as they were read. */
const MAX_READ = 1024;

/** Most clients with keys of dialects whose packets name nobody: each is tried. */
const MAX_LISTED = 1000;

const SCHEMA_VERSION = 1;
const SCHEMA = `
  create table if not exists clients (
    name text primary key,
    knock blob,
    dialects text not null,
    web integer not null,
    value text not null,
    round integer not null
  ) without rowid;
  create index if not exists clients_knock on clients (knock)
    where knock is not null;
  create index if not exists clients_others on clients (dialects)
    where dialects <> 'knock';
  create index if not exists clients_web on clients (web) where web = 1;
  create table if not exists unclaimed (
    identity blob primary key,
    client text not null,
    until_ms integer not null
  ) without rowid;
  create table if not exists facts (
    name text primary key,
    value text not null
  ) without rowid;
  pragma user_version = ${SCHEMA_VERSION};
`;

/** The copy of the engine's clients, and what else a gateway keeps of its fleet. Methods throw SystemError. */
export class FleetBook implements SharedClients {
  readonly #database: Database;
  readonly #config: () => Config;
  /** Called once for each client that cannot be used here. */
  readonly #complain: (name: string, why: string) => void;
  readonly #read = new Map<string, Client | null>();
  readonly #byName: Statement;
  readonly #byKnock: Statement;
  readonly #put: Statement;
  readonly #drop: Statement;
  #round = 0;
  #size: number;
  #dialects: readonly DialectName[] = [];
  #hasWeb = false;
  #listed: readonly Client[] = [];

  constructor(
    database: Database,
    config: () => Config,
    complain: (name: string, why: string) => void,
  ) {
    this.#database = database;
    this.#config = config;
    this.#complain = complain;
    this.#byName = database.prepare("select value from clients where name = ?");
    this.#byKnock = database.prepare(
      "select name, value from clients where knock = ?",
    );
    this.#put = database.prepare(
      "insert or replace into clients values (?, ?, ?, ?, ?, ?)",
    );
    this.#drop = database.prepare("delete from clients where name = ?");
    this.#round = (this.fact("round") ?? 0) as number;
    this.#size = (this.fact("size") ?? 0) as number;
    this.changed();
  }

  get dialects(): readonly DialectName[] {
    return this.#dialects;
  }

  get hasWeb(): boolean {
    return this.#hasWeb;
  }

  get listed(): readonly Client[] {
    return this.#listed;
  }

  /** Number of clients; kept, as counting a million takes a while. */
  get size(): number {
    return this.#size;
  }

  has(name: string): boolean {
    return this.#byName.get(name) !== undefined;
  }

  get(name: string): Client | null {
    const known = this.#read.get(name);
    if (known !== undefined) return known;
    const row = this.#byName.get(name);
    if (!row) return null;
    const client = this.#parse(name, row.value as string);
    if (this.#read.size >= MAX_READ) this.#read.clear();
    this.#read.set(name, client);
    return client;
  }

  findKnock(key: Uint8Array): Knock1Client | null {
    for (const row of this.#byKnock.all(key)) {
      const client = this.get(row.name as string);
      if (client?.knock) {
        return { ...client.knock, name: client.name, web: client.web };
      }
    }
    return null;
  }

  /** Keeps a client's entry. */
  put(name: string, shared: SharedEntry): void {
    const entry = isMapping(shared.entry) ? shared.entry : {};
    const dialects = DIALECT_NAMES.filter((dialect) => entry[dialect] != null);
    const knock = isMapping(entry.knock) && typeof entry.knock.key === "string"
      ? parseKey(entry.knock.key)
      : null;
    if (!this.has(name)) this.#size++;
    this.#put.run(
      name,
      knock,
      dialects.join(","),
      entry.web === true ? 1 : 0,
      JSON.stringify(shared),
      this.#round,
    );
    this.#read.delete(name);
  }

  /** Forgets a client. */
  drop(name: string): void {
    this.#read.delete(name);
    this.#size -= this.#drop.run(name);
  }

  /** All clients follow; those that are not put until {@linkcode sweep} are gone. */
  begin(): void {
    this.#round++;
    this.setFact("round", this.#round);
  }

  /** Forgets those that were not put since {@linkcode begin}. */
  sweep(): void {
    this.#read.clear();
    this.#size -= this.#database
      .prepare("delete from clients where round <> ?").run(this.#round);
  }

  /** Looks anew which dialects are used; true if that, or a listed client, has changed. Called after changes, and by a reload. */
  changed(): boolean {
    this.#read.clear();
    const one = (sql: string) =>
      this.#database.prepare(sql).get() !== undefined;
    const rows = this.#database.prepare(
      "select name from clients where dialects <> 'knock' limit ?",
    ).all(MAX_LISTED + 1);
    if (rows.length > MAX_LISTED) {
      this.#complain(
        rows.at(-1)!.name as string,
        `more than ${MAX_LISTED} clients of the fleet speak fwknop, openme ` +
          "or OpenSPA: the others of them are left out",
      );
    }
    const listed = rows.slice(0, MAX_LISTED)
      .map(({ name }) => this.get(name as string))
      .filter((client) => client !== null);
    const dialects = new Set(listed.flatMap(dialectsOf));
    if (one("select 1 from clients where knock is not null limit 1")) {
      dialects.add("knock");
    }
    const hasWeb = one("select 1 from clients where web = 1 limit 1");
    const found = DIALECT_NAMES.filter((name) => dialects.has(name));
    const isOther = hasWeb !== this.#hasWeb ||
      found.join() !== this.#dialects.join() ||
      listed.length > 0 || this.#listed.length > 0;
    this.#dialects = found;
    this.#hasWeb = hasWeb;
    this.#listed = listed;
    return isOther;
  }

  /** Does all of it, or nothing when it throws. */
  transaction(work: () => void): void {
    const before = this.#size;
    this.#database.exec("begin immediate");
    try {
      work();
      if (this.#size !== before) this.setFact("size", this.#size);
      this.#database.exec("commit");
    } catch (error) {
      this.#size = before;
      this.#database.exec("rollback");
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

  fact(name: string): unknown {
    const row = this.#database.prepare("select value from facts where name = ?")
      .get(name);
    return row ? JSON.parse(row.value as string) : undefined;
  }

  setFact(name: string, value: unknown): void {
    this.#database.prepare("insert or replace into facts values (?, ?)")
      .run(name, JSON.stringify(value));
  }

  close(): void {
    this.#database.close();
  }

  #parse(name: string, value: string): Client | null {
    const shared = JSON.parse(value) as SharedEntry;
    const read = readSharedClient(name, shared, this.#config());
    if ("name" in read) return read;
    const [{ path, text }] = read as [{ path: string; text: string }];
    this.#complain(name, `${path}: ${text}`);
    return null;
  }
}

/** Opens the file, making it where it is not; one that is damaged is made anew: the engine has all of it. */
export async function openFleetDatabase(
  runtime: Runtime,
  folder: string,
): Promise<Database> {
  const path = join(folder, FLEET_FILE);
  try {
    return await open(runtime, path);
  } catch (error) {
    const { message, code } = error as SystemError;
    const isDamaged = error instanceof SystemError &&
      /not a database|corrupt|malformed/i.test(`${code} ${message}`);
    if (!isDamaged) throw error;
    runtime.files.remove(path);
    return await open(runtime, path);
  }
}

async function open(runtime: Runtime, path: string): Promise<Database> {
  const database = await runtime.openDatabase(path);
  try {
    database.exec("pragma journal_mode = wal");
    database.exec("pragma synchronous = normal");
    database.exec("pragma cache_size = -2048");
    const version = database.prepare("pragma user_version").get()!
      .user_version as number;
    if (version !== SCHEMA_VERSION) {
      database.exec("drop table if exists clients");
      database.exec("drop table if exists facts");
      database.exec(SCHEMA);
    }
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}
