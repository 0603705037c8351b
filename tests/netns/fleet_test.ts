/** A fleet of three gateways on a real engine of three servers. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import process from "node:process";
import { fleetTest, NEIGHBOUR, NODES } from "./fleet.ts";
import { until } from "./netns.ts";

const LONG = process.env["KNOCK_FLEET"] === "long";

for (const engine of ["etcd", "nats"] as const) {
  fleetTest(
    `${engine}: one knock opens on all, one close shuts on all; a packet is accepted once`,
    async (stage) => {
      const clients = [stage.clientLine()];
      for (const node of NODES) stage.configure(node, { clients });
      await stage.startEngines();
      await stage.startAll();
      for (const node of NODES) assert(!await stage.canReach(node), "shut");

      assertEquals((await stage.knock(1, "send")).code, 0);
      await stage.opens(...NODES);
      for (const node of NODES) assert(!await stage.canReach(node, NEIGHBOUR));
      assertEquals((await stage.knock(2, "close")).code, 0);
      await stage.shuts(...NODES);

      // The same packet to all three at the same instant.
      const before = await counts("fleet: ours");
      const copies = LONG ? 1000 : 100;
      for (let sent = 0; sent < copies; sent++) {
        await stage.send(stage.packet(), ...NODES);
        // An engine that is asked for all at once may not answer in time.
        if (sent % 10 === 9) await accepted(sent + 1);
      }
      async function counts(name: string): Promise<number> {
        const all = await Promise.all(
          NODES.map((node) => stage.count(node, name)),
        );
        return all.reduce((sum, count) => sum + count, 0);
      }
      // A datagram may be lost on a busy machine: each that came is counted.
      async function accepted(sent: number): Promise<void> {
        await until(
          "each was accepted once",
          async () =>
            await counts("fleet: ours") - before === sent &&
            await counts("fleet: ours") + await counts("fleet: taken") ===
              await counts("received"),
        );
      }
      assertEquals(
        await counts("refused: replay"),
        await counts("fleet: taken"),
      );

      // A packet of before, again, at each.
      const old = stage.packet();
      await stage.send(old, 1);
      await until(
        "it is taken",
        async () => await counts("fleet: ours") - before === copies + 1,
      );
      await until("its copies are refused", async () => {
        await stage.send(old, ...NODES);
        return await counts("refused: replay") > 2 * copies + 3;
      });
      assertEquals(await counts("fleet: ours") - before, copies + 1);

      // A client enrolled at one gateway is known at all; removed at another, it is gone.
      const added = await stage.admin(
        1,
        "client",
        "add",
        "bob",
        "--server",
        "10.79.0.3",
      );
      assertEquals(added.code, 0, added.stderr);
      assertEquals((await stage.knock(2, "close")).code, 0);
      await stage.shuts(...NODES);
      await stage.import(3, "bob", added.stdout);
      await until(
        "bob is let in",
        async () => (await stage.knock(3, "send", "bob")).code === 0,
      );
      await stage.opens(...NODES);
      const again = await stage.admin(2, "client", "add", "bob");
      assertMatch(again.stderr, /there is a client "bob" in the fleet already/);
      const set = await stage.admin(2, "client", "set", "bob", "--for", "5m");
      assertEquals(set.code, 0, set.stderr);
      const list = await stage.admin(3, "client", "list", "--json");
      assertEquals(
        JSON.parse(list.stdout).map(({ name }: { name: string }) => name),
        ["alice", "bob"],
      );
      const startMs = performance.now();
      const removed = await stage.admin(2, "client", "remove", "bob");
      assertEquals(removed.code, 0, removed.stderr);
      const doneMs = performance.now();
      await Promise.all(NODES.map((node) => stage.shuts(node)));
      const [all, after] = [startMs, doneMs].map((ms) =>
        Math.round(performance.now() - ms)
      );
      process.stdout.write(
        `a removed client's grants were gone everywhere ${all} ms after the ` +
          `command began, ${after} ms after it ended\n`,
      );
      assertEquals(
        (await stage.knock(3, "send", "bob", "--tries", "1")).code,
        1,
      );
      const { stdout } = await stage.admin(1, "fleet", "status", "--json");
      const { reachable, servers, gateways, warnings } = JSON.parse(stdout);
      assertEquals(reachable, true);
      assertEquals(servers.length, 3);
      assertEquals(gateways.map(({ name }: { name: string }) => name), [
        ...["gw1", "gw2", "gw3"],
      ]);
      assertEquals(warnings, []);
      await stage.send(stage.packet(), 2);
      await stage.opens(...NODES);

      // The engine's leader dies: the client's tries carry a knock over it.
      assertEquals((await stage.knock(2, "close")).code, 0);
      await stage.shuts(...NODES);
      const leader = await stage.leader();
      await stage.signalEngine(leader, "SIGKILL");
      // An election of NATS may take longer than three tries.
      if (engine === "etcd") {
        assertEquals((await stage.knock(3, "send")).code, 0);
      } else {
        await until(
          "a knock opens again",
          async () => (await stage.knock(3, "send")).code === 0,
        );
      }
      await stage.opens(...NODES);

      // Two nodes of three are gone: silence, and what is open stays.
      const [other] = NODES.filter((node) => node !== leader);
      await stage.signalEngine(other!, "SIGSTOP");
      const { code, stderr } = await stage.knock(1, "send");
      assertEquals(code, 1, stderr);
      await stage.logged(1, `cut off from ${engine} since`);
      await stage.opens(...NODES);
      await stage.signalEngine(other!, "SIGCONT");
      await stage.logged(1, `reached ${engine} again after`);
      assertEquals((await stage.knock(1, "close")).code, 0);
      await stage.shuts(...NODES);
      for (const node of NODES) {
        assertEquals(await stage.signal(node, "SIGTERM"), 0);
      }
    },
    { engine, ...LONG && { timeout: 900_000 } },
  );
}
