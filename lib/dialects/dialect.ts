/**
 * The interface of every dialect: bytes into a request, or into a refusal.
 * Pure: keys, time and randomness are arguments; nothing here waits, logs or
 * throws because of a packet.
 * @module
 */

import type { Endpoint } from "../values/address.ts";
import { UsageError } from "../values/errors.ts";
import type { PortRange } from "../values/ports.ts";
import type { KeyKind, Mistake, ReadKey, Schema } from "../values/schema.ts";

/** The dialects that packets come in, by their key under `clients.NAME`. */
export type DialectName = "knock" | "fwknop" | "openme" | "openspa";

/** Verb of a request. */
export type Action = "open" | "close" | "run" | "ping";

/** Target that a client wants connections to its port forwarded to. */
export interface Forward extends Endpoint {
  /** `nat`: another machine; `local`: another port of the server itself. */
  readonly kind: "nat" | "local";
}

/** Request of an authentic packet, the same in every dialect. */
export interface Request {
  /** Dialect of the packet. */
  readonly dialect: DialectName;
  /** Name of the enrolled client. */
  readonly client: string;
  /** Verb of the request. */
  readonly action: Action;
  /** Ports to open or close; empty: all that this client may open. */
  readonly ports: readonly PortRange[];
  /** Name of the command for `run`, else null. */
  readonly command: string | null;
  /** Seconds asked for; 0 = the server's default. */
  readonly seconds: number;
  /** Time at which the packet was made, Unix milliseconds. */
  readonly timestampMs: number;
  /** Address to open for, canonical; null = the source of the packet. */
  readonly address: string | null;
  /** One-time code, 0 to 999999; null = none. */
  readonly code: number | null;
  /** Bytes that are the same in every replay of this packet, in any re-encoding. */
  readonly identity: Uint8Array;
  /** True if the client wants a reply and the dialect has one. */
  readonly wantsReply: boolean;
  /** Target to forward `ports` to; absent: the server's own services. */
  readonly forward?: Forward;
  /** User name in the packet, not authenticated. */
  readonly user?: string;
  /** Address that the client knows the service by, if the packet names it. */
  readonly target?: string;
  /** IANA number of a protocol without ports; such a request opens nothing. */
  readonly protocol?: number;
}

/** Answer of the server to a request. */
export interface Answer {
  /** `done`, `refused` by policy, or `failed` in the firewall or command. */
  readonly status: "done" | "refused" | "failed";
  /** Reason of `refused`, if the server gives one that this version knows. */
  readonly reason?: PolicyRefusal;
  /** Number of ports opened or closed. */
  readonly count: number;
  /** Seconds granted. */
  readonly seconds: number;
  /** Clock of the server, Unix milliseconds; 0 = unknown. */
  readonly timeMs: number;
  /** Address that the request was carried out for, canonical. */
  readonly address: string;
}

/**
 * Reason for refusing a packet before it became a request, in the order of the
 * checks: form, cheap proof, sender.
 */
export type PacketRefusal =
  | "form"
  | "length"
  | "version"
  | "tag"
  | "adk"
  | "mac"
  | "rate"
  | "replay"
  | "noise"
  | "unknown client"
  | "signature"
  | "cipher"
  | "integrity"
  | "busy"
  | "payload";

/** Reason for refusing an authentic request, in the order of the checks. */
export type PolicyRefusal =
  | "expired"
  | "hours"
  | "address required"
  | "address"
  | "source"
  | "ports"
  | "protocol"
  | "target"
  | "nothing to open"
  | "forward"
  | "command"
  | "code"
  | "code used"
  | "code tries";

/** Result of opening a packet: a request, or the reason for refusing it. */
export type Opened =
  | {
    readonly ok: true;
    readonly request: Request;
    /** Seals the reply; `random` is 32 fresh bytes. Empty: none is sent. */
    readonly seal: (answer: Answer, random: Uint8Array) => Uint8Array;
  }
  | {
    readonly ok: false;
    readonly why: PacketRefusal;
    /** The client, where the packet proved it before it was refused. */
    readonly client?: string;
    /** Reply to send anyway: the answer to a check that its browser repeats. */
    readonly answer?: Uint8Array<ArrayBuffer>;
    /** Opens it by a slow step, such as running gpg; `why` is the result for callers that do not wait. */
    readonly later?: () => Promise<Opened>;
    /** Goes on looking for the client, a part further; `why` is the result for callers that do not. */
    readonly more?: () => Opened;
  };

/** A packet that is refused, and no more to it. */
export type Refused = Pick<
  Extract<Opened, { readonly ok: false }>,
  "ok" | "why" | "client"
>;

/** Refuses a packet, which proved its client or none. */
export function refuse(why: PacketRefusal, client?: string): Refused {
  return client === undefined ? { ok: false, why } : { ok: false, why, client };
}

/** Facts that a dialect may ask for while it opens a packet. */
export interface Scene {
  /** Unix milliseconds. */
  readonly nowMs: number;
  /** Source of the datagram; absent where none is known, as in `decode`. */
  readonly source?: Endpoint;
  /** Returns true if an identity was accepted before: refuses replays before the costly part. */
  readonly seen: (identity: Uint8Array) => boolean;
  /** Returns true if this packet may cost more than a MAC and a lookup; called once, before it does. */
  readonly mayCost: () => boolean;
}

