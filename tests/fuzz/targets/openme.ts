/** Parsers of openme's packets. */

import {
  publicKeyOf,
  verifyingKeyOf,
} from "../../../lib/dialects/crypto/curve25519.ts";
import { explainOpenme } from "../../../lib/dialects/openme/explain.ts";
import {
  openmeDialect,
  sealOpenme,
} from "../../../lib/dialects/openme/open.ts";
import { bytesOf } from "../../fakes/packets.ts";
import { NOW_MS, open, scene } from "./samples.ts";
import type { Target } from "./target.ts";

const server = bytesOf("server");
const tablets = [{ name: "tablet", key: verifyingKeyOf(bytesOf("tablet")) }];
const tablet = openmeDialect(server, tablets);
const knock = sealOpenme(
  {
    server: publicKeyOf(server),
    key: bytesOf("tablet"),
    ephemeral: bytesOf("ephemeral"),
    nonce: bytesOf("nonce").slice(0, 12),
    random: bytesOf("random").slice(0, 16),
  },
  "192.0.2.9",
  BigInt(NOW_MS) * 1_000_000n,
);

/** Packets of openme. */
export const TARGETS: readonly Target[] = [
  { name: "openme packet", seeds: [knock], run: open(tablet) },
  {
    name: "openme explained",
    seeds: [knock],
    run: (bytes) => void explainOpenme(server, tablets, bytes, scene),
  },
];
