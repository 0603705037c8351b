/** SQLite in memory for tests; a path opened again has its rows still. */

import { DatabaseSync } from "node:sqlite";
import type { Database, SqlRow, SqlValue } from "../../lib/runtime/runtime.ts";
import { SystemError } from "../../lib/values/errors.ts";

/** Databases in memory, by path. */
export class FakeDatabases {
  readonly #files = new Map<string, DatabaseSync>();
  /** When set, every change fails with this code, such as "ENOSPC". */
  failing: string | null = null;

  open(path: string): Database {
    const file = this.#files.get(path) ?? new DatabaseSync(":memory:");
    this.#files.set(path, file);
    return {
      exec: (sql) => this.#guard(() => file.exec(sql)),
      prepare: (sql) => {
        const statement = this.#guard(() => file.prepare(sql));
        return {
          run: (...values) =>
            this.#guard(() => Number(statement.run(...values).changes)),
          get: (...values: SqlValue[]) =>
            statement.get(...values) as SqlRow | undefined,
          all: (...values: SqlValue[]) => statement.all(...values) as SqlRow[],
        };
      },
      close: () => {},
    };
  }

  #guard<T>(act: () => T): T {
    if (this.failing) {
      throw new SystemError(this.failing, `made to fail with ${this.failing}`);
    }
    try {
      return act();
    } catch (error) {
      throw new SystemError("", (error as Error).message);
    }
  }
}
