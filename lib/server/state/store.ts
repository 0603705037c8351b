/**
 * The state file: what was accepted (for replay), what is open, and what
 * happened. SQLite in WAL mode: a transaction is whole or not there at all
 * after kill -9, and a full disk is an error that is seen before anything
 * opens.
 * @module
 */

import { join } from "node:path";
import {
  asOwner,
  checkPlace,
  makeOwnFolder,
} from "../../config/files/rights.ts";
import type { Database, Runtime, SqlValue } from "../../runtime/runtime.ts";
import { FailureError, orNull, SystemError } from "../../values/errors.ts";
import { SequenceBook } from "./sequences.ts";
import { History } from "./history.ts";
import { Ledger } from "./ledger.ts";
import { Replay } from "./replay.ts";

/** The state file's name in the state folder. */
export const STATE_FILE = "state.db";

/** Beside it: a database that a server keeps locked, with its process id as user_version. */
const LOCK_FILE = "server.lock";
/** Longest wait for another server to end, milliseconds. */
const LOCK_WAIT_MS = 500;
/** Where user_version is in a database: SQLite's file format, 1.3. */
const USER_VERSION_AT = 60;

/** Raised with every change of the tables below. */
const SCHEMA_VERSION = 4;

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
    capped integer not null default 0,
    primary key (address, protocol, first, last, target, once, client)
  ) without rowid;
  create index if not exists grants_until on grants (until_ms);
  create index if not exists grants_once on grants (until_ms) where once = 1;
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

/** Brings tables of version 3 to this one's. */
const FROM_3 =
  `alter table grants add column capped integer not null default 0;`;

/** A database with facts, whose changes are whole or not there at all. Methods throw SystemError. */
export class FactFile {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
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

  fact(name: string): unknown {
    const row = this.#database.prepare("select value from facts where name = ?")
      .get(name);
    return row ? JSON.parse(row.value as string) : undefined;
  }

  setFact(name: string, value: unknown): void {
    this.#database.prepare("insert or replace into facts values (?, ?)")
      .run(name, JSON.stringify(value) as SqlValue);
  }
}

/**
 * The state of one server; its facts are what `status` reads: which server
 * runs, its counters. Methods throw {@linkcode SystemError} when the file cannot
 * be written.
 */
export class Store extends FactFile {
  readonly replay: Replay;
  readonly ledger: Ledger;
  readonly history: History;
  readonly sequences: SequenceBook;
  readonly #database: Database;
  readonly #closed: () => void;

  /** `closed` is called when it has closed. */
  constructor(database: Database, closed: () => void = () => {}) {
    super(database);
    this.#database = database;
    this.#closed = closed;
    this.replay = new Replay(database);
    this.ledger = new Ledger(database);
    this.history = new History(database);
    this.sequences = new SequenceBook(database);
  }

  close(): void {
    try {
      this.#database.close();
    } finally {
      this.#closed();
    }
  }
}

/** As {@linkcode openStore}, for a server: throws FailureError where another one uses the folder. */
export function openServerStore(
  runtime: Runtime,
  folder: string,
): Promise<Store> {
  return openStore(runtime, folder, async () => {
    const held = await tryLock(runtime, folder);
    if (typeof held !== "number") return held;
    throw new FailureError(
      `${folder}: in use by the server with process id ${held || "unknown"}`,
      `end that server first${held ? ` (kill ${held})` : ""}, or give this ` +
        "one a folder of its own with `state: FOLDER`",
    );
  });
}

/**
 * Opens the state of a folder, making both where they are not. `begin` is
 * called when the folder is there, and what it returns at the end. Throws
 * FailureError with a hint, also where others could change it.
 */
