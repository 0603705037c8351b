/** A fleet whose engine has forgotten what was: compacted, restored from a snapshot, or never there. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "node:path";
import {
  formatEnrolment,
  parseEnrolment,
} from "../../lib/client/profile/enrolment.ts";
import {
  addressOf,
  type FleetStage,
  fleetTest,
  KNOCK_PORT,
  NODES,
} from "./fleet.ts";
import { blocksOf } from "./fleet_document.ts";
import { pass, until } from "./netns.ts";

/** Enrols a client in the fleet; its own machine knows it at all gateways. */
async function enrol(stage: FleetStage, name: string): Promise<void> {
  const said = await stage.admin(1, "client", "add", name);
  assertEquals(said.code, 0, said.stderr);
  const enrolment = parseEnrolment(said.stdout);
  for (const node of NODES) {
    const at = { ...enrolment, host: addressOf(node), port: KNOCK_PORT };
    await stage.import(node, name, formatEnrolment(at));
  }
}

async function remove(stage: FleetStage, name: string): Promise<void> {
  const said = await stage.admin(1, "client", "remove", name);
  assertEquals(said.code, 0, said.stderr);
}

const ONCE = ["--tries", "1"] as const;

/** Waits until a client's knock opens at a gateway, or is refused there. */
async function untilKnock(
  stage: FleetStage,
  node: 1 | 2 | 3,
  name: string,
  isLetIn: boolean,
): Promise<void> {
  await until(`${name} at ${node}: ${isLetIn}`, async () => {
    const { code } = await stage.knock(node, "send", name, ...ONCE);
    return (code === 0) === isLetIn;
  });
}

fleetTest(
  "etcd is compacted while gateways are away: they take over what came and what went",
  async (stage) => {
    const clients = [stage.clientLine()];
    for (const node of NODES) stage.configure(node, { clients });
    await stage.startEngines();
    await stage.startAll();
    await enrol(stage, "bob");
    await untilKnock(stage, 3, "bob", true);
    await stage.opens(...NODES);

    // One without its cable, one that does not run.
    await stage.cable(3, "down");
    assertEquals(await stage.signal(2, "SIGTERM"), 0);
    await stage.logged(3, "cut off from etcd since");
    await remove(stage, "bob");
    await enrol(stage, "carol");
    await stage.shuts(1);
    assertEquals((await stage.knock(1, "send")).code, 0);
    await stage.opens(1);
    const put = await stage.etcdctl("put", "probe", "2", "-w", "json");
    const { header } = JSON.parse(put.stdout);
    const compacted = await stage.etcdctl("compact", `${header.revision}`);
    assertEquals(compacted.code, 0, compacted.stderr);

    await stage.cable(3, "up");
    await stage.start(2);
    for (const node of [2, 3] as const) {
      await untilKnock(stage, node, "bob", false);
      await untilKnock(stage, node, "carol", true);
      await stage.opens(node);
    }
    assertEquals((await stage.knock(3, "close", "carol")).code, 0);
    assertEquals((await stage.knock(3, "close")).code, 0);
    await stage.shuts(...NODES);
  },
);

fleetTest(
  "gateways are restarted one after the other: what is open stays open",
  async (stage) => {
    const clients = [stage.clientLine()];
    for (const node of NODES) stage.configure(node, { clients });
    await stage.startEngines();
    await stage.startAll();
    assertEquals((await stage.knock(1, "send")).code, 0);
    await stage.opens(...NODES);
    for (const node of NODES) {
      assertEquals(await stage.signal(node, "SIGTERM"), 0);
      for (const one of NODES) assert(await stage.canReach(one), `${one}`);
      await stage.start(node);
      for (const one of NODES) assert(await stage.canReach(one), `${one}`);
      await untilKnock(stage, node, "home", true);
    }
    assertEquals((await stage.knock(2, "close")).code, 0);
    await stage.shuts(...NODES);
  },
);

/** Writes more than a restored engine will in this test, and waits until all gateways have seen it. */
async function writeMany(stage: FleetStage): Promise<void> {
  const servers = stage.servers.join(",");
  const put = `etcdctl --endpoints ${servers} put probe`;
  const loop = `for n in $(seq 200); do ${put} $n >/dev/null; done`;
  const { code, stderr } = await stage.onClient(
    ["env", "ETCDCTL_API=3", "sh", "-e"],
    `${loop}\n`,
  );
  assertEquals(code, 0, stderr);
  const said = await stage.etcdctl("get", "probe", "-w", "json");
  const { revision } = JSON.parse(said.stdout).header;
  await until("all gateways have seen them", async () => {
    const { stdout } = await stage.admin(1, "fleet", "status", "--json");
    const { gateways } = JSON.parse(stdout);
    return gateways.every((one: { revision: number }) =>
      one.revision >= revision
    );
  });
}

const [, RESTORE] = blocksOf("Backups") as [string, string];

/** Restores the data of all nodes, which do not run, from knock.db in the folder, as docs/fleet.md says. */
async function restore(stage: FleetStage, token: string): Promise<void> {
  for (const node of NODES) {
    stage.emptyEngine(node);
    const command = RESTORE
      .replaceAll("https:", "http:").replaceAll("gw", "n")
      .replaceAll("/var/lib/etcd/default", stage.dataOf(node))
      .replace("--name n1", `--name n${node}`)
      .replace(/(advertise-peer-urls http:..)10.79.0.1/, `$1${addressOf(node)}`)
      .replace("knock-2", token);
    const argv = ["env", "-C", stage.folder, "ETCDCTL_API=3", "sh", "-e"];
    const { code, stderr } = await stage.onClient(argv, command);
    assertEquals(code, 0, stderr);
  }
}

