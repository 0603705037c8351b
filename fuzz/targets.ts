/** Every parser of the program, with what it is fed at first. */

import { createHash, createPrivateKey, createPublicKey } from "node:crypto";
import { Buffer } from "node:buffer";
import { readdirSync, readFileSync } from "node:fs";
import { parseEnrolment } from "../lib/client/enrolment.ts";
import { parseProfiles } from "../lib/client/profile.ts";
import { readStunAnswer, stunRequest } from "../lib/client/stun.ts";
import { convertFwknop } from "../lib/config/convert/fwknop.ts";
import { convertKnockd } from "../lib/config/convert/knockd.ts";
import { convertOpenme } from "../lib/config/convert/openme.ts";
import { parseOpenmeProfiles } from "../lib/config/convert/openme_client.ts";
import { parseOspa } from "../lib/config/convert/ospa.ts";
import { parseHours } from "../lib/config/hours.ts";
import { parseConfig } from "../lib/config/parse.ts";
import { parseTime } from "../lib/config/time.ts";
import type { Dialect } from "../lib/dialects/dialect.ts";
import { verifyingKeyOf } from "../lib/dialects/ed25519.ts";
import { fwknopDialect } from "../lib/dialects/fwknop.ts";
import { readArmour, readGpgSigner } from "../lib/dialects/fwknop_gpg.ts";
import { decodeMessage } from "../lib/dialects/fwknop_message.ts";
import { explainFwknop } from "../lib/dialects/fwknop_explain.ts";
import {
  knock1Dialect,
  publicKeyOf,
  sealKnock,
  sealPayload,
} from "../lib/dialects/knock1.ts";
import { explainKnock1 } from "../lib/dialects/knock1_explain.ts";
import { decodeKnock, decodeReply } from "../lib/dialects/knock1_payload.ts";
import { windowOf } from "../lib/dialects/knock1_tag.ts";
import { openmeDialect, sealOpenme } from "../lib/dialects/openme.ts";
import { explainOpenme } from "../lib/dialects/openme_explain.ts";
import { openspaDialect } from "../lib/dialects/openspa.ts";
import { readHeader } from "../lib/dialects/openspa_envelope.ts";
import {
  decodeRequest,
  decodeResponse,
} from "../lib/dialects/openspa_payload.ts";
import { readItems } from "../lib/dialects/tlv8.ts";
import { parseElements } from "../lib/firewall/nft_elements.ts";
import { findTable, readTable } from "../lib/firewall/nft_listing.ts";
import { decodeIp } from "../lib/sequences/packet.ts";
import { PcapReader } from "../lib/sequences/pcap.ts";
import { parseHit } from "../lib/sequences/sequence.ts";
import { readTold } from "../lib/sequences/told.ts";
import { parseIptablesSave } from "../lib/server/doctor/iptables_save.ts";
import { parseEndpoint, parsePrefix } from "../lib/values/address.ts";
import { parseBase64url } from "../lib/values/base64url.ts";
import { parseDuration } from "../lib/values/duration.ts";
import { readHttpPacket } from "../lib/values/http_packet.ts";
import { parsePortRange } from "../lib/values/ports.ts";
import { parseUuid } from "../lib/values/uuid.ts";
import fwknop from "../tests/vectors/fwknop.json" with { type: "json" };
import openspa from "../tests/vectors/openspa.json" with { type: "json" };

/** A parser that is fed bytes. */
export interface Target {
  readonly name: string;
  readonly seeds: readonly Uint8Array[];
  /** Throws an OperatorError at most, and only where an operator's file is read. */
  readonly run: (bytes: Uint8Array) => void;
  /** How long a call may take, for one that may be slow. */
  readonly limitMs?: number;
}

const NOW_MS = 1_790_000_000_000;
const ascii = (text: string) => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytesOf = (text: string) =>
  new Uint8Array(createHash("sha256").update(text).digest());
const scene = { nowMs: NOW_MS, seen: () => false, mayCost: () => true };

const CORPUS = new URL("corpus/", import.meta.url);
const KNOCKD = new URL("../tests/vectors/knockd/", import.meta.url);

function files(folder: URL): Uint8Array[] {
  return readdirSync(folder).sort().map((name) =>
    new Uint8Array(readFileSync(new URL(name, folder)))
  );
}
const corpus = (name: string) => files(new URL(`${name}/`, CORPUS));

// knock/1
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

// The others
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
const tablets = [{ name: "tablet", key: verifyingKeyOf(bytesOf("tablet")) }];
const tablet = openmeDialect(serverPrivate, tablets);
const openmeKnock = sealOpenme(
  {
    server: publicKeyOf(serverPrivate),
    seed: bytesOf("tablet"),
    ephemeral: bytesOf("ephemeral"),
    nonce: bytesOf("nonce").slice(0, 12),
    random: bytesOf("random").slice(0, 16),
  },
  "192.0.2.9",
  BigInt(NOW_MS) * 1_000_000n,
);
const rsa = (hex: string) =>
  createPrivateKey({
    key: Buffer.from(hex, "hex"),
    format: "der",
    type: "pkcs1",
  });
const box = openspaDialect(
  rsa(openspa.server_private_pkcs1_der_hex),
  [{
    name: "box",
    uuid: Uint8Array.fromHex(
      openspa.v2[0]!.client_uuid.replaceAll("-", ""),
    ),
    key: createPublicKey(rsa(openspa.client_private_pkcs1_der_hex)),
  }],
  null,
);
const openspaPackets = openspa.v2.map((vector) =>
  Uint8Array.fromHex(vector.request)
);

