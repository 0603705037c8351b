/** Guarded ports as nmap sees them, with `refuse: drop` and `refuse: reject`: docs/security.md has the same table. */

import { assert, assertEquals } from "@std/assert";
import { NftDriver } from "./driver.ts";
import { CLIENTS, netnsTest, type Pair, SERVER } from "./netns.ts";

const [A, B] = CLIENTS[4];

/** Guarded and served; guarded with nothing behind it; neither; open to all. */
const PORTS = { service: 22, empty: 80, other: 81, open: 443 } as const;
const KNOCK = 62201;
const TAG = "0123456789abcdef";

/** nmap's state and reason of each port: "closed reset". */
async function scan(
  pair: Pair,
  how: string,
  ports: readonly number[],
  family: 4 | 6 = 4,
): Promise<string[]> {
  // deno-fmt-ignore
  const said = await pair.exec(pair.client, [
    "nmap", "-n", "-Pn", how, "--reason", "--max-retries", "2",
    "--host-timeout", "60s", ...family === 6 ? ["-6"] : [],
    "-p", ports.join(","), "-oX", "-", SERVER[family],
  ]);
  const found = new Map(
    [...said.stdout.matchAll(
      /portid="(\d+)"><state state="([^"]+)" reason="([^"]+)" reason_ttl="(\d+)"/g,
    )].map(([, port, state, reason, ttl]) => [
      Number(port),
      `${state} ${reason} ${ttl}`,
    ]),
  );
  return ports.map((port) => found.get(port) ?? `nothing: ${said.stdout}`);
}

/** nmap's view of a port where nothing listens and nothing filters. */
const CLOSED = "closed reset 64";
const UNREACHABLE = "closed port-unreach 64";

for (const refuse of ["drop", "reject"] as const) {
  netnsTest(
    `nmap, refuse: ${refuse}`,
    async (pair) => {
      const { service, empty, other, open } = PORTS;
      await pair.serve("tcp", service, open);
      await pair.serve("udp", service, KNOCK);
      const nft = new NftDriver(
        pair,
        ...refuse === "reject" ? ["--reject"] : [],
      );
      await nft.apply([
        ...[`tcp/${service}`, `tcp/${empty}`],
        ...[`udp/${service}`, `udp/${empty}`],
      ]);
      const gate = { ports: [KNOCK], tags: [TAG] };
      await nft.take({ do: "gate", gate });
      const is = refuse === "reject";
      for (const family of [4, 6] as const) {
        assertEquals(
          await scan(pair, "-sS", [service, empty, other, open], family),
          [
            is ? CLOSED : "filtered no-response 0",
            is ? CLOSED : "filtered no-response 0",
            CLOSED,
            "open syn-ack 64",
          ],
          `TCP, IPv${family}`,
        );
      }
      // An ACK out of the blue is answered by open and closed ports alike.
      assertEquals(
        await scan(pair, "-sA", [service, other, open]),
        is
          ? Array(3).fill("unfiltered reset 64")
          : ["filtered no-response 0", ...Array(2).fill("unfiltered reset 64")],
      );
      assertEquals(
        await scan(pair, "-sU", [service, empty, other, KNOCK]),
        is ? Array(4).fill(UNREACHABLE) : [
          "open|filtered no-response 0",
          "open|filtered no-response 0",
          UNREACHABLE,
          "open|filtered no-response 0",
        ],
      );
      // Who has a grant sees what is there.
      await nft.open([[A, `tcp/${service}`, 60], [A, `tcp/${empty}`, 60]]);
      assert(await pair.canReach(A, service));
      assert(!await pair.canReach(B, service));
      assertEquals(await scan(pair, "-sS", [empty]), [CLOSED]);
      assertEquals(await nft.take({ do: "intact" }), true);
      // What can be a knock still comes to the program.
      const hex = TAG + "00".repeat(208);
      assert(await pair.canReach(A, KNOCK, { protocol: "udp", hex }));
    },
    ["nmap"],
  );
}

netnsTest("nft changes from reject to drop and back", async (pair) => {
  await pair.serve("tcp", 22);
  for (const args of [["--reject"], [], ["--reject"]]) {
    const nft = new NftDriver(pair, ...args);
    await nft.apply(["tcp/22"]);
    await nft.take({ do: "gate", gate: { ports: [KNOCK], tags: [TAG] } });
    assertEquals(await nft.take({ do: "intact" }), true);
    const listing = await pair.onServer(["nft", "list", "ruleset"]);
    assertEquals(/reject/.test(listing), args.length > 0);
    assertEquals(/chain answer/.test(listing), args.length > 0);
  }
});
