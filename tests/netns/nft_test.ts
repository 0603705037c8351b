/** The nft backend alone, on the real kernel. */

import { assert, assertEquals, assertLess, assertMatch } from "@std/assert";
import type { Answer, GivenGrant } from "./drive.ts";
import { CLIENTS, netnsTest, pass, scriptCommand } from "./netns.ts";
import { MANY, NftDriver } from "./driver.ts";

const [A, B, , LIKE_A] = CLIENTS[4];
const [A6, B6] = CLIENTS[6];
const WAYS: [string, ...string[]][] = [["libnftables"], ["forked", "--forked"]];

for (const [way, ...args] of WAYS) {
  netnsTest(
    `nft (${way}) opens for one address, and the kernel ends it`,
    async (pair) => {
      await pair.serve("tcp", 22, 2222);
      const nft = new NftDriver(pair, ...args);
      assertMatch(String(await nft.take({ do: "name" })), new RegExp(way));
      assert(await pair.canReach(A, 22));
      await nft.apply(["tcp/22"]);
      assert(!await pair.canReach(A, 22));
      assert(await pair.canReach(A, 2222));
      await nft.open([[A, "tcp/22", 4]]);
      assert(await pair.canReach(A, 22, { keep: "session" }));
      assert(!await pair.canReach(B, 22));
      assert(!await pair.canReach(LIKE_A, 22));
      await pass(4100);
      assert(!await pair.canReach(A, 22));
      assert(await pair.stillTalks("session"));
    },
  );

  netnsTest(
    `nft (${way}) extends, closes, and is silent of what is not there`,
    async (pair) => {
      await pair.serve("tcp", 22);
      const nft = new NftDriver(pair, ...args);
      await nft.apply(["tcp/22"]);
      await nft.open([[A, "tcp/22", 1]]);
      await nft.open([[A, "tcp/22", 60]]);
      await nft.open([[B, "tcp/22", 60]]);
      await pass(1200);
      assert(await pair.canReach(A, 22));
      // Two clients behind one address: the other's grant stays.
      await nft.close([[A, "tcp/22", 60]], [[A, "tcp/22", 30]]);
      assert(await pair.canReach(A, 22));
      await nft.close([[A, "tcp/22", 60], ["192.0.2.9", "tcp/22", 60]]);
      assert(!await pair.canReach(A, 22));
      assert(await pair.canReach(B, 22));
    },
  );

  netnsTest(`nft (${way}) sets up again what was flushed`, async (pair) => {
    await pair.serve("tcp", 22);
    const nft = new NftDriver(pair, ...args);
    await nft.apply(["tcp/22"], [[B, "tcp/22", 60]]);
    await pair.onServer(["nft", "flush", "ruleset"]);
    assertEquals(await nft.take({ do: "intact" }), false);
    await nft.open([[A, "tcp/22", 60]]);
    assert(await pair.canReach(A, 22));
    assert(!await pair.canReach(B, 22));
    assertEquals(await nft.take({ do: "intact" }), false);
    await nft.apply(["tcp/22"], [[A, "tcp/22", 60], [B, "tcp/22", 60]]);
    assert(await pair.canReach(B, 22));
    assertEquals(await nft.take({ do: "intact" }), true);
  });
}

netnsTest(
  "nft guards protocols and ports that look alike apart",
  async (pair) => {
    await pair.serve("tcp", 22, 53, 2222);
    await pair.serve("udp", 53);
    const nft = new NftDriver(pair);
    await nft.apply(["tcp/22", "tcp/53", "tcp/2222", "udp/53"]);
    await nft.open([[A, "tcp/22", 60], [A, "udp/53", 60]]);
    assert(await pair.canReach(A, 22));
    assert(!await pair.canReach(A, 2222));
    assert(!await pair.canReach(A, 53));
    assert(await pair.canReach(A, 53, { protocol: "udp" }));
    assert(!await pair.canReach(B, 53, { protocol: "udp" }));
    const loopback = "exec 3<>/dev/tcp/10.77.0.1/2222";
    await pair.onServer(["bash", "-c", loopback]);
  },
);

netnsTest(
  "nft opens for IPv6, and leaves its neighbour discovery alone",
  async (pair) => {
    await pair.serve("tcp", 22);
    const nft = new NftDriver(pair);
    await nft.apply(["tcp/1-65535", "udp/1-65535"]);
    assert(!await pair.canReach(A6, 22));
    await nft.open([[A6, "tcp/22", 60]]);
    assert(await pair.canReach(A6, 22));
    assert(!await pair.canReach(B6, 22));
    assert(!await pair.canReach(A, 22));
    await nft.open([[B6, "tcp/20-30", 60]]);
    assert(await pair.canReach(B6, 22));
  },
);

