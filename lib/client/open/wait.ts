/** Waiting until a port lets this client in, which no reply is proof of. */

import {
  type Runtime,
  type Stream,
  SystemError,
} from "../../runtime/runtime.ts";
import type { PortRange } from "../../values/ports.ts";

/** How long a port is waited for. */
export const OPEN_WAIT_MS = 10_000;

/**
 * How long the first attempts wait; each further one waits twice as long, so
 * that a firewall which opens late is found soon, and a far server at all.
 */
const FIRST_ATTEMPT_MS = 300;

/** The pause after attempts that were refused at once. */
const PAUSE_MS = 100;

/** How long each further address of a server waits for the one before (RFC 8305 §5). */
const STAGGER_MS = 250;

/** A port of a server, at the addresses that its name has. */
export interface Door {
  readonly addresses: readonly string[];
  readonly port: number;
}

/** What came of waiting: a connection, or the system's word to the last attempt. */
export type Entrance =
  | { readonly ok: true; readonly stream: Stream }
  | { readonly ok: false; readonly why: string; readonly refused: boolean };

/** The first single TCP port of these; null where there is none. */
export function firstTcpPort(ports: readonly PortRange[]): number | null {
  const found = ports.find(({ protocol }) => protocol === "tcp");
  return found?.first ?? null;
}

/** Connects again and again until the port accepts, or the time is over. Never throws. */
export async function connectWhenOpen(
  runtime: Runtime,
  door: Door,
  withinMs = OPEN_WAIT_MS,
): Promise<Entrance> {
  const endMs = runtime.monotonicMs() + withinMs;
  for (let attemptMs = FIRST_ATTEMPT_MS;; attemptMs *= 2) {
    const leftMs = endMs - runtime.monotonicMs();
    const entrance = await connectOnce(
      runtime,
      door,
      Math.max(Math.min(attemptMs, leftMs), 1),
    );
    if (entrance.ok) return entrance;
    if (runtime.monotonicMs() + PAUSE_MS >= endMs) return entrance;
    await runtime.sleep(PAUSE_MS);
  }
}

/** Connects once to each address, one after the other but not waiting for it; the first that accepts counts. */
export async function connectOnce(
  runtime: Runtime,
  { addresses, port }: Door,
  timeoutMs: number,
): Promise<Entrance> {
  const found = new AbortController();
  const attempts = addresses.map(async (host, index) => {
    if (index > 0) await runtime.sleep(index * STAGGER_MS, found.signal);
    if (found.signal.aborted) throw new SystemError("", "not needed");
    const stream = await runtime.connectStream({ host, port }, { timeoutMs });
    if (!found.signal.aborted) {
      found.abort();
      return stream;
    }
    stream.close();
    throw new SystemError("", "not needed");
  });
  try {
    return { ok: true, stream: await Promise.any(attempts) };
  } catch (error) {
    const errors = error instanceof AggregateError ? error.errors : [error];
    const unexpected = errors.find((one) => !(one instanceof SystemError));
    if (unexpected !== undefined) throw unexpected;
    const refused = errors.find(({ code }) => code === "ECONNREFUSED");
    return {
      ok: false,
      why: (refused ?? errors[0])?.message ?? "the server has no address",
      refused: refused !== undefined,
    };
  }
}
