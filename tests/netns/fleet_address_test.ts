/** One address for all gateways of a fleet, by keepalived and by anycast, as docs/fleet.md sets them up. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { formatEnrolment } from "../../lib/client/profile/enrolment.ts";
import { publicKeyOf } from "../../lib/dialects/crypto/curve25519.ts";
import {
  addressOf,
  type FleetStage,
  fleetTest,
  HERE,
  KNOCK_PORT,
  type NodeId,
  NODES,
} from "./fleet.ts";
import { blocksOf } from "./fleet_document.ts";
import { must, scriptCommand, until, whyNot } from "./netns.ts";

const SHARED = "10.79.0.100";
const ROUTER = "10.79.0.254";
/** Port of a service on every address. */
const WEB = 8085;

const [LISTEN, HEALTHY, KEEPALIVED, VRRP, BIRD, ANNOUNCE] = blocksOf(
  "One address for all",
) as [string, string, string, string, string, string];

/** A fleet whose gateways listen on the shared address, too; `node` has it in its files. */
async function begin(stage: FleetStage, programs: string[]) {
  const reason = whyNot(programs);
  if (reason !== null) throw new Error(`cannot run: ${reason}`);
  await stage.startEngines();
  for (const node of NODES) {
    stage.configure(node, {
      clients: [stage.clientLine()],
      listen: LISTEN.replace("10.79.0.1:", `${addressOf(node)}:`),
    });
    const sysctl = ["sysctl", "-qw", "net.ipv4.ip_nonlocal_bind=1"];
    assertEquals((await stage.onNode(node, sysctl)).code, 0);
    stage.keep(node, ["busybox", "httpd", "-f", "-p", `${WEB}`]);
  }
  await stage.startAll();
  await stage.import(
    1,
    "all",
    formatEnrolment({
      ...{ host: SHARED, port: KNOCK_PORT, name: "all", ...stage.alice },
      server: publicKeyOf(stage.serverKey),
    }),
  );
}

/** Writes a file of a machine, where the document has it in /etc/knock. */
function place(stage: FleetStage, node: NodeId, name: string, text: string) {
  const path = join(stage.folder, `${node}-${name}`);
  const knock = scriptCommand("../../main.ts").join(" ");
  writeFileSync(
    path,
    text.replaceAll("/etc/knock/healthy", join(stage.folder, `${node}-healthy`))
      .replace("knock status", `${knock} status --config ${stage.config(node)}`)
      .replace(/\b10\.79\.0\.1\b/g, addressOf(node))
      // A kernel may be without the former; a bridge without ports does as well.
      .replace("type dummy", "type bridge"),
    { mode: text.startsWith("#!") ? 0o700 : 0o600 },
  );
  return path;
}

/** Knocks at the shared address, as its profile has it. */
async function knock(stage: FleetStage, command: string): Promise<void> {
  const { code, stderr } = await stage.knock(1, command, "all");
  assertEquals(code, 0, stderr);
}

/** Machines that have the shared address. */
async function holders(stage: FleetStage): Promise<NodeId[]> {
  const found: NodeId[] = [];
  for (const node of NODES) {
    const { stdout } = await stage.onNode(node, ["ip", "-o", "address"]);
    if (stdout.includes(` ${SHARED}/`)) found.push(node);
  }
  return found;
}

async function holder(stage: FleetStage, not?: NodeId): Promise<NodeId> {
  let found: NodeId[] = [];
  await until(`one has the address, and not ${not}`, async () => {
    found = (await holders(stage)).filter((node) => node !== not);
    return found.length === 1;
  });
  return found[0]!;
}

const RULES = `table inet filter {
  chain input {
    type filter hook input priority 10; policy drop;
    iif lo accept
    ct state established,related accept
    meta l4proto icmp accept
    tcp dport { 22, 2379, 2380, 8080-8090 } accept
    udp dport ${KNOCK_PORT} accept
  }
}
`;

