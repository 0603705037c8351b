/**
 * Forwards of the nft backend, in three namespaces:
 *
 *     [client 10.77.0.2 …] -- [server 10.77.0.1 | 10.78.0.1] -- [behind 10.78.0.2]
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { GivenGrant, GivenService } from "./drive.ts";
import { BEHIND, CLIENTS, netnsTest, type Pair, SERVER } from "./netns.ts";
import { NftDriver } from "./driver.ts";

const [A, B, , LIKE_A] = CLIENTS[4];
const [A6, B6] = CLIENTS[6];

const NAS: GivenService = { listen: "tcp/8443", to: `${BEHIND[4]}:443` };
const NAS6: GivenService = { listen: "tcp/8446", to: `[${BEHIND[6]}]:443` };

/** A host that drops by default, and passes on what was led on. */
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
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    ct status dnat accept
  }
}
`;

async function stage(pair: Pair, wayBack: boolean): Promise<void> {
  await pair.makeBehind(wayBack);
  await pair.passOn(true);
  await pair.serveBehind("tcp", 443);
}

for (const mode of ["guard", "accept"]) {
  netnsTest(
    `nft forwards in mode ${mode}, for its address alone`,
    async (pair) => {
      await stage(pair, true);
      await pair.serve("tcp", 22, 8443);
      await pair.onServer(["nft", "-f", "-"], HOST);
      const nft = new NftDriver(pair, `--${mode}`);
      if (mode === "guard") {
        await pair.onServer(["nft", "flush", "table", "inet", "filter"]);
        await pair.onServer(["nft", "delete", "table", "inet", "filter"]);
      }
      await nft.apply([NAS, NAS6, "tcp/22"]);
      assert(!await pair.canReach(A, 8443));
      await nft.open([
        [A, "tcp/8443", 60],
        [A6, "tcp/8446", 60],
        [B, "tcp/8443", 1.5],
      ]);
      assert(await pair.canReach(A, 8443, { keep: "session" }));
      assert(await pair.stillTalks("session"));
      assert(await pair.canReach(A6, 8446));
      assert(await pair.canReach(B, 8443, { keep: "b" }));
      assert(!await pair.canReach(LIKE_A, 8443));
      assert(!await pair.canReach(B6, 8446));
      assert(!await pair.canReach(A, 22));
      await nft.close([[A, "tcp/8443", 60]]);
      assert(!await pair.canReach(A, 8443));
      assert(await pair.stillTalks("session"));
      await new Promise((resolve) => setTimeout(resolve, 1500));
      assert(!await pair.canReach(B, 8443));
      assert(await pair.stillTalks("b"));
      assertEquals(await nft.take({ do: "intact" }), true);
      // A single use, and a range that holds the port.
      await nft.open([[A, "tcp/8443", 60, "once"]]);
      assert(await pair.canReach(A, 8443, { keep: "once" }));
      assert(!await pair.canReach(A, 8443));
      assert(await pair.stillTalks("once"));
      await nft.open([[B, "tcp/8440-8450", 60]]);
      assert(await pair.canReach(B, 8443));
      // Without forwards nothing of them is left.
      await nft.apply(["tcp/22"]);
      const listing = await pair.onServer(["nft", "list", "ruleset"]);
      assert(!listing.includes("nat_in"), listing);
    },
  );
}

netnsTest("nft forwards with its own address, where asked", async (pair) => {
  await stage(pair, false);
  await pair.serveBehind("udp", 5353);
  const nft = new NftDriver(pair);
  const services: GivenService[] = [
    NAS,
    { listen: "udp/5300-5310", to: `${BEHIND[4]}:5353`, masquerade: true },
    { ...NAS, listen: "tcp/9000-9010", masquerade: true } as GivenService,
    { ...NAS6 as object, masquerade: true } as GivenService,
  ];
  await nft.apply(services);
  await nft.open([
    [A, "tcp/8443", 60],
    [A, "tcp/9005", 60],
    [A, "udp/5300-5310", 60],
    [A6, "tcp/8446", 60],
  ]);
  // The third host knows no way back to the client.
  assert(!await pair.canReach(A, 8443));
  assert(await pair.canReach(A, 9005));
  assert(await pair.canReach(A, 5305, { protocol: "udp" }));
  assert(!await pair.canReach(A, 9000));
  assert(await pair.canReach(A6, 8446));
});

for (const mode of ["guard", "accept"]) {
  netnsTest(
    `nft in mode ${mode} leads grants with a target of their own`,
    async (pair) => {
      await stage(pair, true);
      await pair.serve("tcp", 22, 2200);
      const nft = new NftDriver(pair, `--${mode}`);
      if (mode === "accept") {
        await pair.onServer(["nft", "-f", "-"], HOST);
      }
      await nft.apply(["tcp/22", "tcp/2200"]);
      const home = `${SERVER[4]}:22`;
      const open = (...grants: GivenGrant[]) => nft.open(grants);
      await open([A, "tcp/40000", 60, "", home]);
      assert(await pair.canReach(A, 40000, { keep: "session" }));
      assert(await pair.stillTalks("session"));
      assert(!await pair.canReach(B, 40000));
      // The port that it comes out at is as shut as before.
      assert(!await pair.canReach(A, 22));
      // Another target for the same port, then an end of it.
      await open([A, "tcp/40000", 90, "", `${BEHIND[4]}:443`]);
      assert(await pair.canReach(A, 40000, { keep: "behind" }));
      await nft.close([[A, "tcp/40000", 90, "", `${BEHIND[4]}:443`]]);
      assert(!await pair.canReach(A, 40000));
      assert(await pair.stillTalks("behind"));
      // A single use.
      const once: GivenGrant = [A, "tcp/40001", 60, "once", home];
      await open(once, [A6, "tcp/40001", 60, "", `[${SERVER[6]}]:22`]);
      assert(await pair.canReach(A, 40001, { keep: "one" }));
      assert(!await pair.canReach(A, 40001));
      assert(await pair.stillTalks("one"));
      assert(await pair.canReach(A6, 40001));
      // The server starts again: what was used is not open again.
      await nft.apply(["tcp/22"], [
        once,
        [A6, "tcp/40001", 60, "", `[${SERVER[6]}]:22`],
      ]);
      assert(!await pair.canReach(A, 40001));
      assert(await pair.canReach(A6, 40001));
      assertEquals(await nft.take({ do: "intact" }), true);
    },
  );
}

netnsTest("nft leaves alone what only passes through", async (pair) => {
  await stage(pair, true);
  const nft = new NftDriver(pair);
  // deno-fmt-ignore
  await pair.exec(pair.client, [
    "ip", "route", "add", "10.78.0.0/24", "via", SERVER[4],
  ]);
  await nft.apply([{ listen: "tcp/443", to: `${SERVER[4]}:22` }]);
  await nft.open([[A, "tcp/443", 60]]);
  await nft.take({ do: "gate", gate: { ports: [5353], tags: [] } });
  // To the third host itself, on a port that the server leads elsewhere.
  assert(await pair.canReachAt(BEHIND[4], A, 443));
  await pair.serveBehind("udp", 5353);
  assert(await pair.canReachAt(BEHIND[4], A, 5353, { protocol: "udp" }));
});

netnsTest("nft says what cannot be forwarded, and why", async (pair) => {
  await stage(pair, true);
  await pair.passOn(false);
  const nft = new NftDriver(pair);
  const cases: [GivenService, RegExp, RegExp][] = [
    [
      NAS,
      /this machine passes no packets on/,
      /sysctl -w net\.ipv4\.ip_forward=1/,
    ],
    [NAS6, /passes no packets on/, /net\.ipv6\.conf\.all\.forwarding=1/],
    [
      { listen: "tcp/8022", to: "127.0.0.1:22" },
      /cannot forward to "127\.0\.0\.1:22": nftables leads no connection/,
      /firewall\.backend to gate/,
    ],
    [
      { listen: "tcp/22", to: `${SERVER[4]}:22` },
      /this machine's own port/,
      /to/,
    ],
  ];
  for (const [service, error, hint] of cases) {
    const answer = await nft.tryTo({ do: "apply", services: [service] });
    assertMatch(answer.error ?? "", error);
    assertMatch(answer.hint ?? "", hint);
  }
  // To itself it passes on in any case.
  await pair.serve("tcp", 22);
  await nft.apply([{ listen: "tcp/8022", to: `${SERVER[4]}:22` }, "tcp/22"]);
  await nft.open([[A, "tcp/8022", 60]]);
  assert(await pair.canReach(A, 8022));
  assert(!await pair.canReach(A, 22));
  const grants: [GivenGrant, RegExp][] = [
    [[A6, "tcp/8022", 60], /leads to an address of the other IP version/],
    [[A, "tcp/1-5", 60, "", `${SERVER[4]}:22`], /a range of ports cannot lead/],
    [[A6, "tcp/5000", 60, "", `${SERVER[4]}:22`], /other IP version/],
    [[A, "tcp/5000", 60, "", `${BEHIND[4]}:443`], /passes no packets on/],
  ];
  for (const [grant, error] of grants) {
    const answer = await nft.tryTo({ do: "open", grants: [grant] });
    assertMatch(answer.error ?? "", error);
  }
  // Of several, none is open when one cannot be; nor when the kernel says no.
  const half: GivenGrant = [A6, "tcp/5000", 60, "", `${SERVER[4]}:22`];
  await nft.tryTo({ do: "open", grants: [[A, "tcp/22", 60], half] });
  assert(!await pair.canReach(A, 22));
  const full = Array.from(
    { length: 65_536 },
    (_, i): GivenGrant => [
      `192.0.${i >> 8}.${i & 255}`,
      "tcp/22",
      60,
      "once",
    ],
  );
  const answer = await nft.tryTo({
    do: "open",
    grants: [[A, "tcp/22", 60], ...full],
  });
  assertEquals(answer.ok, false);
  assert(!await pair.canReach(A, 22));
});
