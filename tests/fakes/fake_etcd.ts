/** Servers of an etcd cluster in memory, behind their JSON gateway: users, revisions, compaction and refusals, as told. */

import type { HttpClient } from "../../lib/runtime/runtime.ts";
import { SystemError } from "../../lib/values/errors.ts";

/** A request, as it came. */
interface Asked {
  readonly server: string;
  readonly path: string;
  readonly body: Body;
  readonly token: string | null;
}

// deno-lint-ignore no-explicit-any -- JSON, as its readers expect it
type Body = any;

/** A key as etcd writes it; null values are dropped keys. */
interface Version {
  readonly key: string;
  readonly value: string | null;
  readonly revision: number;
}

type HttpOptions = Parameters<HttpClient["post"]>[2];
type StreamOptions = Parameters<HttpClient["stream"]>[2];

const text = (base64: string) => atob(base64);

/** A cluster, as an HTTP client reaches it. */
export class FakeEtcd implements HttpClient {
  /** All requests so far. */
  readonly asked: Asked[] = [];
  readonly #history: Version[] = [];
  revision = 1;
  compacted = 0;
  cluster = "7";
  /** The password of the user, where there is one. */
  password: string | null = null;
  readonly tokens = new Set<string>();
  readonly leases = new Map<string, number>();
  #given = 0;
  /** Servers that do not answer. */
  readonly down = new Set<string>();
  /** An answer in place of the cluster's own; null = its own. */
  refuse: (asked: Asked) => { code: number; message: string } | null = () =>
    null;
  /** Bytes of values that one answer may have. */
  limit = Infinity;
  /** Date of its answers, Unix milliseconds. */
  dateMs: number | null = null;
  readonly #told = new Set<() => void>();
  /** Lines that the watches are told as they are. */
  readonly #lines: string[] = [];

  /** Requests of one kind. */
  of(path: string): Asked[] {
    return this.asked.filter((asked) => asked.path === path);
  }

  set(key: string, value: string | null): void {
    this.#history.push({ key, value, revision: ++this.revision });
    this.#wake();
  }

  compact(): void {
    this.compacted = this.revision;
  }

  /** Becomes another cluster, or an older state of this one. */
  restore(revision: number, cluster = this.cluster): void {
    while ((this.#history.at(-1)?.revision ?? 0) > revision) {
      this.#history.pop();
    }
    this.revision = revision;
    this.cluster = cluster;
    this.leases.clear();
  }

  /** Tells the watches a line. */
  say(line: object | string): void {
    this.#lines.push(typeof line === "string" ? line : JSON.stringify(line));
    this.#wake();
  }

  #wake(): void {
    for (const tell of this.#told) tell();
  }

  get header() {
    const { cluster, revision } = this;
    return {
      ...{ cluster_id: cluster, member_id: "1", revision: `${revision}` },
    };
  }

  async post(url: string, body: string, { authorization }: HttpOptions) {
    const [, server, path] = /^(.*)\/v3\/(.*)$/.exec(url)!;
    const asked: Asked = {
      ...{ server: server!, path: path!, token: authorization },
      body: JSON.parse(body),
    };
    this.asked.push(asked);
    // Answers come later than questions.
    await Promise.resolve();
    if (this.down.has(server!)) {
      throw new SystemError("ECONNREFUSED", "connection refused");
    }
    const refusal = this.#refusal(asked);
    const answer = refusal ?? this.#answer(asked);
    return {
      status: refusal ? 400 : 200,
      text: JSON.stringify(answer),
      dateMs: this.dateMs,
    };
  }

  #refusal(asked: Asked): { code: number; message: string } | null {
    const refused = this.refuse(asked);
    if (refused) return refused;
    const { path, body, token } = asked;
    if (path === "auth/authenticate") {
      return body.password === this.password ? null : {
        ...{ code: 3 },
        message:
          "etcdserver: authentication failed, invalid user ID or password",
      };
    }
    if (this.password !== null && !this.tokens.has(token ?? "")) {
      return { code: 16, message: "etcdserver: invalid auth token" };
    }
    const { lease } = body;
    if (path === "kv/put" && lease && !this.leases.has(lease)) {
      return { code: 5, message: "etcdserver: requested lease not found" };
    }
    if (
      path === "kv/range" && Number(body.revision ?? Infinity) < this.compacted
    ) {
      const message = "etcdserver: mvcc: required revision has been compacted";
      return { code: 11, message };
    }
    return null;
  }

