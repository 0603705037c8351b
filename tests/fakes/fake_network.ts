/** A network in memory for tests: scripted datagrams, names and connections. */

import type {
  DatagramHandler,
  Datagrams,
  DatagramSource,
  Listener,
  Stream,
} from "../../lib/runtime/runtime.ts";
import {
  type Endpoint,
  formatEndpoint,
  parseAddress,
} from "../../lib/values/address.ts";
import type { FakeClock } from "./fake_clock.ts";
import { SystemError } from "../../lib/values/errors.ts";

/** A datagram that was sent. */
export interface Sent {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly from: Endpoint;
  readonly to: Endpoint;
  /** Unix milliseconds. */
  readonly atMs: number;
}

/** An answer of the world to a datagram. */
export interface Reply {
  readonly bytes: Uint8Array;
  /** Where it seems to come from; by default where the datagram went to. */
  readonly source?: Endpoint;
  /** By default at once. */
  readonly afterMs?: number;
}

/**
 * Answers of the world to a datagram that no socket of this network receives;
 * it may throw a {@linkcode SystemError}, which the sender gets.
 */
export type World = (sent: Sent, count: number) => readonly Reply[];

const FIRST_EPHEMERAL_PORT = 40_000;

/** A network in memory; sockets on it hear each other by port. */
export class FakeNetwork {
  /** Everything that was sent, in order. */
  readonly sent: Sent[] = [];
  /** Names and their addresses. */
  readonly names = new Map<string, readonly string[]>();
  /** The address from which this machine's own datagrams come. */
  ownAddress = "127.0.0.1";
  world: World = () => [];
  readonly #clock: FakeClock;
  readonly #datagrams = new Map<number | string, DatagramHandler>();
  readonly #listeners = new Map<
    number | string,
    (connection: Stream) => void
  >();
  #nextPort = FIRST_EPHEMERAL_PORT;

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  /** Count of the open sockets and listeners: 0 when all was tidied up. */
  get open(): number {
    return this.#datagrams.size + this.#listeners.size;
  }

  /** Hands a datagram to the socket on a port; whether one heard it. */
  deliver(port: number, bytes: Uint8Array, source: DatagramSource): boolean {
    const handler = this.#datagrams.get(port);
    if (!handler) return false;
    // The bytes are only valid until the handler returns: spoil them then.
    const buffer = bytes.slice();
    handler(buffer, source);
    buffer.fill(0xee);
    return true;
  }

  listenDatagram(at: Endpoint, handler: DatagramHandler): Promise<Datagrams> {
    const here = this.#bind(this.#datagrams, at, handler);
    return Promise.resolve({
      at: here,
      // deno-lint-ignore require-await -- so that a throw is a rejection
      send: async (bytes, to) => {
        if (!this.#datagrams.has(here.port)) {
          throw new SystemError("EBADF", "socket closed");
        }
        this.#carry(bytes.slice(), here, to);
      },
      close: () => {
        this.#datagrams.delete(here.port);
        return Promise.resolve();
      },
    });
  }

  listenStream(
    at: Endpoint,
    handler: (connection: Stream) => void,
  ): Promise<Listener> {
    const here = this.#bind(this.#listeners, at, handler);
    return Promise.resolve({
      at: here,
      close: () => {
        this.#listeners.delete(here.port || here.host);
        return Promise.resolve();
      },
    });
  }

  // deno-lint-ignore require-await -- so that a throw is a rejection
  async connectStream(to: Endpoint): Promise<Stream> {
    const handler = this.#listeners.get(to.port || to.host);
    if (!handler) {
      throw new SystemError(
        "ECONNREFUSED",
        `no listener at ${formatEndpoint(to)}`,
      );
    }
    const there = pipe();
    const back = pipe();
    const source = { host: this.ownAddress, port: this.#nextPort++ };
    handler(stream(source, there.readable, back.writable));
    return stream(to, back.readable, there.writable);
  }

  // deno-lint-ignore require-await -- so that a throw is a rejection
  async resolve(host: string): Promise<string[]> {
    const address = parseAddress(host);
    if (address) return [address];
    const found = this.names.get(host);
    if (found?.length) return [...found];
    throw new SystemError("ENOTFOUND", `no address for ${host}`);
  }

  #bind<T>(
    table: Map<number | string, T>,
    at: Endpoint,
    handler: T,
  ): Endpoint {
    const isPath = at.host.startsWith("/");
    const port = isPath ? 0 : at.port || this.#nextPort++;
    const key = isPath ? at.host : port;
    if (table.has(key)) throw new SystemError("EADDRINUSE", "address in use");
    table.set(key, handler);
    return { host: at.host, port };
  }

  #carry(bytes: Uint8Array<ArrayBuffer>, from: Endpoint, to: Endpoint): void {
    const sent = { bytes, from, to, atMs: this.#clock.nowMs() };
    this.sent.push(sent);
    const source = { host: this.ownAddress, port: from.port };
    if (this.#datagrams.has(to.port)) {
      this.#clock.after(0, () => this.deliver(to.port, bytes, source));
      return;
    }
    for (const reply of this.world(sent, this.sent.length)) {
      this.#clock.after(reply.afterMs ?? 0, () => {
        this.deliver(from.port, reply.bytes, reply.source ?? to);
      });
    }
  }
}

function stream(
  peer: Endpoint,
  readable: ReadableStream<Uint8Array>,
  writable: WritableStream<Uint8Array>,
): Stream {
  const reader = readable.getReader();
  const writer = writable.getWriter();
  writer.closed.catch(() => {});
  const told = (error: unknown): never => {
    throw new SystemError("ECONNRESET", String(error));
  };
  return {
    peer,
    read: () => reader.read().then(({ value }) => value ?? null, told),
    write: (bytes) => writer.write(bytes.slice()).catch(told),
    finish: () => writer.close().catch(told),
    close: () => {
      writer.abort("closed").catch(() => {});
      reader.cancel().catch(() => {});
    },
  };
}

// Bytes written wait for the reader, as in a socket's buffer.
function pipe(): TransformStream<Uint8Array, Uint8Array> {
  return new TransformStream({}, { highWaterMark: 64 });
}
