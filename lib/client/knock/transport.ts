/** The ways on which a packet goes to its server: UDP, or a connection of TCP. */

import type { DialectName } from "../../dialects/dialect.ts";
import { httpPath } from "../../dialects/http.ts";
import type { Datagrams, Runtime } from "../../runtime/runtime.ts";
import { type Endpoint, formatEndpoint } from "../../values/address.ts";
import { SystemError } from "../../values/errors.ts";

/** Transport of packets. */
export interface Transport {
  readonly kind: "udp" | "tcp" | "http";
  /** Another port than the server's; null: that. */
  readonly port: number | null;
}

/** Default transport. */
export const UDP: Transport = { kind: "udp", port: null };

/** Forms that {@linkcode parseTransport} reads, for messages. */
export const TRANSPORT_WORDS = "udp, tcp or http, or with a port, http/8080";

const TIMEOUT_MS = 5000;
/** The server answers nothing, and that is not waited for longer. */
const ANSWER_MS = 1000;

/** Reads `tcp`, or `http/8080`; null if it is none. */
export function parseTransport(words: string): Transport | null {
  const match = /^(udp|tcp|http)(?:\/(\d{1,5}))?$/.exec(words);
  if (!match) return null;
  const port = match[2] === undefined ? null : Number(match[2]);
  if (port !== null && (port < 1 || port > 65535)) return null;
  return { kind: match[1] as Transport["kind"], port };
}

/** Sends a packet by UDP from a socket, or in a connection of its own. Throws SystemError. */
export async function deliver(
  runtime: Runtime,
  socket: Datagrams,
  packet: Uint8Array<ArrayBuffer>,
  to: Endpoint,
  { kind }: Transport,
  { dialect }: { readonly dialect: DialectName },
): Promise<void> {
  if (kind === "udp") return await socket.send(packet, to);
  const stream = await runtime.connectStream(to, { timeoutMs: TIMEOUT_MS });
  const timeout = new AbortController();
  const late = runtime.sleep(ANSWER_MS, timeout.signal)
    .then(() => stream.close());
  try {
    const isText = dialect === "fwknop";
    await stream.write(
      kind === "tcp" ? packet : httpRequest(httpPath(packet, isText), to),
    );
    await stream.finish();
    // Until the server is done with it.
    while (await stream.read() !== null);
  } catch (error) {
    // A server that closes at once has the packet already.
    if (!(error instanceof SystemError)) throw error;
  } finally {
    timeout.abort();
    stream.close();
    await late;
  }
}

// fwknopd takes requests of fwknop's own client alone.
function httpRequest(path: string, to: Endpoint): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(
    `GET /${path} HTTP/1.1\r\nHost: ${formatEndpoint(to)}\r\n` +
      `User-Agent: Fwknop/2.6.10\r\nAccept: */*\r\nConnection: close\r\n\r\n`,
  );
}
