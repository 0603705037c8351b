/**
 * Every dialect, once: its keys in files, and how to open, seal, explain and
 * enrol in it. A new dialect is a folder and an entry here. What only some
 * commands need is loaded when they need it: a knock reads one `seal.ts`.
 * @module
 */

import {
  type Field,
  optional,
  type Schema,
  section,
} from "../values/schema.ts";
import type {
  ClientPart,
  DialectName,
  OwnKey,
  OwnPart,
  Sealer,
} from "./dialect.ts";
import {
  fwknopClient,
  type FwknopClientKeys,
  fwknopProfile,
  type FwknopProfileKeys,
} from "./fwknop/keys.ts";
import {
  knockClient,
  type KnockClientKeys,
  type KnockKeys,
  knockProfile,
} from "./knock1/keys.ts";
import {
  openmeClient,
  type OpenmeClientKeys,
  openmeOwn,
  openmeProfile,
  type OpenmeProfileKeys,
} from "./openme/keys.ts";
import {
  openspaClient,
  type OpenspaClientKeys,
  openspaOwn,
  type OpenspaOwnKey,
  openspaProfile,
  type OpenspaProfileKeys,
} from "./openspa/keys.ts";

/** The keys of each dialect: a client's on the server, and a profile's. */
interface KeyTypes {
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

/** One dialect: C is a client's keys on the server, P a profile's. */
export interface DialectEntry<C, P> {
  readonly client: ClientPart<C, unknown>;
  readonly own?: OwnPart<object>;
  readonly profile: Schema<P>;
  /** Whether servers answer in it at all. */
  readonly answers: boolean;
  /** Loads the client's side. */
  seal(): Promise<(keys: P) => Sealer>;
}

// "as string" as in commands/table.ts; our own sealer is part of every knock.
const ENTRIES: {
  readonly [N in DialectName]: DialectEntry<
    KeyTypes[N]["client"],
    KeyTypes[N]["profile"]
  >;
} = {
  knock: {
    client: knockClient,
    profile: knockProfile,
    answers: true,
    seal: async () => (await import("./knock1/seal.ts")).knockSealer,
  },
  fwknop: {
    client: fwknopClient,
    profile: fwknopProfile,
    answers: false,
    seal: async () => (await import("./fwknop/seal.ts" as string)).fwknopSealer,
  },
  openme: {
    client: openmeClient,
    own: openmeOwn,
    profile: openmeProfile,
    answers: false,
    seal: async () => (await import("./openme/seal.ts" as string)).openmeSealer,
  },
  openspa: {
    client: openspaClient,
    own: openspaOwn,
    profile: openspaProfile,
    answers: true,
    seal: async () =>
      (await import("./openspa/seal.ts" as string)).openspaSealer,
  },
};

/** The entries by name, whatever the keys are; our own dialect is first. */
export const DIALECTS = ENTRIES as Readonly<
  Record<DialectName, DialectEntry<unknown, unknown>>
>;

/** The names of all dialects. */
export const DIALECT_NAMES = Object.keys(DIALECTS) as DialectName[];

/** Dialects with a key of the server's own, besides knock/1. */
export type KeyedDialect = keyof OwnKeys;

/** The dialects that a client has keys for. */
export function dialectsOf(client: ClientKeys): DialectName[] {
  return DIALECT_NAMES.filter((name) => client[name] !== null);
}

/** The dialect that a profile knocks in. */
export function dialectOf(profile: ProfileKeys): DialectName {
  return DIALECT_NAMES.find((name) => profile[name] !== null)!;
}

/** The sealer for a profile's dialect, with its keys. */
export async function sealerOf(profile: ProfileKeys): Promise<Sealer> {
  const name = dialectOf(profile);
  return (await DIALECTS[name].seal())(profile[name]);
}

/** The fields of a client's keys, as YAML has them. */
export const CLIENT_FIELDS = fieldsOf(({ client }) =>
  optional(client.schema, null)
) as Readonly<Record<DialectName, Field<unknown>>>;

/** The fields of the server's own keys, as YAML has them. */
export const OWN_FIELDS = fieldsOf(({ own }) => own && section(own.schema)) as {
  readonly [N in KeyedDialect]: Field<{ readonly key: string }>;
};

/** The fields of a profile's keys. */
export const PROFILE_FIELDS = fieldsOf(({ profile }) =>
  optional(profile, null)
) as {
  readonly [N in DialectName]: Field<
    KeyTypes[N]["profile"],
    KeyTypes[N]["profile"] | null
  >;
};

function fieldsOf<F>(
  make: (entry: DialectEntry<unknown, unknown>) => F | undefined,
): Record<string, F> {
  return Object.fromEntries(
    Object.entries(DIALECTS).flatMap(([name, entry]) => {
      const field = make(entry);
      return field ? [[name, field]] : [];
    }),
  );
}
