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
  Dialect,
  DialectName,
  KernelForm,
  OwnPart,
  Sealer,
} from "./dialect.ts";
import type { OpenPgp } from "./fwknop/gpg.ts";
import { fwknopClient, fwknopProfile } from "./fwknop/keys.ts";
import {
  type ClientFiles,
  type ClientKeys,
  clientsOf,
  type Enrolling,
  type ExplainSide,
  type KeyedDialect,
  type KeyTypes,
  type NewKeys,
  type ProfileKeys,
  type ServerKeys,
  sharedOf,
} from "./keys.ts";
import { knockClient, knockProfile } from "./knock1/keys.ts";
import { openmeClient, openmeOwn, openmeProfile } from "./openme/keys.ts";
import { openspaClient, openspaOwn, openspaProfile } from "./openspa/keys.ts";

/** One dialect: C is a client's keys on the server, P a profile's. */
interface DialectEntry<C, P> {
  readonly client: ClientPart<C, unknown>;
  readonly own?: OwnPart<object>;
  readonly profile: Schema<P>;
  /** True if servers send replies in this dialect. */
  readonly answers: boolean;
  /** Loads the server's side; `openPgp` opens what takes gpg. */
  open(): Promise<(keys: ServerKeys, openPgp?: OpenPgp) => Dialect>;
  explain(): Promise<ExplainSide>;
  seal(): Promise<(keys: P) => Sealer>;
  /** Loads `client add` for clients of another tool's; absent: it is our own. */
  enrol?(): Promise<(asked: Enrolling, keys: ServerKeys) => NewKeys>;
  /** Output of that, in words for its help. */
  readonly enrolWords?: string;
  /** Loads `knock import` of the other tool's client files; absent: it has none. */
  files?(): Promise<ClientFiles>;
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
    async open() {
      const { knock1Dialect } = await import("./knock1/open.ts");
      return (keys) => {
        const { key, maxSkewMs, shared } = keys;
        return knock1Dialect(
          key,
          clientsOf(keys, "knock"),
          maxSkewMs,
          shared && {
            hasWeb: shared.hasWeb,
            find(key) {
              const found = shared.find("knock", key);
              if (!found?.knock) return null;
              return { ...found.knock, name: found.name, web: found.web };
            },
          },
        );
      };
    },
    explain: async () =>
      (await import("./knock1/explain.ts" as string)).knockExplain,
    seal: async () => (await import("./knock1/seal.ts")).knockSealer,
  },
  fwknop: {
    client: fwknopClient,
    profile: fwknopProfile,
    answers: false,
    async open() {
      const { fwknopDialect } = await import("./fwknop/open.ts" as string);
      return (keys, openPgp) =>
        fwknopDialect(
          clientsOf(keys, "fwknop"),
          openPgp,
          sharedOf(keys, "fwknop"),
        );
    },
    explain: async () =>
      (await import("./fwknop/explain.ts" as string)).fwknopExplain,
    seal: async () => (await import("./fwknop/seal.ts" as string)).fwknopSealer,
    enrol: async () => (await import("./fwknop/seal.ts" as string)).enrolFwknop,
    enrolWords: "prints a stanza for its .fwknoprc",
  },
  openme: {
    client: openmeClient,
    own: openmeOwn,
    profile: openmeProfile,
    answers: false,
    async open() {
      const { openmeDialect } = await import("./openme/open.ts" as string);
      return (keys) =>
        openmeDialect(
          keys.openme.key,
          clientsOf(keys, "openme"),
          sharedOf(keys, "openme"),
        );
    },
    explain: async () =>
      (await import("./openme/explain.ts" as string)).openmeExplain,
    seal: async () => (await import("./openme/open.ts" as string)).openmeSealer,
    enrol: async () =>
      (await import("./openme/enrol.ts" as string)).enrolOpenme,
    enrolWords:
      "prints the client file of its command line, and --qr is what its apps scan",
    files: async () =>
      (await import("./openme/enrol.ts" as string)).openmeFiles,
  },
  openspa: {
    client: openspaClient,
    own: openspaOwn,
    profile: openspaProfile,
    answers: true,
    async open() {
      const { openspaDialect } = await import("./openspa/open.ts" as string);
      return (keys) => {
        const { key, adkSecret } = keys.openspa;
        return openspaDialect(
          key,
          clientsOf(keys, "openspa"),
          adkSecret,
          sharedOf(keys, "openspa"),
        );
      };
    },
    explain: async () =>
      (await import("./openspa/explain.ts" as string)).openspaExplain,
    seal: async () =>
      (await import("./openspa/seal.ts" as string)).openspaSealer,
    enrol: async () =>
      (await import("./openspa/enrol.ts" as string)).enrolOpenspa,
    enrolWords: "writes NAME.ospa in this folder",
    files: async () =>
      (await import("./openspa/enrol.ts" as string)).openspaFiles,
  },
};

