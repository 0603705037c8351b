/**
 * Listening without a socket: the host's own rules drop the port or leave it
 * alone, a scanner sees it as its neighbours, and knocks in every dialect open.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
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
import { CLIENT_PRIVATE_PEM, CLIENT_PUBLIC_PEM } from "../fakes/rsa.ts";
import { CLIENTS, type Pair, scriptCommand, SERVER, until } from "./netns.ts";
import { KNOCK_PORT, type Program, programTest } from "./program.ts";

const [HERE, NEIGHBOUR] = CLIENTS[4];
const SEED = new Uint8Array(32).fill(4);
const UUID = "c3b66a05-9098-4100-8141-be5695ada0e7";
const KEY = new Uint8Array(32).fill(7).toBase64();
const MAC = new Uint8Array(64).fill(9).toBase64();
const OTHERS = [
  {
    name: "phone",
    keys: `fwknop: { key_base64: ${KEY}, hmac_key_base64: ${MAC} }`,
    policy: ["open: [ssh]"],
  },
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
const ALICE = { name: "alice", policy: ["open: [ssh]"] };

/** Rules of the host, which drop the port and its neighbours. */
const DROPS = `table inet host {
  chain input {
    type filter hook input priority 0; policy accept;
    udp dport 62000-62400 drop
  }
}
`;

const BACKENDS = [
  ["nft", "backend: nft"],
  ["nft, accept", "backend: nft, mode: accept, chain: inet host knock"],
  ["iptables", "backend: iptables"],
] as const;

for (const [name, firewall] of BACKENDS) {
  programTest(
    `sniff (${name}): nothing is bound, the port answers as its neighbours, and every dialect opens`,
    async (program, pair) => {
      await pair.cableUp();
      const accepts = firewall.includes("accept");
      await pair.serve("tcp", 22);
      program.write("box.pem", CLIENT_PUBLIC_PEM);
      program.configure(
        `listen: [sniff/${KNOCK_PORT}]\nfirewall: { ${firewall} }\n` +
          "services: { ssh: tcp/22 }\ndefaults: { for: 60s }",
        [ALICE, ...OTHERS],
      );
      await program.enrol("alice");
      await program.enrol("alice", 6);
      assertEquals((await program.admin("check")).stdout, "configuration OK\n");

      const host = accepts
        ? DROPS.replace(
          "udp dport 62",
          "tcp dport 22 jump knock\n" +
            "    tcp dport 22 drop\n    udp dport 62",
        )
          .replace("  chain input", "  chain knock {\n  }\n  chain input")
        : DROPS;
      await pair.onServer(["nft", "-f", "-"], host);
      await program.serve();
      assertMatch(program.log, /listens on udp sniff\/\[::\]:62201/);
      const bound = await pair.onServer(["ss", "-lunH"]);
      assert(!bound.includes("62201"), bound);

      assertEquals(await scan(pair), new Set(["open|filtered"]));
      await opensByAll(program, pair);

      // Where the host does not drop, either: the kernel answers for all alike.
      if (!accepts) {
        await pair.onServer(["nft", "delete", "table", "inet", "host"]);
        assertEquals(await scan(pair), new Set(["closed"]));
      }

      const doctor = await program.admin("doctor");
      assertMatch(doctor.stdout, /udp \[::\]:62201 \(sniff\): heard/);
    },
    ["tcpdump", "nmap", "fwknop", "iptables", "ss"],
  );
}

/** States that nmap sees at the port and its neighbours, each once. */
async function scan(pair: Pair): Promise<Set<string>> {
  // deno-fmt-ignore
  const { stdout } = await pair.exec(pair.client, [
    "nmap", "-n", "-Pn", "-sU", "--max-retries", "1", "-p", "62199-62203",
    "--max-rtt-timeout", "500ms", "-oG", "-", SERVER[4],
  ]);
  const states = [...stdout.matchAll(/62\d+\/([a-z|]+)\/udp/g)];
  const ignored = /Ignored State: ([a-z|]+) \((\d+)\)/.exec(stdout);
  const seen = states.length + Number(ignored?.[2] ?? 0);
  assertEquals(seen, 5, stdout);
  return new Set([
    ...states.map(([, state]) => state!),
    ...ignored ? [ignored[1]!] : [],
  ]);
}

