/** The demo's service and its visitor: a line of text over TCP. */

import type { Runtime, Stream } from "../../runtime/runtime.ts";
import { parseEndpoint } from "../../values/address.ts";

/** Text that the hidden service sends. */
const GREETING = "hello from the hidden service";

/** Longest wait of a visitor: a dropped packet is never answered. */
const PATIENCE_MS = 700;

/** Serves the greeting at an endpoint until the process is ended. */
export async function listen(runtime: Runtime, at: string): Promise<number> {
  await serveGreeting(runtime, at);
  runtime.out("ready\n");
  return await new Promise(() => {});
}

/** Serves the greeting at an endpoint in this process. */
export async function serveGreeting(runtime: Runtime, at: string) {
  return await runtime.listenStream(
    parseEndpoint(at)!,
    async (connection: Stream) => {
      try {
        await connection.write(new TextEncoder().encode(GREETING));
        await connection.finish();
      } catch {
        connection.close(); // the visitor went away
      }
    },
  );
}

/** Prints the text that an endpoint sends; the exit status is 1 when it sends nothing. */
export async function greet(runtime: Runtime, to: string): Promise<number> {
  const heard = await hear(runtime, to);
  if (heard !== null) runtime.out(heard);
  return heard === null ? 1 : 0;
}

/** Reads the text that an endpoint sends; null when it cannot be reached or sends nothing. */
export async function hear(
  runtime: Runtime,
  to: string,
): Promise<string | null> {
  try {
    const connection = await runtime.connectStream(parseEndpoint(to)!, {
      timeoutMs: PATIENCE_MS,
    });
    const bytes = await connection.read();
    connection.close();
    return bytes && new TextDecoder().decode(bytes);
  } catch {
    return null;
  }
}
