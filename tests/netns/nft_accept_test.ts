/** Mode accept of the nft backend, in a host that drops by default. */

import { assert, assertEquals, assertLess, assertMatch } from "@std/assert";
import type { GivenGrant } from "./drive.ts";
import { CLIENTS, netnsTest, type Pair, pass } from "./netns.ts";
import { MANY, NftDriver } from "./driver.ts";

const [A, B, , LIKE_A] = CLIENTS[4];
const [A6, B6] = CLIENTS[6];

/** A host's own ruleset. */
function host(jump = "jump knock", family = "inet"): string {
  return `table ${family} filter {
	set trusted {
		type ipv4_addr
		elements = { 192.0.2.7 }
	}

	chain knock {
	}

	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		iif "lo" accept
		meta l4proto ipv6-icmp accept
		tcp dport 80 accept
		${jump}
	}
}
`;
}

function load(pair: Pair, text: string): Promise<string> {
  return pair.onServer(["nft", "-f", "-"], text);
}

/** The host's own rules as nft lists them, without what is ours. */
async function theirs(pair: Pair): Promise<string> {
  const text = await pair.onServer(["nft", "list", "ruleset"]);
  return text
    .replace(/\tset knock_\w+ \{\n(?:\t\t.*\n)+?\t\}\n\n?/g, "")
    .replace(/(\tchain knock \{\n)(?:\t\t.*\n)*/g, "$1")
    .replace(/^table inet knock \{\n[^]*?^\}\n/m, "");
}

for (const [way, ...args] of [["libnftables"], ["forked", "--forked"]]) {
  netnsTest(
    `nft accept (${way}) opens, ends on time, and keeps what is established`,
    async (pair) => {
      await pair.serve("tcp", 22, 2222);
      await load(pair, host());
      const before = await theirs(pair);
      const nft = new NftDriver(pair, "--accept", ...args);
      await nft.apply(["tcp/22"]);
      assert(!await pair.canReach(A, 22));
      await nft.open([[A, "tcp/22", 4]]);
      assert(await pair.canReach(A, 22, { keep: "session" }));
      assert(!await pair.canReach(A, 2222));
      assert(!await pair.canReach(B, 22));
      assert(!await pair.canReach(LIKE_A, 22));
      await pass(4100);
      assert(!await pair.canReach(A, 22));
      assert(await pair.stillTalks("session"));
      await nft.open([[A, "tcp/22", 60], [A6, "tcp/22", 60]]);
      assert(await pair.canReach(A, 22));
      assert(await pair.canReach(A6, 22));
      assert(!await pair.canReach(B6, 22));
      await nft.close([[A, "tcp/22", 60]]);
      assert(!await pair.canReach(A, 22));
      assertEquals(await nft.take({ do: "intact" }), true);
      assertEquals(await theirs(pair), before);
      await nft.take({ do: "remove" });
      assert(!await pair.canReach(A6, 22));
      assertEquals(await theirs(pair), before);
      assertEquals(
        (await pair.onServer(["nft", "list", "ruleset"])).includes("knock_"),
        false,
      );
    },
  );
}

netnsTest("nft accept ends single uses, and cuts ranges", async (pair) => {
  await pair.serve("tcp", 22, 8005);
  await load(pair, host());
  const nft = new NftDriver(pair, "--accept");
  await nft.apply(["tcp/22"]);
  await nft.open([[A, "tcp/22", 60, "once"], [B, "tcp/8000-8010", 60]]);
  assert(await pair.canReach(A, 22, { keep: "session" }));
  assert(!await pair.canReach(A, 22));
  assert(await pair.stillTalks("session"));
  assert(await pair.canReach(B, 8005));
  await nft.apply(["tcp/22"], [[B, "tcp/8000-8010", 60]]);
  assert(await pair.canReach(B, 8005));
  await nft.close([[B, "tcp/8000-8010", 60]]);
  assert(!await pair.canReach(B, 8005));
});

netnsTest(
  "nft accept never says open where the host does not jump to it",
  async (pair) => {
    await pair.serve("tcp", 22);
    await load(pair, host("counter"));
    const nft = new NftDriver(pair, "--accept");
    await nft.apply(["tcp/22"]);
    const grants: GivenGrant[] = [[A, "tcp/22", 60]];
    const refused = await nft.tryTo({ do: "open", grants });
    assertEquals(
      refused.error,
      "the host's chain does not jump to inet filter knock",
    );
    assertMatch(refused.hint!, /nft add rule inet filter input jump knock/);
    assertMatch(
      String(await nft.take({ do: "jumpProblem" })),
      /does not jump/,
    );
    // What the hint says is the cure.
    const command = /nft (.*)$/.exec(refused.hint!)![1]!;
    await pair.onServer(["nft", ...command.split(" ")]);
    await nft.open(grants);
    assert(await pair.canReach(A, 22));
    assertEquals(await nft.take({ do: "jumpProblem" }), null);
    // Then somebody takes it out again, or lets a drop come before it.
    await load(pair, "flush chain inet filter input\n");
    await pass(1000);
    assertMatch(
      (await nft.tryTo({ do: "open", grants })).error!,
      /does not jump/,
    );
    await load(
      pair,
      "add rule inet filter input drop\nadd rule inet filter input jump knock\n",
    );
    const late = await nft.tryTo({ do: "open", grants });
    assertMatch(late.error!, /drops everything before it jumps/);
    await load(pair, "insert rule inet filter input jump knock\n");
    await nft.open(grants);
    assert(await pair.canReach(A, 22));
    // Another table that drops all decides, too; one that lets the port through does not.
    await load(
      pair,
      `table ip other {
        chain in { type filter hook input priority 10; policy drop;
          ct state established accept
        }
      }\n`,
    );
    // What leads to ours is as it was, so it is not looked at again at each knock.
    assertMatch(
      String(await nft.take({ do: "jumpProblem" })),
      /chain in of table ip other drops every new connection/,
    );
    await load(pair, "add rule ip other in tcp dport 22 accept\n");
    assertEquals(await nft.take({ do: "jumpProblem" }), null);
  },
);

netnsTest(
  "nft accept puts its chain back when the host loads its rules again",
  async (pair) => {
    await pair.serve("tcp", 22);
    await load(pair, host());
    const nft = new NftDriver(pair, "--accept");
    await nft.apply(["tcp/22"], [[B, "tcp/22", 60]]);
    await nft.open([[A, "tcp/22", 1]]);
    await load(pair, "flush ruleset\n" + host());
    await pass(1000);
    assertEquals(await nft.take({ do: "intact" }), false);
    await nft.open([[A, "tcp/22", 60]]);
    assert(await pair.canReach(A, 22));
    assert(!await pair.canReach(B, 22));
    assertEquals(await nft.take({ do: "intact" }), false);
    await nft.apply(["tcp/22"], [[A, "tcp/22", 60], [B, "tcp/22", 60]]);
    assert(await pair.canReach(B, 22));
    assertEquals(await nft.take({ do: "intact" }), true);
    await load(pair, "flush ruleset\n");
    await pass(1000);
    const refused = await nft.tryTo({
      do: "open",
      grants: [[A, "tcp/22", 60]],
    });
    assertMatch(refused.error!, /does not jump to inet filter knock/);
  },
);

netnsTest(
  "nft accept refuses a chain or a set of its names that is another's",
  async (pair) => {
    const foreign = host().replace(
      "chain knock {\n",
      "chain knock {\n\t\ttcp dport 25 accept\n",
    );
    await load(pair, foreign);
    const before = await pair.onServer(["nft", "list", "ruleset"]);
    const nft = new NftDriver(pair, "--accept");
    const answer = await nft.tryTo({ do: "apply", services: ["tcp/22"] });
    assertMatch(
      answer.error!,
      /^chain inet filter knock is there already and was not made/,
    );
    await nft.tryTo({ do: "remove" });
    assertEquals(await pair.onServer(["nft", "list", "ruleset"]), before);
    await load(
      pair,
      "flush chain inet filter knock\n" +
        "add set inet filter knock_allow4 { type ipv4_addr; }\n",
    );
    const set = await nft.tryTo({ do: "apply", services: ["tcp/22"] });
    assertMatch(set.error!, /^set inet filter knock_allow4 is there already/);
    await load(pair, "delete set inet filter knock_allow4\n");
    await nft.apply(["tcp/22"]);
  },
);

netnsTest("nft accept keeps to a chain of family ip", async (pair) => {
  await pair.serve("tcp", 22);
  await load(
    pair,
    host("jump knock", "ip").replace(
      "meta l4proto ipv6-icmp accept",
      "counter",
    ),
  );
  const nft = new NftDriver(pair, "--accept", "--chain=ip filter knock");
  await nft.apply(["tcp/22"]);
  assert(!await pair.canReach(A, 22));
  await nft.open([[A, "tcp/22", 60]]);
  assert(await pair.canReach(A, 22));
  const refused = await nft.tryTo({
    do: "open",
    grants: [[A6, "tcp/22", 60]],
  });
  assertMatch(refused.error!, /cannot open for fd77::2: .*table ip filter/);
  const wrong = new NftDriver(pair, "--accept", "--chain=filter knock");
  const answer = await wrong.tryTo({ do: "name" });
  assertMatch(answer.error!, /must be FAMILY TABLE CHAIN, got "filter knock"/);
});

netnsTest(
  "nft accept opens with 20,000 grants as it does with none",
  async (pair) => {
    await load(pair, host());
    const nft = new NftDriver(pair, "--accept");
    await nft.apply(["tcp/22"], []);
    const alone = await nft.openingMs(A);
    await nft.apply(["tcp/22"], MANY);
    // Work for each grant would be a hundred times as much.
    assertLess(await nft.openingMs(A), 10 * alone);
  },
);
