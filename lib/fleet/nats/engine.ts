/**
 * NATS JetStream 2.11 and later as the engine of a fleet: a key-value bucket,
 * which `nats kv` shows, too. A claim is a message that is taken only where its
 * subject has none, with a life of its own.
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import type { Runtime } from "../../runtime/runtime.ts";
import { caught, ifRefused } from "../../values/errors.ts";
import type {
  Claim,
  EngineHealth,
  EngineSeen,
  EngineServer,
  FleetConfig,
  FleetEngine,
  FolderWatch,
  KeyValue,
  WatchedFolder,
} from "../fleet.ts";
import type { EngineMarks } from "../mark.ts";
import type { EngineWatch } from "../watch.ts";
import { NatsCalls, TRY_MS } from "./calls.ts";
import { settingsThatLose, type StreamSettings } from "./settings.ts";
import { DROPPED_LIVE_MS, watchNats, wholeOf } from "./watch.ts";
import {
  keyName,
  type NatsAnswer,
  NatsError,
  natsError,
  oldVersion,
  type Written,
} from "./wire.ts";

/** Longest wait for a claim, milliseconds: an election takes some seconds. */
const CLAIM_MS = 4000;
/** Pause before a claim is tried again that another try stands in the way of, milliseconds. */
const PAUSE_MS = 50;

/** Nothing is set along with a claim: a batch of messages is of NATS 2.12. */
const OURS: Claim = { state: "ours", along: false };

/** A bucket of a NATS cluster. */
export class NatsEngine implements FleetEngine {
  readonly name = "nats";
  readonly seen: EngineSeen;
  readonly #runtime: Runtime;
  readonly #calls: NatsCalls;
  readonly #watches = new Set<EngineWatch>();

  constructor(runtime: Runtime, config: FleetConfig, marks: EngineMarks) {
    this.#runtime = runtime;
    this.seen = marks;
    this.#calls = new NatsCalls(runtime, config, marks);
    marks.forget = () => {
      for (const watch of this.#watches) watch.restart();
    };
  }

  async claim(key: string, value: string, liveMs: number): Promise<Claim> {
    const untilMs = this.#runtime.monotonicMs() + CLAIM_MS;
    const written = { key, value, liveMs, isNew: true };
    return await ifRefused<Promise<Claim>, Claim>(async () => {
      while (true) {
        const create = () => this.#write(written, untilMs);
        if (await unless("taken", create, null) !== null) return OURS;
        const holder = await this.#get(key, untilMs);
        if (holder !== null) {
          // An earlier try was carried out, and its answer lost.
          return holder === value ? OURS : { state: "taken", holder };
        }
        // It is being written, or has died of its age.
        if (this.#runtime.monotonicMs() + PAUSE_MS >= untilMs) {
          return { state: "unknown", why: "no answer in time" };
        }
        await this.#runtime.sleep(PAUSE_MS);
      }
    }, ({ message }) => ({ state: "unknown", why: message }));
  }

  async put(
    key: string,
    value: string,
    liveMs: number | null,
    onlyIfThere = false,
  ): Promise<void> {
    if (onlyIfThere && await this.get(key) === null) return;
    await this.#write({ key, value, liveMs });
  }

  async beat(key: string, value: string, liveMs: number): Promise<void> {
    await this.#write({ key, value, liveMs });
    // The bucket may be another one by now, and the clocks apart.
    await this.#calls.call((connection, timeoutMs) =>
      this.#calls.look(connection, timeoutMs)
    );
  }

