import { recognisePacket } from "../../client/explain.ts";
import { readProfiles } from "../../client/profile/file.ts";
import { loadConfig } from "../../config/files/load.ts";
import {
  findConfig,
  needConfig,
  profilesFile,
} from "../../config/files/places.ts";
import type { Request } from "../../dialects/dialect.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import {
  type Explained,
  explainPacket,
  rank,
  type Would,
} from "../../server/explain.ts";
import { explainRefusal } from "../../server/report/log.ts";
import { openExistingStore } from "../../server/state/store.ts";
import { formatEndpoint, parseAddress } from "../../values/address.ts";
import {
  failing,
  FailureError,
  SystemError,
  UsageError,
} from "../../values/errors.ts";
import { formatPortRange } from "../../values/ports.ts";
import { formatJson, toIdentifier } from "../../values/text.ts";
import { parseTime } from "../../values/time.ts";
import { type Options, parseOptions, takePositionals } from "../command.ts";
import {
  type Encoding,
  type PacketReading,
  readAs,
  readEveryWay,
} from "./packet_text.ts";

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

const ENCODINGS: readonly Encoding[] = ["hex", "base64", "raw"];

/** Runs `knock decode`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, help);
  takePositionals(options, []);
  const asked = readAt(options.value("at"));
  const source = readSource(options.value("from"));
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
  const size = packet.length;
  const at = new Date(nowMs).toISOString();
  const all = { ...shown, encoding, size, at };
  runtime.out(formatJson(all, 2) + "\n");
  return shown.verdict === "request" ? 0 : 1;
}

type Explain = (packet: Uint8Array) => Promise<{
  readonly rank: number;
  readonly shown: { readonly verdict: string };
}>;

/** The server's view where there is a configuration, else the client's. */
function explainer(
  runtime: Runtime,
  options: Options,
  source: string | null,
): (nowMs: number) => Promise<Explain> {
  const named = options.value("config");
  const profiles = options.value("profiles");
  const file = named === undefined && profiles !== undefined
    ? null
    : findConfig(runtime, named);
  if (file !== null) {
    const config = loadConfig(runtime, file);
    return async (nowMs) => {
      const seen = await readRecord(runtime, config.state, nowMs);
      return async (packet) => {
        const explained = await explainPacket(config, packet, {
          nowMs,
          source,
          seen,
        });
        return { rank: rank(explained), shown: showExplained(explained) };
      };
    };
  }
  const found = readProfiles(runtime, profilesFile(runtime, profiles));
  // Says that there is no configuration, and where it was looked for.
  if (found.size === 0 && profiles === undefined) needConfig(runtime, named);
  // deno-lint-ignore require-await -- as with a server's configuration
  return async (nowMs) => async (packet) => {
    const known = await recognisePacket([...found.values()], packet, nowMs);
    const { dialect, verdict, profile, steps } = known;
    const request = known.request && showRequest(known.request);
    const right = steps.filter(({ ok }) => ok).length;
    const shown = {
      ...{ dialect, verdict: toIdentifier(verdict), client: null },
      ...{ request, profile },
    };
    return { rank: right, shown: { ...shown, would: null, steps } };
  };
}

/** Looks an identity up in the server's record; null where that cannot be read. */
async function readRecord(
  runtime: Runtime,
  folder: string,
  nowMs: number,
): Promise<((identity: Uint8Array) => boolean) | null> {
  try {
    const store = await openExistingStore(runtime, folder);
    if (!store) return () => false;
    store.replay.begin(nowMs, false);
    store.close();
    return (identity) => store.replay.seen(identity);
  } catch (error) {
    // Not everybody who may look at a packet may look at the state.
    if (error instanceof FailureError || error instanceof SystemError) {
      return null;
    }
    throw error;
  }
}

async function readInput(
  runtime: Runtime,
  options: Options,
): Promise<readonly PacketReading[]> {
  const chosen = ENCODINGS.filter((name) => options.flag(name));
  if (chosen.length > 1) {
    throw new UsageError(
      `--${chosen[0]} and --${chosen[1]} exclude each other`,
    );
  }
  if (runtime.isTerminal("in")) {
    runtime.err("paste a packet in hexadecimal or base64, then type Ctrl-D\n");
  }
  const input = await readLimited(runtime);
  if (input.length === 0) {
    throw new UsageError(
      "there is no packet on standard input",
      "knock decode < FILE",
    );
  }
  const [encoding] = chosen;
  if (!encoding) return readEveryWay(input);
  const packet = readAs(encoding, input);
  if (packet) return [{ encoding, packet }];
  throw new UsageError(
    `standard input must be ${encoding} with --${encoding}, got "${input.length}" other bytes`,
    "without it, the encoding is found out",
  );
}

async function readLimited(runtime: Runtime): Promise<Uint8Array> {
  return await failing(
    ({ message }) =>
      new UsageError(`standard input must be one packet: ${message}`),
    () => runtime.readStdin(MAX_INPUT),
  );
}

function readAt(words: string | undefined): number | null {
  if (words === undefined) return null;
  const ms = /^\d{1,15}$/.test(words) ? Number(words) : parseTime(words);
  if (ms !== null) return ms;
  throw new UsageError(
    `--at must be Unix milliseconds or a time such as ` +
      `2026-11-21T14:05:00Z, got "${words}"`,
  );
}

function readSource(words: string | undefined): string | null {
  if (words === undefined) return null;
  const address = parseAddress(words);
  if (address !== null) return address;
  throw new UsageError(
    `--from must be an IP address, got "${words}"`,
  );
}

// Output of `knock decode` for an explanation.

/** An explanation as JSON that `knock decode` prints. */
function showExplained(explained: Explained) {
  const { dialect, verdict, client, request, would, fields, steps } = explained;
  return {
    dialect,
    verdict: toIdentifier(verdict),
    client,
    request: request && showRequest(request),
    would: would && showWould(would),
    ...fields && { fields },
    steps,
  };
}

/** A request as JSON. */
function showRequest(request: Request) {
  const { forward, user, target } = request;
  return {
    action: request.action,
    ports: request.ports.map(formatPortRange),
    command: request.command,
    seconds: request.seconds,
    timestamp_ms: request.timestampMs,
    address: request.address,
    reply_wanted: request.wantsReply,
    one_time_code_present: request.code !== null,
    ...forward && {
      forward: { kind: forward.kind, to: formatEndpoint(forward) },
    },
    ...user !== undefined && { user },
    ...target !== undefined && { target },
  };
}

function showWould(would: Would) {
  if (would.ok) {
    const { address, ports, seconds } = would;
    const granted = { address, ports: ports.map(formatPortRange), seconds };
    return { granted };
  }
  const { why } = would;
  const reason = why === "replay"
    ? "it was accepted before"
    : explainRefusal(why);
  return { refused: toIdentifier(why), reason };
}
