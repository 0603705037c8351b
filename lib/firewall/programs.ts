/** What a grant says to a program: `{address}` in its arguments, KNOCK_ADDRESS in its environment. */

import { isIpv4 } from "../values/address.ts";
import { formatPortRange } from "../values/ports.ts";
import type { Grant } from "./firewall.ts";

/** The placeholders, as they stand between braces. */
export const PLACEHOLDERS: readonly string[] = [
  "client",
  "address",
  "family",
  "protocol",
  "port",
  "ports",
  "seconds",
  "until",
];

/** The value of each placeholder: `port` is 22 or 8000-8010, `ports` tcp/22, `until` RFC 3339. */
export function describeGrant(
  { client, address, ports, untilMs }: Grant,
  nowMs: number,
): Record<string, string> {
  const { protocol, first, last } = ports;
  return {
    client,
    address,
    family: isIpv4(address) ? "ipv4" : "ipv6",
    protocol,
    port: first === last ? `${first}` : `${first}-${last}`,
    ports: formatPortRange(ports),
    seconds: `${Math.max(0, Math.ceil((untilMs - nowMs) / 1000))}`,
    until: new Date(untilMs).toISOString(),
  };
}

/** Puts the values in place, each within its one argument. */
export function fillIn(
  argv: readonly string[],
  values: Readonly<Record<string, string>>,
): string[] {
  return argv.map((argument) =>
    argument.replace(
      PLACEHOLDER,
      (whole, name: string) =>
        Object.hasOwn(values, name) ? values[name]! : whole,
    )
  );
}

/**
 * The placeholders of a program and its arguments that nothing will be put in
 * for: unknown ones, and any in the program's own name.
 */
export function unknownPlaceholders(argv: readonly string[]): string[] {
  return argv.flatMap((argument, index) =>
    [...argument.matchAll(PLACEHOLDER)]
      .filter(([, name]) => index === 0 || !PLACEHOLDERS.includes(name!))
      .map(([whole]) => whole)
  );
}

/** The known placeholders in a program and its arguments. */
export function knownPlaceholders(argv: readonly string[]): string[] {
  return argv.flatMap((argument) =>
    [...argument.matchAll(PLACEHOLDER)]
      .filter(([, name]) => PLACEHOLDERS.includes(name!))
      .map(([whole]) => whole)
  );
}

/** A word in braces; behind a dollar it is a shell's own. */
const PLACEHOLDER = /(?<!\$)\{(\w+)\}/g;

/** The values as environment variables: KNOCK_CLIENT, KNOCK_ADDRESS, … */
export function toEnvironment(
  values: Readonly<Record<string, string>>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      `KNOCK_${name.toUpperCase()}`,
      value,
    ]),
  );
}
