/** Sealing what is asked in the dialect of a profile. */

import type { Runtime } from "../../runtime/runtime.ts";
import type {
  Answer,
  DialectName,
  Forward,
  Request,
} from "../../dialects/dialect.ts";
import type { Profile } from "../profile/profile.ts";
import { dialectOf } from "../../dialects/knock1/keys.ts";

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

/** What a packet depends on besides what is asked. */
export interface Circumstances {
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
  readonly run: Runtime["run"];
}

/** A packet for a server, which may answer it. */
export interface Sealed {
  readonly packet: Uint8Array<ArrayBuffer>;
  /** Opens the answer to this packet; null if it is none. Never throws. */
  openReply(bytes: Uint8Array): Answer | null;
}

/** A dialect as the client speaks it. */
export interface Sealer {
  readonly dialect: DialectName;
  /** Whether servers answer in it at all. */
  readonly answers: boolean;
  /** Seals a packet. Throws UsageError for what the dialect cannot express. */
  seal(ask: Ask, circumstances: Circumstances): Sealed | Promise<Sealed>;
}

type MakeSealer = (profile: Profile) => Promise<Sealer>;

// Each is loaded when it is used: a client that knocks speaks one of them.
// "as string" as in commands/table.ts.
const SEALERS: Readonly<Partial<Record<DialectName, MakeSealer>>> = {
  knock: async ({ knock }) =>
    (await import("../../dialects/knock1/seal.ts")).knockSealer(knock!),
  fwknop: async ({ fwknop }) =>
    (await import("../../dialects/fwknop/seal.ts" as string)).fwknopSealer(
      fwknop!,
    ),
  openme: async ({ openme }) =>
    (await import("../../dialects/openme/seal.ts" as string)).openmeSealer(
      openme!,
    ),
  openspa: async ({ openspa }) =>
    (await import("../../dialects/openspa/seal.ts" as string)).openspaSealer(
      openspa!,
    ),
};

/** The sealer for a profile's dialect, with its keys. */
export function sealerOf(profile: Profile): Promise<Sealer> {
  return SEALERS[dialectOf(profile)]!(profile);
}
