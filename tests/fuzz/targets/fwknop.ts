/** Parsers of fwknop's packets. */

import { explainFwknop } from "../../../lib/dialects/fwknop/explain.ts";
import { readArmour, readGpgSigner } from "../../../lib/dialects/fwknop/gpg.ts";
import { decodeMessage } from "../../../lib/dialects/fwknop/message.ts";
import { fwknopDialect } from "../../../lib/dialects/fwknop/open.ts";
import fwknop from "../../vectors/fwknop.json" with { type: "json" };
import { ascii, open, scene, textOf } from "./samples.ts";
import type { Target } from "./target.ts";

const phones = fwknop.vectors.filter((vector) => "key_base64" in vector)
  .map((vector) => ({
    name: vector.name,
    key: Uint8Array.fromBase64(vector.key_base64!),
    mode: (vector.encryption_mode ?? "cbc") as "cbc",
    hmac: vector.hmac_key_base64
      ? {
        type: vector.hmac_type!.replace("_", "-") as "sha256",
        key: Uint8Array.fromBase64(vector.hmac_key_base64),
      }
      : null,
  }));
const phone = fwknopDialect(phones.slice(0, 4));
const naked = { ...phones[0]!, hmac: null };

/** Packets of fwknop, and what is inside. */
export const TARGETS: readonly Target[] = [
  {
    name: "fwknop packet",
    seeds: fwknop.vectors.flatMap(({ packet }) =>
      packet ? [ascii(packet)] : []
    ),
    run: open(phone),
  },
  {
    name: "fwknop packet without an HMAC",
    seeds: [ascii(fwknop.vectors[0]!.packet)],
    run: open(fwknopDialect([naked])),
  },
  {
    name: "fwknop message",
    seeds: fwknop.vectors.flatMap(({ expected }) =>
      expected && "plaintext" in expected
        ? [ascii(String(expected.plaintext))]
        : []
    ),
    run: (bytes) => void decodeMessage(bytes),
  },
  {
    name: "fwknop explained",
    seeds: [ascii(fwknop.vectors[0]!.packet)],
    run: (bytes) => void explainFwknop(phones.slice(0, 4), bytes, scene),
  },
  {
    name: "OpenPGP armour and status",
    seeds: [
      ascii(
        "-----BEGIN PGP MESSAGE-----\nVersion: x\n\nhQEMA5v2\n=abcd\n" +
          "-----END PGP MESSAGE-----\n",
      ),
      ascii("[GNUPG:] GOODSIG 0123456789ABCDEF A\n[GNUPG:] VALIDSIG AB 1 2\n"),
    ],
    run: (bytes) => {
      readArmour(textOf(bytes));
      readGpgSigner(textOf(bytes));
    },
  },
];
