/** At most once, while the engine's leader is killed, stopped and cut off. */

import { assert, assertEquals } from "@std/assert";
import type { Raced } from "./engine_racer.ts";
import { fleetTest, type NodeId } from "./fleet.ts";
import { pass } from "./netns.ts";

/** Time that a leader is away: longer than an election, milliseconds. */
const AWAY_MS = 6000;

for (const engine of ["etcd", "nats"] as const) {
  fleetTest(
    `${engine}: no key has two owners while its leader is killed, stopped and cut off`,
    async (stage) => {
      stage.configure(1);
      await stage.startEngines();
      const racer = stage.race();
      const leave = async (
        go: (node: NodeId) => Promise<void>,
        back: (node: NodeId) => Promise<void>,
      ) => {
        const leader = await stage.leader();
        await go(leader);
        await pass(AWAY_MS);
        await back(leader);
        await stage.engineWrites();
      };
      await leave(
        (node) => stage.signalEngine(node, "SIGKILL"),
        (node) => Promise.resolve(stage.startEngine(node)),
      );
      await leave(
        (node) => stage.signalEngine(node, "SIGSTOP"),
        (node) => stage.signalEngine(node, "SIGCONT"),
      );
      await leave(
        (node) => stage.cable(node, "down"),
        (node) => stage.cable(node, "up"),
      );
      const { keys, twice, lost, unknown }: Raced = JSON.parse(await racer());
      assertEquals({ twice, lost }, { twice: 0, lost: 0 });
      assert(unknown < keys, `${unknown} of ${keys} are unknown`);
    },
    { engine },
  );
}
