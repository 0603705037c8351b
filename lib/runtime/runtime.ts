/**
 * The seam to the world: everything that reads a clock, draws randomness,
 * touches a file, a socket or a process goes through here. The files
 * of this room are the only ones that name Deno, Bun or node's I/O;
 * `main.ts` chooses one and hands it down.
 * @module
 */

import type { Endpoint } from "../values/address.ts";

export interface Runtime {
  readonly name: "deno" | "bun" | "node";
  readonly version: string;
  readonly platform: "linux" | "darwin" | "windows";
  /** The processor, in Node's words: "x64", "arm64". */
  readonly arch: string;
  readonly pid: number;
  /** The command line behind the program's name. */
  readonly args: readonly string[];
  /** Ends the process with this status. */
  exit(status: number): never;

  /** An environment variable; undefined when unset or empty. */
  env(name: string): string | undefined;
  /** The effective user id; null where there is none (Windows). */
  userId(): number | null;
  /** The effective group id; null where there is none, or it may not be read. */
  groupId(): number | null;
  /** Does what follows with the rights of another user and group, until stopped; for root. Throws {@linkcode SystemError}. */
  actAs(user: number, group: number): Stoppable;
  hostName(): string;
  /** Addresses of this machine's interfaces but loopback, canonical. */
  ownAddresses(): string[];
  /** Addresses of all interfaces, link-local and loopback too, with their prefix length: "192.0.2.10/24". */
  ownNetworks(): string[];
  /** An argv that runs this very program again, up to its arguments. */
  selfCommand(): string[];

  /** Unix time in milliseconds. */
  nowMs(): number;
  /** Milliseconds that never jump, for measuring. */
  monotonicMs(): number;
  /** Bytes from the system's cryptographic generator. */
  random(size: number): Uint8Array<ArrayBuffer>;
  /** A fresh RSA private key in PEM (PKCS #1). Takes up to seconds. */
  rsaPrivateKey(bits: number): string;
  /** Resolves after so many milliseconds, or at once when aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls back every so many ms; does not keep the process alive. */
  every(ms: number, callback: () => void): Stoppable;

  /**
   * Writes to stdout; what acts on a terminal is escaped, but for newlines and
   * tabs. False if its reader went away (EPIPE); throws FailureError if it
   * cannot be written, as on a full disk.
   */
  out(text: string): boolean;
  /** Writes to stderr, escaped too; false if it cannot be written. */
  err(text: string): boolean;
  /** As {@linkcode out} and {@linkcode err}, for text with escape sequences of our own. */
  paint(stream: "out" | "err", text: string): boolean;
  /** Standard error again, for a server, which waits for no reader. */
  readonly log: LogPipe;
  isTerminal(stream: "in" | "out" | "err"): boolean;
  /** False if stdin is no terminal, or one that was closed since the start. */
  hasTerminal(): boolean;
  /** Columns of the terminal on standard output; 80 where there is none. */
  columns(): number;
  /** Lines of the terminal on standard output; 24 where there is none. */
  rows(): number;
  /** All of standard input, at most `limit` bytes (then it throws). */
  readStdin(limit: number): Promise<Uint8Array>;
  /** Standard input and output as a connection, from now on; it has no peer. */
  standard(): Promise<Stream>;
  /** Asks on the terminal; null when there is none. */
  prompt(question: string): string | null;
  /**
   * As {@linkcode prompt}, of what the terminal shall not show; null also at its
   * end. Lines are read until they are whole, or one is empty.
   */
  promptSecret(
    question: string,
    isWhole?: (text: string) => boolean,
  ): Promise<string | null>;
  /** Calls back on a signal, until stopped. SIGHUP is never on Windows. */
  onSignal(name: SignalName, callback: () => void): Stoppable;

  readonly files: Files;

  /** Runs a program to its end, with no shell. Throws {@linkcode SystemError} when it cannot start. */
  run(argv: readonly string[], options?: RunOptions): Promise<Ran>;
  /** Starts a program and hands out its output as it comes. */
  spawn(argv: readonly string[], options?: Pick<RunOptions, "env">): Child;
  /** Ends a process by its id; whether it was there. Signal "test" only looks. */
  signalProcess(
    pid: number,
    signal: SignalName | "SIGKILL" | "test",
  ): boolean;

