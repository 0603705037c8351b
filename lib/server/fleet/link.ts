/**
 * The link to the engine: this gateway's heartbeat, whether it is cut off, and
 * how it compares with the others.
 * @module
 */

import type { Config } from "../../config/config.ts";
import { publicKeyOf } from "../../dialects/crypto/curve25519.ts";
import { sha256 } from "../../dialects/crypto/hash.ts";
import { FOLDERS } from "../../fleet/fleet.ts";
import { formatBase64url } from "../../values/bytes.ts";
import { ifRefused, orNull } from "../../values/errors.ts";
import { VERSION } from "../../values/program.ts";
import { formatDuration } from "../../values/time.ts";
import { attempt } from "../report/log.ts";
import type { FleetParts } from "./values.ts";

/** Interval of the heartbeat, and life of its key without it, milliseconds. */
export const BEAT_MS = 3000;
const BEAT_LIVE_MS = 10_000;
/** Difference of clocks that claims outlive, milliseconds. */
export const MARGIN_MS = 60_000;

/** Report of a gateway about itself. */
export interface GatewayValue {
  readonly version: string;
  /** Random, anew with each start. */
  readonly instance: string;
  /** Number of this heartbeat since then. */
  readonly beat: number;
  readonly sinceMs: number;
  /** Its clock when it wrote this. */
  readonly atMs: number;
  /** Revision of the engine that it has seen. */
  readonly revision: number;
  /** Time from its last heartbeat to its own hearing of it, milliseconds; null before the first. */
  readonly lagMs: number | null;
  readonly grants: number;
  /** Fingerprint of the server's public key. */
  readonly key: string;
  readonly maxSkewMs: number;
}

/** Fingerprint of a server's key, as gateways compare them. */
function fingerprintOf(privateKey: Uint8Array): string {
  return formatBase64url(sha256(publicKeyOf(privateKey)).subarray(0, 9));
}

/** Knows by a heartbeat whether the engine can be reached. */
export class Link {
  readonly #parts: FleetParts;
  /** Called after each heartbeat that arrived, with the time without the engine before it, milliseconds. */
  readonly #reached: (awayMs: number) => Promise<void>;
  /** Called after each heartbeat, whether it arrived or not. */
  readonly #told: () => void;
  readonly instance: string;
  #beating: Promise<void> | null = null;
  /** By the monotonic clock. */
  #answeredMs: number;
  #wasReached = false;
  /** Number of the last heartbeat that was sent. */
  beats = 0;
  /** As {@linkcode GatewayValue} has it. */
  lagMs: number | null = null;
  /** Since when, Unix milliseconds, and why the engine is out of reach; null: it answers. */
  cutOff: { readonly sinceMs: number; readonly why: string } | null = null;

  constructor(
    parts: FleetParts,
    reached: (awayMs: number) => Promise<void>,
    told: () => void,
  ) {
    const { runtime } = parts.server;
    this.#parts = parts;
    this.#reached = reached;
    this.#told = told;
    this.instance = formatBase64url(runtime.random(9));
    this.#answeredMs = runtime.monotonicMs();
  }

  get key(): string {
    return FOLDERS.gateways + this.#parts.config.name;
  }

  beat(): void {
    this.#beating ??= this.#tell().then(() => this.#told())
      .finally(() => this.#beating = null);
  }

  /** Resolves when no heartbeat is on its way. */
  async settled(): Promise<void> {
    await this.#beating;
  }

  async #tell(): Promise<void> {
    const { server, engine, values } = this.#parts;
    const { runtime, store, log, active: { config }, sinceMs } = server;
    const nowMs = runtime.nowMs();
    const value: GatewayValue = {
      version: VERSION,
      instance: this.instance,
      beat: ++this.beats,
      sinceMs,
      atMs: nowMs,
      revision: engine.seen.mark?.revision ?? 0,
      lagMs: this.lagMs,
      grants: store.ledger.countLive(nowMs),
      key: fingerprintOf(config.key),
      maxSkewMs: config.maxSkewMs,
    };
    const sealed = values.seal(this.key, value);
    await ifRefused(async () => {
      await engine.beat(this.key, sealed, BEAT_LIVE_MS);
      await attempt(log, () => this.#found());
    }, ({ message }) => this.#lost(message));
  }

  #lost(why: string): void {
    if (this.cutOff) return;
    const { runtime, log, store } = this.#parts.server;
    const { engine, without } = this.#parts.config;
    const awayMs = runtime.monotonicMs() - this.#answeredMs;
    const sinceMs = Math.round(runtime.nowMs() - awayMs);
    this.cutOff = { sinceMs, why };
    const effect = without === "refuse"
      ? "new knocks are refused"
      : store.fact("fleet news") === undefined
      ? "new knocks are refused until it has been reached once"
      : "knocks are accepted by the local record";
    const since = new Date(sinceMs).toISOString();
    log("error", `cut off from ${engine} since ${since}: ${why}; ${effect}`);
  }

  async #found(): Promise<void> {
    const { runtime, log } = this.#parts.server;
    const awayMs = runtime.monotonicMs() - this.#answeredMs;
    this.#answeredMs = runtime.monotonicMs();
    const was = this.cutOff;
    this.cutOff = null;
    if (was) {
      const seconds = Math.max(1, Math.round(awayMs / 1000));
      const { engine } = this.#parts.config;
      const words = `reached ${engine} again after ${formatDuration(seconds)}`;
      log("info", words);
    }
    const isFirst = was !== null || !this.#wasReached;
    this.#wasReached = true;
    // At once: what is refused from now on must not be told with a claim.
    await this.#reached(was ? awayMs : 0);
    if (isFirst) await orNull(() => this.#compare());
  }

  /** Logs in what this gateway differs from the others. */
  async #compare(): Promise<void> {
    const { server, engine, values } = this.#parts;
    const { log, runtime, active: { config } } = server;
    for await (const batch of engine.list(FOLDERS.gateways)) {
      for (const { key, value } of batch) {
        if (key === this.key || value === null) continue;
        const other = values.open(key, value) as GatewayValue | null;
        if (!other) continue;
        for (const words of differences(other, config, runtime.nowMs())) {
          log("warn", `${key.slice(FOLDERS.gateways.length)} ${words}`);
        }
      }
    }
  }
}

/** Differences between another gateway and this one that matter, a line each; null: its value is not this fleet's. */
export function differences(
  other: GatewayValue | null,
  own: Pick<Config, "key" | "maxSkewMs">,
  nowMs: number,
): string[] {
  if (other === null) return ["has another fleet.secret"];
  const lines: string[] = [];
  if (other.key !== fingerprintOf(own.key)) {
    lines.push(
      "has another server key: no client can knock at both; copy server.key",
    );
  }
  if (other.maxSkewMs !== own.maxSkewMs) {
    const theirs = formatDuration(Math.round(other.maxSkewMs / 1000));
    lines.push(`has another max_skew, ${theirs}`);
  }
  const apartMs = Math.abs(other.atMs - nowMs);
  if (apartMs > BEAT_LIVE_MS + MARGIN_MS) {
    const seconds = Math.round(apartMs / 1000);
    lines.push(`has a clock that is ${seconds} s apart from this machine's`);
  }
  return lines;
}
