/** Sealing what is asked in the dialect of a profile. */

import type { DialectName, Sealer } from "../../dialects/dialect.ts";
import { dialectOf } from "../../dialects/knock1/keys.ts";
import type { Profile } from "../profile/profile.ts";
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
