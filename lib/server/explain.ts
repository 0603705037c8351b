/** Explanation of how the server would treat a packet, and of its verdict, for `knock decode`. Records nothing. */

import type { Client, Config } from "../config/config.ts";
import type {
  Dialect,
  DialectName,
  PacketRefusal,
  PolicyRefusal,
  Request,
  Scene,
} from "../dialects/dialect.ts";
import type { Explanation, Step } from "../dialects/keys.ts";
import { formatPrefix } from "../values/address.ts";
import type { PortRange } from "../values/ports.ts";
import { isTimely, judge } from "./packet/judge.ts";
import { explainRefusal, explainSkew, formatPorts } from "./report/log.ts";
import { createDialects, DIALECT_NAMES, DIALECTS } from "../dialects/table.ts";

/** Explains a packet by a configuration. Never throws because of the packet. */
export async function explainPacket(
  config: Config,
  packet: Uint8Array,
  circumstances: ExplainOptions,
): Promise<Explained> {
  const { nowMs } = circumstances;
  // A copy of what was accepted is a request, too: it is said further down.
  const scene = { nowMs, seen: () => false, mayCost: () => true };
  const dialects = await createDialects(config);
  const explained = await Promise.all(
    dialects.filter((one) => one.recognises(packet))
      .map((dialect) => explainBy(config, dialect, packet, scene)),
  );
  const best = explained.sort((a, b) => rank(b) - rank(a))[0] ??
    await explainForm(config, dialects, packet, scene);
  return explainJudgement(config, best, circumstances);
}

/** Number of checks that a packet passed, for comparing the results of several dialects. */
export function rank(
  { dialect, verdict, client, steps }: Omit<Explained, "would">,
): number {
  const right = steps.filter(({ ok }) => ok).length;
  return (verdict === "request" ? 1000 : 0) + (client === null ? 0 : 100) +
    (dialect === null ? 0 : 1) + right;
}

async function explainBy(
  config: Config,
  { name }: Dialect,
  packet: Uint8Array,
  scene: Scene,
): Promise<PacketExplanation> {
  const { explain } = await DIALECTS[name].explain();
  return { dialect: name, ...explain(config, packet, scene) };
}

/** A packet that no dialect in use recognises. */
async function explainForm(
  config: Config,
  dialects: readonly Dialect[],
  packet: Uint8Array,
  scene: Scene,
): Promise<PacketExplanation> {
  const used = dialects.map(({ name }) => name);
  for (const other of DIALECT_NAMES) {
    if (used.includes(other)) continue;
    const { hasForm } = await DIALECTS[other].explain();
    if (!hasForm(packet)) continue;
    const keyless = config.clients.some((client) => client[other] !== null);
    const text = `has the form of a packet of ${other}, ` +
      (keyless
        ? "for which this server has no key yet: `knock serve` makes it"
        : "which no client of this configuration uses");
    return { ...nobody("form"), dialect: other, steps: [{ ok: false, text }] };
  }
  // With a single dialect it is clear what was wanted.
  if (dialects.length === 1) {
    const explanation = await explainBy(config, dialects[0]!, packet, scene);
    return { ...explanation, dialect: null };
  }
  const among = used.length === 0 ? "no client has keys" : used.join(", ");
  const text =
    `${packet.length} bytes: it has the form of no dialect that is in use ` +
    `(${among})`;
  return { ...nobody("form"), dialect: null, steps: [{ ok: false, text }] };
}

function nobody(verdict: PacketRefusal) {
  return { verdict, client: null, request: null, fields: null };
}

/** With its dialect; null: it has the form of none. */
type PacketExplanation = Explanation & { readonly dialect: DialectName | null };

/** Verdict that the judge would give. */
export type Would =
  | {
    readonly ok: true;
    /** Null: the source of the packet, which was not given. */
    readonly address: string | null;
    readonly ports: readonly PortRange[];
    readonly seconds: number;
  }
  | { readonly ok: false; readonly why: PolicyRefusal | "replay" };

export interface Explained extends Omit<PacketExplanation, "verdict"> {
  /** The first refusal of its form, its proof and its time. */
  readonly verdict: "request" | "time" | PacketRefusal;
  /** Null where there is no request to be judged. */
  readonly would: Would | null;
}

