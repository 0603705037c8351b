/**
 * Knocks at a fleet whose engine loses its leader every ten seconds: `deno task
 * fleet` is the long form, two minutes of it.
 */

import { assert, assertEquals } from "@std/assert";
import process from "node:process";
import { type FleetStage, fleetTest, NODES } from "./fleet.ts";
import { pass } from "./netns.ts";

const LONG = process.env["KNOCK_FLEET"] === "long";
const TEST_MS = 400_000;
/** Seconds of it; the short form has one death of the leader. */
const SECONDS = LONG ? 120 : 12;
const KILL_EVERY_MS = 10_000;
const DOWN_MS = 3000;
const KNOCK_EVERY_MS = 50;
/** A grant ends long before its address comes again. */
const GRANT_SECONDS = 2;
const ADDRESSES = 200;
const TRIES = 3;
const TRY_MS = 1000;

/** Packets that were sent, each to two gateways at once. */
let sent = 0;

/** Knocks with the client's three tries; the one that opened, null = none. */
async function knock(stage: FleetStage, index: number): Promise<number | null> {
  const node = NODES[index % NODES.length]!;
  const other = NODES[(index + 1) % NODES.length]!;
  const source = `10.79.0.${20 + index % ADDRESSES}`;
  for (let round = 1; round <= TRIES; round++) {
    const packet = stage.packet({ seconds: GRANT_SECONDS });
    sent++;
    await Promise.all(
      [node, other].map((one) => stage.sendFrom(source, packet, one)),
    );
    const endMs = performance.now() + TRY_MS;
    while (performance.now() < endMs) {
      if (await stage.canReach(node, source)) return round;
    }
  }
  return null;
}

fleetTest(
  "knocks open within three tries while the engine's leader is killed again and again",
  async (stage) => {
    for (const node of NODES) {
      stage.configure(node, { clients: [stage.clientLine()] });
    }
    await stage.startEngines();
    await stage.startAll();
    await stage.addAddresses(
      Array.from({ length: ADDRESSES }, (_, index) => `10.79.0.${20 + index}`),
    );
    const knocks: Promise<number | null>[] = [];
    let isOver = false;
    const knocking = (async () => {
      while (!isOver) {
        knocks.push(knock(stage, knocks.length));
        await pass(KNOCK_EVERY_MS);
      }
    })();
    const endMs = performance.now() + SECONDS * 1000;
    let deaths = 0;
    while (performance.now() + KILL_EVERY_MS < endMs) {
      await pass(KILL_EVERY_MS - DOWN_MS);
      const leader = await stage.leader();
      await stage.signalEngine(leader, "SIGKILL");
      deaths++;
      await pass(DOWN_MS);
      stage.startEngine(leader);
    }
    isOver = true;
    await knocking;
    const rounds = await Promise.all(knocks);
    const at = (round: number | null) =>
      rounds.filter((one) => one === round).length;
    const words = `${rounds.length} knocks over ${deaths} deaths: opened at ` +
      `the first try ${at(1)}, second ${at(2)}, third ${at(3)}, never ${
        at(null)
      }`;
    process.stdout.write(`${words}\n`);
    assert(deaths > 0 && rounds.length > SECONDS, words);
    // The short form is for a busy machine, too.
    assert(at(null) <= rounds.length * (LONG ? 0.01 : 0.1), words);
    // Counters are written every two seconds.
    await pass(3000);
    const sum = async (name: string) => {
      const counts = await Promise.all(
        NODES.map((node) => stage.count(node, name)),
      );
      return counts.reduce((all, one) => all + one, 0);
    };
    const accepted = await sum("fleet: ours");
    const taken = await sum("fleet: taken");
    process.stdout.write(
      `${sent} packets at two gateways each: ${accepted} accepted, ` +
        `${taken} copies refused\n`,
    );
    assert(accepted <= sent && accepted >= rounds.length - at(null));
    assert(taken > 0);
    assertEquals(await sum("fleet: accepted twice"), 0);
  },
  { timeout: TEST_MS },
);