fleetTest(
  "keepalived: the address moves, and what is open is open",
  async (stage) => {
    await begin(stage, ["keepalived", "busybox"]);
    for (const node of NODES) {
      place(stage, node, "healthy", HEALTHY);
      assertEquals(
        (await stage.onNode(node, ["nft", "-f", "-"], RULES)).code,
        0,
      );
      const rule = await stage.onNode(node, ["sh", "-e"], VRRP);
      assertEquals(rule.code, 0, rule.stderr);
      const file = (name: string) => join(stage.folder, `${node}-${name}.pid`);
      // deno-fmt-ignore
      stage.keep(node, [
      "keepalived", "--dont-fork", "--log-console", "--vrrp",
      "--use-file", place(stage, node, "keepalived.conf", KEEPALIVED),
      "--pid", file("keepalived"), "--vrrp_pid", file("vrrp"),
    ]);
    }
    await until(
      "one has the address",
      async () => (await holders(stage)).length === 1,
    );
    const first = await holder(stage);
    const ping = await stage.knock(1, "ping", "all");
    assertMatch(ping.stdout, /^all answers from 10\.79\.0\.100:62201 /);
    assert(!await stage.canReachAt(SHARED, HERE, WEB));
    await knock(stage, "send");
    await stage.opens(...NODES);
    assert(await stage.canReachAt(SHARED, HERE, WEB));

    // The server is killed: its neighbour takes the address, and is open already.
    await stage.signal(first, "SIGKILL");
    const second = await holder(stage, first);
    await until(
      "it is the only one",
      async () => (await holders(stage)).join() === `${second}`,
    );
    await until(
      "it is open there",
      () => stage.canReachAt(SHARED, HERE, WEB),
    );
    await knock(stage, "close");
    await until(
      "it is shut",
      async () => !await stage.canReachAt(SHARED, HERE, WEB),
    );
    await knock(stage, "send");
    await until("it is open", () => stage.canReachAt(SHARED, HERE, WEB));

    // It comes back: the address stays. Then the other machine is gone.
    await stage.start(first);
    await stage.opens(first);
    assertEquals(await holder(stage), second);
    await stage.cable(second, "down");
    await holder(stage, second);
    await until(
      "it is open at the next",
      () => stage.canReachAt(SHARED, HERE, WEB),
    );
    await knock(stage, "close");
    await until(
      "it is shut",
      async () => !await stage.canReachAt(SHARED, HERE, WEB),
    );
  },
);

const ROUTER_CONF = `router id ${ROUTER};
protocol device {
}
protocol kernel {
  ipv4 {
    import none;
    export all;
  };
}
${
  NODES.map((node) =>
    `protocol bgp gw${node} {
  local as 65000;
  neighbor ${addressOf(node)} as 65001;
  hold time 9;
  ipv4 {
    import all;
    export none;
  };
}
`
  ).join("")
}`;

fleetTest(
  "anycast by BGP: the route goes to a gateway that is healthy",
  async (stage) => {
    await begin(stage, ["bird", "busybox"]);
    const router = await stage.plugRouter(ROUTER);
    const bird = (conf: string, name: string) => [
      ...["bird", "-f", "-c", conf, "-s", join(stage.folder, `${name}.ctl`)],
      ...["-P", join(stage.folder, `${name}.pid`)],
    ];
    const conf = join(stage.folder, "router.conf");
    writeFileSync(conf, ROUTER_CONF);
    const onRouter = ["ip", "netns", "exec", router];
    // All are on one network here: the client must not learn the gateway itself.
    for (
      const one of [
        ...["ip_forward=1", "conf.all.send_redirects=0"],
        "conf.eth0.send_redirects=0",
      ]
    ) await must([...onRouter, "sysctl", "-qw", `net.ipv4.${one}`]);
    stage.keep(router, bird(conf, "router"));
    const route = ["ip", "route", "add", `${SHARED}/32`, "via", ROUTER];
    assertEquals((await stage.onClient(route)).code, 0);
    for (const node of NODES) {
      place(stage, node, "healthy", HEALTHY);
      const script = place(stage, node, "announce", ANNOUNCE);
      stage.keep(node, [script]);
      const own = place(stage, node, "bird.conf", BIRD);
      stage.keep(node, bird(own, `bird${node}`));
    }
    /** The gateway to which the router sends. */
    const next = async () => {
      const routes = await must([...onRouter, "ip", "route", "show", SHARED]);
      return /via 10\.79\.0\.(\d)/.exec(routes)?.[1] ?? null;
    };
    await until("there is a route", async () => await next() !== null);
    const first = Number(await next()) as NodeId;
    const ping = await stage.knock(1, "ping", "all");
    assertMatch(ping.stdout, /^all answers from 10\.79\.0\.100:62201 /);
    await knock(stage, "send");
    await stage.opens(...NODES);
    assert(await stage.canReachAt(SHARED, HERE, WEB));

    await stage.signal(first, "SIGKILL");
    await until(
      "the route goes elsewhere",
      async () => ![null, `${first}`].includes(await next()),
    );
    const second = Number(await next()) as NodeId;
    await until("it is open there", () => stage.canReachAt(SHARED, HERE, WEB));
    await knock(stage, "close");
    await until(
      "it is shut",
      async () => !await stage.canReachAt(SHARED, HERE, WEB),
    );
    // And the machine of that one: the engine has two servers left.
    await stage.cable(second, "down");
    await until(
      "the route goes elsewhere",
      async () => ![null, `${first}`, `${second}`].includes(await next()),
    );
    await until(
      "a knock opens",
      async () => (await stage.knock(1, "send", "all")).code === 0,
    );
    await until("it is open there", () => stage.canReachAt(SHARED, HERE, WEB));
  },
);