netnsTest(
  "nft ends a single-use grant with its first connection",
  async (pair) => {
    await pair.serve("tcp", 22);
    const nft = new NftDriver(pair);
    const once: GivenGrant = [A, "tcp/22", 60, "once"];
    await nft.apply(["tcp/22"]);
    await nft.open([once, [A6, "tcp/22", 60, "once"]]);
    assert(!await pair.canReach(B, 22));
    assert(await pair.canReach(A, 22, { keep: "session" }));
    assert(!await pair.canReach(A, 22));
    assert(await pair.stillTalks("session"));
    assert(await pair.canReach(A6, 22));
    assert(!await pair.canReach(A6, 22));
    // The server does not know that it was used, and starts again.
    await nft.apply(["tcp/22"], [once]);
    assert(!await pair.canReach(A, 22));
    await nft.open([once]);
    await nft.apply(["tcp/22"], [once]);
    assert(await pair.canReach(A, 22));
    await nft.open([once]);
    await nft.apply(["tcp/22"], []);
    assert(!await pair.canReach(A, 22));
  },
);

netnsTest(
  "nft keeps ranges that overlap to the latest end of each port",
  async (pair) => {
    const ports = [8000, 8005, 8010, 8015, 8020, 8021];
    await pair.serve("tcp", ...ports);
    const nft = new NftDriver(pair);
    const reached = async (source: string) => {
      const tried = ports.map((port) => pair.canReach(source, port));
      const open = await Promise.all(tried);
      return ports.filter((_, index) => open[index]);
    };
    await nft.apply(["tcp/8000-8100"]);
    await nft.open([[A, "tcp/8000-8010", 60]]);
    assertEquals(await reached(A), [8000, 8005, 8010]);
    assertEquals(await reached(B), []);
    const both: GivenGrant[] = [
      [A, "tcp/8000-8010", 60],
      [A, "tcp/8005-8020", 2],
    ];
    await nft.open([both[1]!], both);
    assertEquals(await reached(A), [8000, 8005, 8010, 8015, 8020]);
    await pass(2000);
    assertEquals(await reached(A), [8000, 8005, 8010]);
    // One that holds all of the others, and one inside, after the kernel ended a piece.
    await nft.open([[A, "tcp/8000-8020", 90]], [both[0]!]);
    assertEquals(await reached(A), [8000, 8005, 8010, 8015, 8020]);
    await nft.close([[A, "tcp/8000-8020", 90]], [both[0]!]);
    assertEquals(await reached(A), [8000, 8005, 8010]);
    // Another server took over, and its ranges are unknown to this one.
    await new NftDriver(pair).apply(["tcp/8000-8100"], [[
      A,
      "tcp/8003-8012",
      60,
    ]]);
    await nft.open([[A, "tcp/8000-8020", 90]]);
    assertEquals(await reached(A), [8000, 8005, 8010, 8015, 8020]);
    await nft.close([[A, "tcp/8000-8020", 90]]);
    assertEquals(await reached(A), []);
  },
);

netnsTest(
  "nft applies again without shutting a grant or opening a port",
  async (pair) => {
    const SENT = 10_000;
    // Counts what the guard lets through. Each datagram is a new connection to
    // it, as none is ever answered.
    await pair.onServer(
      ["nft", "-f", "-"],
      `table inet watch {
      chain input {
        type filter hook input priority 0; policy accept;
        ip saddr ${A} udp dport 5000 counter drop
        ip saddr ${B} udp dport 5000 counter drop
        ip saddr ${LIKE_A} udp dport 5000 counter drop
      }
    }\n`,
    );
    const nft = new NftDriver(pair);
    const grants: GivenGrant[] = [[A, "udp/5000", 60], [
      B,
      "udp/4000-6000",
      60,
    ]];
    await nft.apply(["udp/5000"], grants);
    let over = false;
    const sending = Promise.all(
      [A, B, LIKE_A].map((source) => pair.send(source, 5000, SENT)),
    ).finally(() => over = true);
    let applied = 0;
    for (; !over; applied++) {
      await nft.apply(
        applied % 2 ? ["udp/5000"] : ["udp/5000", "tcp/1"],
        grants,
      );
    }
    assertEquals(await sending, [true, true, true]);
    assert(applied > 10, `applied ${applied} times`);
    const watched = await pair.onServer([
      "nft",
      "list",
      "table",
      "inet",
      "watch",
    ]);
    const counts = [...watched.matchAll(/packets (\d+)/g)].map(([, n]) =>
      Number(n)
    );
    assertEquals(counts, [SENT, SENT, 0]);
  },
);

