/**
 * The protocol without I/O: sealing and opening knock/1 packets, the policy
 * judge and the machine for port sequences. Bytes, keys, time and randomness
 * are arguments; hostile packets are values, never exceptions. The wire format
 * is specified in docs/protocol.md.
 *
 * ```ts
 * import { parseHit } from "@knock/knock/protocol";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(parseHit("tcp/7000"), { protocol: "tcp", port: 7000 });
 * ```
 * @module
 */

export { publicKeyOf } from "./lib/dialects/crypto/curve25519.ts";
export type {
  Action,
  Answer,
  Dialect,
  DialectName,
  Forward,
  Opened,
  PacketRefusal,
  PolicyRefusal,
  Request,
  Scene,
} from "./lib/dialects/dialect.ts";
export {
  type Knock1Client,
  knock1Dialect,
} from "./lib/dialects/knock1/open.ts";
export {
  type Knock1Keys,
  type SealedKnock,
  sealKnock,
  sealPayload,
} from "./lib/dialects/knock1/seal.ts";
export { PACKET_SIZE, REPLY_SIZE } from "./lib/dialects/knock1/tag.ts";
export {
  decodeKnock,
  decodeReply,
  encodeKnock,
  encodeReply,
  type Knock,
} from "./lib/dialects/knock1/payload.ts";
export { tagOf, windowOf } from "./lib/dialects/knock1/tag.ts";
export type { NetworkBits, Policy, Service } from "./lib/config/config.ts";
export { type Machine, NO_MACHINE } from "./lib/server/packet/forwarding.ts";
export { isTimely, judge, type Verdict } from "./lib/server/packet/judge.ts";
export {
  MAX_SOURCES,
  type SequenceEvent,
  SequenceMachine,
  trapsBeside,
} from "./lib/sequences/machine.ts";
export type { Packet } from "./lib/sequences/packet.ts";
export {
  FIRST_PACKET,
  FLAG,
  type FlagName,
  type Flags,
  formatHit,
  type Hit,
  MAX_HITS,
  parseHit,
  type Sequence,
  type SequenceAction,
} from "./lib/sequences/sequence.ts";
export {
  type Endpoint,
  parsePrefix,
  type Prefix,
} from "./lib/values/address.ts";
export { OperatorError, UsageError } from "./lib/values/errors.ts";
export {
  formatPortRange,
  parsePortRange,
  type PortRange,
  type Protocol,
} from "./lib/values/ports.ts";
export { type Hours, type HoursSpan, parseHours } from "./lib/values/time.ts";
