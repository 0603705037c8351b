/** A fleet of three gateways on a real etcd of three nodes. */

import { assert, assertEquals } from "@std/assert";
import { fleetTest, NEIGHBOUR, NODES } from "./fleet.ts";
import { until } from "./netns.ts";

fleetTest(
  "one knock opens on all, one close shuts on all; a packet is accepted once",
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
    const copies = 100;
    for (let sent = 0; sent < copies; sent++) {
      await stage.send(stage.packet(), ...NODES);
    }
    async function counts(name: string): Promise<number> {
      const all = await Promise.all(
        NODES.map((node) => stage.count(node, name)),
      );
      return all.reduce((sum, count) => sum + count, 0);
    }
    await until(
      "all are counted",
      async () => await counts("fleet: taken") === 2 * copies,
    );
    assertEquals(await counts("fleet: ours") - before, copies);
    assertEquals(await counts("refused: replay"), 2 * copies);

    // A packet of before, again, at each.
    const old = stage.packet();
    await stage.send(old, 1);
    await until(
      "it is taken",
      async () => await counts("fleet: ours") - before === copies + 1,
    );
    await stage.send(old, ...NODES);
    await until(
      "its copies are refused",
      async () => await counts("refused: replay") === 2 * copies + 3,
    );

    // The engine's leader dies: the client's tries carry a knock over it.
    assertEquals((await stage.knock(2, "close")).code, 0);
    await stage.shuts(...NODES);
    const leader = await stage.leader();
    await stage.signalEngine(leader, "SIGKILL");
    assertEquals((await stage.knock(3, "send")).code, 0);
    await stage.opens(...NODES);

    // Two nodes of three are gone: silence, and what is open stays.
    const [other] = NODES.filter((node) => node !== leader);
    await stage.signalEngine(other!, "SIGSTOP");
    const { code, stderr } = await stage.knock(1, "send");
    assertEquals(code, 1, stderr);
    await stage.logged(1, "cut off from etcd since");
    await stage.opens(...NODES);
    await stage.signalEngine(other!, "SIGCONT");
    await stage.logged(1, "reached etcd again after");
    assertEquals((await stage.knock(1, "close")).code, 0);
    await stage.shuts(...NODES);
    for (const node of NODES) {
      assertEquals(await stage.signal(node, "SIGTERM"), 0);
    }
  },
);
