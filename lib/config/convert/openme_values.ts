/** Ports and durations as openme's configuration writes them. */

import type { PortRange } from "../../values/ports.ts";
import { isMapping } from "../mistake.ts";
import { parsePort } from "./foreign.ts";

const UNITS = { h: 3600, m: 60, s: 1, ms: 1e-3, us: 1e-6, ns: 1e-9 } as const;

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

/** Reads a duration of Go, `30s` or `1h30m0s`, in whole seconds, at least one; null if it is none. */
export function parseGoDuration(text: string): number | null {
  if (!/^(\d+(\.\d+)?(h|ms|us|ns|m|s))+$/.test(text)) return null;
  let seconds = 0;
  for (const [, value, unit] of text.matchAll(/([\d.]+)(h|ms|us|ns|m|s)/g)) {
    seconds += Number(value) * UNITS[unit as keyof typeof UNITS];
  }
  return Math.max(1, Math.ceil(seconds));
}
