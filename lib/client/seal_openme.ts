/** Sealing in openme's dialect: it opens what the server lets it, no more to say. */

import { NONCE_SIZE } from "../dialects/chacha20poly1305.ts";
import { RANDOM_SIZE, sealOpenme } from "../dialects/openme.ts";
import { KEY_SIZE } from "../dialects/x25519.ts";
import { UsageError } from "../values/errors.ts";
import type { OpenmeProfileKeys } from "./profile_keys.ts";
import type { Ask, Sealer } from "./sealers.ts";

const NS_PER_MS = 1_000_000n;

/** Seals openme's knocks with a profile's keys. */
export function openmeSealer({ server, key }: OpenmeProfileKeys): Sealer {
  return {
    dialect: "openme",
    answers: false,
    seal(ask, { nowMs, random }) {
      checkAsk(ask);
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

function checkAsk({ action, ports, seconds }: Ask): void {
  if (action !== "open") {
    throw new UsageError(`openme can only open, got "${action}"`);
  }
  if (ports.length > 0) {
    throw new UsageError(
      "openme cannot name ports: the server opens all that this client may",
      'leave out --open, and "open" in the profile',
    );
  }
  if (seconds > 0) {
    throw new UsageError(
      "openme cannot say for how long: the server knows it for this client",
      'leave out --for, and "for" in the profile',
    );
  }
}
