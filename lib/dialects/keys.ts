/**
 * Keys of all dialects, as configurations and profiles hold them. What explains
 * and enrols takes them from here, and not from the table, which loads it.
 * @module
 */

import type { Endpoint } from "../values/address.ts";
import type { PortRange } from "../values/ports.ts";
import type {
  DialectName,
  KeyWorld,
  OwnKey,
  PacketRefusal,
  Request,
  Scene,
} from "./dialect.ts";
import type { FwknopClientKeys, FwknopProfileKeys } from "./fwknop/keys.ts";
import type { KnockClientKeys, KnockKeys } from "./knock1/keys.ts";
import type { Knock1Client } from "./knock1/open.ts";
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
  readonly clients: readonly (ClientKeys & {
    readonly name: string;
    /** True if the client may knock from a browser. */
    readonly web: boolean;
  })[];
  /** Clients of knock/1 that are kept elsewhere, and found by their key; absent: none. */
  readonly shared?: SharedKnock1;
}

/** Clients of knock/1 that are not in memory. */
interface SharedKnock1 {
  readonly hasKnock: boolean;
  readonly hasWeb: boolean;
  /** Finds the client with a public key, 32 bytes. */
  find(key: Uint8Array): Knock1Client | null;
}

/** A profile, as far as dialects are concerned. */
export type NamedProfile = ProfileKeys & { readonly name: string };

/** The clients with keys of a dialect, and those keys. */
export function clientsOf<N extends DialectName>(
  { clients }: ServerKeys,
  dialect: N,
): (KeyTypes[N]["client"] & { readonly name: string })[] {
  return clients.flatMap((client) => {
    const keys: KeyTypes[N]["client"] | null = client[dialect];
    return keys ? [{ ...keys, name: client.name }] : [];
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
