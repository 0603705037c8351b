/** Sealing what is asked in the dialect of a profile. */

import type { Answer, DialectName, Request } from "../dialects/dialect.ts";
import type { Profile } from "./profile.ts";
import { dialectOf } from "./profile_keys.ts";
import { knockSealer } from "./seal_knock.ts";
import { openmeSealer } from "./seal_openme.ts";
import { openspaSealer } from "./seal_openspa.ts";

/** What to ask the server for; a code of null is the profile's, if it has one. */
export type Ask = Pick<
  Request,
  "action" | "ports" | "command" | "seconds" | "address" | "code"
>;

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
  seal(ask: Ask, circumstances: Circumstances): Sealed;
}

type MakeSealer = (profile: Profile) => Sealer;

const SEALERS: Readonly<Partial<Record<DialectName, MakeSealer>>> = {
  knock: ({ knock }) => knockSealer(knock!),
  openme: ({ openme }) => openmeSealer(openme!),
  openspa: ({ openspa }) => openspaSealer(openspa!),
};

/** The sealer for a profile's dialect, with its keys. */
export function sealerOf(profile: Profile): Sealer {
  return SEALERS[dialectOf(profile)]!(profile);
}
