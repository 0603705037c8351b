/**
 * etcd 3.4 and later as the engine of a fleet, through its JSON gateway: no
 * dependency, and the same in both runtimes. Numbers of 64 bits come as text,
 * keys and values as base64. A certificate's name is no user of etcd's there,
 * so a user has a token.
 * @module
 */

import type { Runtime } from "../../runtime/runtime.ts";
import { ifRefused } from "../../values/errors.ts";
import type {
  Along,
  Claim,
  EngineHealth,
  EngineSeen,
  FleetConfig,
  FleetEngine,
  FolderWatch,
  KeyValue,
  WatchedFolder,
} from "../fleet.ts";
import type { EngineMarks } from "../mark.ts";
import type { EngineWatch } from "../watch.ts";
import { EtcdCalls } from "./calls.ts";
import { healthOf } from "./health.ts";
import { EtcdLeases } from "./leases.ts";
import { pagesOf, watchEtcd } from "./watch.ts";
import { type EtcdAnswer, pairsOf, textOf } from "./wire.ts";

/** Longest wait for a claim, milliseconds: an election takes about three seconds. */
const CLAIM_MS = 4000;
/** Longest wait for any other write. */
const PUT_MS = 6000;

/** An etcd cluster. */
export class EtcdEngine implements FleetEngine {
  readonly name = "etcd";
  readonly seen: EngineSeen;
  readonly #runtime: Runtime;
  readonly #calls: EtcdCalls;
  readonly #prefix: string;
  readonly #leases: EtcdLeases;
  readonly #watches = new Set<EngineWatch>();
  /** The lease of the key that is kept alive. */
  #beat: string | null = null;
  /** The last heartbeat that arrived. */
  #fence: Fence | null = null;

  /** Throws SystemError for certificates that are none. */
  constructor(runtime: Runtime, config: FleetConfig, marks: EngineMarks) {
    this.#runtime = runtime;
    this.#prefix = `${config.prefix}/`;
    this.seen = marks;
    this.#calls = new EtcdCalls(runtime, config, marks);
    this.#leases = new EtcdLeases(this.#calls, runtime);
    marks.forget = () => {
      this.#leases.clear();
      this.#fence = null;
      for (const watch of this.#watches) watch.restart();
    };
  }

  async claim(
    key: string,
    value: string,
    liveMs: number,
    along: Along | null = null,
  ): Promise<Claim> {
    const untilMs = this.#runtime.monotonicMs() + CLAIM_MS;
    const claimed = { key, value, liveMs };
    const fence = this.#fence;
    return await ifRefused<Promise<Claim>, Claim>(async () => {
      const done = along && fence &&
        await this.#create(claimed, untilMs, { ...along, fence });
      return done ?? await this.#create(claimed, untilMs) ??
        { state: "unknown", why: "an answer without a key" };
    }, ({ message }) => ({ state: "unknown", why: message }));
  }

  /**
   * Creates a key, and sets others along with it behind a fence. Null: nothing
   * was done, and will not be. Throws SystemError.
   */
  async #create(
    { key, value, liveMs }: { key: string; value: string; liveMs: number },
    untilMs: number,
    along: Along & { readonly fence: Fence } | null = null,
  ): Promise<Claim | null> {
    const name = this.#key(key);
    const unchanged = along && {
      ...{ key: along.fence.key, target: "MOD", result: "EQUAL" },
      mod_revision: along.fence.revision,
    };
    // Linear in etcd: of all that create a key, one finds it absent.
    const write = ([own, others]: readonly string[]) => ({
      compare: [created(name, "EQUAL"), ...unchanged ? [unchanged] : []],
      success: [
        { request_put: this.#pair(key, value, own) },
        ...along?.pairs.map(({ key, value }) => ({
          request_put: this.#pair(key, value, others),
        })) ?? [],
      ],
      failure: [{ request_range: { key: name } }],
    });
    const answer = await this.#leases.under(
      along ? [liveMs, along.liveMs] : [liveMs],
      untilMs,
      (...leases) => this.#calls.call("kv/txn", write(leases), untilMs),
    );
    const ours = { state: "ours", along: along !== null } as const;
    if (answer.succeeded === true) return ours;
    const [response] = answer.responses as EtcdAnswer[] ?? [];
    const [found] = pairsOf(response?.response_range as EtcdAnswer);
    if (!found) return null;
    const holder = textOf(found.value);
    // An earlier try was carried out, and its answer lost.
    return holder === value ? ours : { state: "taken", holder };
  }

  async put(
    key: string,
    value: string,
    liveMs: number | null,
    onlyIfThere = false,
  ): Promise<void> {
    const untilMs = this.#runtime.monotonicMs() + PUT_MS;
    const lives = liveMs === null ? [] : [liveMs];
    await this.#leases.under(lives, untilMs, (lease) => {
      const pair = this.#pair(key, value, lease);
      if (!onlyIfThere) return this.#calls.call("kv/put", pair, untilMs);
      const compare = [created(pair.key, "GREATER")];
      const update = { compare, success: [{ request_put: pair }] };
      return this.#calls.call("kv/txn", update, untilMs);
    });
  }

  async beat(key: string, value: string, liveMs: number): Promise<void> {
    const untilMs = this.#runtime.monotonicMs() + PUT_MS;
    const call = (path: string, body: object) =>
      this.#calls.call(path, body, untilMs);
    if (this.#beat !== null) {
      const { result } = await call("lease/keepalive", { ID: this.#beat });
      if ((result as { TTL?: string })?.TTL === undefined) this.#beat = null;
    }
    const TTL = String(Math.ceil(liveMs / 1000));
    this.#beat ??= String((await call("lease/grant", { TTL })).ID);
    const pair = this.#pair(key, value, this.#beat);
    try {
      const { header } = await call("kv/put", pair);
      const revision = header?.revision;
      this.#fence = revision === undefined ? null : { key: pair.key, revision };
    } catch (error) {
      this.#beat = null;
      this.#fence = null;
      throw error;
    }
    this.#leases.keepReady(untilMs);
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
    const pages = pagesOf(this.#calls, this.#prefix, name);
    for await (const { changes } of pages) yield changes;
  }

  watch(folders: readonly WatchedFolder[]): FolderWatch {
    const watch = watchEtcd(
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

  #pair(key: string, value: string, lease: string | undefined) {
    return { key: this.#key(key), value: btoa(value), ...lease && { lease } };
  }
}

/** Compares whether a key, as etcd has it, is absent ("EQUAL") or there ("GREATER"): its creation with revision 0. */
function created(key: string, result: "EQUAL" | "GREATER") {
  return { key, target: "CREATE", result, create_revision: "0" };
}

/** A heartbeat in etcd: its key as etcd has it, and the revision in which it was written. */
interface Fence {
  readonly key: string;
  readonly revision: string;
}
