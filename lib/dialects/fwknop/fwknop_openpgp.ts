/** Opening fwknop's packets in OpenPGP: the HMAC at once, the rest by gpg. */

import type { Opened, Scene } from "../dialect.ts";
import {
  type Enrolled,
  type FwknopGpgClient,
  macLengthOf,
  readOpened,
  REFUSALS,
} from "./fwknop_enrolled.ts";
import { type OpenPgp, readGpg, splitGpg } from "./gpg.ts";
import { decodeMessage } from "./message.ts";
import { sha256 } from "../crypto/sha256.ts";

/**
 * Opens a packet in OpenPGP as far as that goes without gpg: a good HMAC, and
 * no copy. What is left to do is `later`.
 */
export function openGpg(
  packet: Uint8Array,
  scene: Scene,
  signers: readonly Enrolled<FwknopGpgClient>[],
  openPgp: OpenPgp,
): Opened {
  if (signers.length === 0) return REFUSALS.form;
  if (!scene.mayCost()) return REFUSALS.rate;
  const sealed = signers.flatMap((enrolled) => {
    const split = splitGpg(packet, macLengthOf(enrolled.keys));
    const message = split && enrolled.proves(split) && readGpg(split.covered);
    return message ? [{ enrolled, message }] : [];
  });
  // Whoever has an HMAC proved it; all others are told apart by gpg.
  const proved = sealed.find(({ enrolled }) => enrolled.mac);
  const candidates = proved ? [proved] : sealed;
  const [first] = candidates;
  if (!first) return REFUSALS.mac;
  const identity = proved && sha256(first.message);
  if (identity && scene.seen(identity)) return REFUSALS.replay;
  const later = async (): Promise<Opened> => {
    // One run of gpg for each keyring.
    const runs = new Map<string, ReturnType<OpenPgp>>();
    let refusal: Opened = REFUSALS.cipher;
    for (const { enrolled: { name, keys }, message } of candidates) {
      const { gpg } = keys;
      const run = runs.get(gpg.home) ?? openPgp(gpg.home, message);
      runs.set(gpg.home, run);
      const opened = await run;
      if (opened === "busy") return REFUSALS.busy;
      if (!opened) continue;
      if (!gpg.signers.includes(opened.signer)) {
        refusal = REFUSALS.signature;
        continue;
      }
      const client = { client: name };
      const decoded = decodeMessage(opened.text);
      if (!decoded.ok) return { ok: false, why: decoded.why, ...client };
      // The same text may be packed in other ways: without an HMAC it counts.
      const mark = identity ?? sha256(opened.text);
      return readOpened(name, keys, decoded.message, mark, client);
    }
    return refusal;
  };
  return { ok: false, why: "busy", ...proved && clientOf(proved), later };
}

function clientOf({ enrolled }: { enrolled: { name: string } }) {
  return { client: enrolled.name };
}
