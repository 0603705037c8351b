/**
 * The interface of every dialect: bytes into a request, or into a refusal.
 * Pure: keys, time and randomness are arguments; nothing here waits, logs or
 * throws because of a packet.
 * @module
 */

import type { Endpoint } from "../values/address.ts";
import type { PortRange } from "../values/ports.ts";

/** The dialects that packets come in, by their key under `clients.NAME`. */
export type DialectName = "knock" | "fwknop" | "openme" | "openspa";

export type Action = "open" | "close" | "run" | "ping";

/** Where a client wants connections to its port passed on to. */
export interface Forward extends Endpoint {
  /** `local`: to another port of the server itself. */
  readonly kind: "nat" | "local";
}

/** What an authentic packet asks for, the same in every dialect. */
export interface Request {
  readonly dialect: DialectName;
  /** The enrolled client's name. */
  readonly client: string;
  readonly action: Action;
  /** Empty for open and close: all that this client may open. */
  readonly ports: readonly PortRange[];
  /** The name of the command, for `run`. */
  readonly command: string | null;
  /** Seconds asked for; 0 = the server's default. */
  readonly seconds: number;
  /** When it was made, Unix milliseconds. */
  readonly timestampMs: number;
  /** The address to open for, canonical; null = where the packet came from. */
  readonly address: string | null;
  /** The one-time code, 0 to 999999; null when there is none. */
  readonly code: number | null;
  /** What marks a replay of this packet, in any re-encoding. */
  readonly identity: Uint8Array;
  /** Whether the client wants a reply and the dialect has one. */
  readonly wantsReply: boolean;
  /** What `ports` are to be passed on to; absent: the server's own services. */
  readonly forward?: Forward;
  /** The name of the user that the packet bears; nobody vouches for it. */
  readonly user?: string;
  /** The address that the client knows the service by, where it says so. */
  readonly target?: string;
  /** IANA's number of a protocol without ports; nothing is opened for it. */
  readonly protocol?: number;
}

/** The server's answer to a request. */
export interface Answer {
  readonly status: "done" | "refused" | "failed";
  /** Ports opened or closed. */
  readonly count: number;
  /** Seconds granted. */
  readonly seconds: number;
  /** The server's time, Unix milliseconds. */
  readonly timeMs: number;
  /** The address that it was done for, canonical. */
  readonly address: string;
}

/**
 * Why a packet was refused before it was a request, in the order of the
 * checks: its form, then a proof that is cheap, then its sender.
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

/** What a dialect made of a packet. */
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
    /** Opens it after all, by what takes time; `why` stands for whoever cannot wait. */
    readonly later?: () => Promise<Opened>;
  };

/** What a dialect may know of the world while it opens a packet. */
export interface Scene {
  /** Unix milliseconds. */
  readonly nowMs: number;
  /** Whether an identity was accepted before: refuses copies before the costly part. */
  readonly seen: (identity: Uint8Array) => boolean;
  /** Whether this packet may cost more than a mac and a look-up; asked once, before it does. */
  readonly mayCost: () => boolean;
}

/** A dialect with the keys of its clients. */
export interface Dialect {
  readonly name: DialectName;
  /** Whether a packet has this dialect's form (length, alphabet, header). */
  recognises(packet: Uint8Array): boolean;
  /** Opens a packet. Never throws, whatever the packet. Keeps no part of it. */
  open(packet: Uint8Array, scene: Scene): Opened;
}

// What a packet is, step by step, for the person who asks why nothing opens.

/** One thing that was looked at. */
export interface Step {
  readonly ok: boolean;
  /** In words, without secrets. */
  readonly text: string;
}

/** What became of a packet. */
export interface Explanation {
  /** What the server would say of it, before its clock and its policy. */
  readonly verdict: "request" | PacketRefusal;
  /** Whose it is, or whose it would be with the settings of `steps`; null: nobody's. */
  readonly client: string | null;
  readonly request: Request | null;
  /** The fields as they were sent, wherever a key of ours shows them. */
  readonly fields: Readonly<Record<string, string | number>> | null;
  readonly steps: readonly Step[];
}

/** What to ask the server for; a code of null is the profile's, if it has one. */
export type Ask =
  & Pick<
    Request,
    "action" | "ports" | "command" | "seconds" | "address" | "code"
  >
  & {
    /** Where the port is to be passed on to; for fwknop alone. */
    readonly forward?: Forward | null;
  };

/** A packet for a server, which may answer it. */
export interface Sealed {
  readonly packet: Uint8Array<ArrayBuffer>;
  /** Opens the answer to this packet; null if it is none. Never throws. */
  openReply(bytes: Uint8Array): Answer | null;
}

/** What a packet depends on besides what is asked. */
export interface SealOptions {
  /** Unix milliseconds. */
  readonly nowMs: number;
  /** Fresh bytes, as many as wanted. */
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

/** A dialect as the client speaks it. */
export interface Sealer {
  readonly dialect: DialectName;
  /** Whether servers answer in it at all. */
  readonly answers: boolean;
  /** Seals a packet. Throws UsageError for what the dialect cannot express. */
  seal(ask: Ask, circumstances: SealOptions): Sealed | Promise<Sealed>;
}
