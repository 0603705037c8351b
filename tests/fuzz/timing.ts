/**
 * `deno task timing [--samples N]`: whether the time of a refusal tells
 * anything of a secret. As in dudect (Reparaz, Balasch, Verbauwhede 2017): two
 * classes of packets in random order, times cut at a percentile, Welch's t.
 * |t| above 4.5 is a leak, as far as this machine can tell. Writes
 * fuzz/timing.json.
 */

import { parseArgs } from "@std/cli/parse-args";
import { writeFileSync } from "node:fs";
import process from "node:process";
import { publicKeyOf } from "../../lib/dialects/crypto/curve25519.ts";
import { sealSession } from "../../lib/dialects/crypto/rsa.ts";
import type { Dialect } from "../../lib/dialects/dialect.ts";
import { fwknopDialect } from "../../lib/dialects/fwknop/open.ts";
import { fwknopRandom, sealFwknop } from "../../lib/dialects/fwknop/seal.ts";
import { knock1Dialect } from "../../lib/dialects/knock1/open.ts";
import { HEADER_SIZE } from "../../lib/dialects/openspa/envelope.ts";
import { openspaDialect } from "../../lib/dialects/openspa/open.ts";
import { readItems, writeItems } from "../../lib/dialects/openspa/tlv.ts";
import { bytesOf, sceneAt } from "../fakes/packets.ts";
import { CLIENT_PUBLIC, RSA_PRIVATE, RSA_PUBLIC } from "../fakes/rsa.ts";
import openspa from "../vectors/openspa.json" with { type: "json" };
import { randomOf } from "./mutate.ts";
import { sealKnock } from "../../lib/dialects/knock1/seal.ts";

/** A question of the form: does A take another time than B? */
interface Question {
  readonly name: string;
  readonly dialect: Dialect;
  /** Makes a packet of the first or the second class. */
  readonly make: (second: boolean) => Uint8Array;
  /** Cost of a packet: it decides how many are taken. */
  readonly cost: number;
  /** Where a difference is known, and harmless: why. */
  readonly known?: string;
}

/** Times above this part of all are the machine's, not the packet's. */
const CUT = 0.9;
const LIMIT = 4.5;

const options = parseArgs(process.argv.slice(2), { string: ["samples"] });
const samples = Number(options.samples ?? 40_000);

const NOW_MS = 1_790_000_000_000;
const scene = sceneAt(NOW_MS);
const random = randomOf(1);
const flip = (bytes: Uint8Array, at: number) =>
  bytes.with(at, bytes[at]! ^ (1 << random(8)));

const server = bytesOf("server");
const alice = bytesOf("alice");
const psk = bytesOf("psk");
const knock1 = knock1Dialect(
  server,
  [{ name: "alice", key: publicKeyOf(alice), psk }],
  120_000,
);
let made = 0;
const knock = (key: Uint8Array, psk: Uint8Array) =>
  sealKnock(
    {
      server: publicKeyOf(server),
      key,
      psk,
      ephemeral: bytesOf(`ephemeral ${made++}`),
    },
    {
      action: "open",
      ports: [],
      command: null,
      seconds: 0,
      address: null,
      code: null,
      wantsReply: true,
    },
    NOW_MS,
  ).packet;
const good = knock(alice, psk);

const phone = {
  name: "phone",
  key: bytesOf("key"),
  mode: "cbc" as const,
  hmac: { type: "sha256" as const, key: bytesOf("hmac") },
};
const spa = sealFwknop(
  phone,
  {
    action: "open",
    ports: [{ protocol: "tcp", first: 22, last: 22 }],
    command: null,
    seconds: 0,
    address: "192.0.2.9",
    forward: null,
    user: "alice",
    checksum: "sha256",
  },
  fwknopRandom(bytesOf("random").slice(0, 16)),
  NOW_MS,
);
/** Another character of base64 at a place. */
function other(packet: Uint8Array, at: number): Uint8Array {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ".replace(
    String.fromCharCode(packet[at]!),
    "",
  );
  return packet.with(at, letters.charCodeAt(random(letters.length)));
}

