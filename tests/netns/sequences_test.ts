/** Port sequences in the real kernel, knocked with real packets. */

import { assert, assertEquals } from "@std/assert";
import { rulesetText } from "../../lib/firewall/nft/rules/ruleset.ts";
import { guardPlan } from "../fakes/plan.ts";
import {
  LOG_GROUP,
  readTold,
} from "../../lib/firewall/nft/sequences/chains.ts";
import {
  clearSequencesText,
  sequencesText,
} from "../../lib/firewall/nft/sequences/rules.ts";
import { type Captured, PcapReader } from "../../lib/sequences/pcap.ts";
import type { Sequence } from "../../lib/sequences/sequence.ts";
import { parsePortRange } from "../../lib/values/ports.ts";
import { makeSequence } from "../fakes/fixtures.ts";
import type { Knocked, KnockOrder } from "./knocker.ts";
import {
  CLIENTS,
  netnsTest,
  type Pair,
  pass,
  SERVER,
  type Talker,
  until,
} from "./netns.ts";

const SSH = 2222;
const WEB = 2280;
const PUBLIC = 2300;

function sequence(
  name: string,
  hits: string,
  more: Partial<Sequence> = {},
): Sequence {
  const open = [parsePortRange(`tcp/${SSH}`)!];
  // Long enough for a machine that does other work.
  const long = { withinMs: 60_000, open, forSeconds: 60 };
  return makeSequence(name, hits, { ...long, ...more });
}

const WEB_PORT = [parsePortRange(`tcp/${WEB}`)!];
const SEQUENCES = [
  sequence("door", "7000 8000 9000"),
  sequence("door", "9000 7000", { action: "close" }),
  sequence("mixed", "7100 8100:udp 9100", { withinMs: 30_000 }),
  sequence("web", "7000 8000 8443", { open: WEB_PORT }),
  sequence("prefix", "7100 8100:udp", { open: WEB_PORT }),
  sequence("single", "5555:udp", { once: true }),
  sequence("same", "6500 6500 6500"),
];

/** The table with the sequences, a guarded service or two, and a public one. */
async function guard(
  pair: Pair,
  sequences = SEQUENCES,
  seesSockets = true,
): Promise<void> {
  const ports = [SSH, WEB].map((port) => parsePortRange(`tcp/${port}`)!);
  const services = [{ name: "ssh", ports, to: null, masquerade: false }];
  const script = rulesetText(guardPlan(services)) +
    sequencesText(sequences, seesSockets);
  await pair.onServer(["nft", "-f", "-"], script);
}

class Hand {
  readonly #pair: Pair;
  readonly #talker: Talker;

  constructor(pair: Pair) {
    this.#pair = pair;
    this.#talker = pair.script(pair.client, "knocker.ts");
  }

  knock(hits: string, more: Partial<KnockOrder> = {}): Promise<Knocked> {
    const source = more.sources?.[0] ?? CLIENTS[4][0];
    return this.#talker.ask<Knocked>({
      sources: [source],
      target: SERVER[source.includes(":") ? 6 : 4],
      hits: hits.split(" "),
      ...more,
    });
  }

  /** Knocks, and whether a port is open then. */
  async opens(
    hits: string,
    port = SSH,
    more: Partial<KnockOrder> = {},
  ): Promise<boolean> {
    await this.knock(hits, more);
    return this.#pair.canReach(more.sources?.[0] ?? CLIENTS[4][0], port);
  }
}

/** Closes what is open and forgets what was knocked. */
async function forget(pair: Pair, sequences = SEQUENCES): Promise<void> {
  await pair.onServer(["nft", "delete", "table", "inet", "knock"]);
  await guard(pair, sequences);
}

const ORDERS: [what: string, hits: string, port: number, want: boolean][] = [
  ["the right order", "7000 8000 9000", SSH, true],
  ["no knock at all", "1", SSH, false],
  ["another order", "8000 7000 9000", SSH, false],
  ["the order backwards", "9000 8000 7000", SSH, false],
  ["a wrong knock between", "7000 9100 8000 9000", SSH, false],
  ["another wrong knock between", "7000 8000 5555:udp 9000", WEB, false],
  ["a closed port between", "7000 8000 8001 9000", SSH, false],
  ["a closed UDP port between", "7000 8000 8001:udp 9000", SSH, false],
  ["a public port between", `7000 ${PUBLIC} 8000 ${PUBLIC} 9000`, SSH, true],
  ["a first knock twice", "7000 7000 8000 9000", SSH, true],
  ["a second knock twice", "7000 8000 8000 9000", SSH, false],
  ["a last one too few", "7000 8000", SSH, false],
  ["the wrong protocol", "7000 8000:udp 9000", SSH, false],
  ["TCP and UDP mixed", "7100 8100:udp 9100", SSH, true],
  ["a common beginning", "7000 8000 8443", WEB, true],
  ["a common beginning, the other port", "7000 8000 8443", SSH, false],
  ["a beginning that is a whole one", "7100 8100:udp", WEB, true],
  ["what goes on behind it", "7100 8100:udp 9100", SSH, true],
  ["one port three times", "6500 6500 6500", SSH, true],
  ["one port twice", "6500 6500", SSH, false],
  ["right again after a wrong one", "7000 9100 7000 8000 9000", SSH, true],
];

