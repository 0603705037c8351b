/**
 * Calls to NATS JetStream over one connection, to one server after the other,
 * and the mark of the data.
 * @module
 */

import {
  credsAuthenticator,
  headers,
  type NatsConnection,
} from "@nats-io/transport-node";
import type { Runtime } from "../../runtime/runtime.ts";
import type { FleetConfig } from "../fleet.ts";
import type { EngineMarks } from "../mark.ts";
import { newBucket } from "./settings.ts";
import { connectNats } from "./transport.ts";
import {
  bucketOf,
  headersOf,
  keyName,
  NAME_IN_USE,
  type NatsAnswer,
  NatsError,
  natsError,
  oldVersion,
  readAnswer,
  type Written,
} from "./wire.ts";

/** Longest wait for one answer, milliseconds: then it is asked again. */
export const TRY_MS = 1000;
/** Longest wait for an answer of any server, unless a caller says otherwise. */
const CALL_MS = 6000;
/** Pause before the next try, milliseconds. */
const PAUSE_MS = 100;
/** Interval of pings, milliseconds: a server that misses two is left. */
const PING_MS = 1000;

/** A NATS cluster, as its clients call it. */
export class NatsCalls {
  readonly servers: readonly string[];
  /** The stream of the bucket. */
  readonly stream: string;
  /** Subject of all keys of the bucket, up to their names. */
  readonly subjects: string;
  readonly #config: FleetConfig;
  readonly #runtime: Runtime;
  readonly #marks: EngineMarks;
  /** Number of the server that is asked, counted on. */
  #preferred = 0;
  #connection: Promise<NatsConnection> | null = null;
  /** The connection over which the bucket was seen. */
  #seenBy: NatsConnection | null = null;
  #isClosed = false;

  constructor(runtime: Runtime, config: FleetConfig, marks: EngineMarks) {
    this.servers = config.servers;
    const bucket = bucketOf(config.prefix);
    this.stream = `KV_${bucket}`;
    this.subjects = `$KV.${bucket}.`;
    this.#config = config;
    this.#runtime = runtime;
    this.#marks = marks;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const connection = await this.#connection?.catch(() => null);
    await connection?.close();
  }

  /** Goes on with the next server. */
  turn(): void {
    this.#preferred++;
    const old = this.#connection;
    this.#connection = null;
    old?.then((connection) => connection.close()).catch(() => {});
  }

