/** Parsers of knock/1. */

import { publicKeyOf } from "../../../lib/dialects/crypto/curve25519.ts";
import { explainKnock1 } from "../../../lib/dialects/knock1/explain.ts";
import { knock1Dialect } from "../../../lib/dialects/knock1/open.ts";
import {
  decodeKnock,
  decodeReply,
} from "../../../lib/dialects/knock1/payload.ts";
import { windowOf } from "../../../lib/dialects/knock1/tag.ts";
import { bytesOf } from "../../fakes/packets.ts";
import { NOW_MS, open, scene } from "./samples.ts";
import type { Target } from "./target.ts";
import { sealKnock, sealPayload } from "../../../lib/dialects/knock1/seal.ts";

const serverPrivate = bytesOf("server");
const alice = bytesOf("alice");
const clients = [
  { name: "alice", key: publicKeyOf(alice), psk: bytesOf("psk") },
];
const keys = {
  server: publicKeyOf(serverPrivate),
  key: alice,
  psk: bytesOf("psk"),
  ephemeral: bytesOf("ephemeral"),
};
const knock1 = knock1Dialect(serverPrivate, clients, 120_000);
const knock = sealKnock(keys, {
  action: "open",
  ports: [{ protocol: "tcp", first: 22, last: 22 }],
  command: null,
  seconds: 60,
  address: "192.0.2.9",
  code: 123_456,
  wantsReply: true,
}, NOW_MS).packet;
const payload = new Uint8Array(96);
payload.set([1, 1, 0, 2, 0, 0, 0, 60]);
new DataView(payload.buffer).setBigUint64(8, BigInt(NOW_MS));
payload.set([6, 0, 0, 22, 17, 0, 0, 53], 36);

/** Packets of knock/1, and what is inside. */
export const TARGETS: readonly Target[] = [
  { name: "knock1 packet", seeds: [knock], run: open(knock1) },
  {
    name: "knock1 payload, sealed",
    seeds: [payload],
    run: (bytes) => {
      const whole = new Uint8Array(96);
      whole.set(bytes.subarray(0, 96));
      open(knock1)(sealPayload(keys, whole, windowOf(NOW_MS)).packet);
    },
  },
  {
    name: "knock1 payload",
    seeds: [payload, payload.subarray(0, 32)],
    run: (bytes) => {
      const whole = new Uint8Array(96);
      whole.set(bytes.subarray(0, 96));
      decodeKnock(whole);
      decodeReply(whole.subarray(0, 32));
    },
  },
  {
    name: "knock1 explained",
    // For people alone: it looks for the minute of a tag in a long time.
    limitMs: 20_000,
    seeds: [knock],
    run: (bytes) =>
      explainKnock1(serverPrivate, clients, 120_000, bytes, scene),
  },
];