/** The world that a packet is explained in. */
interface ExplainOptions {
  /** Unix milliseconds. */
  readonly nowMs: number;
  /** Source of the packet, canonical; null if unknown. */
  readonly source: string | null;
  /** Returns true if an identity was accepted before; null if the record cannot be read. */
  readonly seen: ((identity: Uint8Array) => boolean) | null;
}

/** Adds the judge's checks, step by step. */
function explainJudgement(
  config: Config,
  explained: PacketExplanation,
  circumstances: ExplainOptions,
): Explained {
  const { request } = explained;
  const client = config.clients.find(({ name }) => name === request?.client);
  if (!request || !client) return { ...explained, would: null };
  const { nowMs } = circumstances;
  const timely = isTimely(request, nowMs, config.maxSkewMs);
  const time = {
    ok: timely,
    text: explainSkew(request.timestampMs - nowMs) +
      (timely ? "" : `: more than max_skew, ${config.maxSkewMs / 1000} s`),
  };
  const copy = circumstances.seen?.(request.identity) ?? null;
  const would: Would = copy
    ? { ok: false, why: "replay" }
    : tryJudge(config, request, client, circumstances);
  const { verdict } = explained;
  return {
    ...explained,
    verdict: verdict === "request" && !timely ? "time" : verdict,
    steps: [
      ...explained.steps,
      time,
      stepOfReplay(copy),
      ...stepsOfPolicy(request, client, circumstances.source, would),
    ],
    would,
  };
}

function tryJudge(
  config: Config,
  request: Request,
  client: Client,
  { source, nowMs }: ExplainOptions,
): Would {
  const from = source ?? request.address;
  // The machine's addresses may be others where this is asked.
  const named = [request.forward?.host, request.target];
  const ownAddresses = named.filter((address) => address !== undefined);
  const machine = { ...config, ownAddresses, taken: new Set<string>() };
  if (from !== null) return judge(request, client, from, nowMs, machine);
  // Where it came from is not known, so it cannot be held against `from`.
  const anywhere = { ...client, from: null };
  // A documentation address (RFC 5737): any will do.
  const verdict = judge(request, anywhere, "192.0.2.1", nowMs, machine);
  return verdict.ok ? { ...verdict, address: null } : verdict;
}

function stepOfReplay(copy: boolean | null): Step {
  if (copy === null) {
    return { ok: true, text: "whether it was accepted before is not known" };
  }
  return copy
    ? { ok: false, text: "it was accepted before: a copy is refused" }
    : { ok: true, text: "it was not accepted before" };
}

function stepsOfPolicy(
  request: Request,
  client: Client,
  source: string | null,
  would: Would,
): Step[] {
  const steps: Step[] = [];
  if (source === null && request.address === null && client.from !== null) {
    const allowed = client.from.map(formatPrefix).join(", ");
    const text =
      `it may come from ${allowed}: --from ADDRESS says where it did`;
    steps.push({ ok: true, text });
  }
  if (would.ok) {
    const what = [
      request.action,
      request.command ?? formatPorts(would.ports),
      `for ${would.address ?? "its source"}`,
      would.seconds > 0 ? `for ${would.seconds} s` : "",
    ].filter(Boolean).join(" ");
    const text = `the policy of "${client.name}" lets it: ${what}`;
    return [...steps, { ok: true, text }];
  }
  if (would.why === "replay") return steps;
  const text = `the policy of "${client.name}" refuses it: ` +
    explainRefusal(would.why, request.address ?? source ?? undefined) +
    cure(request, client, would.why);
  return [...steps, { ok: false, text }];
}

/** Request and policy side by side, for refusals that depend on both. */
function cure(request: Request, client: Client, why: PolicyRefusal): string {
  const { hours, expiresMs, from, run } = client;
  const open = formatPorts(client.open) || "nothing";
  const facts: Partial<Record<PolicyRefusal, string>> = {
    ports: `wants ${formatPorts(request.ports)}; may open ${open}`,
    hours: `${hours?.text}`,
    expired: new Date(expiresMs ?? 0).toISOString(),
    source: `${from?.map(formatPrefix).join(", ")}`,
    command: `wants "${request.command}"; may run ${
      run.join(", ") || "nothing"
    }`,
  };
  return facts[why] === undefined ? "" : ` (${facts[why]})`;
}
