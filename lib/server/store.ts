/**
 * The state file: what was accepted (for replay), what is open, and what
 * happened. SQLite in WAL mode: a transaction is whole or not there at all
 * after kill -9, and a full disk is an error that is seen before anything
 * opens.
 * @module
 */

import { join } from "node:path";
import {
  type Database,
  type Runtime,
  type SqlValue,
  SystemError,
} from "../runtime/runtime.ts";
import { FailureError } from "../values/errors.ts";
import { DoorBook } from "./door_book.ts";
import { History } from "./history.ts";
import { Ledger } from "./ledger.ts";
import { Replay } from "./replay.ts";

/** The state file's name in the state folder. */
export const STATE_FILE = "state.db";

/** Permission bits by which others could change a file. */
const OTHERS_WRITE = 0o022;

/** Raised with every change of the tables below. */
const SCHEMA_VERSION = 3;

const SCHEMA = `
  create table if not exists accepted (
    identity blob primary key,
    until_ms integer not null
  ) without rowid;
  create table if not exists grants (
    client text not null,
    address text not null,
    protocol text not null,
    first integer not null,
    last integer not null,
    target text not null,
    once integer not null,
    since_ms integer not null,
    until_ms integer not null,
    primary key (address, protocol, first, last, target, once, client)
  ) without rowid;
  create index if not exists grants_until on grants (until_ms);
  create table if not exists history (
    id integer primary key,
    at_ms integer not null,
    event text not null,
    client text not null,
    address text not null,
    ports text not null,
    seconds integer not null,
    dialect text not null,
    reason text not null
  );
  create index if not exists history_at on history (at_ms);
  create index if not exists history_client on history (client);
  create table if not exists facts (
    name text primary key,
    value text not null
  ) without rowid;
  create table if not exists burnt (
    door text not null,
    hits text not null,
    primary key (door, hits)
  ) without rowid;
  create table if not exists reminders (
    door text not null,
    address text not null,
    until_ms integer not null,
    primary key (door, address)
  ) without rowid;
  pragma user_version = ${SCHEMA_VERSION};
`;

/** The state of one server. Methods throw {@linkcode SystemError} when the file cannot be written. */
export class Store {
  readonly replay: Replay;
  readonly ledger: Ledger;
  readonly history: History;
  readonly doors: DoorBook;
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
    this.replay = new Replay(database);
    this.ledger = new Ledger(database);
    this.history = new History(database);
    this.doors = new DoorBook(database);
  }

  /** Does all of it, or nothing when it throws. */
  transaction<T>(work: () => T): T {
    this.#database.exec("begin immediate");
    try {
      const result = work();
      this.#database.exec("commit");
      return result;
    } catch (error) {
      try {
        this.#database.exec("rollback");
      } catch {
        // SQLite has rolled back by itself (a full disk).
      }
      throw error;
    }
  }

  /** A fact that `status` reads: which server runs, its counters. */
  fact(name: string): unknown {
    const row = this.#database.prepare("select value from facts where name = ?")
      .get(name);
    return row ? JSON.parse(row.value as string) : undefined;
  }

  setFact(name: string, value: unknown): void {
    this.#database.prepare("insert or replace into facts values (?, ?)")
      .run(name, JSON.stringify(value) as SqlValue);
  }

  close(): void {
    this.#database.close();
  }
}

/** Opens the state of a folder, making both where they are not. Throws FailureError with the cure. */
export async function openStore(
  runtime: Runtime,
  folder: string,
): Promise<Store> {
  const path = join(folder, STATE_FILE);
  try {
    runtime.files.makeFolder(folder, 0o700);
    for (const place of [folder, path]) checkRights(runtime, place);
    const database = await runtime.openDatabase(path);
    database.exec("pragma journal_mode = wal");
    // A process that is killed loses nothing; a power cut may lose the last
    // moments, which Replay.begin() makes good by the boot id.
    database.exec("pragma synchronous = normal");
    // The pages of SQLite's own, in KiB: the system keeps the others.
    database.exec("pragma cache_size = -512");
    const version = database.prepare("pragma user_version").get()!
      .user_version as number;
    if (version > SCHEMA_VERSION) {
      throw new FailureError(
        `${path}: made by a later version of knock (state ${version}, this one knows ${SCHEMA_VERSION})`,
        "install that version again, or move the file away",
      );
    }
    const check = database.prepare("pragma quick_check(1)").get()!;
    if (Object.values(check)[0] !== "ok") {
      throw new SystemError("SQLITE_CORRUPT", String(Object.values(check)[0]));
    }
    if (version < SCHEMA_VERSION) database.exec(SCHEMA);
    return new Store(database);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw new FailureError(
      `${path}: cannot use the state file: ${error.message}`,
      cure(error, path),
    );
  }
}

/** Opens the state of a folder to look at it; null where no server has run yet. */
export async function openExistingStore(
  runtime: Runtime,
  folder: string,
): Promise<Store | null> {
  const path = join(folder, STATE_FILE);
  try {
    if (!runtime.files.stat(path)) return null;
  } catch (error) {
    throw new FailureError(
      `${path}: cannot use the state file: ${(error as Error).message}`,
      cure(error as SystemError, path),
    );
  }
  return await openStore(runtime, folder);
}

/** Throws where others could write grants down, which the server would open. */
function checkRights(runtime: Runtime, path: string): void {
  const mode = runtime.files.stat(path)?.mode ?? 0;
  if ((mode & OTHERS_WRITE) === 0) return;
  throw new FailureError(
    `${path}: must not be writable by other users, got mode "0${
      (mode & 0o777).toString(8)
    }"`,
    `chmod go-w ${path}`,
  );
}

function cure({ code, message }: SystemError, path: string): string {
  if (code === "EACCES" || code === "EPERM" || /readonly/.test(message)) {
    return "run it as the user that the server runs as, or as root";
  }
  if (/locked|busy/.test(message)) {
    return "another process holds it: is a second server running?";
  }
  if (code === "ENOSPC" || /full/.test(message)) return "make room on the disk";
  if (/not a database|corrupt|malformed/i.test(`${code} ${message}`)) {
    return `move it away (mv "${path}" "${path}.bad") and start again: what is open then is forgotten`;
  }
  return `look at the folder and its rights: ${path}`;
}