  /**
   * Does work over the connection, again and with the next server after a
   * failure, until a time of the monotonic clock. Throws NatsError.
   */
  async call<T>(
    work: (connection: NatsConnection, timeoutMs: number) => Promise<T>,
    { untilMs = this.#runtime.monotonicMs() + CALL_MS, makes = false }: {
      readonly untilMs?: number | undefined;
      /** True: makes the bucket where it is missing. */
      readonly makes?: boolean;
    } = {},
  ): Promise<T> {
    let reason: NatsError | null = null;
    while (true) {
      const leftMs = untilMs - this.#runtime.monotonicMs();
      const timeoutMs = Math.min(TRY_MS, Math.max(1, leftMs));
      let connection: NatsConnection | null = null;
      try {
        connection = await this.#open(timeoutMs);
        if (this.#seenBy !== connection) {
          await this.look(connection, timeoutMs, makes);
          this.#seenBy = connection;
        }
        return await work(connection, timeoutMs);
      } catch (thrown) {
        const error = natsError(thrown);
        if (error.kind !== "elsewhere" || this.#isClosed) throw error;
        // A try that was cut short says less than the one before it.
        if (timeoutMs === TRY_MS || !reason) reason = error;
        // A bucket that is gone has nobody that answers.
        if (this.#seenBy === connection) this.#seenBy = null;
        const nowMs = this.#runtime.monotonicMs();
        if (nowMs + PAUSE_MS >= untilMs) throw reason;
        await this.#runtime.sleep(PAUSE_MS);
      }
    }
  }

  /** Asks JetStream; null where a key is not there. Throws. */
  async ask(
    connection: NatsConnection,
    subject: string,
    body: object,
    timeout: number,
  ): Promise<NatsAnswer | null> {
    const text = JSON.stringify(body);
    const { data } = await connection.request(`$JS.API.${subject}`, text, {
      timeout,
    });
    return readAnswer(new TextDecoder().decode(data));
  }

  /** Looks at the bucket, and makes it where it is missing and `makes` is true. Throws. */
  async look(
    connection: NatsConnection,
    timeoutMs: number,
    makes = false,
  ): Promise<NatsAnswer> {
    const before = this.#marks.mark;
    const ask = (call: string, body: object) =>
      this.ask(connection, `STREAM.${call}.${this.stream}`, body, timeoutMs);
    let answer: NatsAnswer;
    try {
      answer = (await ask("INFO", {}))!;
    } catch (error) {
      const isMissing = error instanceof NatsError && error.kind === "missing";
      if (!isMissing || !makes) throw error;
      const bucket = newBucket(
        this.stream,
        `${this.subjects}>`,
        Math.max(
          this.servers.length,
          connection.info?.connect_urls?.length ?? 0,
        ),
      );
      answer = (await ask("CREATE", bucket).catch((error) => {
        // Another gateway was faster.
        if (natsError(error).code !== String(NAME_IN_USE)) throw error;
        return ask("INFO", {});
      }))!;
    }
    const id = String(answer.created);
    const { last_seq } = answer.state as { last_seq: number };
    // Of a leader that was deposed the revision may lie behind.
    if (id !== before?.id) {
      this.#marks.note({ id, revision: last_seq }, before);
    }
    if (typeof answer.ts === "string") {
      this.#marks.aheadMs = Date.parse(answer.ts) - this.#runtime.nowMs();
    }
    return answer;
  }

  /** Writes a key; its revision. Throws. */
  async write(
    connection: NatsConnection,
    written: Written,
    timeout: number,
  ): Promise<number> {
    const before = this.#marks.mark;
    const fields = headers();
    const own = Object.entries(headersOf(this.stream, written));
    for (const [name, value] of own) fields.set(name, value);
    const { data } = await connection.request(
      this.subjects + keyName(written.key),
      written.value,
      { timeout, headers: fields },
    );
    const answer = readAnswer(new TextDecoder().decode(data));
    const revision = answer?.seq;
    if (typeof revision !== "number" || answer?.stream !== this.stream) {
      throw new NatsError("elsewhere", "the answer is not of the bucket");
    }
    if (before) this.#marks.note({ id: before.id, revision }, before);
    return revision;
  }

  /** Connects to one server. Throws NatsError. */
  async connect(address: string, timeout: number): Promise<NatsConnection> {
    const { name, user, token, credentials, tls } = this.#config;
    const { ca, cert, key } = tls;
    try {
      return await connectNats({
        servers: [address.replace(/^\w+:\/\//, "")],
        name: `knock ${name}`,
        timeout,
        reconnect: false,
        pingInterval: PING_MS,
        ignoreClusterUpdates: true,
        noAsyncTraces: true,
        ...(address.startsWith("tls:") && {
          tls: {
            ...(ca !== null && { ca }),
            ...(cert !== null && key !== null && { cert, key }),
          },
        }),
        ...(user && { user: user.name, pass: user.password }),
        ...(token !== null && { token }),
        ...(credentials !== null && {
          authenticator: credsAuthenticator(
            new TextEncoder().encode(credentials),
          ),
        }),
      });
    } catch (error) {
      throw natsError(error);
    }
  }

  /** The connection; a new one where there is none. */
  async #open(timeoutMs: number): Promise<NatsConnection> {
    if (this.#isClosed) throw new NatsError("final", "the engine is closed");
    const asked = this.#preferred;
    const opened = this.#connection ??= this.#dial(timeoutMs);
    try {
      const connection = await opened;
      if (!connection.isClosed()) return connection;
      throw new NatsError("elsewhere", "the connection was closed");
    } catch (error) {
      // Others may have moved on already.
      if (this.#connection === opened) {
        this.#connection = null;
        if (this.#preferred === asked) this.#preferred++;
      }
      throw error;
    }
  }

  async #dial(timeoutMs: number): Promise<NatsConnection> {
    const address = this.servers[this.#preferred % this.servers.length]!;
    const connection = await this.connect(address, timeoutMs);
    const old = oldVersion(connection.info?.version ?? "0");
    if (old === null && !this.#isClosed) return connection;
    await connection.close();
    throw new NatsError("elsewhere", old ?? "the engine is closed");
  }
}
