/**
 * Keys of all dialects, as configurations and profiles hold them. What explains
 * and enrols takes them from here, and not from the table, which loads it.
 * @module
 */

import type { Endpoint } from "../values/address.ts";
import type { PortRange } from "../values/ports.ts";
import {
  type DialectName,
  type KeyWorld,
  type Opened,
  type OwnKey,
  type PacketRefusal,
  refuse,
  type Request,
  type Scene,
} from "./dialect.ts";
import type { FwknopClientKeys, FwknopProfileKeys } from "./fwknop/keys.ts";
import type { KnockClientKeys, KnockKeys } from "./knock1/keys.ts";
import type { OpenmeClientKeys, OpenmeProfileKeys } from "./openme/keys.ts";
import type {
  OpenspaClientKeys,
  OpenspaOwnKey,
  OpenspaProfileKeys,
} from "./openspa/keys.ts";

/** The keys of each dialect: a client's on the server, and a profile's. */
export interface KeyTypes {
  readonly knock: { client: KnockClientKeys; profile: KnockKeys };
  readonly fwknop: { client: FwknopClientKeys; profile: FwknopProfileKeys };
  readonly openme: { client: OpenmeClientKeys; profile: OpenmeProfileKeys };
  readonly openspa: { client: OpenspaClientKeys; profile: OpenspaProfileKeys };
}

/** A client's keys on the server, by dialect; null: none. */
export type ClientKeys = {
  readonly [N in DialectName]: KeyTypes[N]["client"] | null;
};

/** A profile's keys: those of one dialect, null for the others. */
export type ProfileKeys = {
  readonly [N in DialectName]: KeyTypes[N]["profile"] | null;
};

/** The server's own keys, besides that of knock/1. */
export interface OwnKeys {
  /** X25519, 32 bytes. */
  readonly openme: OwnKey<Uint8Array>;
  readonly openspa: OpenspaOwnKey;
}

/** Dialects with a key of the server's own, besides knock/1. */
export type KeyedDialect = keyof OwnKeys;

/** The part of a configuration that dialects use. */
export interface ServerKeys extends OwnKeys {
  /** The server's X25519 private key of knock/1, 32 bytes. */
  readonly key: Uint8Array;
  readonly maxSkewMs: number;
  readonly clients: readonly NamedKeys[];
  /** Clients that are not in memory; absent: none. */
  readonly shared?: SharedKeys;
}

/** A client's keys, with its name. */
export type NamedKeys = ClientKeys & {
  readonly name: string;
  /** True if the client may knock from a browser. */
  readonly web: boolean;
};

/** Clients that are not in memory, each with an index for each of its dialects: see ClientPart. */
export interface SharedKeys {
  /** The dialects that any of them has keys of. */
  readonly dialects: readonly DialectName[];
  /** True if any of them may knock from a browser. */
  readonly hasWeb: boolean;
  /** Finds the client with an index; null: there is none that is valid. */
  find(dialect: DialectName, index: Uint8Array): NamedKeys | null;
  /** The next indexes after one, in their order, as one text of bytes; all begin with `start`. */
  after(
    dialect: DialectName,
    index: Uint8Array,
    start: Uint8Array,
    most: number,
  ): Uint8Array;
  /** Indexes whose packets were opened of late, those from near this source first. */
  likely(dialect: DialectName, source: Endpoint | undefined): Uint8Array[];
  /** Notes that a packet of an index was opened. */
  note(
    dialect: DialectName,
    index: Uint8Array,
    source: Endpoint | undefined,
  ): void;
}

/** A profile, as far as dialects are concerned. */
export type NamedProfile = ProfileKeys & { readonly name: string };

/** The clients with keys of a dialect, and those keys. */
export function clientsOf<N extends DialectName>(
  { clients }: ServerKeys,
  dialect: N,
): (KeyTypes[N]["client"] & Pick<NamedKeys, "name" | "web">)[] {
  return clients.flatMap((client) => {
    const keys: KeyTypes[N]["client"] | null = client[dialect];
    return keys ? [{ ...keys, name: client.name, web: client.web }] : [];
  });
}

// Explanation of a packet, step by step, for `knock decode`.

/** One check of a packet. */
export interface Step {
  readonly ok: boolean;
  /** Result in words, without secrets. */
  readonly text: string;
}

/** A check, in the words for a packet that passes it or for one that does not. */
export function step(ok: boolean, right: string, wrong = right): Step {
  return { ok, text: ok ? right : wrong };
}

/** Result of explaining a packet. */
export interface Explanation {
  /** Verdict of the server, before its clock and its policy. */
  readonly verdict: "request" | PacketRefusal;
  /** Client that sent it, or would have with the settings of `steps`; null: none. */
  readonly client: string | null;
  readonly request: Request | null;
  /** Fields as they were sent, if a key of ours decrypts them. */
  readonly fields: Readonly<Record<string, string | number>> | null;
  readonly steps: readonly Step[];
}