const request = Uint8Array.fromHex(openspa.v2[0]!.request);
const box = openspaDialect(
  RSA_PRIVATE,
  [{
    name: "box",
    uuid: Uint8Array.fromHex(openspa.v2[0]!.client_uuid.replaceAll("-", "")),
    key: CLIENT_PUBLIC,
  }],
  null,
);
/** The request with another session: what is encrypted, padded as it must be or with a zero in it. */
function withSession(wrongPadding: boolean): Uint8Array {
  const ciphertext = readItems(request.subarray(HEADER_SIZE))!.get(1)!;
  const session = new Uint8Array(48).map(() => random(256));
  const padding = (size: number) => {
    const bytes = new Uint8Array(size).map(() => 1 + random(255));
    if (wrongPadding) bytes[random(size)] = 0;
    return bytes;
  };
  const sealed = sealSession(RSA_PUBLIC, session, padding);
  const head = request.subarray(0, HEADER_SIZE);
  const items = writeItems([1, ciphertext], [2, sealed]);
  return new Uint8Array([...head, ...items]);
}

const QUESTIONS: readonly Question[] = [
  {
    name: "knock/1: mac wrong at its start, or at its end",
    dialect: knock1,
    make: (second) => flip(good, second ? 215 : 200),
    cost: 1,
  },
  {
    name: "knock/1: an unknown client, or a known one with a wrong psk",
    dialect: knock1,
    make: (second) =>
      second ? knock(alice, bytesOf("wrong")) : knock(bytesOf("bob"), psk),
    cost: 20,
    known: "a packet that proves an enrolled key is worked on for longer; " +
      "neither is answered",
  },
  {
    name: "knock/1: a psk wrong in its first byte, or in its last",
    dialect: knock1,
    make: (second) => knock(alice, flip(psk, second ? 31 : 0)),
    cost: 20,
  },
  {
    name: "fwknop: HMAC wrong at its start, or at its end",
    dialect: fwknopDialect([phone]),
    make: (second) => other(spa, spa.length - (second ? 3 : 43)),
    cost: 1,
  },
  {
    name: "OpenSPA: a session with a right padding, or with a wrong one",
    dialect: box,
    make: withSession,
    cost: 20,
  },
];

/** Welch's t of two samples. */
function welch(a: readonly number[], b: readonly number[]): number {
  const [one, two] = [a, b].map((all) => {
    const mean = all.reduce((sum, value) => sum + value, 0) / all.length;
    const squares = all.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    return { mean, share: squares / (all.length - 1) / all.length };
  });
  return (one!.mean - two!.mean) / Math.sqrt(one!.share + two!.share);
}

function measure({ name, dialect, make, cost, known }: Question) {
  const times: [number[], number[]] = [[], []];
  const count = Math.ceil(samples / cost);
  // Packets beforehand, in random order, so that making them is not measured.
  const packets = Array.from({ length: count }, () => {
    const second = random(2) === 1;
    return { second, packet: make(second) };
  });
  for (const { packet } of packets.slice(0, count >> 3)) {
    dialect.open(packet, scene);
  }
  const refusals = new Map<string, number>();
  for (const { second, packet } of packets) {
    const startNs = process.hrtime.bigint();
    const opened = dialect.open(packet, scene);
    times[second ? 1 : 0].push(Number(process.hrtime.bigint() - startNs));
    const why = opened.ok ? "opened" : opened.why;
    refusals.set(why, (refusals.get(why) ?? 0) + 1);
  }
  const all = [...times[0], ...times[1]].sort((a, b) => a - b);
  const cut = all[Math.floor(all.length * CUT)]!;
  const [a, b] = times.map((one) => one.filter((ns) => ns <= cut));
  const median = (one: readonly number[]) =>
    [...one].sort((x, y) => x - y)[one.length >> 1]!;
  const t = welch(a!, b!);
  return {
    name,
    samples: count,
    refusals: Object.fromEntries(refusals),
    medianNs: [median(a!), median(b!)],
    t: Math.round(t * 100) / 100,
    leaks: Math.abs(t) > LIMIT,
    ...(known && { known }),
  };
}

const results = QUESTIONS.map(measure);
for (const { name, t, medianNs, known } of results) {
  const [a, b] = medianNs;
  process.stdout.write(
    `${name}: t = ${t} (medians ${a} and ${b} ns)${known ? "; known" : ""}\n`,
  );
}
writeFileSync(
  new URL("timing.json", import.meta.url),
  JSON.stringify(results, null, 2) + "\n",
);
process.exit(results.some(({ leaks, known }) => leaks && !known) ? 1 : 0);
