/**
 * A Runtime in memory for unit tests: nothing of it touches the machine.
 *
 * Time starts at {@linkcode START_MS} and jumps to the next timer as soon as
 * everybody only waits (`steps: "alone"`), or is stepped with
 * `fake.clock.advance(ms)`. What a test may script is a public member: `files`,
 * `network`, `clock`, `databases`, `programs`. What was said is in
 * `stdout` and `stderr`.
 * @module
 */

import { createHash } from "node:crypto";
import type {
  Child,
  FetchOptions,
  HttpClient,
  LookUp,
  Ran,
  RunOptions,
  Runtime,
  SignalName,
  Stoppable,
  Stream,
} from "../../lib/runtime/runtime.ts";
import { escapeLines } from "../../lib/values/text.ts";
import { FakeClock } from "./fake_clock.ts";
import { FakeDatabases } from "./fake_database.ts";
import { FakeFiles } from "./fake_files.ts";
import { FakeNetwork } from "./fake_network.ts";
import { RSA_PRIVATE_PEM } from "./rsa.ts";
import { FailureError, SystemError } from "../../lib/values/errors.ts";

/** When a fake clock starts: 2026-01-02T12:00:00Z, a Friday. */
export const START_MS = Date.UTC(2026, 0, 2, 12);

export interface FakeOptions {
  readonly platform?: Runtime["platform"];
  /** Default: HOME=/home/alice. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default 1000; 0 is root. */
  readonly userId?: number | null;
  readonly nowMs?: number;
  /** Passing of time: by itself when all wait (the default), or by hand. */
  readonly steps?: "alone" | "by hand";
  /** Which streams are terminals; none by default. */
  readonly terminals?: readonly ("in" | "out" | "err")[];
  readonly columns?: number;
  readonly rows?: number;
  readonly stdin?: string | Uint8Array;
  /** Answers to prompts, in order; then there are none. */
  readonly answers?: readonly string[];
  /** Files by path, 0600, with the folders above them. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  readonly ownAddresses?: readonly string[];
}

/** A program of the fake machine; it may throw a SystemError "ENOENT". */
export type Program = (
  argv: readonly string[],
  options: RunOptions,
) => Partial<Ran> | Promise<Partial<Ran>>;

export class FakeRuntime implements Runtime {
  readonly name = "deno";
  readonly version = "0.0.0";
  readonly platform: Runtime["platform"];
  readonly arch = "x64";
  readonly pid = 4242;
  readonly args: readonly string[] = [];
  readonly files: FakeFiles;
  readonly clock: FakeClock;
  readonly network: FakeNetwork;
  readonly databases = new FakeDatabases();
  /** Environment variables; a test may change them. */
  readonly environment: Map<string, string>;
  /** Programs by name; each run is kept in `ran`. */
  readonly programs = new Map<string, Program>();
  readonly ran: { argv: readonly string[]; options: RunOptions }[] = [];
  /** The Internet: pages by address, names by `NAME IPv4` or `NAME IPv6`. */
  readonly pages = new Map<string, string>();
  readonly records = new Map<string, readonly string[]>();
  /** Bytes that were written by `standard()`, chunk by chunk. */
  readonly written: Uint8Array[] = [];
  /** Processes that are alive, by id. */
  readonly processes = new Set<number>([4242]);
  /** Questions that were put on the terminal. */
  readonly questions: string[] = [];
  /** True if the terminal was closed. */
  isHungUp = false;
  /** Reader of stdout: one that takes all, none any more, or a full disk. */
  reader: "there" | "gone" | "full" = "there";
  /** Standard output and error so far. */
  stdout = "";
  stderr = "";

  readonly #options: FakeOptions;
  readonly #answers: string[];
  readonly #signals: { name: SignalName; callback: () => void }[] = [];
  #drawn = 0;

  constructor(options: FakeOptions = {}) {
    this.#options = options;
    this.#answers = [...options.answers ?? []];
    this.platform = options.platform ?? "linux";
    this.environment = new Map(
      Object.entries(options.env ?? { HOME: "/home/alice" }),
    );
    this.files = new FakeFiles(options.userId ?? 1000);
    for (const [path, data] of Object.entries(options.files ?? {})) {
      this.files.put(path, data);
    }
    this.clock = new FakeClock(
      options.nowMs ?? START_MS,
      options.steps ?? "alone",
    );
    this.network = new FakeNetwork(this.clock);
  }

  exit(status: number): never {
    throw new Error(`exit ${status}`);
  }

  env(name: string): string | undefined {
    return this.environment.get(name) || undefined;
  }

  userId(): number | null {
    return this.#options.userId === undefined ? 1000 : this.#options.userId;
  }

  groupId(): number | null {
    return this.userId();
  }

  actAs(): Stoppable {
    return { stop: () => {} };
  }

  hostName(): string {
    return "fake-host";
  }