  async drop(key: string): Promise<boolean> {
    if (await this.get(key) === null) return false;
    await this.#write({
      ...{ key, value: "", liveMs: DROPPED_LIVE_MS, isDrop: true },
    });
    return true;
  }

  get(key: string): Promise<string | null> {
    return unless("missing", () => this.#get(key), null);
  }

  async *list(name: string): AsyncIterable<readonly KeyValue[]> {
    const isThere = await unless(
      "missing",
      () => this.#calls.call(() => Promise.resolve(true)),
      false,
    );
    if (!isThere) return;
    const whole = wholeOf(this.#calls, this.#runtime, name);
    for await (const { changes } of whole) yield changes;
  }

  watch(folders: readonly WatchedFolder[]): FolderWatch {
    const watch = watchNats(this.#calls, this.#runtime, folders);
    this.#watches.add(watch);
    return watch;
  }

  async health(): Promise<EngineHealth> {
    const looks = await Promise.all(
      this.#calls.servers.map((address) => this.#look(address)),
    );
    const servers = looks.map(({ server }) => server);
    const found = looks.find(({ bucket }) => bucket)?.bucket;
    const bucket = this.#calls.stream;
    if (!found) {
      const isAnswered = servers.some(({ trouble }) => trouble === null);
      const words =
        `there is no bucket ${bucket} yet: the first gateway makes it`;
      return { servers, warnings: isAnswered ? [words] : [] };
    }
    const { replicas = [] } = found.cluster as Cluster ?? {};
    const warnings = [
      ...settingsThatLose(bucket, found.config as StreamSettings),
      ...replicas.flatMap(({ name, current, offline }) =>
        offline
          ? [`bucket ${bucket}: its replica at ${name} is away`]
          : current
          ? []
          : [`bucket ${bucket}: its replica at ${name} lags behind`]
      ),
    ];
    return { servers, warnings };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#watches].map((watch) => watch.stop()));
    await this.#calls.close();
  }

  /** Writes a key; its revision. Throws NatsError. */
  #write(written: Written, untilMs?: number): Promise<number> {
    return this.#calls.call(
      (connection, timeoutMs) =>
        this.#calls.write(connection, written, timeoutMs),
      { untilMs, makes: true },
    );
  }

  /** Reads a key from the bucket's leader. Throws NatsError. */
  async #get(key: string, untilMs?: number): Promise<string | null> {
    const { stream, subjects } = this.#calls;
    const last_by_subj = subjects + keyName(key);
    const answer = await this.#calls.call(
      (connection, timeoutMs) =>
        this.#calls.ask(
          connection,
          `STREAM.MSG.GET.${stream}`,
          { last_by_subj },
          timeoutMs,
        ),
      { untilMs },
    );
    const { data = "", hdrs = "" } = answer?.message as StoredMessage ?? {};
    if (!answer || /^(KV-Operation|Nats-Marker-Reason):/m.test(atob(hdrs))) {
      return null;
    }
    return new TextDecoder().decode(Uint8Array.fromBase64(data));
  }

  async #look(address: string): Promise<{
    readonly server: EngineServer;
    readonly bucket?: NatsAnswer;
  }> {
    let connection: NatsConnection | null = null;
    let version: string | null = null;
    const server = (trouble: string | null, leads = false) => (
      { address, version, leads, trouble }
    );
    try {
      connection = await this.#calls.connect(address, TRY_MS);
      version = connection.info?.version ?? "unknown";
      const old = oldVersion(version);
      if (old !== null) return { server: server(old) };
      const bucket = await this.#calls.look(connection, TRY_MS);
      const { leader } = bucket.cluster as Cluster ?? {};
      // A server alone is no cluster, and leads.
      const leads = (leader ?? connection.info?.server_name) ===
        connection.info?.server_name;
      return { server: server(null, leads), bucket };
    } catch (thrown) {
      const { kind, message } = natsError(thrown);
      return { server: server(kind === "missing" ? null : message) };
    } finally {
      await connection?.close();
    }
  }
}

/** A message, as JetStream shows it: data and headers in base64. */
interface StoredMessage {
  readonly data?: string;
  readonly hdrs?: string;
}

/** The servers of a bucket, as JetStream shows them. */
interface Cluster {
  readonly leader?: string;
  readonly replicas?: readonly {
    readonly name: string;
    readonly current?: boolean;
    readonly offline?: boolean;
  }[];
}

/** The result of some work, or another value after an error of one kind. */
function unless<T, U>(
  kind: NatsError["kind"],
  work: () => Promise<T>,
  other: U,
): Promise<T | U> {
  return caught(NatsError, work, (error) => {
    if (error.kind !== kind) throw error;
    return other;
  });
}
