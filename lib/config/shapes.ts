/** Shapes of values that stand in several places of `server.yaml`. */

import { parseDuration } from "../values/duration.ts";
import { parsePortRange, type PortRange } from "../values/ports.ts";
import type { Argv } from "./config.ts";
import { list, type Schema, text } from "../values/schema.ts";

/** What clients, services, commands and sequences may be called. */
export const NAME = {
  pattern: /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
  wanted: `1 to 64 letters, digits, ".", "_" or "-" with a letter or digit ` +
    `first`,
} as const;

/** Any text but an empty one. */
export const words: Schema<string> = text(
  "text",
  (value) => value === "" ? null : value,
  { json: { minLength: 1 } },
);

/** A program and its arguments. */
export const argv = list(words) as Schema<readonly string[]> as Schema<Argv>;

/** What may be opened: ports, or the name of a service, looked up later. */
export const opening: Schema<PortRange | string> = text<PortRange | string>(
  "a service's name, tcp/PORT or udp/PORT",
  (value) =>
    value.includes("/")
      ? parsePortRange(value)
      : NAME.pattern.test(value)
      ? value
      : null,
);

/** A duration in seconds, at least 1. */
export function duration(most?: number): Schema<number> {
  const wanted = `a duration such as 30s, 5m or 8h, at least 1s` +
    (most === undefined ? "" : ` and at most ${most}s`);
  return text(wanted, (value) => {
    const seconds = parseDuration(value);
    return seconds === null || seconds < 1 || seconds > (most ?? Infinity)
      ? null
      : seconds;
  });
}
