/** Packets of `knock seq` on the wire, beside those of knockd's own client. */

import { assertEquals } from "@std/assert";
import { type Captured, PcapReader } from "../../lib/sequences/pcap.ts";
import { netnsTest, type Pair, pass, scriptCommand, SERVER } from "./netns.ts";

const DROPPED = 7000;
const REJECTED = 7001;
const OPEN = 7002;
const CLOSED = 7003;

/** Longer than the second after which a SYN is retransmitted. */
const RETRANSMIT_MS = 1500;

const RULES = `table inet test {
  chain input {
    type filter hook input priority filter;
    meta l4proto . th dport { tcp . ${DROPPED}, udp . ${DROPPED} } drop
    tcp dport ${REJECTED} reject
  }
}
`;

/** Packets that the client sends while a command line runs there, a line each. */
async function sent(pair: Pair, argv: readonly string[]): Promise<string[]> {
  const reader = new PcapReader();
  const found: Captured[] = [];
  const tcpdump = pair.spawn(
    pair.client,
    // deno-fmt-ignore
    ["tcpdump", "-n", "-i", "eth0", "-Q", "out", "-U", "-w", "-", "tcp or udp"],
    "pipe",
  );
  tcpdump.stdout!.on("data", (bytes) => found.push(...reader.feed(bytes)));
  await new Promise<void>((resolve) =>
    tcpdump.stderr!.once("data", () => resolve())
  );
  const { code, stderr } = await pair.exec(pair.client, argv);
  assertEquals([code, stderr], [0, ""]);
  await pass(RETRANSMIT_MS);
  tcpdump.kill("SIGTERM");
  await new Promise((resolve) => tcpdump.once("close", resolve));
  return found.filter(({ packet }) => packet !== null).map(({ packet }) =>
    `${packet!.protocol} ${packet!.port} ${packet!.flags}`
  );
}

for (const family of [4, 6] as const) {
  netnsTest(
    `knock HOST PORT sends over IPv${family} what knockd's client sends`,
    async (pair) => {
      await pair.onServer(["nft", "-f", "-"], RULES);
      await pair.serve("tcp", OPEN);
      const args = [
        "-d",
        "20",
        SERVER[family],
        ...[DROPPED, REJECTED, CLOSED].map(String),
        `${DROPPED}:udp`,
        `${DROPPED}:tcp`,
      ];
      const theirs = await sent(pair, ["knock", ...args]);
      assertEquals(theirs, [
        `tcp ${DROPPED} 2`,
        `tcp ${REJECTED} 2`,
        `tcp ${CLOSED} 2`,
        `udp ${DROPPED} 0`,
        `tcp ${DROPPED} 2`,
      ]);
      const ours = scriptCommand("knock_by_hand.ts");
      assertEquals(await sent(pair, [...ours, ...args]), theirs);
      const open = ["-d", "20", SERVER[family], String(OPEN)];
      assertEquals(
        (await sent(pair, [...ours, ...open]))[0],
        (await sent(pair, ["knock", ...open]))[0],
      );
    },
    ["tcpdump", "knock"],
  );
}

netnsTest(
  "knock seq sends one SYN where there is no C library",
  async (pair) => {
    await pair.onServer(["nft", "-f", "-"], RULES);
    const ours = scriptCommand("knock_by_hand.ts", "--no-library");
    const args = [SERVER[4], ...[DROPPED, REJECTED, CLOSED].map(String)];
    assertEquals(await sent(pair, [...ours, ...args]), [
      `tcp ${DROPPED} 2`,
      `tcp ${REJECTED} 2`,
      `tcp ${CLOSED} 2`,
    ]);
  },
  ["tcpdump"],
);
