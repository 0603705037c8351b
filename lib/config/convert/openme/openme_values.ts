/** Ports and durations as openme's configuration writes them. */

import type { PortRange } from "../../../values/ports.ts";
import { MAX_SECONDS } from "../../../values/duration.ts";
import { isMapping } from "../../../values/mistake.ts";
import { parsePort } from "../foreign.ts";

const UNITS: Readonly<Record<string, number>> = {
  h: 3600,
  m: 60,
  s: 1,
  ms: 1e-3,
  us: 1e-6,
  "\u00b5s": 1e-6,
  "\u03bcs": 1e-6,
  ns: 1e-9,
};
const PART = /(\d+\.?\d*|\.\d+)(h|ms|[u\u00b5\u03bc]s|ns|m|s)/g;

/**
 * Reads `22/tcp`, `80` (both protocols), `8080-8090/udp`, or the older
 * `{port, proto}`; null if it is none.
 */
export function parseSpec(entry: unknown): PortRange[] | null {
  if (isMapping(entry)) {
    return parseSpec(`${entry.port}/${entry.proto ?? "tcp"}`);
  }
  const match = /^(\d+)(?:-(\d+))?(?:\/(tcp|udp))?$/i
    .exec(String(entry).trim());
  const first = match && parsePort(match[1]!);
  const last = match && parsePort(match[2] ?? match[1]!);
  if (!first || !last || last < first) return null;
  const protocols = match[3] === undefined
    ? ["tcp", "udp"] as const
    : [match[3].toLowerCase() as "tcp" | "udp"];
  return protocols.map((protocol) => ({ protocol, first, last }));
}

/** Reads a duration of Go, `30s` or `1h30m0s`, in seconds; null if it is none. */
export function goSeconds(text: string): number | null {
  const plain = text.replace(/^\+/, "");
  if (plain === "" || plain.replace(PART, "") !== "") return null;
  let seconds = 0;
  for (const [, value, unit] of plain.matchAll(PART)) {
    seconds += Number(value) * UNITS[unit!]!;
  }
  return seconds;
}

/**
 * Reads a duration of Go in whole seconds, rounded down but to at least one;
 * null for none, and for nothing at all, with which openme opens nothing.
 */
export function parseGoDuration(text: string): number | null {
  const seconds = goSeconds(text);
  if (!seconds || seconds > MAX_SECONDS) return null;
  return Math.max(1, Math.floor(seconds));
}
