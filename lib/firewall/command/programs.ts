/**
 * Programs of the configuration: argv, never a shell, and a limit of time. A
 * grant is passed to them as `{address}` in an argument and KNOCK_ADDRESS in the
 * environment.
 * @module
 */

import type { Runtime } from "../../runtime/runtime.ts";
import { isIpv4 } from "../../values/address.ts";
import { formatPortRange, portText } from "../../values/ports.ts";
import { escapeUnsafe } from "../../values/text.ts";
import type { Grant } from "../firewall.ts";
import { SystemError } from "../../values/errors.ts";

export const PLACEHOLDERS: readonly string[] = [
  "{client}",
  "{address}",
  "{family}",
  "{protocol}",
  "{port}",
  "{ports}",
  "{seconds}",
  "{until}",
];

/** The value of each placeholder: `port` is 22 or 8000-8010, `ports` tcp/22, `until` RFC 3339. */
export function describeGrant(
  { client, address, ports, untilMs }: Grant,
  nowMs: number,
): Record<string, string> {
  return {
    client,
    address,
    family: isIpv4(address) ? "ipv4" : "ipv6",
    protocol: ports.protocol,
    port: portText(ports),
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
    (argument.match(PLACEHOLDER) ?? [])
      .filter((one) => index === 0 || !PLACEHOLDERS.includes(one))
  );
}

export function knownPlaceholders(argv: readonly string[]): string[] {
  return argv.flatMap((argument) => argument.match(PLACEHOLDER) ?? [])
    .filter((one) => PLACEHOLDERS.includes(one));
}

/** A word in braces; behind a dollar it is a shell's own. */
const PLACEHOLDER = /(?<!\$)\{(\w+)\}/g;

/** Outcome of a program's run. */
interface Ended {
  /** Null when it ended with 0; else how it failed, in words that are safe in a log. */
  readonly failure: string | null;
  /** Output lines, standard output before standard error, safe in a log. */
  readonly lines: readonly string[];
}

/** A line's characters that are kept. */
const MAX_COLUMNS = 500;

/** Time for which a killed program's output may stay open: a child may have left its group. */
const GRACE_MS = 1000;

/** Runs a program for a grant, with its values in the placeholders' places. */
export function runForGrant(
  runtime: Runtime,
  argv: readonly string[],
  grant: Grant,
  nowMs: number,
  limitMs: number,
): Promise<Ended> {
  const values = describeGrant(grant, nowMs);
  return runProgram(runtime, fillIn(argv, values), values, limitMs);
}

/**
 * Runs a program to its end; after `limitMs` its whole process group is killed.
 * The values are added to the server's own environment: KNOCK_CLIENT,
 * KNOCK_ADDRESS, … Never throws SystemError: that is a failure, too.
 */
export async function runProgram(
  runtime: Runtime,
  argv: readonly string[],
  values: Readonly<Record<string, string>>,
  limitMs: number,
): Promise<Ended> {
  const env = Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      `KNOCK_${name.toUpperCase()}`,
      value,
    ]),
  );
  const late = `no end within ${limitMs / 1000} s`;
  const over = new AbortController();
  const startMs = runtime.monotonicMs();
  try {
    const ran = await Promise.race([
      runtime.run(argv, { env, timeoutMs: limitMs }),
      runtime.sleep(limitMs + GRACE_MS, over.signal).then(() => null),
    ]);
    if (ran === null) return { failure: late, lines: [] };
    const lines = printable(ran.stdout + ran.stderr);
    if (ran.code === 0) return { failure: null, lines };
    if (ran.code === null) {
      const killed = runtime.monotonicMs() - startMs >= limitMs;
      return { failure: killed ? late : "ended by a signal", lines };
    }
    const words = printable(ran.stderr).at(-1);
    const failure = `ended with ${ran.code}${words ? `: ${words}` : ""}`;
    return { failure, lines };
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    const failure = `cannot run "${argv[0]}": ${error.message}`;
    return { failure, lines: [] };
  } finally {
    over.abort();
  }
}

/** Lines of a program's output, control characters escaped. */
function printable(text: string): string[] {
  return text.split("\n").map((line) =>
    escapeUnsafe(line.slice(0, MAX_COLUMNS).trimEnd())
  ).filter(Boolean);
}
