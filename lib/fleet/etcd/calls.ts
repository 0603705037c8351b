/**
 * Calls to an etcd cluster: one server after the other until one answers, a
 * token for a user, and the mark of the data.
 * @module
 */

import type { HttpClient, Runtime } from "../../runtime/runtime.ts";
import { SystemError } from "../../values/errors.ts";
import type { FleetConfig } from "../fleet.ts";
import type { EngineMarks } from "../mark.ts";
import {
  cancelOf,
  type EtcdAnswer,
  EtcdError,
  failureOf,
  isFromElsewhere,
  linesOf,
  readAnswer,
} from "./wire.ts";

/** Longest wait for one server, milliseconds: then the next one is asked. */
export const TRY_MS = 1000;
/** Longest wait for any of them, unless a caller says otherwise. */
const CALL_MS = 6000;
/** Pause when every server has failed, milliseconds. */
const PAUSE_MS = 100;
/** Most bytes of an answer, and of a message of a stream. */
const MAX_ANSWER = 32 * 1024 * 1024;

/** Calls whose answers bear a revision in the order of all writes. */
const LINEAR = new Set(["kv/txn", "kv/put", "kv/range", "kv/deleterange"]);

/** An etcd cluster, as its JSON gateway is called. */
export class EtcdCalls {
  readonly servers: readonly string[];
  readonly #user: FleetConfig["user"];
  readonly #runtime: Runtime;
  readonly #http: HttpClient;
  readonly #marks: EngineMarks;
  /** The server that answered last, counted on. */
  #preferred = 0;
  #token: string | null = null;
  /** Requests for a token under way, by their servers: one each, since checking a password is slow. */
  readonly #asking = new Map<string, Promise<void>>();

  /** Throws SystemError for certificates that are none. */
  constructor(
    runtime: Runtime,
    { servers, user, tls }: FleetConfig,
    marks: EngineMarks,
  ) {
    this.servers = servers;
    this.#user = user;
    this.#runtime = runtime;
    this.#http = runtime.openHttp(tls);
    this.#marks = marks;
  }

  close(): void {
    this.#http.close();
  }

  /** Goes on with the next server. */
  turn(): void {
    this.#preferred++;
  }

  /** Asks one server after the other until one answers, or until a time of the monotonic clock. Throws SystemError. */
  async call(
    path: string,
    body: object,
    untilMs = this.#runtime.monotonicMs() + CALL_MS,
  ): Promise<EtcdAnswer> {
    let reason: unknown = null;
    for (let tries = 1;; tries++) {
      const asked = this.#preferred;
      const leftMs = untilMs - this.#runtime.monotonicMs();
      const timeoutMs = Math.min(TRY_MS, Math.max(1, leftMs));
      try {
        return await this.post(this.#server, path, body, timeoutMs);
      } catch (error) {
        const isRenewed = isOfToken(error) && this.#user !== null;
        if (!isRenewed && !isFromElsewhere(error)) throw error;
        // A try that was cut short says less than the one before it.
        if (timeoutMs === TRY_MS || !reason) reason = error;
        // Others may have moved on already.
        if (!isRenewed && this.#preferred === asked) this.turn();
        const isRound = tries % this.servers.length === 0;
        const pauseMs = isRound ? PAUSE_MS : 0;
        const nowMs = this.#runtime.monotonicMs();
        if (nowMs + pauseMs >= untilMs) throw reason;
        if (isRound) await this.#runtime.sleep(pauseMs);
      }
    }
  }

  /** Asks one server once, with a token where there is a user. Throws SystemError. */
  async post(
    server: string,
    path: string,
    body: object,
    timeoutMs: number,
  ): Promise<EtcdAnswer> {
    await this.#authenticate(server);
    return await this.#post(server, path, body, timeoutMs);
  }

  async #post(
    server: string,
    path: string,
    body: object,
    timeoutMs: number,
  ): Promise<EtcdAnswer> {
    const before = this.#marks.mark;
    const token = this.#token;
    const { status, text, dateMs } = await this.#http.post(
      `${server}/v3/${path}`,
      JSON.stringify(body),
      { timeoutMs, limit: MAX_ANSWER, authorization: token },
    );
    if (status !== 200) throw this.#failure(failureOf(status, text), token);
    const answer = readAnswer(text);
    // A date is cut to the second: half a second later is the middle of it.
    if (dateMs !== null) {
      this.#marks.aheadMs = dateMs + 500 - this.#runtime.nowMs();
    }
    const { cluster_id: id, revision } = answer.header ?? {};
    if (LINEAR.has(path) && id && revision !== undefined) {
      this.#marks.note({ id, revision: Number(revision) }, before);
    }
    return answer;
  }

  /** Messages of watches; null for one that was too long. Throws SystemError. */
  async *stream(
    requests: readonly object[],
    signal: AbortSignal,
  ): AsyncIterable<EtcdAnswer | null> {
    const server = this.#server;
    await this.#authenticate(server);
    const token = this.#token;
    const chunks = this.#http.stream(
      `${server}/v3/watch`,
      requests.map((request) => JSON.stringify(request)).join("\n"),
      { authorization: token, signal },
    );
    for await (const line of linesOf(chunks, MAX_ANSWER)) {
      if (line === null) yield null;
      else {
        const { result } = readAnswer(line);
        const refusal = result ? cancelOf(result as EtcdAnswer) : line;
        if (refusal !== null) {
          throw this.#failure(failureOf(200, refusal), token);
        }
        yield result as EtcdAnswer;
      }
    }
    if (!signal.aborted) throw new SystemError("", "the watch ended");
  }

  get #server(): string {
    return this.servers[this.#preferred % this.servers.length]!;
  }

  async #authenticate(server: string): Promise<void> {
    const user = this.#user;
    if (!user || this.#token !== null) return;
    const ask = async () => {
      const path = "auth/authenticate";
      const { token } = await this.#post(server, path, user, TRY_MS);
      this.#token = String(token);
    };
    const asking = this.#asking.get(server) ??
      ask().finally(() => this.#asking.delete(server));
    this.#asking.set(server, asking);
    await asking;
  }

  /** Forgets the token that an answer says is none; another may have come meanwhile. */
  #failure(error: EtcdError, token: string | null): EtcdError {
    if (isOfToken(error) && this.#token === token) this.#token = null;
    return error;
  }
}

function isOfToken(error: unknown): boolean {
  return error instanceof EtcdError && error.kind === "token";
}