netnsTest("sequencesText() opens to the right order alone", async (pair) => {
  await guard(pair);
  await pair.serve("tcp", SSH, WEB, PUBLIC);
  const hand = new Hand(pair);
  for (const source of [CLIENTS[4][0], CLIENTS[6][0]]) {
    for (const [what, hits, port, want] of ORDERS) {
      const got = await hand.opens(hits, port, { sources: [source] });
      assertEquals(got, want, `${what}, from ${source}`);
      await forget(pair);
    }
  }
});

netnsTest("sequencesText() closes, ends and opens once", async (pair) => {
  const [door, ...others] = SEQUENCES;
  await guard(pair, [{ ...door!, forSeconds: 10 }, ...others]);
  await pair.serve("tcp", SSH, WEB);
  const hand = new Hand(pair);
  const [alice, bob] = CLIENTS[4];
  assert(await hand.opens("7000 8000 9000"));
  assert(!await pair.canReach(bob, SSH), "a neighbour stays out");
  assert(await pair.canReach(alice, SSH));
  await hand.knock("9000 7000");
  assert(!await pair.canReach(alice, SSH), "closed by its sequence");
  assert(await hand.opens("5555:udp"));
  assert(!await pair.canReach(alice, SSH), "open for one connection");
  assert(await hand.opens("7000 8000 9000"));
  await pair.shuts(alice, SSH); // its time is over
});

netnsTest("sequencesText() measures from the first knock", async (pair) => {
  const sequences = [
    sequence("door", "7000 8000 9000", { withinMs: 2000 }),
    sequence("mixed", "7100 8100:udp 9100", { withinMs: 1000 }),
    sequence("prefix", "7100 8100:udp", { open: WEB_PORT, withinMs: 2000 }),
  ];
  await guard(pair, sequences);
  await pair.serve("tcp", SSH, WEB);
  const hand = new Hand(pair);
  const slow = (delayMs: number) => ({ delayMs });
  /** Knocks in time, by the knocker's own clock: a busy machine may need several tries. */
  const inTime = (hits: string, port: number, delayMs: number, ms: number) =>
    until(`${hits} within ${ms} ms`, async () => {
      await forget(pair, sequences);
      const { tookMs } = await hand.knock(hits, slow(delayMs));
      const isOpen = await pair.canReach(CLIENTS[4][0], port);
      if (tookMs < ms) assert(isOpen, `${hits} in ${tookMs} ms`);
      return tookMs < ms;
    });
  await inTime("7000 8000 9000", SSH, 800, 2000);
  await forget(pair, sequences);
  assert(!await hand.opens("7000 8000 9000", SSH, slow(1200)));
  // "prefix" has 2 s, and what goes on behind it 1 s, from the same first one.
  await inTime("7100 8100:udp", WEB, 1300, 2000);
  await forget(pair, sequences);
  assert(!await hand.opens("7100 8100:udp 9100", SSH, slow(600)));
  await forget(pair, sequences);
  // What is left of an old attempt is worth nothing in a new one.
  await hand.knock("7000 8000", slow(1500));
  await pass(700);
  assert(!await hand.opens("7000 9000"));
});

netnsTest(
  "sequencesText() takes a retransmitted knock for one",
  async (pair) => {
    await guard(pair);
    await pair.serve("tcp", SSH, WEB);
    // Connections that wait: each sends its SYN again after a second.
    const bash = (port: number, seconds: string) =>
      `timeout ${seconds} bash -c '</dev/tcp/${
        SERVER[4]
      }/${port}' 2>/dev/null; `;
    const script = `${bash(7000, "2.5")}${bash(8000, "2.5")}${
      bash(9000, "2.5")
    }`;
    await pair.exec(pair.client, ["bash", "-c", script]);
    assert(await pair.canReach(CLIENTS[4][0], SSH));
  },
  ["bash", "timeout"],
);

netnsTest("sequencesText() stays shut to scans", async (pair) => {
  await guard(pair);
  await pair.serve("tcp", SSH, WEB, PUBLIC);
  const scans = [
    ["-r", "-p", "6900-9200"],
    ["-p", "6900-9200"],
    ["-p", "6900-9200"],
    ["-sU", "-r", "-p", "8000-8200"],
  ];
  for (const scan of scans) {
    const nmap = ["nmap", "-n", "-Pn", "-T5", "--max-retries", "0"];
    await pair.exec(pair.client, [...nmap, ...scan, SERVER[4]]);
    for (const port of [SSH, WEB]) {
      assert(!await pair.canReach(CLIENTS[4][0], port), scan.join(" "));
    }
    await forget(pair);
  }
}, ["nmap"]);

