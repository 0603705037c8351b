import type { Runtime } from "../../runtime/runtime.ts";
import { openKnocker } from "../../sequences/send.ts";
import { formatHit, type Hit, parseHit } from "../../sequences/sequence.ts";
import { isIpv4 } from "../../values/address.ts";
import {
  caught,
  failing,
  FailureError,
  OperatorError,
  orNull,
  UsageError,
} from "../../values/errors.ts";
import { COMMAND_NAMES } from "../../values/program.ts";
import { parseDuration } from "../../values/time.ts";
import { type Options, parseOptions } from "../command.ts";

export const help = `Usage:
    knock seq HOST PORT[/udp|/tcp] ... [OPTIONS]

Sends a port sequence, to this server or to knockd. A sequence is not
encrypted: anyone on the path can replay it.

Options:
    --delay DURATION    Pause between two packets, such as 250ms or 1s;
                        default: 100ms, so that they arrive in order.
    -u, --udp           Use UDP for every port.
    -4, --ipv4          Send only over IPv4.
    -6, --ipv6          Send only over IPv6.
    -v, --verbose       Print each packet.

PORT is 1 to 65535, TCP by default; 7000:udp, udp/7000 and names of
/etc/services work too, and so does the command line of knockd's client:
knock [-u] [-d MS] [-4|-6] [-v] HOST PORT[:udp|:tcp] ...

Exits with 0 if all packets were sent; no server replies to a sequence. Exits
with 1 if there is no route to HOST.

Example:
    $ knock seq gate.example.org 7000 8000/udp 9000
`;

/** The longest pause: milliseconds, one hour. */
const MAX_DELAY_MS = 3_600_000;

/** Where service names are, with their ports. */
const SERVICES = "/etc/services";

/** Runs `knock seq`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  return await knockAt(runtime, parseOptions(args, help), readDelay);
}

/** Knocks at every port in its turn, of the host before them. */
async function knockAt(
  runtime: Runtime,
  options: Options,
  readDelay: (text?: string) => number,
): Promise<number> {
  const [host, ...ports] = options.positionals;
  if (host === undefined) throw new UsageError("HOST is missing");
  if (ports.length === 0) throw new UsageError("PORT is missing");
  const delayMs = readDelay(options.value("delay"));
  const hits = readHits(runtime, ports, options.flag("udp"));
  const address = await resolveOnce(runtime, options, host);
  const knocker = await openKnocker(runtime, address);
  try {
    for (const [index, hit] of hits.entries()) {
      if (index > 0 && delayMs > 0) await runtime.sleep(delayMs);
      if (options.flag("verbose")) {
        runtime.out(`hitting ${hit.protocol} ${address}:${hit.port}\n`);
      }
      const what = `cannot knock at ${formatHit(hit)} of ${address}`;
      await failing(what, () => knocker.hit(hit));
    }
  } catch (error) {
    await knocker.close().catch(() => {});
    throw error;
  }
  const what = `cannot knock at ${address}`;
  await failing(what, () => knocker.close());
  return 0;
}

/** Reads ports, or throws a UsageError. */
function readHits(
  runtime: Runtime,
  texts: readonly string[],
  udp: boolean,
): Hit[] {
  return texts.map((text) => {
    const hit = parseHit(text) ?? serviceHit(runtime, text);
    if (hit) return udp ? { ...hit, protocol: "udp" } : hit;
    throw new UsageError(
      `PORT must be 1 to 65535, with /udp or /tcp behind it where needed, ` +
        `got "${text}"`,
      hintFor(text),
    );
  });
}

/** Most ports of a range that a hint writes out. */
const MAX_WRITTEN = 8;

/** Spelling that is accepted, for capitals, lists and ranges; undefined for other texts. */
function hintFor(text: string): string | undefined {
  const lower = text.toLowerCase();
  if (parseHit(lower)) return `write ${lower}`;
  const list = lower.split(/[,;]/).filter((one) => one !== "");
  if (/[,;]/.test(lower) && list.length > 0 && list.every(parseHit)) {
    return `separate the ports with spaces: ${list.join(" ")}`;
  }
  const [, first, last, protocol = ""] =
    /^(\d{1,5})[-:](\d{1,5})([:/](?:tcp|udp))?$/.exec(lower) ?? [];
  if (first === undefined) return undefined;
  const hint = "a sequence has no ranges: write each port";
  const count = Number(last) - Number(first) + 1;
  if (count < 2 || count > MAX_WRITTEN || !parseHit(last!)) return hint;
  const ports = Array.from(
    { length: count },
    (_, index) => `${Number(first) + index}${protocol}`,
  );
  return `${hint}: ${ports.join(" ")}`;
}

