import type { Runtime } from "../../runtime/runtime.ts";
import { parseAddress } from "../../values/address.ts";
import { parseBase64 } from "../../values/bytes.ts";
import { failing, UsageError } from "../../values/errors.ts";
import { formatJson } from "../../values/text.ts";
import { parseTime } from "../../values/time.ts";
import { type Options, parseOptions, takePositionals } from "../command.ts";
import { explainer } from "./explain.ts";

export const help = `Usage:
    knock decode [--config FILE] [--profiles FILE] [--at TIME] [--from ADDRESS]
                 [--hex|--base64|--raw]

Explains a packet on stdin as one JSON object: its dialect, what it asks for,
and why it would be refused. Use it if a client says "sent" and the server's
log says nothing. Opens and records nothing.

Options:
    -c, --config FILE  The server's configuration; or set KNOCK_CONFIG.
    --profiles FILE    The client's profiles: they show which server a packet
                       is for, but only that server can open it.
    --at TIME          Clock to judge by: Unix milliseconds, or a time such as
                       2026-11-21T14:05:00Z. Default: now.
    --from ADDRESS     Source address of the packet.
    --hex, --base64, --raw
                       Encoding of the packet. Default: detected, and printed
                       as "encoding".
    --json             Print errors as JSON on stdout, too; all else is anyway.

"verdict" is "request", or the first refusal by the packet's form, keys and
time: form, length, version, tag, mac, noise, unknown_client, signature,
cipher, payload, time. "would" is the decision of the client's policy. "steps"
lists each check in order. With profiles alone, "verdict" is "sealed" if all is
right that a client can check.

Exit status: 0 for a request, 1 for all else, 2 for a usage error.

Example:
    # tcpdump -i any -c 1 -w - udp port 62201 | tail -c 216 | knock decode
    { "dialect": "knock", "verdict": "time", "client": "phone", ... }
`;

/** Most bytes of standard input: the largest packet, in hexadecimal, with room. */
const MAX_INPUT = 65_536;

/** Runs `knock decode`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, help);
  takePositionals(options, []);
  const asked = read(
    options,
    "at",
    "Unix milliseconds or a time such as 2026-11-21T14:05:00Z",
    (words) => /^\d{1,15}$/.test(words) ? Number(words) : parseTime(words),
  );
  const source = read(options, "from", "an IP address", parseAddress);
  const explainAt = explainer(runtime, options, source);
  const readings = await readInput(runtime, options);
  // Only now: a pipe from tcpdump has to wait for the packet.
  const nowMs = asked ?? runtime.nowMs();
  const explain = await explainAt(nowMs);
  const explained = await Promise.all(readings.map(async (reading) => ({
    ...reading,
    ...await explain(reading.packet),
  })));
  const [best] = explained.sort((a, b) => b.rank - a.rank);
  const { encoding, packet, shown } = best!;
  const at = new Date(nowMs).toISOString();
  const all = { ...shown, encoding, size: packet.length, at };
  runtime.out(formatJson(all, 2) + "\n");
  return shown.verdict === "request" ? 0 : 1;
}

/** The value of an option; null where it is absent. */
function read<T>(
  options: Options,
  name: string,
  wanted: string,
  parse: (words: string) => T | null,
): T | null {
  const words = options.value(name);
  if (words === undefined) return null;
  const value = parse(words);
  if (value !== null) return value;
  throw new UsageError(`--${name} must be ${wanted}, got "${words}"`);
}

/** The packet, in the encoding that was chosen, or in every one that may be meant. */
async function readInput(runtime: Runtime, options: Options) {
  const [encoding, another] = ENCODINGS.filter((name) => options.flag(name));
  if (another) {
    throw new UsageError(`--${encoding} and --${another} exclude each other`);
  }
  if (runtime.isTerminal("in")) {
    runtime.err("paste a packet in hexadecimal or base64, then type Ctrl-D\n");
  }
  const input = await failing(
    ({ message }) =>
      new UsageError(`standard input must be one packet: ${message}`),
    () => runtime.readStdin(MAX_INPUT),
  );
  if (input.length === 0) {
    throw new UsageError(
      "there is no packet on standard input",
      "knock decode < FILE",
    );
  }
  if (!encoding) return readEveryWay(input);
  const packet = READERS[encoding](input);
  if (packet) return [{ encoding, packet }];
  throw new UsageError(
    `standard input must be ${encoding} with --${encoding}, got "${input.length}" other bytes`,
    "without it, the encoding is found out",
  );
}

/** Bytes that an input is, or stands for; null if it is not written so. */
const READERS = {
  hex: parseHex,
  base64: parseAnyBase64,
  raw: (input: Uint8Array) => input,
} as const;

const ENCODINGS = ["hex", "base64", "raw"] as const;

/**
 * Every way in which the input may be meant, the likeliest first: a packet of
 * fwknop's is itself base64, and may end in a newline that is not its own.
 */
function readEveryWay(input: Uint8Array) {
  const ways = [
    { encoding: "hex", packet: parseHex(input) },
    { encoding: "base64", packet: parseAnyBase64(input) },
    { encoding: "raw", packet: withoutNewline(input) },
    { encoding: "raw", packet: input },
  ];
  return ways.flatMap(({ encoding, packet }) =>
    packet && packet.length > 0 ? [{ encoding, packet }] : []
  );
}

/** The text of ASCII without white space; "" if it is none. */
function textOf(input: Uint8Array): string {
  const text = new TextDecoder("latin1").decode(input);
  return /^[\t-\r -~]*$/.test(text) ? text.replace(/\s+/g, "") : "";
}

/** Hexadecimal, also as `a5:23:30` or `0xa52330`. */
function parseHex(input: Uint8Array): Uint8Array | null {
  const digits = textOf(input).replace(/^0x/i, "").replaceAll(":", "");
  if (digits.length % 2 !== 0 || !/^[0-9a-f]+$/i.test(digits)) return null;
  return Uint8Array.fromHex(digits);
}

/** base64 or base64url, with padding or without. */
function parseAnyBase64(input: Uint8Array): Uint8Array | null {
  const bare = textOf(input).replace(/=+$/, "").replaceAll("-", "+")
    .replaceAll("_", "/");
  return bare ? parseBase64(bare, { padding: "any" }) : null;
}

function withoutNewline(input: Uint8Array): Uint8Array | null {
  if (input.at(-1) !== 0x0a) return null;
  return input.subarray(0, input.at(-2) === 0x0d ? -2 : -1);
}
