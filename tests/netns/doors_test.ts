/** Doors of port sequences with the whole program, knocked by knockd's own client and ours. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Knocked, KnockOrder } from "./knocker.ts";
import {
  CLIENTS,
  netnsTest,
  type Pair,
  pass,
  scriptCommand,
  SERVER,
  type Talker,
} from "./netns.ts";
import { Program } from "./program.ts";

/** The address that knockd's client and nmap come from. */
const HERE = CLIENTS[4][0];
const HERE6 = CLIENTS[6].at(-1)!;

const SSH = 22;

function doors(
  name: string,
  body: (program: Program, pair: Pair) => Promise<void>,
  programs: readonly string[] = [],
): void {
  netnsTest(name, async (pair) => {
    const program = new Program(pair);
    try {
      await pair.serve("tcp", SSH);
      await body(program, pair);
    } finally {
      program.remove();
    }
  }, programs);
}

function settings(door: string, more = ""): string {
  return `firewall: { backend: nft }
services: { ssh: tcp/${SSH} }
${more}
sequences:
  door: { open: [ssh], ${door} }`;
}

const WATCHES: [watch: string, hits: string[], knock: string][] = [
  ["kernel", ["7000", "9000:udp", "8000"], "tcp/7000, udp/9000, tcp/8000"],
  ["sniff", ["7000", "9000:udp", "8000"], "tcp/7000, udp/9000, tcp/8000"],
  [
    "socket",
    ["7000:udp", "9000:udp", "8000:udp"],
    "7000:udp, 9000:udp, 8000:udp",
  ],
];

/** Knocks with knockd's own client. */
async function theirs(
  pair: Pair,
  hits: readonly string[],
  target: string = SERVER[4],
): Promise<void> {
  // Without a pause they may come in another order.
  const argv = ["knock", "-d", "20", target, ...hits];
  const { code, stderr } = await pair.exec(pair.client, argv);
  assertEquals([code, stderr], [0, ""]);
}

/** Whether it is open within a moment: a server that sniffs hears after the client. */
async function opens(pair: Pair, source: string = HERE): Promise<boolean> {
  for (let tries = 0; tries < 10; tries++) {
    if (await pair.canReach(source, SSH)) return true;
  }
  return false;
}

for (const [watch, hits, knock] of WATCHES) {
  doors(
    `watch: ${watch}: knockd's client opens, in the right order alone`,
    async (program, pair) => {
      program.configure(
        settings(`knock: [${knock}], for: 3s, watch: ${watch}`),
        [],
      );
      await program.serve();
      const [first, second, third] = hits as [string, string, string];
      for (
        const wrong of [
          [second, first, third],
          [third, second, first],
          [first, second],
          [first, second, first, third],
          [first, second, first.replace("7000", "7001"), third],
        ]
      ) {
        await theirs(pair, wrong);
        await pass(100);
        assert(!await pair.canReach(HERE, SSH), wrong.join(" "));
      }
      await theirs(pair, hits);
      assert(await opens(pair), "the right order");
      assert(!await pair.canReach(CLIENTS[4][1], SSH), "a neighbour");
      await program.logged("open sequence door");
      const status = await program.admin("status", "--json");
      const [grant] = JSON.parse(status.stdout).grants;
      assertEquals([grant.client, grant.address, grant.ports], [
        "sequence door",
        HERE,
        "tcp/22",
      ]);
      await pass(3200);
      assert(!await pair.canReach(HERE, SSH), "its time is over");
      await program.logged("open sequence door");
      await theirs(pair, hits, SERVER[6]);
      assert(await opens(pair, HERE6), "IPv6");
      const { stdout } = await program.admin("log");
      assertMatch(stdout, / open sequence door 10\.77\.0\.2 tcp\/22 for 3s\n/);
      assertMatch(stdout, / end sequence door 10\.77\.0\.2 tcp\/22\n/);
      assertMatch(stdout, / open sequence door fd77::\S+ tcp\/22 for 3s\n/);
    },
    ["knock", "tcpdump"],
  );
}
