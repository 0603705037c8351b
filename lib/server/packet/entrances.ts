/** Where packets come in: sockets for datagrams, and for connections. */

import type { Config, Listen, StreamListen } from "../../config/config.ts";
import type {
  Datagrams,
  DatagramSource,
  Runtime,
} from "../../runtime/runtime.ts";
import { formatEndpoint } from "../../values/address.ts";
import { FailureError, SystemError } from "../../values/errors.ts";
import type { Counters } from "../report/metrics.ts";
import { Streams } from "./streams.ts";

/**
 * Takes a packet, in one or more readings of which one may open; `socket` is
 * null where nothing can be answered. Called synchronously; the bytes are only
 * valid until it returns.
 */
export type ReceivePacket = (
  readings: readonly Uint8Array[],
  source: DatagramSource,
  socket: Datagrams | null,
) => void;

interface Entrance {
  /** Such as "[::]:62201", or "http/[::]:8080". */
  readonly words: string;
  close(): Promise<void>;
}

/** The sockets of a server, by what the configuration says of them. */
export class Entrances {
  readonly #runtime: Runtime;
  readonly #receive: ReceivePacket;
  readonly #streams: Streams;
  readonly #open = new Map<string, Entrance>();

  constructor(runtime: Runtime, counters: Counters, receive: ReceivePacket) {
    this.#runtime = runtime;
    this.#receive = receive;
    this.#streams = new Streams(
      runtime,
      counters,
      (readings, source) => receive(readings, source, null),
    );
  }

  /** Where they are, in words. */
  get words(): string[] {
    return [...this.#open.values()].map(({ words }) => words);
  }

  /** Opens what is not open yet; the keys of that. Throws FailureError, with none of them open. */
  async open(config: Config): Promise<string[]> {
    const opened: string[] = [];
    for (const at of placesOf(config)) {
      const key = keyOf(at);
      if (this.#open.has(key)) continue;
      try {
        this.#open.set(key, await this.#bind(at));
        opened.push(key);
      } catch (error) {
        await this.close(opened);
        throw cannotListen(at, error);
      }
    }
    return opened;
  }

  /** Closes these, or all. */
  async close(keys: readonly string[] = [...this.#open.keys()]): Promise<void> {
    const closing = keys.map((key) => this.#open.get(key));
    for (const key of keys) this.#open.delete(key);
    if (this.#open.size === 0) this.#streams.close();
    await Promise.all(closing.map((entrance) => entrance?.close()));
  }

  /** Closes all that a configuration does not name. */
  async closeOthers(config: Config): Promise<void> {
    const wanted = new Set(placesOf(config).map(keyOf));
    await this.close([...this.#open.keys()].filter((key) => !wanted.has(key)));
  }

  async #bind(at: Listen | StreamListen): Promise<Entrance> {
    if ("transport" in at) {
      const listener = await this.#streams.listen(at);
      const words = `${at.transport}/${formatEndpoint(listener.at)}`;
      return { words, close: () => listener.close() };
    }
    const socket: Datagrams = await this.#runtime.listenDatagram(
      at,
      (bytes, source) => this.#receive([bytes], source, socket),
      { apart: true, batched: true },
    );
    return {
      words: formatEndpoint(socket.at),
      close: () => socket.close(),
    };
  }
}

function placesOf({ listen, streams }: Config): (Listen | StreamListen)[] {
  return [...listen, ...streams];
}

function keyOf(at: Listen | StreamListen): string {
  const prefix = "transport" in at ? `${at.transport}/` : "";
  return prefix + formatEndpoint(at);
}

function cannotListen(at: Listen | StreamListen, error: unknown): unknown {
  if (!(error instanceof SystemError)) return error;
  const protocol = "transport" in at ? "tcp" : "udp";
  const what = `cannot listen on ${protocol} ${formatEndpoint(at)}`;
  switch (error.code) {
    case "EADDRINUSE":
      return new FailureError(
        `${what}: the port is in use`,
        "`knock status` tells whether a server runs already; another port goes under listen",
      );
    case "EADDRNOTAVAIL":
      return new FailureError(`${what}: this machine has no such address`);
    case "EACCES":
      return new FailureError(
        `${what}: not allowed`,
        "a port below 1024 needs root; another port goes under listen",
      );
    default:
      return new FailureError(`${what}: ${error.message}`);
  }
}
