/** A fleet whose gateways' clocks are apart, and one whose engine has no room left. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { fleetTest, NODES } from "./fleet.ts";
import { scriptCommand, until, whyNot } from "./netns.ts";

/** Clock of the second gateway: ahead by the margin of claims, and a second. */
const AHEAD = clock("+61s");
/** Clock of the third one: out of time by any packet's stamp. */
const FAR_AHEAD = clock("+400s");
/** Least quota of etcd that it starts well with. */
const QUOTA_BYTES = 8_000_000;
const VALUE = "x".repeat(120_000);

/** Runs a program by another clock. As `faketime` does, which would stay between the program and a signal to it. */
function clock(offset: string): string[] {
  const library = "/usr/$LIB/faketime/libfaketime.so.1";
  return ["env", `LD_PRELOAD=${library}`, `FAKETIME=${offset}`];
}

fleetTest(
  "clocks a minute apart: a packet is accepted once; one that is out of time is told",
  async (stage) => {
    const reason = whyNot(["faketime"]);
    if (reason !== null) throw new Error(`cannot run: ${reason}`);
    const clients = [stage.clientLine()];
    for (const node of NODES) stage.configure(node, { clients });
    await stage.startEngines();
    await stage.start(1);
    await stage.start(2, AHEAD);
    await stage.start(3, FAR_AHEAD);
    assertEquals((await stage.knock(2, "send")).code, 0);
    await stage.opens(1, 2);
    assertEquals((await stage.knock(1, "close")).code, 0);
    await stage.shuts(1, 2);

    for (const [first, second] of [[1, 2], [2, 1]] as const) {
      const packet = stage.packet();
      const ours = await stage.count(first, "fleet: ours");
      await stage.send(packet, first);
      await until(
        `gateway ${first} accepts it`,
        async () => await stage.count(first, "fleet: ours") > ours,
      );
      const taken = await stage.count(second, "fleet: taken");
      await stage.send(packet, second);
      await until(
        `it is a replay at gateway ${second}`,
        async () => await stage.count(second, "fleet: taken") > taken,
      );
    }

    // The third one's own window has passed: refused, and said by the doctor.
    const late = await stage.knock(3, "send", "home", "--tries", "1");
    assertEquals(late.code, 1, late.stdout);
    const sayClock = async (command: string[], words: RegExp) => {
      const config = ["--config", stage.config(3)];
      const argv = scriptCommand("../../main.ts", ...command, ...config);
      const said = await stage.onNode(3, [...FAR_AHEAD, ...argv]);
      assertMatch(said.stdout, words);
    };
    const own =
      /this machine's clock and that of etcd are (399|400|401) s apart/;
    await sayClock(["doctor"], own);
    await sayClock(["fleet", "status"], own);
    const other = /gw3 has a clock that is (39\d|40\d) s apart from this/;
    assertMatch((await stage.admin(1, "doctor")).stdout, other);
    assertMatch((await stage.admin(1, "fleet", "status")).stdout, other);
  },
);

fleetTest(
  "an engine without room: silence, what is open stays, and knocks open when there is room",
  async (stage) => {
    const clients = [stage.clientLine()];
    for (const node of NODES) stage.configure(node, { clients });
    await stage.startEngines(`--quota-backend-bytes=${QUOTA_BYTES}`);
    await stage.startAll();
    assertEquals((await stage.knock(1, "send")).code, 0);
    await stage.opens(...NODES);
    await until("it is full", async () => {
      const key = `fill/${crypto.randomUUID()}`;
      return (await stage.etcdctl("put", key, VALUE)).code !== 0;
    });
    await until("no knock is accepted", async () => {
      const said = await stage.knock(1, "send", "home", "--tries", "1");
      return said.code === 1;
    });
    await stage.opens(...NODES);
    const status = await stage.admin(1, "fleet", "status");
    assertMatch(status.stdout, /no room|space|NOSPACE/i);
    await stage.logged(1, "space");

    // An admin makes room, as etcd's own documents say.
    const must = async (...args: string[]) => {
      const said = await stage.etcdctl(...args);
      assertEquals(said.code, 0, `${args}: ${said.stderr}`);
      return said.stdout;
    };
    await must("del", "--prefix", "fill/");
    const [{ Status }] = JSON.parse(
      await must("endpoint", "status", "-w", "json"),
    );
    await must("compact", `${Status.header.revision}`);
    await must("defrag");
    await must("alarm", "disarm");
    await until(
      "a knock opens again",
      async () => (await stage.knock(2, "send")).code === 0,
    );
    assertEquals((await stage.knock(3, "close")).code, 0);
    await stage.shuts(...NODES);
    assert(!(await stage.admin(1, "fleet", "status")).stdout.includes("space"));
  },
);
