/** The kernel gate of the nft backend, with real datagrams. */

import { assert, assertEquals } from "@std/assert";
import { BEHIND, CLIENTS, netnsTest, type Pair, SERVER } from "./netns.ts";
import { NftDriver } from "./driver.ts";

const [A, B] = CLIENTS[4];
const [A6] = CLIENTS[6];

const KNOCK = 62201;
const OTHER = 62202;
const TAG = "00112233445566ff";
const NEXT = "f0e1d2c3b4a59687";

/** A datagram of so many bytes, beginning with these. */
function bytes(start: string, size = 216): string {
  return start.padEnd(size * 2, "a5").slice(0, size * 2);
}

/** True if a datagram comes to the program behind the prefilter. */
function passes(
  pair: Pair,
  hex: string,
  source: string = A,
  port = KNOCK,
): Promise<boolean> {
  return pair.canReach(source, port, { protocol: "udp", hex });
}

function setGate(nft: NftDriver, tags: string[] | null) {
  const gate = tags && { ports: [KNOCK], tags };
  return nft.take({ do: "gate", gate });
}

netnsTest("nft gate lets through what can be a knock, alone", async (pair) => {
  await pair.serve("udp", KNOCK, OTHER, 5353);
  await pair.serve("tcp", KNOCK);
  const nft = new NftDriver(pair);
  await nft.apply(["tcp/22"]);
  assert(await passes(pair, bytes("")));
  await setGate(nft, [TAG, NEXT]);
  const cases: [name: string, hex: string, want: boolean][] = [
    ["a knock", bytes(TAG), true],
    ["a knock of the next window", bytes(NEXT), true],
    ["another tag", bytes("10112233445566ff"), false],
    ["a tag with its last byte changed", bytes("00112233445566fe"), false],
    ["a byte too few", bytes(TAG, 215), false],
    ["a byte too many", bytes(TAG, 217), false],
    ["nothing", "", false],
    ["the tag alone", TAG, false],
    ["a long one, in fragments", bytes(TAG, 4000), false],
  ];
  for (const [name, hex, want] of cases) {
    assertEquals(await passes(pair, hex), want, name);
    if (name !== "nothing") {
      assertEquals(await passes(pair, hex, A6), want, `${name} by IPv6`);
    }
  }
  // Other ports and protocols are none of its business.
  assert(await passes(pair, bytes(""), A, 5353));
  assert(await passes(pair, "00", A, OTHER));
  assert(await pair.canReach(A, KNOCK));
  const counted = await nft.take({ do: "counters" }) as Record<string, number>;
  assertEquals(counted, {
    "kernel: wrong length": 9,
    "kernel: wrong tag": 4,
  });
});

netnsTest("nft gate changes its tags, and survives the rest", async (pair) => {
  await pair.serve("udp", KNOCK);
  const nft = new NftDriver(pair);
  const early = await nft.tryTo({
    do: "gate",
    gate: { ports: [KNOCK], tags: [TAG] },
  });
  assertEquals(early.error, "nft: not set up yet");
  await nft.apply(["tcp/22"]);
  await setGate(nft, [TAG]);
  assert(!await passes(pair, bytes(NEXT)));
  await setGate(nft, [TAG, NEXT]);
  assert(await passes(pair, bytes(NEXT)));
  await setGate(nft, [NEXT]);
  assert(!await passes(pair, bytes(TAG)));
  assertEquals(await nft.take({ do: "intact" }), true);
  await nft.apply(["tcp/22", "tcp/80"], [[A, "tcp/22", 60]]);
  assert(!await passes(pair, bytes(TAG)));
  assert(await passes(pair, bytes(NEXT)));
  await pair.onServer(["nft", "flush", "chain", "inet", "knock", "gate"]);
  assertEquals(await nft.take({ do: "intact" }), false);
  await nft.apply(["tcp/22"], [[A, "tcp/22", 60]]);
  assert(!await passes(pair, bytes(TAG)));
  // A change of the sets under it is mended with the gate.
  await pair.onServer(["nft", "delete", "table", "inet", "knock"]);
  await nft.open([[B, "tcp/22", 60]]);
  assert(!await passes(pair, bytes(TAG)));
  await setGate(nft, null);
  assert(await passes(pair, bytes(TAG)));
  assertEquals(await nft.take({ do: "counters" }), {});
  await nft.apply(["tcp/22"]);
  await setGate(nft, [NEXT]);
  assert(!await passes(pair, bytes(TAG)));
  await nft.take({ do: "stop" });
  assert(await passes(pair, bytes(TAG)));
  const listing = await pair.onServer(["nft", "list", "ruleset"]);
  assert(listing.includes("chain guard"));
  assert(!/gate|counter wrong/.test(listing), listing);
  // One that was killed left its gate; the next server takes it away.
  const killed = new NftDriver(pair);
  await killed.apply(["tcp/22"]);
  await setGate(killed, [NEXT]);
  await new NftDriver(pair).apply(["tcp/22"]);
  assert(await passes(pair, bytes(TAG)));
});

