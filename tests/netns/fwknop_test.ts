/** The real fwknop 2.6 on both sides: its client's packets, and its daemon. */

import { assertEquals } from "@std/assert";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DIGEST_TYPES } from "../../lib/dialects/crypto/hash.ts";
import { CIPHER_MODES } from "../../lib/dialects/fwknop/keys.ts";
import { fwknopDialect } from "../../lib/dialects/fwknop/open.ts";
import type { FwknopClient } from "../../lib/dialects/fwknop/request.ts";
import { fwknopRandom, sealFwknop } from "../../lib/dialects/fwknop/seal.ts";
import { formatPortRange } from "../../lib/values/ports.ts";
import { sceneAt } from "../fakes/packets.ts";
import { netnsTest, pass, scriptCommand, SERVER } from "./netns.ts";

const ADDRESS = "203.0.113.9";
const WAIT_MS = 100;
const MAX_WAITS = 100;

const bytes = (size: number, seed: number) =>
  Uint8Array.from({ length: size }, (_, index) => index * 7 + seed);

/** A client in each mode and with each HMAC, with keys of many sizes. */
const CLIENTS: readonly FwknopClient[] = [
  ...DIGEST_TYPES.flatMap((type, index) =>
    [1, 64, 128].map((size): FwknopClient => ({
      name: `${type} with a key of ${size}`,
      key: bytes(32, index * 3),
      mode: "cbc",
      hmac: { type, key: bytes(size, 100 + index) },
    }))
  ),
  ...CIPHER_MODES.filter((mode) => mode !== "legacy").map((
    mode,
    index,
  ): FwknopClient => ({
    name: mode,
    key: bytes(1 + index * 5, 50 + index),
    mode,
    hmac: { type: "sha256", key: bytes(64, 150 + index) },
  })),
  { name: "bare", key: bytes(16, 33), mode: "cbc", hmac: null },
  {
    name: "legacy",
    key: new TextEncoder().encode("shortpw"),
    mode: "legacy",
    hmac: null,
  },
];

const fresh = sceneAt(0);

function clientArguments({ key, mode, hmac }: FwknopClient): string[] {
  // deno-fmt-ignore
  return [
    "--key-base64-rijndael", key.toBase64(),
    "-M", mode === "legacy" ? mode : mode.toUpperCase(),
    ...hmac
      ? [
        "--use-hmac", "--key-base64-hmac", hmac.key.toBase64(),
        "--hmac-digest-type", hmac.type.replace("-", "_"),
      ]
      : [],
  ];
}

netnsTest("fwknopDialect() opens what the real client sends", async (pair) => {
  const folder = mkdtempSync(join(tmpdir(), "knock-fwknop-"));
  const file = join(folder, "packet");
  async function send(client: FwknopClient, ...args: string[]) {
    // deno-fmt-ignore
    const said = await pair.exec(pair.client, [
      "fwknop", "--no-save-args", "--no-rc-file", "--test", "-B", file,
      "-D", SERVER[4], "-U", "alice", ...clientArguments(client), ...args,
    ]);
    if (said.code !== 0) throw new Error(`${args}: ${said.stderr}`);
    const packet = new Uint8Array(readFileSync(file)).subarray(0, -1);
    rmSync(file);
    const opened = fwknopDialect(CLIENTS).open(packet, fresh);
    if (!opened.ok) throw new Error(`${client.name}, ${args}: ${opened.why}`);
    const { request } = opened;
    assertEquals(request.client, client.name);
    assertEquals(request.user, "alice");
    return { ...request, ports: request.ports.map(formatPortRange) };
  }
  try {
    for (const client of CLIENTS) {
      const { action, ports, address } = //
        await send(client, "-A", "tcp/22,udp/53", "-a", ADDRESS);
      assertEquals([action, address], ["open", ADDRESS], client.name);
      assertEquals(ports, ["tcp/22", "udp/53"]);
    }
    const [client] = CLIENTS as [FwknopClient];
    for (const type of DIGEST_TYPES) {
      const digest = type.replace("-", "_");
      await send(client, "-A", "tcp/22", "-a", ADDRESS, "-m", digest);
    }
    const source = await send(client, "-A", "tcp/22", "-s", "-f", "120");
    assertEquals([source.address, source.seconds], [null, 120]);
    const command = await send(client, "-C", "/bin/true a,b", "-a", ADDRESS);
    assertEquals([command.action, command.command], ["run", "/bin/true a,b"]);
    // deno-fmt-ignore
    const nat = await send(
      client, "-A", "tcp/22", "-a", ADDRESS, "-N", "10.0.0.5:443", "-f", "9",
    );
    assertEquals([nat.ports, nat.seconds], [["tcp/22"], 9]);
    assertEquals(nat.forward, { kind: "nat", host: "10.0.0.5", port: 443 });
    // deno-fmt-ignore
    const local = await send(
      client, "-A", "tcp/22", "-a", ADDRESS, "--nat-local", "--nat-port", "99",
    );
    assertEquals(local.ports, ["tcp/99"]);
    assertEquals(local.forward, { kind: "local", host: SERVER[4], port: 22 });
  } finally {
    rmSync(folder, { recursive: true });
  }
}, ["fwknop"]);