  #answer({ path, body }: Asked): object {
    const { header } = this;
    switch (path) {
      case "auth/authenticate": {
        const token = `token-${++this.#given}`;
        this.tokens.add(token);
        return { header, token };
      }
      case "kv/put":
        this.set(text(body.key), body.value);
        return { header: this.header };
      case "kv/range":
        return { header, ...this.#range(body) };
      case "kv/deleterange": {
        const { kvs } = this.#range(body);
        for (const { key } of kvs) this.set(text(key), null);
        return { header: this.header, deleted: `${kvs.length}` };
      }
      case "lease/grant": {
        const ID = `${++this.#given}`;
        this.leases.set(ID, Number(body.TTL));
        return { header, ID, TTL: body.TTL };
      }
      case "lease/keepalive": {
        const TTL = this.leases.get(body.ID);
        return { result: TTL === undefined ? {} : { TTL: `${TTL}` } };
      }
      case "maintenance/status":
        return { header, version: "3.5.9", leader: "1" };
      case "cluster/member/list":
        return { header, members: [{}, {}, {}] };
      default:
        return { header };
    }
  }

  #range({ key, range_end, limit, revision, keys_only }: Body) {
    const first = text(key);
    const end = range_end === undefined ? `${first}\0` : text(range_end);
    const now = Number(revision ?? this.revision);
    const values = new Map<string, string | null>();
    for (const version of this.#history) {
      const { key } = version;
      const isIn = key >= first && key < end && version.revision <= now;
      if (isIn) values.set(key, version.value);
    }
    const all = [...values].filter(([, value]) => value !== null).sort();
    const part = all.slice(0, Number(limit ?? all.length) || all.length);
    const size = part.reduce((sum, [, value]) => sum + value!.length, 0);
    if (size > this.limit && !keys_only) {
      throw new SystemError("EFBIG", "the answer is too large");
    }
    const kvs = part.map(([key, value]) => ({
      key: btoa(key),
      ...!keys_only && { value: value! },
    }));
    return { kvs, more: part.length < all.length };
  }

  async *stream(
    url: string,
    body: string,
    { authorization, signal }: StreamOptions,
  ) {
    const [, server, path] = /^(.*)\/v3\/(.*)$/.exec(url)!;
    const creates = body.split("\n").map((line) =>
      JSON.parse(line).create_request
    );
    const asked: Asked = {
      ...{ server: server!, path: path!, token: authorization },
      body: creates,
    };
    this.asked.push(asked);
    const bytes = (line: object | string) =>
      new TextEncoder().encode(
        `${typeof line === "string" ? line : JSON.stringify(line)}\n`,
      );
    const refusal = this.#refusal(asked);
    if (refusal) {
      const reason = `rpc error: code = X desc = ${refusal.message}`;
      yield bytes({
        result: {
          ...{ header: this.header, watch_id: "-1", created: true },
          ...{ canceled: true, cancel_reason: reason },
        },
      });
    }
    let lines = this.#lines.length;
    const positions = creates.map(({ start_revision }: Body) =>
      Number(start_revision)
    );
    while (!signal.aborted) {
      for (; lines < this.#lines.length; lines++) {
        yield bytes(this.#lines[lines]!);
      }
      for (const [index, { key, range_end }] of creates.entries()) {
        if (refusal) break;
        const result = { header: this.header, watch_id: `${index}` };
        if (positions[index]! <= this.compacted) {
          const compact_revision = `${this.compacted}`;
          positions[index] = Infinity;
          yield bytes({
            result: { ...result, canceled: true, compact_revision },
          });
          continue;
        }
        const events = this.#history.filter((version) =>
          version.revision >= positions[index]! && version.key >= text(key) &&
          version.key < text(range_end)
        );
        positions[index] = Math.max(positions[index]!, this.revision + 1);
        if (events.length === 0) continue;
        yield bytes({
          result: {
            ...result,
            events: events.map(({ key, value }) => ({
              ...value === null && { type: "DELETE" },
              kv: { key: btoa(key), ...value !== null && { value } },
            })),
          },
        });
      }
      await new Promise<void>((resolve) => {
        this.#told.add(resolve);
        signal.addEventListener("abort", () => resolve());
      });
    }
  }

  close(): void {}
}
