/** The options that the client's commands share, and what they mean; the knock itself. */

import {
  knock,
  type Recipient,
  type UnaddressedRequest,
} from "../../client/knock/knock.ts";
import {
  answerFacts,
  expectDone,
  outcomeFacts,
} from "../../client/knock/outcome.ts";
import { DEFAULT_TRIES, type SendOptions } from "../../client/knock/send.ts";
import {
  parseTransport,
  TRANSPORT_WORDS,
} from "../../client/knock/transport.ts";
import type { Done } from "../../client/open/opening.ts";
import { findProfile } from "../../client/profile/file.ts";
import {
  ASK_CODE,
  parseFrom,
  type Profile,
} from "../../client/profile/profile.ts";
import { profilesFile } from "../../config/files/places.ts";
import { parseCode } from "../../dialects/crypto/codes.ts";
import type { Answer } from "../../dialects/dialect.ts";
import { MAX_PORTS } from "../../dialects/knock1/items.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { UsageError } from "../../values/errors.ts";
import {
  formatPortRange,
  parsePortRange,
  portHint,
  type PortRange,
} from "../../values/ports.ts";
import { counted, formatJson } from "../../values/text.ts";
import { type Options, readDuration } from "../command.ts";

const MAX_TRIES = 10;

/** Options of every command that sends a packet, as its help declares them. */
export const SENDING =
  `    --tries N          Packets to send until a reply comes, 1 to 10;
                       default: 3.
    --transport HOW    udp, tcp or http, or with another port, http/8080;
                       default: the profile's, or udp. There are no replies
                       over tcp and http.
    --code CODE        The one-time code, if the server requires one; default:
                       from the profile's secret, or typed.
    -4, --ipv4         Knock only over IPv4.
    -6, --ipv6         Knock only over IPv6.
    --profiles FILE    The file of profiles; or set KNOCK_PROFILES.`;

/** Profile and ways of sending of a command. */
interface SendingOptions {
  readonly profile: Profile;
  readonly sending: SendOptions;
}

/** Request to a profile's server, and how to knock for it. */
export type Asked = Omit<Done, "knocked">;

/**
 * The profile of a name, from the file that `--profiles` or the environment
 * says, and what `--tries`, `--transport`, `--no-reply`, `-4` and `-6` say.
 */
export function askedServer(
  runtime: Runtime,
  options: Options,
  name: string,
): SendingOptions {
  const reply = !options.flag("no-reply");
  const sending = { ...readSending(options), reply };
  const file = profilesFile(runtime, options.value("profiles"));
  return { profile: findProfile(runtime, file, name), sending };
}

/** The opening of these ports that is asked for. */
export function askedOpening(
  runtime: Runtime,
  options: Options,
  { profile, sending }: SendingOptions,
  ports: readonly PortRange[],
): Asked {
  const request = {
    action: "open",
    ports,
    command: null,
    seconds: readDuration(options, "for") ?? profile.seconds,
    code: askedCode(runtime, options, profile),
  } as const;
  const whom = readRecipient(options, profile);
  const knocking = { ...sending, ...whom, both: options.flag("both") };
  return { profile, request, knocking };
}

/** Knocks for it; the knock, when, and its facts for JSON. Throws FailureError if it was not done. */
export async function knockDone(runtime: Runtime, asked: Asked) {
  const { profile, request, knocking } = asked;
  const knocked = await knock(runtime, profile, request, knocking);
  const nowMs = runtime.nowMs();
  const { outcome, also, without } = knocked;
  const answer = expectDone(profile, request, outcome, nowMs);
  const facts = {
    ...outcomeFacts(profile, request, outcome, nowMs),
    ...also && { also: answerFacts(request, also.answer, nowMs) },
    ...without !== null && { without },
  };
  return { ...asked, knocked, nowMs, answer, facts };
}

