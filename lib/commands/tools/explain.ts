/** Explanation of a packet as `knock decode` prints it: the server's, or a client's. */

import { readProfiles } from "../../client/profile/file.ts";
import { loadConfig } from "../../config/files/load.ts";
import {
  findConfig,
  needConfig,
  profilesFile,
} from "../../config/files/places.ts";
import type { Request } from "../../dialects/dialect.ts";
import type { NamedProfile, Recognised } from "../../dialects/keys.ts";
import { PACKET_SIZE } from "../../dialects/knock1/tag.ts";
import { DIALECT_NAMES, DIALECTS } from "../../dialects/table.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import {
  type Explained,
  explainPacket,
  rank,
  type Would,
} from "../../server/explain.ts";
import { explainRefusal } from "../../server/report/log.ts";
import { openExistingStore } from "../../server/state/store.ts";
import { formatEndpoint } from "../../values/address.ts";
import { FailureError, SystemError } from "../../values/errors.ts";
import { formatPortRange } from "../../values/ports.ts";
import { toIdentifier } from "../../values/text.ts";
import type { Options } from "../command.ts";

/**
 * The server's view where there is a configuration, else the client's: explains
 * packets at a time, Unix milliseconds. The most likely reading of the input
 * has the highest rank.
 */
export function explainer(
  runtime: Runtime,
  options: Options,
  source: string | null,
) {
  const named = options.value("config");
  const profiles = options.value("profiles");
  const file = named === undefined && profiles !== undefined
    ? null
    : findConfig(runtime, named);
  if (file !== null) {
    const config = loadConfig(runtime, file);
    return async (nowMs: number) => {
      const seen = await readRecord(runtime, config.state, nowMs);
      const circumstances = { nowMs, source, seen };
      return async (packet: Uint8Array) => {
        const explained = await explainPacket(config, packet, circumstances);
        return { rank: rank(explained), shown: show(explained) };
      };
    };
  }
  const found = readProfiles(runtime, profilesFile(runtime, profiles));
  // Says that there is no configuration, and where it was looked for.
  if (found.size === 0 && profiles === undefined) needConfig(runtime, named);
  // deno-lint-ignore require-await -- as with a server's configuration
  return async (nowMs: number) => async (packet: Uint8Array) => {
    const known = await recognisePacket([...found.values()], packet, nowMs);
    return {
      rank: known.steps.filter(({ ok }) => ok).length,
      shown: show({ ...known, client: null, fields: null, would: null }),
    };
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

/**
 * Looks at a packet with the servers' public keys, for the server that it is
 * for: only that server can open it. Never throws because of it.
 */
export async function recognisePacket(
  profiles: readonly NamedProfile[],
  packet: Uint8Array,
  nowMs: number,
): Promise<Recognised> {
  // Our own is last: its packets have any bytes, others begin with theirs.
  const [own, ...others] = DIALECT_NAMES;
  for (const name of [...others, own!]) {
    const { recognise } = await DIALECTS[name].explain();
    const found = recognise(profiles, packet, nowMs);
    if (!found) continue;
    if (found.verdict !== "sealed") return found;
    const text = "what it asks shows on the server alone: `knock decode` " +
      "there, or `knock log`";
    return { ...found, steps: [...found.steps, { ok: true, text }] };
  }
  const text = `has ${packet.length} bytes, and a knock has ${PACKET_SIZE}`;
  const steps = [{ ok: false, text }];
  const nobody = { dialect: null, profile: null, request: null };
  return { ...nobody, verdict: "length", steps };
}

function show(
  explained: Omit<Explained & Partial<Recognised>, "verdict"> & {
    readonly verdict: string;
  },
) {
  const { dialect, verdict, client, request, profile, would, fields, steps } =
    explained;
  return {
    dialect,
    verdict: toIdentifier(verdict),
    client,
    request: request && showRequest(request),
    ...profile !== undefined && { profile },
    would: would && showWould(would),
    ...fields && { fields },
    steps,
  };
}

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
    return { granted: { address, ports: ports.map(formatPortRange), seconds } };
  }
  const { why } = would;
  const reason = why === "replay"
    ? "it was accepted before"
    : explainRefusal(why);
  return { refused: toIdentifier(why), reason };
}