/** Part of a dialect's form that a kernel can check: every packet that can open has it. */
export interface KernelForm {
  /** Least and most bytes. */
  readonly least: number;
  readonly most: number;
  /** Values that the first byte may have; null: any. */
  readonly first: readonly number[] | null;
}

/** Server's side of a dialect, with the keys of its clients. */
export interface Dialect {
  /** Key under `clients.NAME` in server.yaml. */
  readonly name: DialectName;
  /** Returns true if a packet has this dialect's form (length, alphabet, header). */
  recognises(packet: Uint8Array): boolean;
  /** Returns true if a repeated packet has an answer, as a browser's check has; absent: none has. */
  answersAgain?(packet: Uint8Array): boolean;
  /** Opens a packet. Never throws, whatever the packet. Keeps no part of it. */
  open(packet: Uint8Array, scene: Scene): Opened;
}

/** Request to the server; a code of null is the profile's, if it has one. */
export type NewRequest =
  & Pick<
    Request,
    "action" | "ports" | "command" | "seconds" | "address" | "code"
  >
  & {
    /** Target to forward the port to; fwknop only. */
    readonly forward?: Forward | null;
  };

/** Refuses what a tool's packets cannot ask for, by UsageError, if all they can do is open for a time that the server knows. */
export function checkOnlyOpens(
  tool: string,
  { action, seconds }: NewRequest,
): void {
  if (action !== "open") {
    throw new UsageError(`${tool} can only open, got "${action}"`);
  }
  if (seconds > 0) {
    throw new UsageError(
      `${tool} cannot say for how long: the server knows it for this client`,
      'leave out --for, and "for" in the profile',
    );
  }
}

/** Packet for a server, which may answer it. */
export interface Sealed {
  readonly packet: Uint8Array<ArrayBuffer>;
  /** Opens the answer to this packet; null for any other bytes. Never throws. */
  openReply(bytes: Uint8Array): Answer | null;
}

/** Inputs of sealing besides the request. */
export interface SealOptions {
  /** Unix milliseconds. */
  readonly nowMs: number;
  /** Returns that many fresh random bytes. */
  readonly random: (size: number) => Uint8Array<ArrayBuffer>;
  readonly wantsReply: boolean;
  /** The server's address that the packet goes to, canonical. */
  readonly server: string;
  /** This machine's own addresses, canonical. */
  readonly own: () => readonly string[];
  /** Runs a program; throws SystemError. */
  readonly run: (
    argv: readonly string[],
    options?: {
      readonly stdin?: string | Uint8Array;
      readonly timeoutMs?: number;
    },
  ) => Promise<{
    readonly code: number | null;
    readonly stdout: string;
    readonly stderr: string;
  }>;
}

/** Client's side of a dialect, with the keys of a profile. */
export interface Sealer {
  readonly dialect: DialectName;
  /** True if servers send replies in this dialect. */
  readonly answers: boolean;
  /** Seals a packet. Throws UsageError for what the dialect cannot express. */
  seal(ask: NewRequest, circumstances: SealOptions): Sealed | Promise<Sealed>;
}

// The keys of a dialect in files.

/** The keys of a client under `clients.NAME.DIALECT`: C as the program uses them, Y as YAML has them. */
export interface ClientPart<C, Y = C> {
  readonly schema: Schema<Y>;
  /**
   * Turns what the schema read into the keys; null, with every mistake noted,
   * if they cannot be used. Absent: what was read is the keys.
   */
  read?(
    yaml: Y,
    path: string,
    mistakes: Mistake[],
    readKey: ReadKey | undefined,
  ): C | null;
  /** Keys that no two clients may share. */
  readonly marks: readonly {
    /** Behind `clients.NAME.DIALECT.`. */
    readonly key: string;
    /** Goes after "must be", before "of its own". */
    readonly wanted: string;
    /** Undefined: this client has none. */
    of(keys: C): Uint8Array | undefined;
  }[];
  /**
   * Bytes by which a client that is not in memory is found: a packet names
   * them, or they are tried with it. Null: this client is kept in memory.
   */
  index(yaml: Y): Uint8Array | null;
  /** Form of this client's packets, as a kernel sees it; null: of a client's that an index finds. */
  form(keys: C | null): KernelForm;
  /** The danger of keys that are allowed and not wise; null: there is none. */
  warn?(keys: C): string | null;
  /** Rows of `knock client show`, without secrets. */
  show(keys: C): readonly (readonly [title: string, value: string])[];
  /** Key that names a file which `client add` makes, and that file's name. */
  readonly file?: { readonly key: string; of(client: string): string };
}

/** The server's own key under `DIALECT` at the top, in a file of its own. */
export interface OwnPart<
  K extends object,
  Y extends { readonly key: string } = { readonly key: string },
> {
  readonly schema: Schema<Y>;
  readonly kind: KeyKind<K>;
  /** Settings beside the key, as the program uses them. */
  settings?(yaml: Y): object;
  /** Makes the text of a new key's file. */
  make(world: KeyWorld): string;
}

/** A key of the server's that is made when it is first needed. */
export interface OwnKey<T> {
  /** The file's name, as the configuration has it. */
  readonly file: string;
  /** Null: it was not made yet. */
  readonly key: T | null;
}

/** Sources of new keys. */
export interface KeyWorld {
  random(size: number): Uint8Array<ArrayBuffer>;
  /** A new RSA private key, in PEM. */
  rsaPrivateKey(bits: number): string;
}