netnsTest("sealFwknop() seals what the real daemon opens", async (pair) => {
  const folder = mkdtempSync(join(tmpdir(), "knock-fwknopd-"));
  const access = join(folder, "access.conf");
  const config = join(folder, "fwknopd.conf");
  const stanzas = CLIENTS.map(({ key, mode, hmac }) =>
    [
      "SOURCE ANY",
      `KEY_BASE64 ${key.toBase64()}`,
      `ENCRYPTION_MODE ${mode === "legacy" ? mode : mode.toUpperCase()}`,
      ...hmac
        ? [
          `HMAC_KEY_BASE64 ${hmac.key.toBase64()}`,
          `HMAC_DIGEST_TYPE ${hmac.type.toUpperCase().replace("-", "_")}`,
        ]
        : [],
    ].join("\n")
  );
  writeFileSync(access, stanzas.join("\n\n") + "\n", { mode: 0o600 });
  writeFileSync(config, `FWKNOP_RUN_DIR ${folder};\n`, { mode: 0o600 });
  try {
    // deno-fmt-ignore
    const daemon = pair.spawn(pair.server, [
      "fwknopd", "-f", "-U", "-v", "-c", config, "-a", access,
    ], "pipe");
    let said = "";
    daemon.stdout!.on("data", (text) => said += text);
    daemon.stderr!.on("data", (text) => said += text);
    const until = async (words: string) => {
      for (let waits = 0; !said.includes(words); waits++) {
        const end = daemon.exitCode !== null || waits === MAX_WAITS;
        if (end) throw new Error(`no "${words}" in:\n${said.slice(-2000)}`);
        await pass(WAIT_MS);
      }
    };
    await until("Kicking off UDP server");
    const packets = CLIENTS.map((client, index) =>
      sealFwknop(
        client,
        {
          action: "open",
          ports: [{
            protocol: index % 2 ? "tcp" : "udp",
            first: 1000 + index,
            last: 1000 + index,
          }],
          command: null,
          seconds: index,
          address: ADDRESS,
          forward: null,
          user: "alice",
          checksum: DIGEST_TYPES[index % DIGEST_TYPES.length]!,
        },
        fwknopRandom(crypto.getRandomValues(new Uint8Array(16))),
        Date.now(),
      )
    );
    const sent = await pair.exec(
      pair.client,
      scriptCommand("fwknop_send.ts", SERVER[4]),
      JSON.stringify(packets.map((packet) => packet.toBase64())),
    );
    if (sent.code !== 0) throw new Error(sent.stderr);
    for (const index of CLIENTS.keys()) {
      const port = `${index % 2 ? "tcp" : "udp"}/${1000 + index}`;
      await until(`for ${ADDRESS} -> 0.0.0.0/0 ${port}, expires`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, ["fwknopd", "iptables"]);
