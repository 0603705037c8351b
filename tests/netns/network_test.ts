/** Grants for the whole network of an address, on the real kernel. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { IptablesDriver, NftDriver } from "./driver.ts";
import { CLIENTS, netnsTest, type Pair, pass } from "./netns.ts";
import { programTest } from "./program.ts";

// .2 and .3 are in one network of 28 bits, .20 and .22 in the next.
const [A, B, C, D] = CLIENTS[4];
const [A6, B6, C6] = CLIENTS[6];
const NET = "10.77.0.0/28";
const WIDE = "10.77.0.0/24";
const NET6 = "fd77::/124";

/** A host that drops by default, and jumps to the chain of mode accept. */
const HOST = `table inet filter {
  chain knock {
  }
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iif lo accept
    meta l4proto ipv6-icmp accept
    jump knock
  }
}
`;

const BACKENDS: [
  string,
  (pair: Pair) => Promise<NftDriver | IptablesDriver>,
][] = [
  ["nft guard", (pair) => Promise.resolve(new NftDriver(pair))],
  ["nft accept", async (pair) => {
    await pair.onServer(["nft", "-f", "-"], HOST);
    return new NftDriver(pair, "--accept");
  }],
  ...["nft", "legacy"].map((
    variant,
  ): [string, (pair: Pair) => Promise<IptablesDriver>] => [
    `iptables-${variant}`,
    (pair) => Promise.resolve(new IptablesDriver(pair, variant)),
  ]),
];

for (const [name, make] of BACKENDS) {
  netnsTest(
    `${name} opens for a network, and for no other`,
    async (pair) => {
      await pair.serve("tcp", 22, 8001);
      const driver = await make(pair);
      await driver.apply(["tcp/22", "tcp/8000-8010"]);
      for (const source of [A, B, C, A6, B6, C6]) {
        assert(!await pair.canReach(source, 22), source);
      }
      await driver.open([[NET, "tcp/22", 60], [NET6, "tcp/22", 60]]);
      for (const source of [A, B, A6, B6]) {
        assert(await pair.canReach(source, 22), source);
      }
      for (const source of [C, D, C6]) {
        assert(!await pair.canReach(source, 22), source);
      }
      assert(!await pair.canReach(A, 8001));
      // A wider network for less time, ranges that overlap, an address in it.
      const all = [
        [NET, "tcp/22", 60],
        [NET6, "tcp/22", 60],
        [WIDE, "tcp/22", 2],
        [WIDE, "tcp/8000-8005", 60],
        [WIDE, "tcp/8001-8010", 60],
        [A, "tcp/22", 60],
      ] as const;
      await driver.open([...all.slice(2)], [...all]);
      assert(await pair.canReach(C, 22, { keep: "c" }));
      assert(await pair.canReach(C, 8001));
      assertEquals(await driver.intact(), true);
      await pair.shuts(C, 22);
      assert(await pair.stillTalks("c"));
      assert(await pair.canReach(B, 22));
      // The network ends; the address has a grant of its own.
      await driver.close([[NET, "tcp/22", 60]], [[A, "tcp/22", 60]]);
      assert(!await pair.canReach(B, 22));
      assert(await pair.canReach(A, 22));
      // A longer end wins; the server starts again.
      await driver.open([[NET, "tcp/22", 1]]);
      await driver.open([[NET, "tcp/22", 60]], [[NET, "tcp/22", 1], [
        NET,
        "tcp/22",
        60,
      ]]);
      await pass(1500);
      assert(await pair.canReach(B, 22));
      await driver.apply(["tcp/22", "tcp/8000-8010"], [[NET6, "tcp/22", 60]]);
      assert(await pair.canReach(B6, 22));
      assert(!await pair.canReach(B, 22));
      assert(!await pair.canReach(C, 8001));
      await driver.apply(["tcp/22"], []);
      assert(!await pair.canReach(B6, 22));
      assertEquals(await driver.intact(), true);
    },
    name.startsWith("iptables") ? [name] : [],
  );
}

netnsTest("nft refuses a network for a single use", async (pair) => {
  const nft = new NftDriver(pair);
  await nft.apply(["tcp/22"]);
  const answer = await nft.tryTo({
    do: "open",
    grants: [[NET, "tcp/22", 60, "once"]],
  });
  assertMatch(
    answer.error ?? "",
    /cannot open for the network 10\.77\.0\.0\/28/,
  );
});

for (
  const settings of [
    "services: { ssh: tcp/22 }",
    `firewall: { backend: gate }
services: { ssh: { listen: tcp/2200, to: "10.77.0.1:22" } }`,
  ]
) {
  const isGate = settings.includes("gate");
  programTest(
    `network: status, log and reply name it (${isGate ? "gate" : "nft"})`,
    async (program, pair) => {
      await pair.serve("tcp", 22);
      // The gate takes each connection, and closes it without a byte.
      let count = 0;
      const reaches = async (source: string) => {
        const keep = `${++count}`;
        return await pair.canReach(source, isGate ? 2200 : 22, { keep }) &&
          await pair.stillTalks(keep);
      };
      program.configure(settings, [{
        name: "alice",
        policy: ["open: [ssh]", "for: 10m", "network: { ipv4: 28, ipv6: 124 }"],
      }]);
      await program.enrol("alice");
      await program.serve();
      const opened = await program.client(["alice"]);
      assertEquals(opened.code, 0, opened.stderr);
      assert(await reaches(A));
      assert(await reaches(B));
      assert(!await reaches(C));
      const { stdout } = await program.admin("status", "--json");
      assertEquals(
        JSON.parse(stdout).grants.map((one: { address: string }) =>
          one.address
        ),
        [NET],
      );
      const log = await program.admin("log", "--json");
      assertMatch(log.stdout, /"address": ?"10\.77\.0\.0\/28"/);
      const said = await program.client(["alice", "--json"]);
      // The client remembers it for its own, and names it the next time.
      assertEquals(JSON.parse(said.stdout).address, A);
      assertEquals((await program.client(["alice", "--json"])).code, 0);
      const { counters } = JSON.parse(
        (await program.admin("status", "--json")).stdout,
      );
      assertEquals([counters.received, counters.refused_address], [
        3,
        undefined,
      ]);
      // Another address of the same network closes it for all.
      const closed = await program.client(["close", "alice", "--from", B]);
      assertEquals(closed.code, 0, closed.stderr);
      assert(!await reaches(A));
      assert(!await reaches(B));
      const check = await program.admin("check");
      assertMatch(
        check.stderr,
        /warning: .*clients\.alice\.network: each grant lets in everybody .*IPv4 \/28 and IPv6 \/124 \(16 addresses\)/,
      );
    },
  );
}
