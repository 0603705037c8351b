import { UsageError } from "../../values/errors.ts";
import { NONCE_SIZE } from "../crypto/aead.ts";
import { KEY_SIZE } from "../crypto/curve25519.ts";
import type { OpenmeProfileKeys } from "./keys.ts";
import { RANDOM_SIZE, sealOpenme } from "./open.ts";
import type { NewRequest, Sealer } from "../dialect.ts";

const NS_PER_MS = 1_000_000n;

/** Seals openme's knocks with a profile's keys. */
export function openmeSealer({ server, key }: OpenmeProfileKeys): Sealer {
  return {
    dialect: "openme",
    answers: false,
    seal(ask, { nowMs, random }) {
      checkRequest(ask);
      const keys = {
        server,
        seed: key,
        ephemeral: random(KEY_SIZE),
        nonce: random(NONCE_SIZE),
        random: random(RANDOM_SIZE),
      };
      const timeNs = BigInt(Math.floor(nowMs)) * NS_PER_MS;
      return {
        packet: sealOpenme(keys, ask.address, timeNs),
        openReply: () => null,
      };
    },
  };
}

function checkRequest({ action, seconds }: NewRequest): void {
  if (action !== "open") {
    throw new UsageError(`openme can only open, got "${action}"`);
  }
  if (seconds > 0) {
    throw new UsageError(
      "openme cannot say for how long: the server knows it for this client",
      'leave out --for, and "for" in the profile',
    );
  }
}
