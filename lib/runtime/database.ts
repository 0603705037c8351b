/** SQLite by node:sqlite, the same in Deno and Bun. */

import { translating } from "./errors.ts";
import { fs } from "./late.ts";
import type { Database, SqlRow } from "./runtime.ts";

/** How long a statement waits for another process's lock. */
const BUSY_TIMEOUT_MS = 2000;

/** Opens a database file, making it 0600 first where there is none. */
export async function openDatabase(path: string): Promise<Database> {
  // Loaded late: the client never needs it, and starts quicker without.
  const { DatabaseSync } = await import("node:sqlite");
  return translating(() => {
    // A link is not followed: SQLite would write where it leads.
    const { O_RDWR, O_CREAT, O_NOFOLLOW = 0 } = fs().constants;
    fs().closeSync(fs().openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600));
    const database = new DatabaseSync(path);
    database.exec(`pragma busy_timeout = ${BUSY_TIMEOUT_MS}`);
    return {
      exec: (sql) => translating(() => database.exec(sql)),
      prepare: (sql) => {
        const statement = translating(() => database.prepare(sql));
        return {
          run: (...values) =>
            translating(() => Number(statement.run(...values).changes)),
          get: (...values) =>
            translating(() => statement.get(...values) as SqlRow | undefined),
          all: (...values) =>
            translating(() => statement.all(...values) as SqlRow[]),
        };
      },
      close: () => translating(() => database.close()),
    };
  });
}
