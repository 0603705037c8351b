/**
 * A socket in the state folder: whoever connects, `status` and `doctor`, has
 * the server bring the state file up to date, and reads it then. It takes no
 * words and answers only that this is done; the folder is its owner's alone.
 * @module
 */

import { resolve } from "node:path";
import type { Listener, Runtime, Stream } from "../../runtime/runtime.ts";
import { orNull } from "../../values/errors.ts";

/** Name of the socket in the state folder. */
export const SOCKET_FILE = "server.sock";

/** Longest path of a socket, sun_path of unix(7) without its NUL. */
const MAX_PATH = 107;
/** Most connections that wait for one answer; further ones are closed. */
const MAX_WAITING = 64;
/** Longest wait of a caller for the answer, milliseconds. */
const ANSWER_MS = 3000;

const DONE = new TextEncoder().encode("ok\n");

/**
 * Listens in a state folder that this server has to itself, and calls `update`
 * once for all who connect meanwhile. Null where there are no such sockets.
 * Throws SystemError.
 */
export async function listenForAsks(
  runtime: Runtime,
  folder: string,
  update: () => Promise<void>,
): Promise<Listener | null> {
  const path = pathIn(runtime, folder);
  if (path === null) return null;
  // Left behind by a server that was killed.
  orNull(() => runtime.files.remove(path));
  const waiting = new Set<Stream>();
  let running: Promise<void> | null = null;
  const run = async () => {
    while (waiting.size > 0) {
      const now = [...waiting];
      waiting.clear();
      await update();
      await Promise.all(now.map(answer));
    }
  };
  const listener = await runtime.listenStream(
    { host: path, port: 0 },
    (connection) => {
      if (waiting.size >= MAX_WAITING) return connection.close();
      waiting.add(connection);
      running ??= run().finally(() => running = null);
    },
  );
  return {
    at: listener.at,
    close: async () => {
      await listener.close();
      await running;
      orNull(() => runtime.files.remove(path));
    },
  };
}

async function answer(connection: Stream): Promise<void> {
  await orNull(async () => {
    await connection.write(DONE);
    await connection.finish();
  }).finally(() => connection.close());
}

/**
 * Has the server that uses a state folder bring the state file up to date.
 * False if none answers in time: then the file may be seconds old.
 */
export async function askServer(
  runtime: Runtime,
  folder: string,
): Promise<boolean> {
  const path = pathIn(runtime, folder);
  if (path === null) return false;
  const at = { host: path, port: 0 };
  const connection = await orNull(() =>
    runtime.connectStream(at, { timeoutMs: ANSWER_MS })
  );
  if (!connection) return false;
  const answered = new AbortController();
  const late = runtime.sleep(ANSWER_MS, answered.signal)
    .then(() => connection.close());
  try {
    return await orNull(() => connection.read()) !== null;
  } finally {
    answered.abort();
    await late;
  }
}

/** Path of a folder's socket, absolute as the runtime wants it; null where there can be none. */
function pathIn({ platform }: Runtime, folder: string): string | null {
  const path = resolve(folder, SOCKET_FILE);
  return platform === "windows" ||
      new TextEncoder().encode(path).length > MAX_PATH
    ? null
    : path;
}
