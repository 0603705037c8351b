/** File of what a gateway keeps of its fleet: the clients that are shared, claims that are still to be made, and facts. */

import { join } from "node:path";
import { DIALECT_NAMES } from "../../dialects/table.ts";
import type { Database, Runtime } from "../../runtime/runtime.ts";
import { SystemError } from "../../values/errors.ts";

const SCHEMA_VERSION = 2;
const SCHEMA = `
  create table if not exists clients (
    name text primary key,
    ${DIALECT_NAMES.map((name) => `${name} blob`).join()},
    listed integer not null,
    web integer not null,
    value text not null,
    round integer not null
  ) without rowid;
  ${
  DIALECT_NAMES.map((name) =>
    `create index if not exists clients_${name} on clients (${name})
      where ${name} is not null;`
  ).join("\n  ")
}
  create index if not exists clients_listed on clients (listed)
    where listed = 1;
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

/** Opens the file, making it where it is not; one that is damaged is made anew: the engine has all of it. */
export async function openFleetDatabase(
  runtime: Runtime,
  folder: string,
): Promise<Database> {
  const path = join(folder, "fleet.db");
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
