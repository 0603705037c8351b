/**
 * Packets a second that one core opens or refuses in knock/1, on packets made
 * beforehand: no socket, no firewall. `deno run -A bench/judge.ts`, or `bun
 * bench/judge.ts`; with `--json`, as one JSON object.
 *
 * @module
 */

import { publicKeyOf } from "../lib/dialects/crypto/curve25519.ts";
import type { Scene } from "../lib/dialects/dialect.ts";
import { knock1Dialect } from "../lib/dialects/knock1/open.ts";
import { bytesOf, sceneAt } from "../tests/fakes/packets.ts";
import { expect, printRates, rate } from "./judged.ts";
import { sealKnock } from "../lib/dialects/knock1/seal.ts";

/** Packets a second, by what they are. */
export interface JudgeMeasures {
  readonly judge_valid_per_s: number;
  /** Opened, and its reply sealed. */
  readonly judge_valid_replied_per_s: number;
  readonly judge_replay_per_s: number;
  readonly judge_bad_mac_per_s: number;
  readonly judge_bad_tag_per_s: number;
}

const NOW_MS = 1_790_000_000_000;
const PACKETS = 512;
const CLIENTS = 50;

const serverPrivate = bytesOf("server");
const server = publicKeyOf(serverPrivate);
const clients = Array.from({ length: CLIENTS }, (_, index) => ({
  name: `client${index}`,
  private: bytesOf(`client ${index}`),
  key: publicKeyOf(bytesOf(`client ${index}`)),
  psk: bytesOf(`psk ${index}`),
}));

/** Measures for about four seconds. Throws if a packet is not judged as it should be. */
export function measureJudge(): JudgeMeasures {
  const dialect = knock1Dialect(serverPrivate, clients, 120_000);
  const packets = Array.from({ length: PACKETS }, (_, index) => {
    const client = clients[index % CLIENTS]!;
    const keys = {
      server,
      key: client.private,
      psk: client.psk,
      ephemeral: bytesOf(`ephemeral ${index}`),
    };
    const request = {
      action: "open",
      ports: [{ protocol: "tcp", first: 22, last: 22 }],
      command: null,
      seconds: 30,
      address: "192.0.2.9",
      code: null,
      wantsReply: true,
    } as const;
    return sealKnock(keys, request, NOW_MS).packet;
  });
  const accepted = new Set<string>();
  const seen = (identity: Uint8Array) => accepted.has(keyOf(identity));
  const scene: Scene = { ...sceneAt(NOW_MS), seen };
  const random = bytesOf("reply");

  const valid = rate(packets, (packet) => {
    expect(dialect.open(packet, scene), null);
  });
  const replied = rate(packets, (packet) => {
    const opened = dialect.open(packet, scene);
    if (!opened.ok) throw new Error(`refused: ${opened.why}`);
    opened.seal({
      status: "done",
      count: 1,
      seconds: 30,
      timeMs: NOW_MS,
      address: "192.0.2.9",
    }, random);
  });
  const badMac = rate(
    packets.map((packet) => packet.with(100, packet[100]! ^ 1)),
    (packet) => expect(dialect.open(packet, scene), "mac"),
  );
  const badTag = rate(
    packets.map((packet) => packet.with(7, packet[7]! ^ 1)),
    (packet) => expect(dialect.open(packet, scene), "tag"),
  );
  for (const packet of packets) accepted.add(keyOf(packet.subarray(8, 40)));
  const replay = rate(packets, (packet) => {
    expect(dialect.open(packet, scene), "replay");
  });
  return {
    judge_valid_per_s: valid,
    judge_valid_replied_per_s: replied,
    judge_replay_per_s: replay,
    judge_bad_mac_per_s: badMac,
    judge_bad_tag_per_s: badTag,
  };
}

function keyOf(identity: Uint8Array): string {
  return identity.toHex();
}

if (import.meta.main) {
  printRates(measureJudge());
}