/** Explanation of a packet to the owner of some profiles. */
export interface Recognised {
  readonly dialect: DialectName | null;
  /**
   * "sealed": all that a client can check is right; "request" where it can
   * open the packet, too.
   */
  readonly verdict: "sealed" | "request" | PacketRefusal;
  /** The profile whose server it is for; null: none. */
  readonly profile: string | null;
  /** Request in it, if the client's keys open it. */
  readonly request: Request | null;
  readonly steps: readonly Step[];
}

/** A dialect as `knock decode` uses it. Nothing here throws because of a packet. */
export interface ExplainSide {
  /** True if a packet has the dialect's form, for a server without clients of it. */
  hasForm(packet: Uint8Array): boolean;
  /** Explains a packet to the server, whose keys for this dialect are there. */
  explain(keys: ServerKeys, packet: Uint8Array, scene: Scene): Explanation;
  /** Explains a packet to a client; null: it has another form. */
  recognise(
    profiles: readonly NamedProfile[],
    packet: Uint8Array,
    nowMs: number,
  ): Recognised | null;
}

// New clients of another tool's, and its files.

/** A new client of another tool's: its name and rights, and where keys come from. */
export interface Enrolling extends KeyWorld {
  readonly name: string;
  /** The client's public key, as the operator gave it. */
  readonly key: string | undefined;
  /** Ports that it may open. */
  readonly ports: readonly PortRange[];
  /** Port at which the client reaches the server, if the server listens there. */
  server(usualPort: number): Endpoint;
}

/** Parts of a new client of a dialect. */
export interface NewKeys {
  /** A line of YAML for its entry. */
  readonly keys: string;
  readonly server: Endpoint;
  /** New files: beside the configuration, or for the client, in this folder. */
  readonly files: readonly {
    readonly name: string;
    readonly data: string;
    readonly isOutput?: boolean;
  }[];
  /** Text for stdout: data, or the place where it was written. */
  readonly out: string;
  /** Text of the QR code that the dialect's apps scan; null if there is none. */
  readonly qr: string | null;
  readonly hints: readonly string[];
}

/** A profile as another tool's file has it. */
export interface ForeignProfile {
  /** Null: the file has none. */
  readonly name: string | null;
  readonly server: Endpoint;
  /** The profile's keys, as `profiles.yaml` writes them. */
  readonly keys: Readonly<Record<string, unknown>>;
  /** Settings that were not converted or need review; no secrets. */
  readonly notes: readonly string[];
}

/** Client files of another tool, as `knock import` reads them. */
export interface ClientFiles {
  /** True if a text is such a file. */
  recognises(text: string): boolean;
  /**
   * Reads its profiles. Throws ConfigError with every mistake, and UsageError
   * for a file whose private keys are elsewhere.
   */
  read(text: string, file: string): ForeignProfile[];
}

/** The clients that are not in memory, if any of them has keys of a dialect; else null. */
export function sharedOf(
  { shared }: ServerKeys,
  dialect: DialectName,
): SharedKeys | null {
  return shared?.dialects.includes(dialect) ? shared : null;
}

/** A search for the client that made a packet of a dialect whose packets name none. */
interface Search {
  readonly dialect: DialectName;
  readonly shared: SharedKeys;
  readonly source: Endpoint | undefined;
  /** Bytes of each index that is tried, and the first one of all of them, if it is the same. */
  readonly size: number;
  readonly start: Uint8Array;
  /** Most indexes that are tried before other packets get a turn. */
  readonly most: number;
  /** Returns true if the packet is that of an index. */
  proves(index: Uint8Array): boolean;
  /** Opens the packet for the one client. */
  open(client: NamedKeys): Opened;
  /** Refusal where nobody is found, and until then. */
  readonly why: PacketRefusal;
  /** Tries something else where nobody is found; absent: nothing is. */
  readonly otherwise?: () => Opened;
}

/**
 * Tries the clients that are not in memory: the likely ones at once, and then
 * all of them, a part at a time. Where a packet comes from only says who is
 * tried first.
 */
export function searchClient(search: Search): Opened {
  const { dialect, shared, source, size, start, most, why } = search;
  const found = (index: Uint8Array): Opened => {
    const client = shared.find(dialect, index);
    if (!client) return refuse(why);
    const opened = search.open(client);
    if (opened.ok) shared.note(dialect, index, source);
    return opened;
  };
  const goOn = (from: Uint8Array): Opened => {
    const part = shared.after(dialect, from, start, most);
    for (let at = 0; at < part.length; at += size) {
      const index = part.subarray(at, at + size);
      if (search.proves(index)) return found(index);
    }
    if (part.length < most * size) {
      return search.otherwise?.() ?? refuse(why);
    }
    const last = part.subarray(-size);
    return { ok: false, why, more: () => goOn(last) };
  };
  for (const index of shared.likely(dialect, source)) {
    const isOne = index.length === size && index[0] === (start[0] ?? index[0]);
    if (isOne && search.proves(index)) return found(index);
  }
  return { ok: false, why, more: () => goOn(start) };
}