  ownAddresses(): string[] {
    return [...this.#options.ownAddresses ?? ["192.0.2.10"]];
  }

  ownNetworks(): string[] {
    return this.ownAddresses().map((address) =>
      address.includes("/")
        ? address
        : `${address}/${address.includes(":") ? 64 : 24}`
    );
  }

  selfCommand(): string[] {
    return ["knock"];
  }

  nowMs(): number {
    return this.clock.nowMs();
  }

  monotonicMs(): number {
    return this.clock.elapsedMs();
  }

  /** Bytes that differ from call to call and are the same in every test. */
  random(size: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(size);
    for (let offset = 0; offset < size; offset += 32) {
      const block = createHash("sha256").update(`fake ${this.#drawn++}`);
      bytes.set(block.digest().subarray(0, size - offset), offset);
    }
    return bytes;
  }

  /** Always the same one. */
  rsaPrivateKey(): string {
    return RSA_PRIVATE_PEM;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return this.clock.sleep(ms, signal);
  }

  every(ms: number, callback: () => void): Stoppable {
    return this.clock.every(ms, callback);
  }

  out(text: string): boolean {
    return this.paint("out", escapeLines(text));
  }

  err(text: string): boolean {
    return this.paint("err", escapeLines(text));
  }

  paint(stream: "out" | "err", text: string): boolean {
    if (stream === "err") this.stderr += text;
    else if (this.reader === "full") {
      throw new FailureError("cannot write to stdout: no space left on device");
    } else if (this.reader === "gone") return false;
    else this.stdout += text;
    return true;
  }

  readonly log = {
    write: (text: string): boolean => {
      this.paint("err", text);
      return true;
    },
    flush: (): Promise<void> => Promise.resolve(),
  };

  isTerminal(stream: "in" | "out" | "err"): boolean {
    return this.#options.terminals?.includes(stream) ?? false;
  }

  /** False once a test has set `isHungUp`. */
  hasTerminal(): boolean {
    return this.isTerminal("in") && !this.isHungUp;
  }

  columns(): number {
    return this.#options.columns ?? 80;
  }

  rows(): number {
    return this.#options.rows ?? 24;
  }

  // deno-lint-ignore require-await -- so that a throw is a rejection
  async readStdin(limit: number): Promise<Uint8Array> {
    const { stdin = "" } = this.#options;
    const bytes = typeof stdin === "string"
      ? new TextEncoder().encode(stdin)
      : stdin;
    if (bytes.length > limit) throw new SystemError("E2BIG", "too much input");
    return bytes;
  }

  /** Reads what `stdin` is, and then its end. */
  standard(): Promise<Stream> {
    let rest: Uint8Array | null = null;
    const read = this.readStdin(Infinity).then((bytes) => rest = bytes);
    return Promise.resolve({
      peer: { host: "", port: 0 },
      read: async () => {
        await read;
        const bytes = rest;
        rest = null;
        return bytes?.length ? bytes : null;
      },
      write: (bytes) => Promise.resolve(void this.written.push(bytes.slice())),
      finish: () => Promise.resolve(),
      close: () => {},
    });
  }

  prompt(question: string): string | null {
    this.questions.push(question);
    return this.#answers.shift() ?? null;
  }

  promptSecret(question: string): Promise<string | null> {
    return Promise.resolve(this.prompt(question));
  }

  onSignal(name: SignalName, callback: () => void): Stoppable {
    const entry = { name, callback };
    this.#signals.push(entry);
    return {
      stop: () => {
        const index = this.#signals.indexOf(entry);
        if (index >= 0) this.#signals.splice(index, 1);
      },
    };
  }

  /** Sends this process a signal; whether anybody listened. */
  signal(name: SignalName): boolean {
    const heard = this.#signals.filter((entry) => entry.name === name);
    for (const { callback } of heard) callback();
    return heard.length > 0;
  }

  async run(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
    this.ran.push({ argv, options });
    const program = this.programs.get(argv[0] ?? "");
    if (!program) throw new SystemError("ENOENT", `no program "${argv[0]}"`);
    return { code: 0, stdout: "", stderr: "", ...await program(argv, options) };
  }

  spawn(_argv: readonly string[]): Child {
    throw unsupported("spawn");
  }

  signalProcess(
    pid: number,
    signal: SignalName | "SIGKILL" | "test",
  ): boolean {
    const alive = this.processes.has(pid);
    if (signal !== "test") this.processes.delete(pid);
    return alive;
  }

  listenDatagram(...[at, handler]: Parameters<Runtime["listenDatagram"]>) {
    return this.network.listenDatagram(at, handler);
  }

  listenStream(...args: Parameters<Runtime["listenStream"]>) {
    return this.network.listenStream(...args);
  }

  connectStream(to: Parameters<Runtime["connectStream"]>[0]) {
    return this.network.connectStream(to);
  }

  resolve(host: string): Promise<string[]> {
    return this.network.resolve(host);
  }

  // deno-lint-ignore require-await -- so that a throw is a rejection
  async lookUp(name: string, { family }: LookUp): Promise<string[]> {
    const found = this.records.get(`${name} ${family}`);
    if (found) return [...found];
    throw new SystemError("ENOTFOUND", `no record for ${name}`);
  }

  // deno-lint-ignore require-await -- so that a throw is a rejection
  async fetchText(url: string, { limit }: FetchOptions): Promise<string> {
    const page = this.pages.get(url);
    if (page === undefined) throw new SystemError("", "status 404");
    if (page.length > limit) throw new SystemError("EFBIG", "too long");
    return page;
  }

  openHttp(): HttpClient {
    throw unsupported("openHttp");
  }

  // deno-lint-ignore require-await -- so that a throw is a rejection
  async openDatabase(path: string) {
    return this.databases.open(path);
  }

  openLibrary(): Promise<null> {
    return Promise.resolve(null);
  }
}

function unsupported(member: string): Error {
  return new Error(`the fake runtime has no ${member}(): script it in a test`);
}
