/** Names and pages of the Internet, by node: modules and fetch in Deno and Bun. */

import process from "node:process";
import { parseAddress } from "../values/address.ts";
import { translatingAsync } from "./errors.ts";
import { type FetchOptions, type LookUp, SystemError } from "./runtime.ts";

/** Asks one name server for a name's addresses of one family, canonical. */
export function lookUp(
  name: string,
  { server, port, family, timeoutMs }: LookUp,
): Promise<string[]> {
  return translatingAsync(async () => {
    const dns = process.getBuiltinModule("node:dns");
    const resolver = new dns.promises.Resolver({
      timeout: timeoutMs,
      tries: 1,
    });
    resolver.setServers([
      server.includes(":") ? `[${server}]:${port}` : `${server}:${port}`,
    ]);
    const found = family === "IPv4"
      ? await resolver.resolve4(name)
      : await resolver.resolve6(name);
    return found.map((text) => parseAddress(text)).filter((at) => at !== null);
  });
}

/** Reads a page of at most so many bytes as text. */
export function fetchText(
  url: string,
  { timeoutMs, limit }: FetchOptions,
): Promise<string> {
  return translatingAsync(async () => {
    const signal = AbortSignal.timeout(timeoutMs);
    const response = await fetch(url, { signal, redirect: "error" })
      .catch((error) => {
        if (!signal.aborted) throw error;
        throw new SystemError("ETIMEDOUT", "no answer in time");
      });
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of response.body ?? []) {
      size += chunk.length;
      if (size > limit) {
        throw new SystemError("EFBIG", `more than ${limit} bytes`);
      }
      chunks.push(chunk);
    }
    if (!response.ok) throw new SystemError("", `status ${response.status}`);
    return Buffer.concat(chunks).toString();
  });
}
