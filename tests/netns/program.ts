/** The program itself in a pair of namespaces: its server, its client, its files. */

import type { ChildProcess } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { formatEnrolment } from "../../lib/client/profile/enrolment.ts";
import { publicKeyOf } from "../../lib/dialects/crypto/curve25519.ts";
import { formatBase64url } from "../../lib/values/bytes.ts";
import {
  netnsTest,
  type Pair,
  type Said,
  scriptCommand,
  SERVER,
} from "./netns.ts";

/** The UDP port of the knocks. */
export const KNOCK_PORT = 62201;

const READY_MS = 60_000;

/** A client of the test's server. */
export interface TestClient {
  readonly name: string;
  /** Lines of YAML for its policy, such as "open: [ssh]". */
  readonly policy: readonly string[];
  /** A line of YAML with its keys in another dialect; absent: fresh ones of knock/1. */
  readonly keys?: string;
}

/** A knock program in a pair of namespaces, with files of its own. */
export class Program {
  readonly folder = mkdtempSync(join(tmpdir(), "knock-test-"));
  readonly #pair: Pair;
  readonly #key = randomKey();
  readonly #enrolments = new Map<string, string>();
  #child: ChildProcess | null = null;
  /** Standard error of the server so far. */
  log = "";

  constructor(pair: Pair) {
    this.#pair = pair;
  }

  get config(): string {
    return join(this.folder, "server.yaml");
  }

  /** The server's process; null where none was started or it has ended. */
  get pid(): number | null {
    const child = this.#child;
    if (!child || child.exitCode !== null) return null;
    return child.signalCode === null ? child.pid! : null;
  }

  /** A client's enrolment, with the server's IPv4 or IPv6 address. */
  enrolment(name: string, family: 4 | 6 = 4): string {
    const host = family === 4 ? SERVER[4] : `[${SERVER[6]}]`;
    return this.#enrolments.get(name)!.replace("HOST", host);
  }

  /** Writes the configuration: the text before `clients`, and clients with fresh keys. */
  configure(text: string, clients: readonly TestClient[]): void {
    const entries = clients.map(({ name, policy, keys }) => {
      if (!keys && !this.#enrolments.has(name)) this.#enrol(name);
      const lines = [keys ?? this.#keys.get(name)!, ...policy];
      return `  ${name}:\n${lines.map((line) => `    ${line}\n`).join("")}`;
    });
    this.write("server.key", formatBase64url(this.#key) + "\n");
    this.write(
      "server.yaml",
      `key: server.key\n${text}\nclients:\n${entries.join("") || "  {}\n"}`,
    );
  }

  readonly #keys = new Map<string, string>();

  #enrol(name: string): void {
    const key = randomKey();
    const psk = randomKey();
    this.#keys.set(
      name,
      `knock: { key: ${JSON.stringify(formatBase64url(publicKeyOf(key)))}, ` +
        `psk: ${JSON.stringify(formatBase64url(psk))} }`,
    );
    this.#enrolments.set(
      name,
      formatEnrolment({
        host: "HOST",
        port: KNOCK_PORT,
        server: publicKeyOf(this.#key),
        key,
        psk,
        name,
      }),
    );
  }

  /** Writes a file beside the configuration, 0600. */
  write(name: string, text: string): void {
    const path = join(this.folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    chmodSync(path, 0o600);
  }

  /** Starts `knock serve`; resolves when it listens, throws what it says when it ends instead. */
  serve(...args: string[]): Promise<void> {
    return this.serveBy(
      scriptCommand("../../main.ts", "serve", "--config", this.config, ...args),
    );
  }

  /** As {@linkcode serve}, by an argv of the test's own. */
  async serveBy(argv: readonly string[]): Promise<void> {
    const child = this.#pair.spawn(this.#pair.server, argv, "pipe");
    this.#child = child;
    const from = this.log.length;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let listens = false;
    child.stderr!.on("data", (bytes) => {
      this.log += bytes;
      // Not for every line: a long log is put in one piece by a look at it.
      listens ||= this.log.slice(from).includes("listens on");
      if (listens) resolve();
    });
    const fail = () => reject(new Error(`no server: ${this.log.slice(from)}`));
    child.on("close", fail);
    const timer = setTimeout(fail, READY_MS);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends the server a signal and waits for its end, unless it is SIGHUP; its exit status. */
  async signal(name: "SIGTERM" | "SIGKILL" | "SIGHUP"): Promise<number | null> {
    const child = this.#child!;
    const ended = new Promise<number | null>((resolve) =>
      child.on("close", resolve)
    );
    // `ip netns exec` becomes the program itself, so this is the server. Not
    // by child.kill(): Deno's closes the pipes before the last words.
    process.kill(child.pid!, name);
    return name === "SIGHUP" ? null : await ended;
  }

  /** Waits until the server ends by itself; its exit status. */
  async ended(): Promise<number | null> {
    const child = this.#child!;
    if (child.exitCode !== null) return child.exitCode;
    return await new Promise((resolve) => child.on("close", resolve));
  }

  /** Resolves when the log holds these words, from a position on. */
  async logged(words: string, from = 0): Promise<void> {
    for (let waited = 0; waited < READY_MS; waited += 20) {
      if (this.log.slice(from).includes(words)) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`not logged: ${words}; but ${this.log.slice(from)}`);
  }

  /** Stores a client's profile under its name. */
  async enrol(name: string, family: 4 | 6 = 4): Promise<void> {
    const said = await this.client(
      ["import", "-", "--name", `${name}${family === 6 ? "6" : ""}`],
      this.enrolment(name, family),
    );
    if (said.code !== 0) throw new Error(said.stderr);
  }

  /** Runs the program in the client's namespace. */
  client(args: readonly string[], stdin = ""): Promise<Said> {
    const profiles = join(this.folder, "profiles.yaml");
    return this.#pair.exec(
      this.#pair.client,
      [
        "env",
        `KNOCK_PROFILES=${profiles}`,
        `XDG_STATE_HOME=${join(this.folder, "memory")}`,
        ...scriptCommand("../../main.ts", ...args),
      ],
      stdin,
    );
  }

  /** Runs the program in the server's namespace, with its configuration. */
  admin(...args: string[]): Promise<Said> {
    return this.#pair.exec(
      this.#pair.server,
      scriptCommand("../../main.ts", ...args, "--config", this.config),
    );
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** As {@linkcode netnsTest}, with a program whose files are removed at the end. */
export function programTest(
  name: string,
  body: (program: Program, pair: Pair) => Promise<void>,
  programs: readonly string[] = [],
): void {
  netnsTest(name, async (pair) => {
    const program = new Program(pair);
    try {
      await body(program, pair);
    } finally {
      program.remove();
    }
  }, programs);
}

function randomKey(): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(32));
}
