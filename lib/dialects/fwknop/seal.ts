/** Sealing in fwknop's dialect, with a passphrase or by gpg. */

import {
  fwknopRandom,
  type FwknopRequest,
  gpgText,
  RANDOM_SIZE,
  sealFwknop,
  sealGpg,
} from "./open.ts";
import { encryptArguments, readArmour } from "./gpg.ts";
import { SystemError } from "../../runtime/runtime.ts";
import { FailureError, UsageError } from "../../values/errors.ts";
import type { FwknopProfileGpg, FwknopProfileKeys } from "./profile_fwknop.ts";
import type {
  Ask,
  Circumstances,
  Sealed,
  Sealer,
} from "../../client/knock/sealers.ts";

/** A person may have to type a passphrase. */
const GPG_MS = 120_000;

/** Seals fwknop's packets with a profile's keys. */
export function fwknopSealer(keys: FwknopProfileKeys): Sealer {
  const openReply = () => null;
  return {
    dialect: "fwknop",
    answers: false,
    seal(ask, circumstances): Sealed | Promise<Sealed> {
      const request = readAsk(ask, keys);
      const { nowMs, random } = circumstances;
      const fresh = fwknopRandom(random(RANDOM_SIZE));
      if ("key" in keys) {
        return { packet: sealFwknop(keys, request, fresh, nowMs), openReply };
      }
      const text = gpgText(request, fresh.digits, nowMs);
      return encryptByGpg(keys.gpg, text, circumstances)
        .then((message) => ({ packet: sealGpg(keys, message), openReply }));
    },
  };
}

function readAsk(
  { action, ports, command, seconds, address, code, forward }: Ask,
  { user, digest, forward: always }: FwknopProfileKeys,
): FwknopRequest {
  if (action !== "open" && action !== "run") {
    throw new UsageError(`fwknop can only open and run, got "${action}"`);
  }
  if (code !== null) {
    throw new UsageError("fwknop cannot carry a one-time code");
  }
  // deno-fmt-ignore
  return {
    action, ports, command, seconds, address, user, checksum: digest,
    forward: forward ?? always,
  };
}

async function encryptByGpg(
  { home, recipient, signer }: FwknopProfileGpg,
  text: Uint8Array,
  { run }: Circumstances,
): Promise<Uint8Array> {
  const failed = (why: string) =>
    new FailureError(
      `gpg did not encrypt: ${why}`,
      `are "${recipient}" and the secret key "${signer}" in ${home}?`,
    );
  try {
    const argv = encryptArguments(home, recipient, signer);
    const { code, stdout, stderr } = await run(argv, {
      stdin: text,
      timeoutMs: GPG_MS,
    });
    const message = code === 0 ? readArmour(stdout) : null;
    if (message) return message;
    const status = stderr.split("\n").find((line) =>
      /INV_|FAILURE|ERROR/.test(line)
    );
    throw failed(status?.replace("[GNUPG:] ", "") ?? `it ended with ${code}`);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw new FailureError(
      `gpg cannot be run: ${error.message}`,
      "apt install gnupg, or use a profile with a passphrase",
    );
  }
}
