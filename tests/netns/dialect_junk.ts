/**
 * The junk that costs a server most to refuse, in the dialects whose packets
 * it must decrypt before it knows who sent them.
 * @module
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  publicKeyOf,
  verifyingKeyOf,
} from "../../lib/dialects/crypto/curve25519.ts";
import {
  parseRsaPrivateKey,
  parseRsaPublicKey,
  rsaPublicPem,
} from "../../lib/dialects/crypto/rsa.ts";
import { parseOpenmeKey } from "../../lib/dialects/openme/keys.ts";
import { sealOpenme } from "../../lib/dialects/openme/open.ts";
import { sealOpenspa } from "../../lib/dialects/openspa/open.ts";
import { parseUuid } from "../../lib/values/bytes.ts";
import { CLIENT_PUBLIC_PEM, RSA_PRIVATE_PEM } from "../fakes/rsa.ts";
import type { Junk } from "./junk.ts";
import { CLIENTS, type Pair, pass, scriptCommand, SERVER } from "./netns.ts";
import { KNOCK_PORT, type TestClient } from "./program.ts";

/**
 * Packets of each dialect a second: more than their share of the processor
 * pays for, and few enough that a slow machine still receives them all.
 */
const JUNK_PER_SECOND = 600;

/** Different packets of each dialect. */
const POOL = 16;
const UUID = "c3b66a05-9098-4100-8141-be5695ada0e7";
const SEED = new Uint8Array(32).fill(4);
const CLIENT_PEM = "box.pem";
/** It runs so long before anything is measured under it. */
const SETTLE_MS = 1500;
const random = (size: number) => crypto.getRandomValues(new Uint8Array(size));

/** Clients of these dialects, which a server needs to hear them at all. */
export const JUNK_CLIENTS: readonly TestClient[] = [
  {
    name: "tablet",
    keys: `openme: { key: "${verifyingKeyOf(SEED).toBase64()}" }`,
    policy: ["open: [ssh]"],
  },
  {
    name: "box",
    keys: `openspa: { uuid: ${UUID}, key: ${CLIENT_PEM} }`,
    policy: ["open: [ssh]"],
  },
];

/** The files of {@linkcode JUNK_CLIENTS} beside the configuration, by their names. */
export const JUNK_CLIENT_FILES: Readonly<Record<string, string>> = {
  [CLIENT_PEM]: CLIENT_PUBLIC_PEM,
};

/** A flood that runs. */
export interface RunningJunk {
  /** Ends it; how many packets a second of all dialects were sent. */
  end(): Promise<number>;
}

/**
 * Floods a server, whose keys are in a folder, from so many addresses of
 * 10.98.0.0/16, which must be the client's; resolves when it is under way.
 */
export async function startDialectJunk(
  pair: Pair,
  folder: string,
  sources: number,
): Promise<RunningJunk> {
  // deno-fmt-ignore
  const child = pair.spawn(pair.client, scriptCommand(
    "junk.ts", SERVER[4], String(KNOCK_PORT), String(sources), "600",
  ));
  let said = "";
  child.stdout!.on("data", (text) => said += text);
  const ended = new Promise((resolve) => child.once("close", resolve));
  child.stdin!.end(JSON.stringify([openmeJunk(folder), openspaJunk(folder)]));
  await pass(SETTLE_MS);
  return {
    end: async () => {
      child.kill("SIGTERM");
      await ended;
      if (said === "") throw new Error("the junk ended without a word");
      const { sent, goneMs }: { sent: number[]; goneMs: number } = JSON.parse(
        said,
      );
      return sent.reduce((a, b) => a + b) / (goneMs / 1000);
    },
  };
}

/** Of openme: sealed for this server, and signed by nobody that it knows. */
function openmeJunk(folder: string): Junk {
  const file = readFileSync(join(folder, "openme.key"), "utf8");
  const server = publicKeyOf(parseOpenmeKey(file.trim())!);
  const packets = Array.from({ length: POOL }, () =>
    sealOpenme(
      {
        server,
        key: random(32),
        ephemeral: random(32),
        nonce: random(12),
        random: random(16),
      },
      null,
      BigInt(Date.now()) * 1_000_000n,
    ).toBase64());
  return { perSecond: JUNK_PER_SECOND, packets };
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
        adk_secret: null,
        random: random(32),
      },
      {
        ports: { protocol: "tcp", first: 22, last: 22 },
        address: CLIENTS[4][0],
        target: SERVER[4],
      },
      Date.now(),
    ).packet.toBase64());
  return { perSecond: JUNK_PER_SECOND, packets };
}