netnsTest(
  "nft takes services and grants away when it applies again",
  async (pair) => {
    await pair.serve("tcp", 22, 80);
    const nft = new NftDriver(pair);
    const grants: GivenGrant[] = [[A, "tcp/22", 60], [A, "tcp/70-90", 60]];
    await nft.apply(["tcp/22", "tcp/80"], grants);
    assert(await pair.canReach(A, 80));
    assert(!await pair.canReach(B, 80));
    await nft.apply(["tcp/22"], grants);
    assert(await pair.canReach(A, 22));
    assert(await pair.canReach(B, 80));
    await nft.apply(["tcp/22", "tcp/80"], []);
    assert(!await pair.canReach(A, 22));
    assert(!await pair.canReach(A, 80));
  },
);

netnsTest(
  "nft mends a table of its own whose sets were made otherwise",
  async (pair) => {
    await pair.serve("tcp", 22);
    const nft = new NftDriver(pair);
    await pair.onServer(
      ["nft", "-f", "-"],
      `table inet knock {
      comment "made by knock"
      set allow4 { type ipv4_addr; }
      chain guard { type filter hook input priority 5; policy accept; }
    }\n`,
    );
    await nft.apply(["tcp/22"], [[A, "tcp/22", 60]]);
    assert(await pair.canReach(A, 22));
    assert(!await pair.canReach(B, 22));
    await pair.onServer(["nft", "flush", "chain", "inet", "knock", "guard"]);
    assertEquals(await nft.take({ do: "intact" }), false);
  },
);

netnsTest(
  "nft touches no other table, nor another's of the same name",
  async (pair) => {
    await pair.serve("tcp", 22);
    const foreign = `table inet knock {\n\tchain mine {\n\t}\n}\n`;
    const other =
      `table inet filter {\n\tset allow4 {\n\t\ttype ipv4_addr\n\t}\n}\n`;
    await pair.onServer(["nft", "-f", "-"], foreign + other);
    const nft = new NftDriver(pair);
    const answer = await nft.tryTo({ do: "apply", services: ["tcp/22"] });
    assertMatch(answer.error ?? "", /was not made by this program/);
    assertMatch(answer.hint ?? "", /nft delete table inet knock/);
    await nft.take({ do: "remove" });
    assertEquals(
      await pair.onServer(["nft", "list", "ruleset"]),
      foreign + other,
    );
    await pair.onServer(["nft", "delete", "table", "inet", "knock"]);
    await nft.apply(["tcp/22"]);
    assert(!await pair.canReach(A, 22));
    await nft.take({ do: "remove" });
    assertEquals(await pair.onServer(["nft", "list", "ruleset"]), other);
    assert(await pair.canReach(A, 22));
  },
);

netnsTest("nft says what is missing where it has no rights", async (pair) => {
  const said = await pair.exec(pair.server, [
    "setpriv",
    "--bounding-set=-net_admin",
    "--inh-caps=-net_admin",
    "--",
    ...scriptCommand("drive_nft.ts"),
  ], JSON.stringify({ id: 1, do: "apply", services: ["tcp/22"] }) + "\n");
  const answer = JSON.parse(said.stdout) as Answer;
  assertEquals(answer.error, "nft: operation not permitted");
  assertMatch(answer.hint ?? "", /run as root or with CAP_NET_ADMIN/);
}, ["setpriv"]);

netnsTest("nft opens with 20,000 grants as it does with none", async (pair) => {
  await pair.serve("tcp", 22);
  const nft = new NftDriver(pair);
  await nft.apply(["tcp/22"], []);
  const alone = await nft.openingMs(A);
  await nft.apply(["tcp/22"], MANY);
  // Work for each grant would be a hundred times as much.
  assertLess(await nft.openingMs(A), 10 * alone);
  assert(await pair.canReach(A, 22));
  assertEquals((await nft.tryTo({ do: "intact" })).value, true);
  const listing = await pair.onServer([
    "nft",
    "list",
    "set",
    "inet",
    "knock",
    "allow4",
  ]);
  assertEquals(listing.match(/expires/g)?.length, 20_001);
});