for (
  const [kind, token] of [
    ["with a token of its own", "knock-2"],
    // Its cluster id is that of before: a revision that goes back far tells.
    ["with the token of before", "etcd-cluster"],
  ] as const
) {
  fleetTest(
    `etcd is restored from an older snapshot ${kind}: nothing is accepted twice`,
    async (stage) => {
      const clients = [stage.clientLine()];
      for (const node of NODES) stage.configure(node, { clients });
      await stage.startEngines();
      await stage.startAll();
      await enrol(stage, "bob");
      const snapshot = join(stage.folder, "knock.db");
      const saved = await stage.onClient([
        ...["env", "ETCDCTL_API=3", "etcdctl", "--endpoints"],
        ...[`${addressOf(1)}:2379`, "snapshot", "save", snapshot],
      ]);
      assertEquals(saved.code, 0, saved.stderr);

      await remove(stage, "bob");
      await enrol(stage, "carol");
      const packets = NODES.map(() => stage.packet());
      for (const [index, packet] of packets.entries()) {
        await stage.send(packet, NODES[index]!);
        await until(
          "it is accepted",
          async () => await stage.count(NODES[index]!, "fleet: ours") > 0,
        );
      }
      await stage.opens(...NODES);
      // A copy is older than the last heartbeat: while it has that, what is
      // told with a claim counts in it, too.
      await pass(4000);
      const froms = NODES.map((node) => stage.log(node).length);
      // One does not run meanwhile, where the id is another.
      const isStopped = token === "knock-2";
      if (isStopped) assertEquals(await stage.signal(3, "SIGTERM"), 0);

      if (!isStopped) await writeMany(stage);
      for (const node of NODES) await stage.signalEngine(node, "SIGKILL");
      await restore(stage, token);
      const options = ["--initial-cluster-token", token];
      await stage.startEngines(...options);
      if (isStopped) await stage.start(3);
      for (const node of NODES) {
        await until(`gateway ${node} refuses all`, async () => {
          await Promise.all(packets.map((packet) => stage.send(packet, node)));
          const refused = await stage.count(node, "refused: time") +
            await stage.count(node, "refused: replay");
          return refused >= packets.length;
        });
        await stage.logged(
          node,
          "the data of etcd is other than before, restored or emptied: what " +
            "was stamped before now is refused",
        );
      }
      for (const [index, node] of NODES.entries()) {
        const log = stage.log(node).slice(froms[index]);
        assert(!/ open alice | twice /.test(log), log);
      }

      // What was open is open, and told to the engine again.
      await stage.opens(...NODES);
      const list = await stage.admin(3, "client", "list", "--json");
      const names = JSON.parse(list.stdout).map(({ name }: { name: string }) =>
        name
      );
      assertEquals(names, ["alice", "bob"]);
      await untilKnock(stage, 3, "carol", false);
      await untilKnock(stage, 2, "bob", true);
      for (const name of ["bob", "home"]) {
        assertEquals((await stage.knock(2, "close", name)).code, 0);
      }
      await stage.shuts(...NODES);
      assertEquals((await stage.knock(3, "send")).code, 0);
      await stage.opens(...NODES);
    },
  );
}

fleetTest(
  "without: local, and no engine: refused before there was ever one, accepted afterwards",
  async (stage) => {
    const clients = [stage.clientLine()];
    stage.configure(1, { clients, fleet: ["without: local"] });
    await stage.start(1);
    // Before it knows that it is cut off, and afterwards.
    assertEquals((await stage.knock(1, "send", "home", ...ONCE)).code, 1);
    await stage.logged(1, "new knocks are refused until it has been reached");
    assertEquals((await stage.knock(1, "send")).code, 1);
    await stage.logged(1, "etcd was never reached");
    assert(!await stage.canReach(1));

    await stage.startEngines();
    await untilKnock(stage, 1, "home", true);
    assertEquals((await stage.knock(1, "close")).code, 0);
    // Its watch may begin after that: only then it has had news.
    await until("it has news", async () => {
      const { stdout } = await stage.admin(1, "status", "--json");
      return JSON.parse(stdout).fleet.lag_ms !== null;
    });
    assertEquals(await stage.signal(1, "SIGTERM"), 0);
    for (const node of NODES) await stage.signalEngine(node, "SIGKILL");
    const from = stage.log(1).length;
    await stage.start(1);
    await untilKnock(stage, 1, "home", true);
    await stage.opens(1);
    await stage.logged(1, "knocks are accepted by the local record", from);
    const packet = stage.packet();
    const received = await stage.count(1, "received");
    await stage.send(packet, 1);
    await stage.send(packet, 1);
    await until("its copy is a replay", async () => {
      const more = await stage.count(1, "received") - received;
      return more === 2 && await stage.count(1, "refused: replay") === 1;
    });
    for (const node of NODES) stage.startEngine(node);
    await stage.logged(1, "reached etcd again after", from);
    assertMatch(
      (await stage.admin(1, "fleet", "status")).stdout,
      /3 of 3 servers answer/,
    );
  },
);
