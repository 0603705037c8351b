/** A small HTTP/1.1 server for programs nearby: one request a connection, no bodies, bounded. */

import type { Listener, Runtime, Stream } from "../../../runtime/runtime.ts";
import { type Endpoint, formatEndpoint } from "../../../values/address.ts";
import { failing, SystemError } from "../../../values/errors.ts";

/** Longest time of a connection, milliseconds. */
const TIMEOUT_MS = 3000;

/** Head of a request; nothing after it is read. */
export interface HttpRequest {
  /** Request line, such as "GET / HTTP/1.1". */
  readonly line: string;
  /** Values of a header in their order, by its name in lower case. */
  readonly header: (name: string) => readonly string[];
}

/** Answer to a request; without a body none is sent. */
export interface HttpAnswer {
  /** Such as "200 OK". */
  readonly status: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** Bounds of a server, and who may ask. */
interface HttpLimits {
  /** Key in the configuration, for messages. */
  readonly key: string;
  /** Most characters of a head. */
  readonly head: number;
  /** Most connections at a time; more are closed at once. */
  readonly connections: number;
  /** Returns true for an address that is answered; others are closed without a byte. */
  readonly admits?: (address: string) => boolean;
}

/** Serves answers at an endpoint. Throws FailureError when it cannot listen there. */
export async function serveHttp(
  runtime: Runtime,
  at: Endpoint,
  { key, head, connections, admits = () => true }: HttpLimits,
  answer: (request: HttpRequest) => HttpAnswer,
): Promise<Listener> {
  let open = 0;
  const serve = async (connection: Stream) => {
    if (open >= connections || !admits(connection.peer.host)) {
      return connection.close();
    }
    open++;
    const timeout = new AbortController();
    const late = runtime.sleep(TIMEOUT_MS, timeout.signal)
      .then(() => connection.close());
    try {
      const request = readRequest(await readHead(connection, head));
      await connection.write(
        format(request ? answer(request) : { status: "400 Bad Request" }),
      );
      await connection.finish();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
    } finally {
      timeout.abort();
      await late;
      open--;
    }
  };
  return await failing(
    `cannot listen on tcp ${formatEndpoint(at)} for ${key}`,
    () => runtime.listenStream(at, serve),
    `another address or port goes under ${key}`,
  );
}

/** Reads the head of a request; null: it has none, or a line that is no header. */
export function readRequest(text: string): HttpRequest | null {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return null;
  const [line, ...rest] = text.slice(0, end).split("\r\n");
  const headers: (readonly [name: string, value: string])[] = [];
  for (const one of rest) {
    const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*(.*?)[ \t]*$/
      .exec(one) ?? [];
    if (name === undefined) return null;
    headers.push([name.toLowerCase(), value!]);
  }
  return {
    line: line!,
    header: (name) =>
      headers.flatMap(([own, value]) => own === name ? [value] : []),
  };
}

function format({ status, headers = {}, body }: HttpAnswer): Uint8Array {
  const bytes = new TextEncoder().encode(body ?? "");
  const all = {
    ...headers,
    // 204 has no body by itself. RFC 9110 §15.3.5.
    ...status.startsWith("204") ? {} : { "Content-Length": `${bytes.length}` },
    Connection: "close",
  };
  const lines = Object.entries(all).map(([name, value]) =>
    `${name}: ${value}\r\n`
  );
  const head = `HTTP/1.1 ${status}\r\n${lines.join("")}\r\n`;
  return new Uint8Array([...new TextEncoder().encode(head), ...bytes]);
}

/** All of a head, so that nothing is left when the connection closes; at most so much. */
async function readHead(connection: Stream, limit: number): Promise<string> {
  let text = "";
  while (!text.includes("\r\n\r\n") && text.length < limit) {
    const bytes = await connection.read();
    if (bytes === null) break;
    text += String.fromCharCode(...bytes.subarray(0, limit));
  }
  return text;
}