const open = (dialect: Dialect) => (bytes: Uint8Array) => {
  dialect.recognises(bytes);
  dialect.open(bytes, scene);
};

const ipv4 = Uint8Array.fromHex(
  "4500003c1234400040060000c0000209c000020164001b580000000100000000a002faf00000000002040564",
);
const ipv6 = Uint8Array.fromHex(
  "6000000000080040" + "20010db8000000000000000000000009" +
    "20010db8000000000000000000000001" + "1100000000000000" +
    "64001f4000080000",
);
function pcap(link: number, frame: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(40 + frame.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0xa1b2c3d4, true);
  view.setUint32(16, 262_144, true);
  view.setUint32(20, link, true);
  view.setUint32(32, frame.length, true);
  view.setUint32(36, frame.length, true);
  bytes.set(frame, 40);
  return bytes;
}
const transaction = bytesOf("transaction").slice(0, 12);
const stun = new Uint8Array(32);
stun.set(stunRequest(transaction));
stun.set([1, 1, 0, 12]);
stun.set([0, 0x20, 0, 8, 0, 1, 1, 2, 3, 4, 5, 6], 20);

const surroundings = {
  file: "server.yaml",
  readKey: () => serverPrivate,
  readCode: () => bytesOf("code").slice(0, 10),
  stateFolder: (written: string | null) => written ?? "/state",
};
const enrolment = "knock://[2001:db8::1]:62201/?server=" +
  "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE&key=" +
  "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI&psk=" +
  "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM#al%20ice";

const WORDS = [
  "mon-fri 08:00-18:00",
  "tcp/8000-8010",
  "2027-01-01T00:00:00Z",
  "192.0.2.0/24",
  "[2001:db8::1]:62201",
  "::ffff:192.0.2.1",
  "1h",
  "c3b66a05-9098-4100-8141-be5695ada0e7",
  "7000/udp",
  "knock open door",
].map(ascii);

/** All parsers. */
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
  { name: "openme packet", seeds: [openmeKnock], run: open(tablet) },
  {
    name: "openme explained",
    seeds: [openmeKnock],
    run: (bytes) => void explainOpenme(serverPrivate, tablets, bytes, scene),
  },
  { name: "OpenSPA packet", seeds: openspaPackets, run: open(box) },
  {
    name: "OpenSPA contents",
    seeds: openspaPackets,
    run: (bytes) => {
      readHeader(bytes);
      decodeRequest(bytes);
      decodeResponse(bytes);
      readItems(bytes);
    },
  },
  {
    name: "IP packet",
    seeds: [ipv4, ipv6],
    run: (bytes) => void decodeIp(bytes),
  },
  {
    name: "pcap",
    seeds: [pcap(101, ipv4), pcap(1, ipv4), pcap(113, ipv6), pcap(239, ipv6)],
    run: (bytes) => {
      const reader = new PcapReader();
      reader.feed(bytes.subarray(0, bytes.length >> 1));
      reader.feed(bytes.subarray(bytes.length >> 1));
    },
  },
  {
    name: "STUN answer",
    seeds: [stun],
    run: (bytes) => void readStunAnswer(bytes, transaction),
  },
  {
    name: "HTTP request",
    seeds: corpus("http"),
    run: (bytes) => void readHttpPacket(bytes),
  },
  {
    name: "words",
    seeds: WORDS,
    run: (bytes) => {
      const text = textOf(bytes);
      parseHours(text);
      parsePortRange(text);
      parseTime(text);
      parsePrefix(text);
      parseEndpoint(text);
      parseDuration(text);
      parseUuid(text);
      parseHit(text);
      readTold(text);
      parseBase64url(text, 32);
    },
  },
  {
    name: "server.yaml",
    seeds: corpus("server.yaml"),
    run: (bytes) => void parseConfig(textOf(bytes), surroundings),
  },
  {
    name: "profiles.yaml",
    seeds: corpus("profiles.yaml"),
    run: (bytes) => void parseProfiles(textOf(bytes), "profiles.yaml"),
  },
  {
    name: "enrolment",
    seeds: [ascii(enrolment)],
    run: (bytes) => void parseEnrolment(textOf(bytes)),
  },
  {
    name: "knockd.conf and one-time lists",
    seeds: files(KNOCKD),
    run: (bytes) => {
      convertKnockd(bytes, "knockd.conf", () => bytes);
      const door = ascii("[door]\none_time_sequences = /list\n");
      convertKnockd(door, "knockd.conf", () => bytes);
    },
  },
  {
    name: "fwknop's files",
    seeds: ["access.conf", "fwknopd.conf", "fwknoprc"].flatMap(corpus),
    run: (bytes) => {
      const file = { name: "file", text: textOf(bytes) };
      convertFwknop([file], { read: () => null, list: () => null });
    },
  },
  {
    name: "openme's files",
    seeds: [...corpus("openme.yaml"), ...corpus("qr.json")],
    run: (bytes) => {
      const text = textOf(bytes);
      for (const parse of [convertOpenme, parseOpenmeProfiles]) {
        parse(text, "config.yaml");
      }
    },
  },
  {
    name: "OSPA files",
    seeds: corpus("openme.yaml"),
    run: (bytes) => void parseOspa(textOf(bytes), "client.ospa"),
  },
  {
    name: "listings of the firewall",
    seeds: [...corpus("nft"), ...corpus("iptables-save")],
    run: (bytes) => {
      const text = textOf(bytes);
      parseElements(text);
      readTable(findTable(text, "inet knock") ?? text);
      parseIptablesSave(text, 4);
    },
  },
];