/** Milliseconds of a pause; by default one that keeps packets in order. */
function readDelay(text = "100ms"): number {
  const [, ms] = /^(\d{1,7})ms$/.exec(text) ?? [];
  const delayMs = Number(ms ?? (parseDuration(text) ?? Infinity) * 1000);
  if (delayMs <= MAX_DELAY_MS) return delayMs;
  throw new UsageError(
    `--delay must be a duration such as 250ms or 1s, at most 1h, ` +
      `got "${text}"`,
  );
}

/** The first address of a host, of the family that is wanted; throws a UsageError when both are. */
async function resolveOnce(
  runtime: Runtime,
  options: Options,
  host: string,
): Promise<string> {
  const [four, six] = [options.flag("ipv4"), options.flag("ipv6")];
  if (four && six) {
    throw new UsageError(`options "--ipv4" and "--ipv6" exclude each other`);
  }
  const bare = /^\[(.*)\]$/.exec(host)?.[1] ?? host;
  const found = await orNull(() => runtime.resolve(bare));
  const address = found?.find((one) => isIpv4(one) ? !six : !four);
  if (address !== undefined) return address;
  const kind = found && (four || six) ? `IPv${four ? 4 : 6} ` : "";
  throw new FailureError(`no ${kind}address for "${host}"`);
}

/** A hit at a service of /etc/services, such as `ssh` or `domain:udp`. */
function serviceHit(runtime: Runtime, text: string): Hit | null {
  const match = /^([A-Za-z][\w.+-]*)(?:[:/](tcp|udp))?$/.exec(text);
  if (!match || runtime.files.stat(SERVICES) === null) return null;
  const [, name, protocol = "tcp"] = match;
  for (const line of runtime.files.readText(SERVICES).split("\n")) {
    const [first, port, ...others] = line.replace(/#.*/, "").trim()
      .split(/\s+/);
    if (!port?.endsWith(`/${protocol}`)) continue;
    if (first === name || others.includes(name!)) return parseHit(port);
  }
  return null;
}

// The command line of knockd's own client: `knock HOST PORT[:PROTO] ...`.

/** Form of a port there, right or wrong: with a list or a range, too, for the error. */
const PORT = /^-?\d+([-,:]\w*)*$/;

/** A service's name in the place of a port. */
const NAME = /^[A-Za-z][\w.+-]*(:\w*)?$/;

/**
 * Runs a command line of knockd's client, and returns the exit status; null if
 * it is none: a host that is no command of ours, then ports, at least one of
 * them in digits.
 */
export function runDropIn(
  args: readonly string[],
  runtime: Runtime,
): Promise<number> | null {
  if (COMMAND_NAMES.includes(args[0] ?? "")) return null;
  const read = () => parseOptions(args.flatMap(apart), DROP_IN);
  const options = caught(OperatorError, read, () => null);
  const ports = options?.positionals.slice(1) ?? [];
  return options && ports.some((port) => PORT.test(port)) &&
      ports.every((port) => PORT.test(port) || NAME.test(port))
    ? knockAt(runtime, options, readDropInDelay)
    : null;
}

/** The same options, and the short name that the pause has there. */
const DROP_IN = help.replace("--delay", "-d, --delay");

/** Single-letter options written together, as getopt(3) takes them: `-vud50`. */
function apart(argument: string): string[] {
  const match = /^-([vu46]*)(?:(d)(.*))?$/.exec(argument);
  if (!match || argument === "-") return [argument];
  const [, flags = "", delay, ms = ""] = match;
  return [
    ...[...flags].map((flag) => `-${flag}`),
    ...(delay === undefined ? [] : ms === "" ? ["-d"] : [`--delay=${ms}`]),
  ];
}

function readDropInDelay(text = "0"): number {
  const delayMs = /^\d{1,7}$/.test(text) ? Number(text) : Infinity;
  if (delayMs <= MAX_DELAY_MS) return delayMs;
  throw new UsageError(
    `option "-d" must be milliseconds, 0 to ${MAX_DELAY_MS}, got "${text}"`,
  );
}