export async function openStore(
  runtime: Runtime,
  folder: string,
  begin = () => Promise.resolve(() => {}),
): Promise<Store> {
  const path = join(folder, STATE_FILE);
  let end = () => {};
  try {
    makeOwnFolder(runtime, folder);
    checkPlace(runtime, path);
    end = await begin();
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
    const [found] = Object.values(check);
    if (found !== "ok") throw new SystemError("SQLITE_CORRUPT", String(found));
    if (version < SCHEMA_VERSION) {
      // A file of version 0 is a new one.
      const older = version > 0 ? FROM_3 : "";
      database.exec(`begin immediate; ${older} ${SCHEMA} commit`);
    }
    return new Store(database, end);
  } catch (error) {
    end();
    throw unusable(path, error);
  }
}

/** Opens the state of a folder to look at it; null where no server has run yet. */
export async function openExistingStore(
  runtime: Runtime,
  folder: string,
): Promise<Store | null> {
  const path = join(folder, STATE_FILE);
  let back = () => {};
  try {
    if (!runtime.files.stat(path)) return null;
    back = asOwner(runtime, folder);
    return await openStore(runtime, folder, () => Promise.resolve(back));
  } catch (error) {
    back();
    throw unusable(path, error);
  }
}

/** The process id of the server that uses a folder, 0 where it is unknown; null where none does. */
export async function serverUsing(
  runtime: Runtime,
  folder: string,
): Promise<number | null> {
  const path = join(folder, LOCK_FILE);
  try {
    if (!runtime.files.stat(path)) return null;
    const back = asOwner(runtime, folder);
    try {
      const held = await tryLock(runtime, folder);
      if (typeof held === "number") return held;
      held();
      return null;
    } finally {
      back();
    }
  } catch (error) {
    throw unusable(path, error);
  }
}

/**
 * Locks a folder for this process; the process id of another that has it, 0
 * where that is unknown. The kernel ends the lock with the process, however
 * that ends.
 */
async function tryLock(
  runtime: Runtime,
  folder: string,
): Promise<(() => void) | number> {
  const path = join(folder, LOCK_FILE);
  checkPlace(runtime, path);
  const database = await runtime.openDatabase(path);
  try {
    // One that is just ending is waited for.
    database.exec(`pragma busy_timeout = ${LOCK_WAIT_MS}`);
    database.exec("pragma locking_mode = exclusive");
    // What it holds is worth nothing after a power cut.
    database.exec("pragma synchronous = off");
    database.exec("pragma journal_mode = memory");
    // With locking_mode, the lock of this change is kept.
    database.exec(`pragma user_version = ${runtime.pid}`);
    return () => database.close();
  } catch (error) {
    database.close();
    if (!(error instanceof SystemError) || !isLocked(error)) throw error;
    const bytes = runtime.files.readBytes(path);
    return bytes.length > USER_VERSION_AT + 3
      ? new DataView(bytes.buffer).getUint32(USER_VERSION_AT)
      : 0;
  }
}

function unusable(path: string, error: unknown): unknown {
  if (!(error instanceof SystemError)) return error;
  return new FailureError(
    `${path}: cannot use the state file: ${error.message}`,
    cure(error, path),
  );
}

function isLocked({ message }: SystemError): boolean {
  return /locked|busy/.test(message);
}

function cure(error: SystemError, path: string): string {
  const { code, message } = error;
  if (code === "EACCES" || code === "EPERM" || /readonly/.test(message)) {
    return "run it as the user that the server runs as, or as root";
  }
  if (isLocked(error)) {
    return "another process holds it: is a second server running?";
  }
  if (code === "ENOSPC" || /full/.test(message)) return "make room on the disk";
  if (/not a database|corrupt|malformed/i.test(`${code} ${message}`)) {
    return `move it away (mv "${path}" "${path}.bad") and start again: what is open then is forgotten`;
  }
  return `look at the folder and its rights: ${path}`;
}

/** Notes which start of the machine this is; whether it is another than before. Throws SystemError. */
export function noteBoot(runtime: Runtime, store: Store): boolean {
  // Linux alone has it.
  const path = "/proc/sys/kernel/random/boot_id";
  const boot = orNull(() => runtime.files.readText(path))?.trim() ?? "unknown";
  const before = store.fact("boot");
  if (before !== boot) store.setFact("boot", boot);
  return before !== undefined && before !== boot;
}
