/**
 * etcd 3.4 and later as the engine of a fleet, through its JSON gateway: no
 * dependency, and the same in both runtimes. Numbers of 64 bits come as text,
 * keys and values as base64. A certificate's name is no user of etcd's there,
 * so a user has a token.
 * @module
 */

import type { Runtime } from "../../runtime/runtime.ts";
import { SystemError } from "../../values/errors.ts";
import type {
  Claim,
  EngineHealth,
  EngineMark,
  FleetConfig,
  FleetEngine,
  FolderWatch,
  KeyValue,
  WatchedFolder,
} from "../fleet.ts";
import { EtcdCalls } from "./calls.ts";
import { healthOf } from "./health.ts";
import { EtcdWatch, pagesOf } from "./watch.ts";
import { type EtcdAnswer, EtcdError, pairsOf, textOf } from "./wire.ts";

/** Longest wait for a claim, milliseconds: an election takes about three seconds. */
const CLAIM_MS = 4000;
/** Longest wait for any other write. */
const PUT_MS = 6000;
/** Time that the keys of one lease share, milliseconds: a lease costs a write. */
const SHARED_MS = 60_000;

/** An etcd cluster. */
export class EtcdEngine implements FleetEngine {
  readonly name = "etcd";
  readonly #runtime: Runtime;
  readonly #calls: EtcdCalls;
  readonly #prefix: string;
  /** Leases by the minute of the monotonic clock in which they end. */
  readonly #leases = new Map<number, Promise<string>>();
  readonly #watches = new Set<EtcdWatch>();
  /** The lease of the key that is kept alive. */
  #beat: string | null = null;

  /**
   * `known` is the mark of an earlier process; `replaced` is called when the
   * data is other than before. Throws SystemError for certificates that are none.
   */
  constructor(
    runtime: Runtime,
    config: FleetConfig,
    known: EngineMark | null,
    replaced: () => void,
  ) {
    this.#runtime = runtime;
    this.#prefix = `${config.prefix}/`;
    this.#calls = new EtcdCalls(runtime, config, known, () => {
      this.#leases.clear();
      for (const watch of this.#watches) watch.restart();
      replaced();
    });
  }

  get mark(): EngineMark | null {
    return this.#calls.mark;
  }

  get aheadMs(): number | null {
    return this.#calls.aheadMs;
  }

  async claim(key: string, value: string, liveMs: number): Promise<Claim> {
    const name = this.#key(key);
    const untilMs = this.#runtime.monotonicMs() + CLAIM_MS;
    // Linear in etcd: of all that create a key, one finds it absent.
    const write = (lease: string) => ({
      compare: [{
        ...{ key: name, target: "CREATE", result: "EQUAL" },
        create_revision: "0",
      }],
      success: [{ request_put: { key: name, value: btoa(value), lease } }],
      failure: [{ request_range: { key: name } }],
    });
    try {
      const answer = await this.#leased(
        liveMs,
        untilMs,
        (lease) => this.#calls.call("kv/txn", write(lease), untilMs),
      );
      if (answer.succeeded === true) return { state: "ours" };
      const [response] = answer.responses as EtcdAnswer[] ?? [];
      const [found] = pairsOf(response?.response_range as EtcdAnswer);
      if (!found) return { state: "unknown", why: "an answer without a key" };
      const holder = textOf(found.value);
      // An earlier try was carried out, and its answer lost.
      return holder === value ? { state: "ours" } : { state: "taken", holder };
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      return { state: "unknown", why: error.message };
    }
  }

  async put(key: string, value: string, liveMs: number | null): Promise<void> {
    const untilMs = this.#runtime.monotonicMs() + PUT_MS;
    const pair = { key: this.#key(key), value: btoa(value) };
    if (liveMs === null) await this.#calls.call("kv/put", pair, untilMs);
    else {
      await this.#leased(
        liveMs,
        untilMs,
        (lease) => this.#calls.call("kv/put", { ...pair, lease }, untilMs),
      );
    }
  }

  async beat(key: string, value: string, liveMs: number): Promise<void> {
    const untilMs = this.#runtime.monotonicMs() + PUT_MS;
    const TTL = String(Math.ceil(liveMs / 1000));
    const call = this.#calls.call.bind(this.#calls);
    if (this.#beat !== null) {
      const { result } = await call(
        "lease/keepalive",
        { ID: this.#beat },
        untilMs,
      );
      if ((result as { TTL?: string })?.TTL === undefined) this.#beat = null;
    }
    this.#beat ??= String((await call("lease/grant", { TTL }, untilMs)).ID);
    const lease = this.#beat;
    try {
      await call(
        "kv/put",
        { key: this.#key(key), value: btoa(value), lease },
        untilMs,
      );
    } catch (error) {
      this.#beat = null;
      throw error;
    }
  }

  async drop(key: string): Promise<boolean> {
    const { deleted } = await this.#calls.call("kv/deleterange", {
      key: this.#key(key),
    });
    return Number(deleted ?? 0) > 0;
  }

  async get(key: string): Promise<string | null> {
    const answer = await this.#calls.call("kv/range", { key: this.#key(key) });
    const [found] = pairsOf(answer);
    return found ? textOf(found.value) : null;
  }

  async *list(name: string): AsyncIterable<readonly KeyValue[]> {
    const folder = { prefix: this.#prefix, name };
    for await (const { pairs } of pagesOf(this.#calls, folder)) yield pairs;
  }

  watch(folders: readonly WatchedFolder[]): FolderWatch {
    const watch = new EtcdWatch(
      this.#calls,
      this.#runtime,
      this.#prefix,
      folders,
    );
    this.#watches.add(watch);
    return watch;
  }

  health(): Promise<EngineHealth> {
    return healthOf(this.#calls, this.#prefix);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#watches].map((watch) => watch.stop()));
    this.#calls.close();
  }

  #key(key: string): string {
    return btoa(this.#prefix + key);
  }

  /** Writes under a lease that lives for so long; under a new one where etcd has lost it. */
  async #leased<T>(
    liveMs: number,
    untilMs: number,
    write: (lease: string) => Promise<T>,
  ): Promise<T> {
    for (let tries = 0;; tries++) {
      const nowMs = this.#runtime.monotonicMs();
      const minute = Math.ceil((nowMs + liveMs) / SHARED_MS) + 1;
      const known = this.#leases.get(minute);
      const lease = known ?? this.#grant(minute, nowMs, untilMs);
      try {
        return await write(await lease);
      } catch (error) {
        const isGone = error instanceof EtcdError && error.kind === "lease";
        if (this.#leases.get(minute) === lease) this.#leases.delete(minute);
        if (!isGone || tries > 0) throw error;
      }
    }
  }

  /** Grants a lease that ends with a minute of the monotonic clock, and keeps it. */
  #grant(minute: number, nowMs: number, untilMs: number): Promise<string> {
    for (const old of this.#leases.keys()) {
      if (old * SHARED_MS < nowMs) this.#leases.delete(old);
    }
    const TTL = String(Math.ceil((minute * SHARED_MS - nowMs) / 1000));
    const lease = this.#calls.call("lease/grant", { TTL }, untilMs)
      .then(({ ID }) => String(ID));
    this.#leases.set(minute, lease);
    return lease;
  }
}
