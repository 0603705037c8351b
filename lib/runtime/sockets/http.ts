/** Requests to an HTTP API, over what fetch has alike in Deno and Bun. */

import { systemError, translating, translatingAsync } from "../errors.ts";
import type { HttpClient } from "../runtime.ts";
import { readText } from "../shared.ts";
import { connectionFailure, SystemError } from "../../values/errors.ts";

/** Options of a runtime's fetch that carry the certificates. */
interface Connecting {
  readonly init: RequestInit;
  close(): void;
}

/** Makes a client; `connect` throws for certificates that are none. */
export function httpClient(connect: () => Connecting): HttpClient {
  const { init, close } = translating(connect);
  const request = (
    url: string,
    body: string,
    authorization: string | null,
    signal: AbortSignal,
  ) =>
    fetch(url, {
      ...init,
      method: "POST",
      body,
      signal,
      redirect: "error",
      headers: {
        "content-type": "application/json",
        ...(authorization !== null && { authorization }),
      },
    }).catch((error) => {
      throw signal.aborted ? error : connectionError(error);
    });
  return {
    post: (url, body, { timeoutMs, limit, authorization }) =>
      translatingAsync(async () => {
        const signal = AbortSignal.timeout(timeoutMs);
        try {
          const response = await request(url, body, authorization, signal);
          const date = Date.parse(response.headers.get("date") ?? "");
          return {
            status: response.status,
            text: await readText(response, limit),
            dateMs: Number.isNaN(date) ? null : date,
          };
        } catch (error) {
          if (!signal.aborted || error instanceof SystemError) throw error;
          throw new SystemError("ETIMEDOUT", "no answer in time");
        }
      }),
    async *stream(url, body, { authorization, signal }) {
      try {
        const response = await request(url, body, authorization, signal);
        if (response.status !== 200) {
          const text = await readText(response, MAX_COMPLAINT);
          throw new SystemError("", text || `status ${response.status}`);
        }
        for await (const chunk of response.body ?? []) yield chunk;
      } catch (error) {
        if (!signal.aborted) throw systemError(error);
      }
    },
    close,
  };
}

/** Most bytes that are read of an answer that refuses a stream. */
const MAX_COMPLAINT = 4096;

/** The cause of a failed connection, without fetch's words around it. */
function connectionError(error: unknown): SystemError {
  const found = systemError(error);
  const { cause } = error as { cause?: unknown };
  const text = cause instanceof Error ? cause.message : found.message;
  return connectionFailure(`${found.code} ${found.message} ${text}`) ??
    // The last clause.
    new SystemError(found.code, found.message.split(": ").slice(-2).join(": "));
}