  /**
   * Binds a UDP socket. The handler is called once a datagram, synchronously;
   * the bytes are only valid until it returns. Host "::" is dual-stack where
   * the machine has IPv6, else IPv4 only. IPv4 sources are shown as IPv4.
   */
  listenDatagram(
    at: Endpoint,
    handler: DatagramHandler,
    options?: ListenOptions,
  ): Promise<Datagrams>;
  /**
   * Listens for TCP connections. A host that begins with "/" is the path of a
   * socket in the file system (not on Windows); nothing may be there yet.
   */
  listenStream(
    at: Endpoint,
    handler: (connection: Stream) => void,
  ): Promise<Listener>;
  /** Connects by TCP, or to the path of a socket; throws {@linkcode SystemError} if it does not. */
  connectStream(
    to: Endpoint,
    options: { readonly timeoutMs: number },
  ): Promise<Stream>;
  /** The addresses of a name, canonical, IPv6 and IPv4; throws when it has none. */
  resolve(host: string): Promise<string[]>;
  /** Asks one name server, by UDP; throws {@linkcode SystemError} without an answer. */
  lookUp(name: string, options: LookUp): Promise<string[]>;
  /** Reads a page as text, following no redirection; throws {@linkcode SystemError} for any status but 2xx. */
  fetchText(url: string, options: FetchOptions): Promise<string>;
  /** Makes a client for an HTTP API. Throws {@linkcode SystemError} for certificates that are none. */
  openHttp(certificates: Certificates): HttpClient;

  /** Opens an SQLite database file, creating it 0600. Throws {@linkcode SystemError}. */
  openDatabase(path: string): Promise<Database>;
  /** Opens a shared library; null when it is not there or may not be used. */
  openLibrary(
    name: string,
    symbols: NativeSymbols,
  ): Promise<NativeLibrary | null>;
}

export type SignalName = "SIGINT" | "SIGTERM" | "SIGHUP";

export interface Stoppable {
  stop(): void;
}

/** Lines on their way to a reader. */
export interface LogPipe {
  /** Hands on lines, and never waits; false when they are lost, because the reader has stopped. */
  write(text: string): boolean;
  /** Resolves when all is read, or after so long. */
  flush(limitMs: number): Promise<void>;
}

/** Writes a file with this mode, and this group. */
type WriteFile = (
  path: string,
  data: string | Uint8Array,
  mode: number,
  group?: number,
) => void;

/** Files. Every method throws {@linkcode SystemError}. */
export interface Files {
  readText(path: string): string;
  readBytes(path: string): Uint8Array<ArrayBuffer>;
  /**
   * Replaces a file whole: a new file in the same folder, synced, renamed over
   * it. Keeps the owner of an old one, and mode and group unless a group is
   * given. Refuses what is no file: a link is not followed.
   */
  readonly replace: WriteFile;
  /** Makes a new file; EEXIST when there is anything, a link too. */
  readonly create: WriteFile;
  /** Null when there is nothing at this path. */
  stat(path: string): FileInfo | null;
  /** The folders and links that lead to a path, from the root on, and what is there. */
  way(path: string): Way;
  list(path: string): string[];
  /** Makes a folder and its parents, with this mode for what is new, and this group for the last. */
  makeFolder(path: string, mode: number, group?: number): void;
  remove(path: string): void;
  /** A fresh folder for temporary files, 0700. */
  makeTemporaryFolder(): string;
  removeFolder(path: string): void;
}

export interface FileInfo {
  readonly isFile: boolean;
  readonly isFolder: boolean;
  readonly size: number;
  /** Permission bits, such as 0o600; null on Windows. */
  readonly mode: number | null;
  /** The owner's user id; null on Windows. */
  readonly owner: number | null;
  /** The group's id; null on Windows. */
  readonly group: number | null;
}

/** Folders and links from the root to a file; no places on Windows. */
export interface Way {
  readonly places: readonly Place[];
  /** True if the path exists; else `places` ends at the last one that does. */
  readonly isWhole: boolean;
}

/** A folder or link on the way to a file, or the file. */
export interface Place extends FileInfo {
  readonly path: string;
  readonly isLink: boolean;
}

export interface RunOptions {
  readonly stdin?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
  /** After so long it is ended with SIGKILL, its children too; the exit code is then null. */
  readonly timeoutMs?: number;
  /** Hand the terminal through instead of collecting output. */
  readonly inherit?: boolean;
  /** Told the process's id when it runs. */
  readonly started?: (pid: number) => void;
}