/** Knocks in each dialect; every one opens, for its own source alone. */
async function opensByAll(program: Program, pair: Pair): Promise<void> {
  const sent = async (packet: Uint8Array) => {
    assert(!await pair.canReach(NEIGHBOUR, 22));
    assert(await pair.send(HERE, KNOCK_PORT, 1, packet.toHex()));
    await pair.opens(HERE, 22);
    assert(!await pair.canReach(NEIGHBOUR, 22));
    await closed(program, pair);
  };
  await sent(openme(program));
  await sent(openspa(program));
  // deno-fmt-ignore
  const fwknop = await pair.exec(pair.client, [
    "fwknop", "--no-save-args", "--no-rc-file", "-D", SERVER[4], "-s",
    "-A", "tcp/22", "--use-hmac", "--key-base64-rijndael", KEY,
    "--key-base64-hmac", MAC,
  ]);
  assertEquals(fwknop.code, 0, fwknop.stderr);
  await pair.opens(HERE, 22);
  await closed(program, pair);
  for (const profile of ["alice", "alice6"]) {
    const args = ["--no-reply", "--wait", "--open", "tcp/22"];
    const said = await program.client([profile, ...args]);
    assertEquals([said.code, said.stderr], [0, ""]);
    assert(!await pair.canReach(NEIGHBOUR, 22));
    const closing = await program.client(["close", profile, "--no-reply"]);
    assertEquals(closing.code, 0, closing.stderr);
    await program.logged("close alice");
  }
}

/** Closes what the others opened: their dialects cannot. */
async function closed(program: Program, pair: Pair): Promise<void> {
  const yaml = readFileSync(program.config, "utf8");
  program.write(
    "server.yaml",
    yaml.replace(/^ {2}(phone|tablet|box):/gm, "  gone_$1:"),
  );
  await program.signal("SIGHUP");
  await pair.shuts(HERE, 22);
  program.write("server.yaml", yaml);
  const from = program.log.length;
  await program.signal("SIGHUP");
  await program.logged("reloaded", from);
}

function openme(program: Program): Uint8Array {
  const file = join(program.folder, "openme.key");
  const server = parseOpenmeKey(readFileSync(file, "utf8").trim())!;
  const random = (size: number) => crypto.getRandomValues(new Uint8Array(size));
  return sealOpenme(
    {
      server: publicKeyOf(server),
      key: SEED,
      ephemeral: random(32),
      nonce: random(12),
      random: random(16),
    },
    HERE,
    BigInt(Date.now()) * 1_000_000n,
  );
}

function openspa(program: Program): Uint8Array {
  const pem = readFileSync(join(program.folder, "openspa.pem"), "utf8");
  return sealOpenspa(
    {
      uuid: parseUuid(UUID)!,
      key: parseRsaPrivateKey(CLIENT_PRIVATE_PEM)!,
      server: parseRsaPublicKey(rsaPublicPem(parseRsaPrivateKey(pem)!))!,
      adk_secret: null,
      random: crypto.getRandomValues(new Uint8Array(32)),
    },
    {
      ports: { protocol: "tcp", first: 22, last: 22 },
      address: HERE,
      target: SERVER[4],
    },
    Date.now(),
  ).packet;
}

programTest(
  "sniff: junk does not reach the program, and a killed server is followed by the next",
  async (program, pair) => {
    await pair.cableUp();
    await pair.serve("tcp", 22);
    program.configure(
      `listen: [sniff/${KNOCK_PORT}]\nservices: { ssh: tcp/22 }`,
      [ALICE],
    );
    await program.enrol("alice");
    await program.serve();
    const random = (size: number) =>
      crypto.getRandomValues(new Uint8Array(size)).toHex();
    for (const size of [1, 165, 216, 528]) {
      for (let sent = 0; sent < 200; sent += 40) {
        assert(await pair.send(HERE, KNOCK_PORT, 40, random(size)));
      }
    }
    const knock = async () => {
      const args = ["alice", "--no-reply", "--wait", "--open", "tcp/22"];
      assertEquals((await program.client(args)).code, 0);
    };
    await knock();
    let counters: Record<string, number> = {};
    await until("the counts are written", async () => {
      const { stdout } = await program.admin("status", "--json");
      counters = JSON.parse(stdout).counters;
      return counters["open"] === 1 &&
        (counters["kernel_no_knock"] ?? 0) > 799;
    });
    assertEquals([counters["received"], counters["kernel_no_knock"]], [
      1,
      800,
    ]);

    await program.signal("SIGKILL");
    await program.serve();
    const closing = await program.client(["close", "alice", "--no-reply"]);
    assertEquals(closing.code, 0, closing.stderr);
    await pair.shuts(HERE, 22);
    await knock();

    // Taken back at its end: another program may be there next.
    await program.signal("SIGTERM");
    const left = await pair.onServer(["nft", "list", "table", "inet", "knock"]);
    assert(!left.includes("62202"), left);
  },
  ["tcpdump"],
);

programTest(
  "sniff: without tcpdump the server says so and does not start",
  async (program, pair) => {
    program.configure(
      `listen: [sniff/${KNOCK_PORT}]\nservices: { ssh: tcp/22 }`,
      [ALICE],
    );
    const { code, stderr } = await pair.exec(pair.server, [
      "env",
      "PATH=/nowhere",
      ...scriptCommand("../../main.ts", "serve", "--config", program.config),
    ]);
    assertEquals(code, 1);
    assertMatch(
      stderr,
      /error: cannot sniff udp \[::\]:62201: cannot run "tcpdump".*\n.*hint: install tcpdump/,
    );
  },
);
