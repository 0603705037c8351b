/**
 * The second third of a packet's way: a request is judged and recorded in one
 * synchronous step, before the next one is looked at. Nothing in here waits.
 * Protocol, "The order of judging", steps 6 to 8.
 * @module
 */

import type { Client } from "../../config/config.ts";
import type { PolicyRefusal, Request } from "../../dialects/dialect.ts";
import { MAX_WAITING } from "../grants/queue.ts";
import {
  type Change,
  type Decision,
  entriesOf,
  type PendingChange,
  record,
} from "../grants/records.ts";
import {
  explainRefusal,
  explainSkew,
  stateTrouble,
  type Subject,
} from "../report/log.ts";
import { codeIdentity } from "../state/replay.ts";
import { clientOf, type Server } from "../state/server.ts";
import { takenAddresses } from "./forwarding.ts";
import { isClientAddress, isTimely, judge, type Verdict } from "./judge.ts";
import { CodeGuard } from "./limits.ts";

/** Time for which the system's list of interfaces is reused, milliseconds. */
const TAKEN_MS = 1000;

/** Request that the judge refused. */
interface Refused {
  readonly ok: false;
  readonly why: PolicyRefusal;
  /** True if the refusal goes into the history and the log. */
  readonly reported: boolean;
}

/** Decides on an authentic request; what passes is recorded already. Null is silence: a stamp out of time, a replay. */
export function decide(
  server: Server,
  request: Request,
  source: string,
  nowMs: number,
): Decision | null {
  const { store, counters, events, limit, queue, active } = server;
  const client = clientOf(server, request.client);
  if (!client) return silence(server, "unknown client");
  const address = request.address ?? source;
  const { dialect, command, ports } = request;
  const who = { client: client.name, dialect, address };
  const asked: Subject = { ...who, command, ports, seconds: 0 };
  const { maxSkewMs } = active.config;

  // Step 6.
  if (
    !isTimely(request, nowMs, maxSkewMs) ||
    store.replay.isForgotten(request.timestampMs)
  ) {
    // A copy of an old packet comes here, too, from any source.
    if (limit.tells(client.name, "time", nowMs)) {
      const words = explainSkew(request.timestampMs - nowMs);
      events.say("warn", "refused", asked, words);
    }
    return silence(server, "time");
  }

  // Step 7: in memory first, so that a copy is a replay whatever fails below.
  const untilMs = request.timestampMs + maxSkewMs;
  if (!store.replay.note(request.identity, untilMs)) {
    return silence(server, "replay");
  }
  if (queue.isFull(client.name)) {
    counters.add("failed: busy");
    if (limit.tells(client.name, "policy", nowMs)) {
      const words = `${MAX_WAITING} of its requests wait already`;
      events.say("error", "failed", asked, words);
    }
    return { ok: false, status: "failed", address };
  }

  // Step 7 in the file, and step 8: all of it is recorded, or nothing.
  try {
    const decided = store.transaction(() => {
      if (!store.replay.record(request.identity, untilMs)) return null;
      return judgeAndRecord(server, request, client, source, asked, nowMs);
    });
    if (!decided) return silence(server, "replay");
    if (decided.ok) return decided;
    counters.add(`refused: ${decided.why}`);
    if (decided.reported) {
      const words = explainRefusal(decided.why, address);
      events.say("warn", "refused", asked, words);
    }
    return { ok: false, status: "refused", reason: decided.why, address };
  } catch (error) {
    return fail(server, asked, error);
  }
}

/**
 * Decides on what a complete port sequence does: no policy refuses it.
 * `note` records what belongs to it, in the same transaction. `once` is what a
 * fleet claims for a sequence that can be used once; null of any other.
 */
export function admit(
  server: Server,
  change: Omit<Change, "before">,
  note: () => void,
  nowMs: number,
  once: OneTime | null = null,
): Decision {
  const { store, counters, events, limit } = server;
  const { client, address } = change;
  if (!isClientAddress(address, address, { taken: takenOf(server) })) {
    counters.add("refused: address");
    if (limit.tells(client, "policy", nowMs)) {
      events.say("warn", "refused", change, explainRefusal("address", address));
    }
    return { ok: false, status: "refused", address };
  }
  if (server.fleet && once && !change.inKernel) {
    const { identity, burn } = once;
    const claim = { identity, client, timestampMs: null, taken: burn };
    const claims = [{ ...claim, of: "packet" as const }];
    return { ok: true, pending: { change, claims, note, decidedMs: nowMs } };
  }
  try {
    return store.transaction(() => {
      note();
      return { ok: true, change: record(server, change, nowMs) };
    });
  } catch (error) {
    return fail(server, change, error);
  }
}