netnsTest(
  "sequencesText() stays shut to scans in order where sockets are not seen",
  async (pair) => {
    await guard(pair, SEQUENCES, false);
    await pair.serve("tcp", SSH, WEB, PUBLIC);
    const nmap = ["nmap", "-n", "-Pn", "-T5", "--max-retries", "0", "-r"];
    await pair.exec(pair.client, [...nmap, "-p", "6900-9200", SERVER[4]]);
    for (const port of [SSH, WEB]) {
      assert(!await pair.canReach(CLIENTS[4][0], port));
    }
    assert(await new Hand(pair).opens("7000 8000 9000"));
  },
  ["nmap"],
);

netnsTest(
  "sequencesText() opens to 1,000 interleaved sources",
  async (pair) => {
    await guard(pair, [
      ...SEQUENCES,
      sequence("long", "7001 8001:udp 9001", { forSeconds: 600 }),
    ]);
    const sources: string[] = [];
    for (let i = 0; i < 1000; i++) {
      sources.push(`10.78.${i >> 8}.${i & 255}`);
    }
    const batch = [
      ...sources.map((source) => `address add ${source}/32 dev eth0`),
    ].join("\n");
    const added = await pair.exec(
      pair.client,
      ["ip", "-batch", "-"],
      batch + "\n",
    );
    assertEquals(added.code, 0, added.stderr);
    await pair.onServer(["ip", "route", "add", "10.78.0.0/16", "dev", "eth0"]);
    await new Hand(pair).knock("7001 8001:udp 9001", { sources });
    const listed = await pair.onServer([
      "nft",
      "list",
      "set",
      "inet",
      "knock",
      "allow4",
    ]);
    assertEquals([...listed.matchAll(/10\.78\.\d+\.\d+/g)].length, 1000);
  },
);

netnsTest(
  "sequencesText() tells by NFLOG who has completed what",
  async (pair) => {
    await guard(pair);
    await pair.serve("tcp", SSH, WEB);
    const reader = new PcapReader();
    const found: Captured[] = [];
    const tcpdump = pair.spawn(
      pair.server,
      ["tcpdump", "-i", `nflog:${LOG_GROUP}`, "-U", "-w", "-"],
      "pipe",
    );
    tcpdump.stdout!.on("data", (bytes) => found.push(...reader.feed(bytes)));
    await new Promise<void>((resolve) =>
      tcpdump.stderr!.once("data", () => resolve())
    );
    const hand = new Hand(pair);
    await hand.knock("7000 8000 9000");
    await hand.knock("7100 8100:udp 9100", { sources: [CLIENTS[6][0]] });
    await hand.knock("9000 7000");
    await until("four are told", () => found.length >= 4);
    assertEquals(reader.broken, null);
    assertEquals(
      found.map(({ packet, prefix }) => {
        const told = readTold(prefix!)!;
        return `${told.action} ${told.name} ${packet?.source} ${packet?.port}`;
      }),
      [
        `open door ${CLIENTS[4][0]} 9000`,
        `open prefix ${CLIENTS[6][0]} 8100`,
        `open mixed ${CLIENTS[6][0]} 9100`,
        `close door ${CLIENTS[4][0]} 7000`,
      ],
    );
  },
  ["tcpdump"],
);

netnsTest(
  "clearSequencesText() lets new sequences take the place of old ones",
  async (pair) => {
    const [door, ...others] = SEQUENCES;
    await guard(pair, [{ ...door!, forSeconds: 15 }, ...others]);
    await pair.serve("tcp", SSH, WEB);
    const hand = new Hand(pair);
    assert(await hand.opens("7000 8000 9000"));
    const listing = await pair.onServer([
      "nft",
      "-s",
      "list",
      "table",
      "inet",
      "knock",
    ]);
    const fresh = sequencesText([sequence("new", "7200 8200")]);
    await pair.onServer(
      ["nft", "-f", "-"],
      clearSequencesText(listing) + fresh,
    );
    assert(await pair.canReach(CLIENTS[4][0], SSH), "open stays open");
    assert(!await hand.opens("7100 8100:udp", WEB), "old ones are gone");
    await pair.shuts(CLIENTS[4][0], SSH);
    assert(await hand.opens("7200 8200"));
    const now = await pair.onServer([
      "nft",
      "-s",
      "list",
      "table",
      "inet",
      "knock",
    ]);
    assert(!now.includes("seq_tcp_7000"));
    await pair.onServer(["nft", "-f", "-"], clearSequencesText(now));
    const empty = await pair.onServer([
      "nft",
      "-s",
      "list",
      "table",
      "inet",
      "knock",
    ]);
    assert(!empty.includes("seq"));
  },
);

netnsTest("a sequence opens for the very next connection", async (pair) => {
  await guard(pair);
  await pair.serve("tcp", SSH, WEB);
  const hand = new Hand(pair);
  for (let i = 0; i < 20; i++) {
    const { connectedMs } = await hand.knock("7000 8000 9000", {
      connect: SSH,
      // On a busy machine, packets without a pause change their order.
      delayMs: 2,
    });
    // How soon is for the bench: here the machine may do other work.
    assert(connectedMs !== null, `knock ${i}`);
    await hand.knock("9000 7000");
  }
});
