/** A fleet whose engine is not there at first, holds what is not the fleet's, and has a gateway with another secret. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { sealValue } from "../../lib/fleet/seal.ts";
import { formatBase64url } from "../../lib/values/bytes.ts";
import { fleetTest, NODES } from "./fleet.ts";
import { until } from "./netns.ts";

const OTHER = new Uint8Array(32).fill(9);

for (const engine of ["etcd", "nats"] as const) {
  fleetTest(
    `${engine}: what is not the fleet's opens nothing, and stops nothing`,
    async (stage) => {
      const clients = [stage.clientLine()];
      for (const node of NODES) {
        const secret = node === 3 ? formatBase64url(OTHER) : stage.secret;
        stage.configure(node, { clients, secret });
      }
      // The engine is not there: the gateways start, are silent, and say so.
      await stage.startAll();
      for (const node of NODES) {
        await stage.logged(node, `cut off from ${engine} since`);
      }
      const early = await stage.knock(1, "send", "home", "--tries", "1");
      assertEquals(early.code, 1);
      const down = await stage.admin(1, "fleet", "status");
      assertEquals(down.code, 1);
      assertMatch(down.stdout, /0 of 3 servers answer/);
      assertMatch(down.stdout, /connection refused/);

      await stage.startEngines();
      for (const node of NODES) {
        await stage.logged(node, `reached ${engine} again after`);
      }
      await until(
        "a knock opens",
        async () => (await stage.knock(1, "send")).code === 0,
      );
      await stage.opens(1, 2);
      // The one with the other secret reads no grant of the others.
      await until(
        "it has seen it",
        async () => await stage.count(3, "fleet: bad value") > 0,
      );
      assert(!await stage.canReach(3));
      // But what it accepts is accepted once among all.
      const packet = stage.packet();
      const ours = await stage.count(3, "fleet: ours");
      await stage.send(packet, 3);
      await until(
        "it accepts it",
        async () => await stage.count(3, "fleet: ours") > ours,
      );
      await stage.opens(3);
      const taken = await stage.count(1, "fleet: taken");
      await stage.send(packet, 1);
      await until(
        "it is a replay at another",
        async () => await stage.count(1, "fleet: taken") > taken,
      );

      // Who reaches the engine writes what he likes.
      const entry = { knock: { key: "x", psk: "x" }, open: ["ssh"] };
      const random = crypto.getRandomValues(new Uint8Array(16));
      const values: readonly (readonly [key: string, value: string])[] = [
        ["clients/mallory", "no JSON"],
        ["clients/trudy", `{"v":1,"sealed":"AAAA"}`],
        ["clients/eve", JSON.stringify({ entry, files: {} })],
        [
          "clients/oscar",
          sealValue(OTHER, "knock/test/clients/oscar", { entry }, random),
        ],
        ["clients/big", "x".repeat(500_000)],
        ["grants/g", "[]"],
        [
          "grants/h",
          JSON.stringify({ client: "alice", address: "10.79.0.10" }),
        ],
        ["gateways/gw9", "{}"],
      ];
      const before = await stage.count(1, "fleet: bad value");
      for (const [key, value] of values) {
        const { code, stderr } = await stage.put(key, value);
        assertEquals(code, 0, stderr);
      }
      assertEquals(
        (await stage.put("clients/huge", "x".repeat(10_000_000))).code,
        1,
      );
      await until(
        "each is counted",
        async () => await stage.count(1, "fleet: bad value") >= before + 7,
      );
      await stage.logged(1, "mallory");
      const said = stage.log(1).split("\n").filter((line) =>
        line.includes("mallory")
      );
      assertEquals(said.length, 1, said.join("\n"));
      assert(!await stage.canReach(1, "10.79.0.10"));
      const status = await stage.admin(1, "fleet", "status", "--json");
      assertEquals(status.code, 0, status.stderr);
      const { warnings } = JSON.parse(status.stdout);
      assertEquals(warnings, [
        "gw3 has another fleet.secret",
        "gw9 has another fleet.secret",
      ]);
      const list = await stage.admin(1, "client", "list", "--json");
      assertEquals(list.code, 0, list.stderr);
      assertEquals(
        JSON.parse(list.stdout).map(({ name }: { name: string }) => name),
        ["alice"],
      );
      // And the fleet goes on.
      assertEquals((await stage.knock(2, "close")).code, 0);
      await stage.shuts(1, 2);
      assertEquals((await stage.knock(2, "send")).code, 0);
      await stage.opens(1, 2);
      for (const node of NODES) {
        assertEquals(await stage.signal(node, "SIGTERM"), 0);
      }
    },
    { engine },
  );
}
