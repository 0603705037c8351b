/** Forged sources: packets that bear an address that no client has open nothing for it. */

import { assert, assertEquals } from "@std/assert";
import { fileURLToPath } from "node:url";
import { parseEnrolment } from "../../lib/client/profile/enrolment.ts";
import { CLIENTS, type Pair, pass, SERVER } from "./netns.ts";
import { KNOCK_PORT, type Program, programTest } from "./program.ts";
import { sealKnock } from "../../lib/dialects/knock1/seal.ts";

const FORGE = fileURLToPath(new URL("../peers/forge.py", import.meta.url));

const SETTINGS = (backend: string) => `
listen: [${KNOCK_PORT}]
firewall: { backend: ${backend} }
services: { ssh: ${
  backend === "gate" ? '{ listen: tcp/22, to: "127.0.0.1:2222" }' : "tcp/22"
} }
sequences:
  heard: { knock: ["7100:udp", "8100:udp"], open: [ssh], watch: socket }
${
  backend === "gate"
    ? ""
    : `  sniffed: { knock: ["7200:udp", "8200:udp"], open: [ssh], watch: sniff }
  seen: { knock: ["7300:udp", "8300:udp"], open: [ssh], watch: kernel }`
}
`;

const HITS = ["7100,8100", "7200,8200", "7300,8300"];

/** Sources that the kernel hands to the program, and what the program calls them. */
const ODD = {
  4: ["10.77.0.255", "255.255.255.255", "0.0.0.0", "127.0.0.1", SERVER[4]],
  6: [
    "::ffff:203.0.113.9",
    "::ffff:127.0.0.1",
    "::ffff:255.255.255.255",
    "::",
    "::203.0.113.9",
    "ff02::1",
    SERVER[6],
    "fe80::1234",
  ],
} as const;

async function forge(
  pair: Pair,
  family: 4 | 6,
  ports: string,
  hex: string,
  ...sources: string[]
): Promise<void> {
  const link = JSON.parse(
    await pair.onServer(["ip", "-j", "link", "show", "eth0"]),
  );
  const mac = link[0].address as string;
  // deno-fmt-ignore
  const said = await pair.exec(pair.client, [
    "python3", FORGE, "eth0", mac, SERVER[family], ports, hex, ...sources,
  ]);
  assertEquals(said.stderr, "");
}

/** A fresh knock of alice's that names no address. */
function knock(program: Program): string {
  const { server, key, psk } = parseEnrolment(program.enrolment("alice"));
  const knock = {
    action: "open",
    ports: [],
    command: null,
    seconds: 0,
    address: null,
    code: null,
    wantsReply: false,
  } as const;
  const ephemeral = crypto.getRandomValues(new Uint8Array(32));
  const keys = { server, key: key!, psk, ephemeral };
  return sealKnock(keys, knock, Date.now()).packet.toHex();
}

for (const backend of ["nft", "gate"]) {
  programTest(
    `forged sources open nothing (${backend})`,
    async (program, pair) => {
      program.configure(SETTINGS(backend), [
        { name: "alice", policy: ["open: [ssh]", "for: 10m"] },
      ]);
      await program.serve();
      for (const family of [4, 6] as const) {
        for (const source of ODD[family]) {
          await forge(pair, family, `${KNOCK_PORT}`, knock(program), source);
        }
        for (const hits of HITS) {
          await forge(pair, family, hits, "00", ...ODD[family]);
        }
      }
      // Forged the same way, but with addresses that clients have.
      const good = [CLIENTS[4][0], CLIENTS[6][0]];
      for (const [index, source] of good.entries()) {
        const family = index === 0 ? 4 : 6;
        const from = program.log.length;
        await forge(pair, family, `${KNOCK_PORT}`, knock(program), source);
        await program.logged(`open alice ${source} tcp/22 until`, from);
        const wanted = backend === "gate"
          ? ["heard"]
          : ["heard", "sniffed", "seen"];
        for (const [at, name] of wanted.entries()) {
          await forge(pair, family, HITS[at]!, "00", source);
          await program.logged(`open sequence ${name} ${source}`, from);
        }
      }
      await pass(300);
      const opened = [
        ...program.log.matchAll(/open (?:alice|sequence \w+) (\S+)/g),
      ]
        .map(([, address]) => address);
      assertEquals([...new Set(opened)].sort(), good.toSorted());
      for (const address of ["10.77.0.255", "::", SERVER[6], "fe80::1234"]) {
        assert(program.log.includes(`refused alice ${address}: `), address);
      }
      for (const address of ["203.0.113.9", "127.0.0.1"]) {
        assert(!program.log.includes(address), `${address} was judged`);
      }
      if (backend === "gate") {
        return;
      }
      const table = await pair.onServer([
        "nft",
        "list",
        "table",
        "inet",
        "knock",
      ]);
      const held = [...table.matchAll(/([0-9a-f.:]+) \. tcp \. 22/g)]
        .map(([, address]) => address);
      assertEquals([...new Set(held)].sort(), good.toSorted());
    },
    ["python3", "tcpdump"],
  );
}