function readSending(options: Options): SendOptions {
  const words = options.value("tries") ?? String(DEFAULT_TRIES);
  const tries = Number(words);
  if (!/^\d{1,2}$/.test(words) || tries < 1 || tries > MAX_TRIES) {
    throw new UsageError(
      `--tries must be 1 to ${MAX_TRIES}, got "${words}"`,
    );
  }
  if (options.flag("ipv4") && options.flag("ipv6")) {
    throw new UsageError("options -4 and -6 exclude each other");
  }
  const family = options.flag("ipv4")
    ? "IPv4"
    : options.flag("ipv6")
    ? "IPv6"
    : undefined;
  const way = options.value("transport");
  const transport = way === undefined ? undefined : parseTransport(way);
  if (transport !== null) return { tries, family, transport };
  throw new UsageError(`--transport must be ${TRANSPORT_WORDS}, got "${way}"`);
}

/** The ports of `--open`, given several times or with commas; the profile's where it is absent. */
export function askedPorts(
  options: Options,
  profile: Profile,
): readonly PortRange[] {
  const words = options.list("open").flatMap((list) => list.split(","));
  if (words.length === 0) return profile.open;
  const ports = words.map(readPort).filter((port, index, all) =>
    all.findIndex((other) =>
      formatPortRange(other) === formatPortRange(port)
    ) === index
  );
  if (ports.length <= MAX_PORTS) return ports;
  throw new UsageError(
    `--open takes at most ${MAX_PORTS} ports, got ${ports.length}`,
    "without --open, all that this client may open is opened",
  );
}

/**
 * Reads the address to open for: from `--from`, or the profile; a remembered
 * one may be named where neither says.
 */
function readRecipient(options: Options, profile: Profile): Recipient {
  const words = options.value("from");
  if (words === undefined) {
    return { from: profile.from, mayGuess: profile.from === "source" };
  }
  const from = parseFrom(words);
  if (from !== null) return { from, mayGuess: false };
  throw new UsageError(
    `--from must be an address, source or resolve, got "${words}"`,
  );
}

/**
 * The one-time code of `--code`, or what is typed where the profile says to
 * ask; null = the profile's own secret makes it, or none is wanted. Throws
 * UsageError where there is nobody to ask.
 */
export function askedCode(
  runtime: Runtime,
  options: Options,
  profile: Profile,
): number | null {
  const given = options.value("code");
  if (given !== undefined) return readCode("--code", given);
  if (profile.code !== ASK_CODE) return null;
  const typed = runtime.prompt("one-time code:");
  if (typed !== null) return readCode("the one-time code", typed.trim());
  throw new UsageError(
    `profile "${profile.name}" needs a one-time code, and there is no ` +
      "terminal to ask for it",
    "give the six digits that the authenticator app shows: --code 123456",
  );
}

// The words are not repeated: they may be a password in the wrong place.
function readCode(what: string, words: string): number {
  const code = parseCode(words);
  if (code !== null) return code;
  throw new UsageError(
    `${what} must be the six digits that the authenticator app shows, ` +
      `got ${counted(words.length, "character")}`,
  );
}

function readPort(words: string): PortRange {
  const port = parsePortRange(words);
  if (port) return port;
  throw new UsageError(
    `--open must be tcp/PORT or udp/PORT, got "${words}"`,
    portHint(words) ??
      "write tcp/22; a service's name is known on the server alone",
  );
}

/** Prints what became of a knock as one JSON object on a line. */
export function printFacts(
  runtime: Runtime,
  facts: Readonly<Record<string, unknown>>,
): void {
  runtime.out(`${formatJson({ ok: true, ...facts })}\n`);
}

// Orders that open nothing: `knock close` and `knock run`.

/**
 * Knocks for what is ordered, and prints JSON with `--json`. Returns the answer
 * if it is to be shown: on a terminal, without `--quiet` and `--json`; null
 * otherwise, or if no answer was wanted. Throws FailureError if it was not done.
 */
export async function order(
  runtime: Runtime,
  options: Options,
  { profile, sending }: SendingOptions,
  ordered: Pick<UnaddressedRequest, "action" | "ports" | "command">,
): Promise<Answer | null> {
  const code = askedCode(runtime, options, profile);
  const request = { ...ordered, seconds: 0, code };
  const whom = { ...readRecipient(options, profile), mayGuess: false };
  const knocking = { ...sending, ...whom };
  const asked = { profile, request, knocking };
  const { answer, facts } = await knockDone(runtime, asked);
  if (options.flag("json")) {
    printFacts(runtime, facts);
    return null;
  }
  return !options.flag("quiet") && runtime.isTerminal("out") ? answer : null;
}
