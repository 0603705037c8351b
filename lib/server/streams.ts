/**
 * Packets that come in connections of TCP: as the first bytes, or as the path
 * of an HTTP request. Whatever comes, the answer is the same: none, or 404.
 * @module
 */

import type { StreamListen } from "../config/config.ts";
import type {
  DatagramSource,
  Listener,
  Runtime,
  Stream,
} from "../runtime/runtime.ts";
import { SystemError } from "../runtime/runtime.ts";
import type { Counters } from "./counters.ts";
import { sourceOf } from "./rate.ts";
import { NOT_FOUND, readHttpPacket } from "../values/http_packet.ts";

/** The most bytes that are read of a connection, and for how long. */
const MAX_BYTES = 2048;
const TIMEOUT_MS = 3000;
/** How often more is read, and not looked at, after the answer. */
const MAX_DRAINED = 16;
/** Connections at a time, of all and of one source; more are closed at once. */
const MAX_CONNECTIONS = 256;
const MAX_OF_SOURCE = 8;

/** Takes what a connection carried: readings of one packet, one of which may open. */
export type Receive = (
  readings: readonly Uint8Array[],
  source: DatagramSource,
) => void;

/** Listens for packets in connections, at any number of places. */
export class Streams {
  readonly #runtime: Runtime;
  readonly #counters: Counters;
  readonly #receive: Receive;
  readonly #open = new Map<Stream, string>();

  constructor(runtime: Runtime, counters: Counters, receive: Receive) {
    this.#runtime = runtime;
    this.#counters = counters;
    this.#receive = receive;
  }

  /** Listens at one place. Throws SystemError. */
  listen(at: StreamListen): Promise<Listener> {
    return this.#runtime.listenStream(at, (connection) => {
      this.#serve(at, connection).catch((error) => {
        if (!(error instanceof SystemError)) throw error;
        this.#counters.add("failed: connection");
      });
    });
  }

  /** Closes the connections that are open still. */
  close(): void {
    for (const connection of this.#open.keys()) connection.close();
  }

  async #serve({ transport }: StreamListen, stream: Stream): Promise<void> {
    const host = sourceOf(stream.peer.host);
    const same = [...this.#open.values()].filter((other) => other === host);
    if (this.#open.size >= MAX_CONNECTIONS || same.length >= MAX_OF_SOURCE) {
      this.#counters.add("refused: connections");
      stream.close();
      return;
    }
    this.#open.set(stream, host);
    const timeout = new AbortController();
    // Closing ends the read that waits.
    const late = this.#runtime.sleep(TIMEOUT_MS, timeout.signal)
      .then(() => stream.close());
    try {
      const http = transport === "http";
      const bytes = await readStart(stream, http);
      const readings = http ? readHttpPacket(bytes) : [bytes];
      this.#receive(readings, stream.peer);
      if (http) await answer(stream);
    } finally {
      timeout.abort();
      this.#open.delete(stream);
      stream.close();
      await late;
    }
  }
}

/** Answers, and lets the other end take it: closing with bytes unread would cut it short. */
async function answer(stream: Stream): Promise<void> {
  await stream.write(NOT_FOUND);
  await stream.finish();
  for (let chunks = 0; chunks < MAX_DRAINED; chunks++) {
    if (await stream.read() === null) return;
  }
}

/** Reads until the other end has finished, or an HTTP request has; what came before an end of another kind is dropped. */
async function readStart(
  stream: Stream,
  http: boolean,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(MAX_BYTES);
  let size = 0;
  while (size < MAX_BYTES) {
    const chunk = await stream.read();
    if (!chunk) break;
    const taken = chunk.subarray(0, MAX_BYTES - size);
    bytes.set(taken, size);
    size += taken.length;
    if (http && endsHead(bytes.subarray(0, size))) break;
  }
  return bytes.slice(0, size);
}

const NEWLINE = 10;
const RETURN = 13;

/** Whether an empty line has come. */
function endsHead(bytes: Uint8Array): boolean {
  for (let at = bytes.indexOf(NEWLINE); at >= 0;) {
    const next = bytes[at + 1] === RETURN ? at + 2 : at + 1;
    if (bytes[next] === NEWLINE) return true;
    at = bytes.indexOf(NEWLINE, at + 1);
  }
  return false;
}
