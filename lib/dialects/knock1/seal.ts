/** Sealing in knock/1. */

import { sealKnock } from "./open.ts";
import type { KnockKeys } from "./keys.ts";
import type { Sealer } from "../dialect.ts";

/** Bytes of an ephemeral private key. */
const EPHEMERAL_SIZE = 32;

/** Seals knocks with a profile's keys. */
export function knockSealer(keys: KnockKeys): Sealer {
  return {
    dialect: "knock",
    answers: true,
    seal: (ask, { nowMs, random, wantsReply }) =>
      sealKnock(
        { ...keys, ephemeral: random(EPHEMERAL_SIZE) },
        { ...ask, wantsReply },
        nowMs,
      ),
  };
}