/** The entries by name, whatever the keys are; our own dialect is first. */
export const DIALECTS = ENTRIES as Readonly<
  Record<DialectName, DialectEntry<unknown, unknown>>
>;

export const DIALECT_NAMES = Object.keys(DIALECTS) as DialectName[];

export function dialectsOf(client: ClientKeys): DialectName[] {
  return DIALECT_NAMES.filter((name) => client[name] !== null);
}

/** The dialect that a profile knocks in. */
export function dialectOf(profile: ProfileKeys): DialectName {
  return DIALECT_NAMES.find((name) => profile[name] !== null)!;
}

/** Forms of the packets of some clients, in the dialects that are wanted. */
export function kernelForms(
  clients: readonly ClientKeys[],
  isWanted: (name: DialectName) => boolean = () => true,
): KernelForm[] {
  return clients.flatMap((client) =>
    dialectsOf(client).filter(isWanted)
      .map((name) => DIALECTS[name].client.form(client[name]))
  );
}

/** Form of the packets of a dialect's clients that are not in memory. */
export function sharedForm(name: DialectName): KernelForm {
  return DIALECTS[name].client.form(null);
}

/**
 * Makes each dialect that at least one client uses; a packet is tried in no
 * other. Our own comes first. One whose server key was not made yet is left
 * out. Without `openPgp`, packets in OpenPGP are not opened.
 */
export function createDialects(
  keys: ServerKeys,
  openPgp?: OpenPgp,
): Promise<Dialect[]> {
  const usable = DIALECT_NAMES.filter((name) =>
    (keys.clients.some((client) => client[name] !== null) ||
      sharedOf(keys, name) !== null) &&
    (!DIALECTS[name].own || keys[name as KeyedDialect].key !== null)
  );
  return Promise.all(
    usable.map(async (name) => (await DIALECTS[name].open())(keys, openPgp)),
  );
}

/** The sealer for a profile's dialect, with its keys. */
export async function sealerOf(profile: ProfileKeys): Promise<Sealer> {
  const name = dialectOf(profile);
  return (await DIALECTS[name].seal())(profile[name]);
}

/** The reader of another tool's client file; null: no tool has this form. */
export async function clientFilesOf(text: string): Promise<ClientFiles | null> {
  for (const name of DIALECT_NAMES) {
    const files = await DIALECTS[name].files?.();
    if (files?.recognises(text)) return files;
  }
  return null;
}

/** The fields of a client's keys, as YAML has them. */
export const CLIENT_FIELDS = fieldsOf(({ client }) =>
  optional(client.schema, null)
) as Readonly<Record<DialectName, Field<unknown>>>;

/** The fields of the server's own keys, as YAML has them. */
export const OWN_FIELDS = fieldsOf(({ own }) => own && section(own.schema)) as {
  readonly [N in KeyedDialect]: Field<{ readonly key: string }>;
};

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