export interface Ran {
  /** The exit status; null when a signal or the time limit ended it. */
  readonly code: number | null;
  /** The number of the signal that ended it, where one did and it is known. */
  readonly signal?: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Child {
  readonly pid: number;
  readonly stdout: AsyncIterable<Uint8Array>;
  readonly stderr: AsyncIterable<Uint8Array>;
  /** Settles when the program ended; null when a signal ended it. */
  readonly ended: Promise<number | null>;
  kill(signal: "SIGTERM" | "SIGKILL"): void;
}

/** Where a datagram came from: its host is an address, canonical. */
export type DatagramSource = Endpoint;

export type DatagramHandler = (
  bytes: Uint8Array,
  source: DatagramSource,
) => void;

export interface ListenOptions {
  /**
   * At "::", a socket for each family: an IPv6 packet with an IPv4-mapped
   * source is dropped, instead of being taken for an IPv4 packet.
   */
  readonly apart?: boolean;
  /**
   * Reads many datagrams a call where that can be done. Datagrams of two such
   * sockets may come in another order than they were sent: not for sequences.
   */
  readonly batched?: boolean;
}

/** A bound UDP socket. */
export interface Datagrams extends Listener {
  /** Sends one datagram; a failure is thrown as {@linkcode SystemError}. */
  send(bytes: Uint8Array, to: Endpoint): Promise<void>;
}

export interface Listener {
  /** Where it listens; the port the system chose when 0 was asked for. */
  readonly at: Endpoint;
  /** Resolves when the port is free again. */
  close(): Promise<void>;
}

/** Which name server to ask, and for what. */
export interface LookUp {
  /** Its address, canonical. */
  readonly server: string;
  readonly port: number;
  readonly family: "IPv4" | "IPv6";
  readonly timeoutMs: number;
}

export interface FetchOptions {
  readonly timeoutMs: number;
  /** The most bytes that are read. */
  readonly limit: number;
}

/** Certificates for TLS, in PEM; null = the system's authorities, no certificate of our own. */
export interface Certificates {
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
}

/** Client of an HTTP API. Methods but close() throw {@linkcode SystemError}. */
export interface HttpClient {
  /** Posts JSON and reads the answer, whatever its status. */
  post(url: string, body: string, options: PostOptions): Promise<PostAnswer>;
  /** Posts JSON and hands out the answer as it comes, until aborted; throws for any status but 200. */
  stream(
    url: string,
    body: string,
    options: Pick<PostOptions, "authorization"> & { signal: AbortSignal },
  ): AsyncIterable<Uint8Array>;
  close(): void;
}

interface PostOptions extends FetchOptions {
  /** Text of the header Authorization; null = none. */
  readonly authorization: string | null;
}

interface PostAnswer {
  readonly status: number;
  readonly text: string;
  /** The server's clock, Unix milliseconds, exact to a second; null where its answer has none. */
  readonly dateMs: number | null;
}

/** A TCP connection. Methods but close() throw {@linkcode SystemError}. */
export interface Stream {
  /** The other end, canonical. */
  readonly peer: Endpoint;
  /** The next bytes; null when the other end has finished. The bytes are the caller's. */
  read(): Promise<Uint8Array | null>;
  /** Resolves when all bytes are handed to the system. */
  write(bytes: Uint8Array): Promise<void>;
  /** Finishes this direction; the other goes on. */
  finish(): Promise<void>;
  /** Ends both directions at once. Safe to call twice. */
  close(): void;
}

export type SqlValue = string | number | bigint | Uint8Array | null;
export type SqlRow = Record<string, SqlValue>;

/** An SQLite database, synchronous. Methods throw {@linkcode SystemError} with SQLite's words. */
export interface Database {
  exec(sql: string): void;
  prepare(sql: string): Statement;
  close(): void;
}

export interface Statement {
  /** Runs it; the number of rows changed. */
  run(...values: SqlValue[]): number;
  get(...values: SqlValue[]): SqlRow | undefined;
  all(...values: SqlValue[]): SqlRow[];
}

/** Types of a call; "buffer" is bytes. */
interface NativeTypes {
  readonly parameters: readonly ("pointer" | "buffer" | "i32" | "u32")[];
  readonly result: "pointer" | "i32" | "u32" | "void";
}

export type NativeSymbols = Readonly<Record<string, NativeTypes>>;

/** A call of a shared library. */
export type NativeCall = (...values: unknown[]) => unknown;

/** A shared library. Pointers are opaque values of the runtime. */
export interface NativeLibrary {
  call(symbol: string, ...values: unknown[]): unknown;
  /** Address of bytes in memory, for a struct that names it. The bytes must have an ArrayBuffer of their own. */
  addressOf(bytes: Uint8Array<ArrayBuffer>): bigint;
  /** The NUL-ended string at a pointer; "" where that is null. */
  textAt(pointer: unknown): string;
  /** Memory at a pointer, never to be freed. */
  memoryAt(pointer: unknown, size: number): ArrayBuffer;
  close(): void;
}
