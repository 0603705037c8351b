/**
 * The dialect of fwknop 2.x with a shared passphrase (Rijndael) or OpenPGP:
 * base64 text, encrypted and then authenticated by an HMAC, without a reply.
 *
 * Stricter than fwknopd: one packet has one encoding, the HMAC is always
 * checked first where there is one, and its key identifies the client.
 * A client without one is known by what its key decrypts, and whoever records
 * such a packet may be able to change it: its mode decides how much.
 * @module
 */

import { timingSafeEqual } from "node:crypto";
import {
  blockSize,
  DIGEST_TYPES,
  digestLength,
  hmacsOf,
  sha256,
} from "../crypto/hash.ts";
import {
  type Dialect,
  type Opened,
  type PacketRefusal,
  refuse,
  type Scene,
} from "../dialect.ts";
import { searchClient, type SharedKeys } from "../keys.ts";
import { decrypt } from "./cipher.ts";
import { hasGpgForm, openGpg, type OpenPgp } from "./gpg.ts";
import { decodeMessage } from "./message.ts";
import { indexStart } from "./keys.ts";
import { hasForm, holdsBlocks, readSealed, splitPacket } from "./packet.ts";
import {
  enrol,
  type FwknopClient,
  type FwknopEnrolled,
  type FwknopGpgClient,
  macLengthOf,
  readOpened,
} from "./request.ts";

/** HMACs of shared clients that are tried at once: some 2 ms of them. */
const MOST_TRIED = 512;

/**
 * Makes the server's side. A packet costs one HMAC for each client, until one
 * holds; clients without an HMAC are tried after those, by decrypting, and
 * those that are not in memory last. Packets in OpenPGP are opened later, by
 * `openPgp`.
 */
export function fwknopDialect(
  clients: readonly (FwknopClient | FwknopGpgClient)[],
  openPgp: OpenPgp = () => Promise.resolve("busy"),
  shared: SharedKeys | null = null,
): Dialect {
  const passphrases = clients.filter((client) => "key" in client);
  const groups = groupClients(passphrases);
  const proof = shared || passphrases.some((client) => client.hmac);
  const signers = clients.filter((client) => "gpg" in client).map(enrol);

  function open(packet: Uint8Array, scene: Scene): Opened {
    if (hasGpgForm(packet)) return openGpg(packet, scene, signers, openPgp);
    if (!hasForm(packet)) return refuse("form");
    // True if the length is one of fwknop's, with any type of HMAC.
    const mayBeOurs = proof &&
      MAC_LENGTHS.some((length) => holdsBlocks(packet.length, length));
    let why: PacketRefusal = mayBeOurs ? "mac" : "form";
    let asked = false;
    for (const [macLength, enrolled] of groups) {
      if (!holdsBlocks(packet.length, macLength)) continue;
      // Every client may cost an HMAC, or a decryption.
      if (!asked && !scene.mayCost()) return refuse("rate");
      asked = true;
      const split = splitPacket(packet, macLength);
      if (!split) continue;
      for (const client of enrolled) {
        if (client.proves(split)) {
          const opened = openSealed(client, split.covered, scene);
          if (opened.ok || client.mac || opened.why !== "cipher") return opened;
        }
        why = client.mac || why === "mac" ? "mac" : "cipher";
      }
    }
    return shared && mayBeOurs
      ? searchShared(shared, packet, scene, asked, why)
      : refuse(why);
  }

  const recognises = (packet: Uint8Array) =>
    hasForm(packet) || (signers.length > 0 && hasGpgForm(packet));
  return { name: "fwknop", recognises, open };
}

/** Looks for the client that is not in memory, by the types of HMAC that a packet's length allows. */
function searchShared(
  shared: SharedKeys,
  packet: Uint8Array,
  scene: Scene,
  asked: boolean,
  why: PacketRefusal,
): Opened {
  const splits = DIGEST_TYPES.flatMap((type) => {
    const split = splitPacket(packet, digestLength(type));
    return split ? [{ type, split }] : [];
  });
  if (splits.length === 0) return refuse(why);
  if (!asked && !scene.mayCost()) return refuse("rate");
  const search = (at: number): Opened => {
    if (at === splits.length) return refuse("mac");
    const { type, split: { covered, mac } } = splits[at]!;
    const hmac = hmacsOf(type, covered);
    const start = indexStart(type);
    return searchClient({
      ...{ dialect: "fwknop", shared, source: scene.source, why: "mac", start },
      ...{ size: start.length + blockSize(type), most: MOST_TRIED },
      proves: (index) =>
        timingSafeEqual(hmac(index.subarray(start.length)), mac),
      open: ({ name, fwknop }) =>
        fwknop && "key" in fwknop
          ? openSealed(enrol({ ...fwknop, name }), covered, scene)
          : refuse("mac"),
      otherwise: () => search(at + 1),
    });
  };
  return search(0);
}

const MAC_LENGTHS = [0, ...new Set(DIGEST_TYPES.map(digestLength))];

/** Clients whose packets end in an HMAC of the same length, by that. */
function groupClients(
  clients: readonly FwknopClient[],
): [macLength: number, enrolled: readonly FwknopEnrolled[]][] {
  const groups = Map.groupBy(
    clients.map(enrol),
    ({ keys }) => macLengthOf(keys),
  );
  // Without an HMAC: last, so that it never shadows a client with a proof.
  return [...groups].sort(([a], [b]) => Number(a === 0) - Number(b === 0));
}

function openSealed(
  { name, keys, mac }: FwknopEnrolled,
  covered: Uint8Array,
  scene: Scene,
): Opened {
  // Who sent it is proved by the HMAC, or only by what decrypts.
  const client = mac ? name : undefined;
  const sealed = readSealed(covered);
  if (!sealed) return refuse("form", client);
  const { salt, ciphertext, bytes } = sealed;
  const proved = mac && sha256(bytes);
  // A copy of an accepted packet costs this look-up and no more.
  if (proved && scene.seen(proved)) return refuse("replay");

  const text = decrypt(keys.mode, keys.key, salt, ciphertext);
  const decoded = decodeMessage(text);
  if (!decoded.ok) return refuse(decoded.why, client);
  // Without an HMAC the same text may come in blocks that differ: in padding.
  const identity = proved ?? sha256(text);
  if (!proved && scene.seen(identity)) return refuse("replay");
  return readOpened(name, keys, decoded.message, identity, client);
}