netnsTest(
  "nft gate without guarded services or in mode accept",
  async (pair) => {
    await pair.serve("udp", KNOCK);
    const nft = new NftDriver(pair, "--accept");
    await nft.apply([]);
    await setGate(nft, [TAG]);
    assert(!await passes(pair, bytes(NEXT)));
    assert(await passes(pair, bytes(TAG)));
    assertEquals(await nft.take({ do: "intact" }), true);
    await nft.take({ do: "stop" });
    const listing = await pair.onServer(["nft", "list", "ruleset"]);
    assert(!listing.includes("table inet knock {"), listing);
  },
);

netnsTest("nft gate drops no copy for the rate of its source", async (pair) => {
  await pair.serve("udp", KNOCK);
  const nft = new NftDriver(pair);
  await nft.apply([]);
  await setGate(nft, [TAG]);
  await pair.send(A, KNOCK, 3000, bytes(TAG));
  // The program's own buffer may be full for a moment.
  await pair.opens(A, KNOCK, { protocol: "udp", hex: bytes(TAG) });
  assertEquals(await nft.take({ do: "counters" }), {
    "kernel: wrong length": 0,
    "kernel: wrong tag": 0,
  });
});

/** Counts what comes past the interfaces, before any other rule. */
const LATER = `table inet later {
  chain early {
    type filter hook prerouting priority -400; policy accept;
    udp dport ${KNOCK} counter
  }
}
`;

async function countLater(pair: Pair): Promise<number> {
  const listing = await pair.onServer([
    "nft",
    "list",
    "table",
    "inet",
    "later",
  ]);
  return Number(/packets (\d+)/.exec(listing)![1]);
}

netnsTest(
  "nft gate drops junk at the interfaces, and nothing that is for others",
  async (pair) => {
    await pair.makeBehind(true);
    await pair.passOn(true);
    const { client } = pair;
    for (const [to, via] of [[BEHIND[4], SERVER[4]], [BEHIND[6], SERVER[6]]]) {
      await pair.exec(client, ["ip", "route", "add", to!, "via", via!]);
    }
    await pair.serve("udp", KNOCK);
    await pair.serveBehind("udp", KNOCK);
    await pair.onServer(["nft", "-f", "-"], LATER);
    const nft = new NftDriver(pair);
    await nft.apply(["tcp/22"]);
    await setGate(nft, [TAG]);
    const at = (...interfaces: string[]) => ({
      kind: "ingress",
      interfaces,
      problem: null,
    });
    assertEquals(await nft.take({ do: "prefilter" }), at("eth0", "eth1"));
    for (const source of [A, A6]) {
      await pair.send(source, KNOCK, 5, bytes(NEXT));
      await pair.send(source, KNOCK, 5, bytes(TAG, 215));
    }
    assertEquals(await countLater(pair), 0);
    assertEquals(await nft.take({ do: "counters" }), {
      "kernel: wrong length": 10,
      "kernel: wrong tag": 10,
    });
    assert(await passes(pair, bytes(TAG)));
    assert(await passes(pair, bytes(TAG), A6));
    const junk = { protocol: "udp", hex: bytes(NEXT) } as const;
    assert(await pair.canReachAt(BEHIND[4], A, KNOCK, junk));
    assert(await pair.canReachAt(BEHIND[6], A6, KNOCK, junk));

    // An address that is new is known at the next look; prerouting holds till then.
    const own = "10.77.0.99";
    await pair.onServer(["ip", "address", "add", `${own}/24`, "dev", "eth0"]);
    assertEquals(await nft.intact(), false);
    const before = await countLater(pair);
    assert(!await pair.canReachAt(own, A, KNOCK, junk));
    assert(await countLater(pair) > before);
    await nft.apply(["tcp/22"]);
    assertEquals(await nft.intact(), true);
    const known = await countLater(pair);
    assert(!await pair.canReachAt(own, A, KNOCK, junk));
    assertEquals(await countLater(pair), known);

    // An interface that goes, and comes back.
    await pair.onServer(["ip", "link", "delete", "eth1"]);
    assertEquals(await nft.intact(), false);
    await nft.apply(["tcp/22"], [[A, "tcp/22", 60]]);
    assertEquals(await nft.take({ do: "prefilter" }), at("eth0"));
    assertEquals(await nft.intact(), true);
    await setGate(nft, null);
    assertEquals(
      (await nft.take({ do: "prefilter" }) as { kind: string }).kind,
      "off",
    );
    const listing = await pair.onServer(["nft", "list", "ruleset"]);
    assert(!/ingress|junk/.test(listing), listing);
  },
);
