/** Junk of other dialects, as costly as it can be made, does not keep knocks out. */

import { assert } from "@std/assert";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { verifyingKeyOf } from "../../lib/dialects/ed25519.ts";
import { sealOpenme } from "../../lib/dialects/openme.ts";
import { parseOpenmeKey } from "../../lib/dialects/openme_keys.ts";
import {
  parseRsaPrivateKey,
  parseRsaPublicKey,
  rsaPublicPem,
  sealOpenspa,
} from "../../lib/dialects/openspa.ts";
import { publicKeyOf } from "../../lib/dialects/x25519.ts";
import { parseUuid } from "../../lib/values/uuid.ts";
import { CLIENT_PUBLIC_PEM, RSA_PRIVATE_PEM } from "../rsa.ts";
import type { Junk } from "./junk.ts";
import {
  CLIENTS,
  netnsTest,
  type Pair,
  scriptCommand,
  SERVER,
} from "./netns.ts";
import { KNOCK_PORT, Program } from "./program.ts";

const PER_SECOND = 5000;
/** Different packets of each kind. */
const POOL = 16;
const KNOCKS = 20;
/** Of these so many may be lost: none or one by itself, more beside other tests on the same cores. */
const LOST = 8;
const UUID = "c3b66a05-9098-4100-8141-be5695ada0e7";
const SEED = new Uint8Array(32).fill(4);
const random = (size: number) => crypto.getRandomValues(new Uint8Array(size));

const CLIENTS_HERE = [
  { name: "alice", policy: ["open: [ssh]"] },
  {
    name: "tablet",
    keys: `openme: { key: "${verifyingKeyOf(SEED).toBase64()}" }`,
    policy: ["open: [ssh]"],
  },
  {
    name: "box",
    keys: `openspa: { uuid: ${UUID}, key: box.pem }`,
    policy: ["open: [ssh]"],
  },
];

/** Of openme: sealed for this server, and signed by nobody that it knows. */
function openmeJunk(folder: string): Junk {
  const file = readFileSync(join(folder, "openme.key"), "utf8");
  const server = publicKeyOf(parseOpenmeKey(file.trim())!);
  const packets = Array.from({ length: POOL }, () =>
    sealOpenme(
      {
        server,
        seed: random(32),
        ephemeral: random(32),
        nonce: random(12),
        random: random(16),
      },
      null,
      BigInt(Date.now()) * 1_000_000n,
    ).toBase64());
  return { perSecond: PER_SECOND, packets };
}

/** Of OpenSPA: sealed for this server, of a client that it knows, signed by another. */
function openspaJunk(folder: string): Junk {
  const pem = readFileSync(join(folder, "openspa.pem"), "utf8");
  const server = parseRsaPublicKey(rsaPublicPem(parseRsaPrivateKey(pem)!))!;
  const packets = Array.from({ length: POOL }, () =>
    sealOpenspa(
      {
        uuid: parseUuid(UUID)!,
        key: parseRsaPrivateKey(RSA_PRIVATE_PEM)!,
        server,
        adkSecret: null,
        random: random(32),
      },
      {
        ports: { protocol: "tcp", first: 22, last: 22 },
        address: CLIENTS[4][0],
        target: SERVER[4],
      },
      Date.now(),
    ).packet.toBase64());
  return { perSecond: PER_SECOND, packets };
}

async function flood(pair: Pair, sources: number, junk: readonly Junk[]) {
  // deno-fmt-ignore
  const child = pair.spawn(pair.client, scriptCommand(
    "junk.ts", SERVER[4], String(KNOCK_PORT), String(sources), "600",
  ));
  child.stdin!.end(JSON.stringify(junk));
  await new Promise((resolve) => setTimeout(resolve, 1500));
}

async function counters(program: Program): Promise<Record<string, number>> {
  const { stdout } = await program.admin("status", "--json");
  return JSON.parse(stdout).counters;
}

for (const [words, sources] of [["few", 4], ["many", 2000]] as const) {
  netnsTest(
    `knocks open under junk of other dialects from ${words} sources`,
    async (pair) => {
      const program = new Program(pair);
      try {
        program.configure(
          "listen: [62201]\nservices: { ssh: tcp/22 }\ndefaults: { for: 1m }",
          CLIENTS_HERE,
        );
        program.write("box.pem", CLIENT_PUBLIC_PEM);
        // deno-fmt-ignore
        await pair.exec(pair.client, [
          "ip", "route", "add", "local", "10.98.0.0/16", "dev", "lo",
        ]);
        // deno-fmt-ignore
        await pair.onServer([
          "ip", "route", "add", "10.98.0.0/16", "via", CLIENTS[4][0],
        ]);
        await program.serve();
        await program.enrol("alice");
        await flood(pair, sources, [
          openmeJunk(program.folder),
          openspaJunk(program.folder),
        ]);
        const before = await counters(program);
        const startMs = Date.now();
        let opened = 0;
        for (let count = 0; count < KNOCKS; count++) {
          const said = await program.client(["alice", "--tries", "3"]);
          if (said.code === 0) opened++;
        }
        const tookMs = Date.now() - startMs;
        const after = await counters(program);
        const seen = Object.fromEntries(
          Object.entries(after).map(([name, count]) => [
            name,
            Math.round((count - (before[name] ?? 0)) / (tookMs / 1000)),
          ]),
        );
        const figures = `${opened} of ${KNOCKS} opened; per second ` +
          JSON.stringify(seen);
        assert(opened >= KNOCKS - LOST, figures);
        assert(seen["refused: unknown client"]! < PER_SECOND, figures);
      } finally {
        program.remove();
      }
    },
  );
}