/** A sequence that can be used once. */
export interface OneTime {
  readonly identity: Uint8Array;
  /** Records that it was used, on another gateway. Throws SystemError. */
  readonly burn: () => void;
}

/** Step 8, and the record of its verdict: within the transaction of step 7. */
function judgeAndRecord(
  server: Server,
  request: Request,
  client: Client,
  source: string,
  asked: Subject,
  nowMs: number,
): Decision & { ok: true } | Refused {
  const verdict = judgeWithCode(server, request, client, source, nowMs);
  if (!verdict.ok) return refuse(server, client, asked, verdict.why, nowMs);
  const { address, ports, to, command: run, seconds, codeStep } = verdict;
  const { action, identity, timestampMs } = request;
  const capped = action === "open" &&
    seconds < (request.seconds || client.forSeconds);
  const granted = { action, address, ports, to, run, seconds, capped };
  const reported = asked.address;
  const change = { ...asked, ...granted, inKernel: false, reported };
  // Of hosts behind this machine, none may be of this IP version.
  if (action === "open" && entriesOf(server, change, nowMs).length === 0) {
    return refuse(server, client, asked, "nothing to open", nowMs);
  }
  if (!server.fleet) {
    return { ok: true, change: record(server, change, nowMs) };
  }
  const claim = { client: client.name, timestampMs };
  const claims: PendingChange["claims"][number][] = [
    { ...claim, identity, of: "packet" },
  ];
  if (codeStep !== null) {
    const identity = codeIdentity(client.name, codeStep);
    claims.push({ ...claim, identity, of: "code" });
  }
  const note = () => {};
  return { ok: true, pending: { change, claims, note, decidedMs: nowMs } };
}

/** Records a refusal by policy, if it is reported. */
function refuse(
  server: Server,
  client: Client,
  asked: Subject,
  why: PolicyRefusal,
  nowMs: number,
): Refused {
  const reported = server.limit.tells(client.name, "policy", nowMs);
  if (reported) {
    const words = explainRefusal(why, asked.address);
    server.events.remember("refused", asked, words);
  }
  return { ok: false, why, reported };
}

/** Step 8, with all that a one-time code needs besides. */
function judgeWithCode(
  server: Server,
  request: Request,
  client: Client,
  source: string,
  nowMs: number,
): Verdict {
  const { runtime, store, active: { config } } = server;
  const codes = new CodeGuard(store);
  const { name } = client;
  const isTry = client.code !== null && request.code !== null;
  if (isTry && !codes.mayTry(name, nowMs)) {
    return { ok: false, why: "code tries" };
  }
  const named = request.forward || request.target !== undefined;
  const ownAddresses = named ? runtime.ownAddresses() : [];
  const machine = { ...config, ownAddresses, taken: takenOf(server) };
  const verdict = judge(request, client, source, nowMs, machine);
  if (isTry && !verdict.ok && verdict.why === "code") {
    codes.noteWrong(name, nowMs);
  }
  if (!verdict.ok || verdict.codeStep === null) return verdict;
  return codes.use(name, verdict.codeStep, config.maxSkewMs, nowMs)
    ? verdict
    : { ok: false, why: "code used" };
}

/** Addresses that no client has, looked up once a second at most. */
export function takenOf(server: Server): ReadonlySet<string> {
  const { runtime, taken } = server;
  const nowMs = runtime.monotonicMs();
  if (nowMs - taken.readMs < TAKEN_MS) return taken.addresses;
  const addresses = takenAddresses(runtime.ownNetworks());
  server.taken = { addresses, readMs: nowMs };
  return addresses;
}

function silence({ counters }: Server, why: string): null {
  counters.add(`refused: ${why}`);
  return null;
}

/** Fails a request that cannot be recorded, so that it is not carried out. */
function fail(
  { counters, events }: Server,
  asked: Subject,
  error: unknown,
): Decision {
  const words = stateTrouble(error);
  counters.add("failed: state");
  events.say("error", "failed", asked, words);
  return { ok: false, status: "failed", address: asked.address };
}
