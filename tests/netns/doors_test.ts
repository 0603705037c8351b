/** Doors of port sequences with the whole program, knocked by knockd's own client and ours. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Knocked, KnockOrder } from "./knocker.ts";
import {
  CLIENTS,
  netnsTest,
  type Pair,
  pass,
  scriptCommand,
  SERVER,
  type Talker,
} from "./netns.ts";
import { Program } from "./program.ts";

/** The address that knockd's client and nmap come from. */
const HERE = CLIENTS[4][0];
const HERE6 = CLIENTS[6].at(-1)!;

const SSH = 22;

function doors(
  name: string,
  body: (program: Program, pair: Pair) => Promise<void>,
  programs: readonly string[] = [],
): void {
  netnsTest(name, async (pair) => {
    const program = new Program(pair);
    try {
      await pair.serve("tcp", SSH);
      await body(program, pair);
    } finally {
      // A server that is killed leaves its tcpdump.
      if (program.pid !== null) await program.signal("SIGTERM");
      program.remove();
    }
  }, programs);
}

function settings(door: string, more = ""): string {
  return `firewall: { backend: nft }
services: { ssh: tcp/${SSH} }
${more}
sequences:
  door: { open: [ssh], ${door} }`;
}

const WATCHES: [watch: string, hits: string[], knock: string][] = [
  ["kernel", ["7000", "9000:udp", "8000"], "tcp/7000, udp/9000, tcp/8000"],
  ["sniff", ["7000", "9000:udp", "8000"], "tcp/7000, udp/9000, tcp/8000"],
  [
    "socket",
    ["7000:udp", "9000:udp", "8000:udp"],
    "7000:udp, 9000:udp, 8000:udp",
  ],
];

/** Knocks with knockd's own client. */
async function theirs(
  pair: Pair,
  hits: readonly string[],
  target: string = SERVER[4],
): Promise<void> {
  // Without a pause they may come in another order.
  const argv = ["knock", "-d", "20", target, ...hits];
  const { code, stderr } = await pair.exec(pair.client, argv);
  assertEquals([code, stderr], [0, ""]);
}

/** Whether it is open within a moment: a server that sniffs hears after the client. */
async function opens(pair: Pair, source: string = HERE): Promise<boolean> {
  for (let tries = 0; tries < 10; tries++) {
    if (await pair.canReach(source, SSH)) return true;
  }
  return false;
}

for (const [watch, hits, knock] of WATCHES) {
  doors(
    `watch: ${watch}: knockd's client opens, in the right order alone`,
    async (program, pair) => {
      program.configure(
        settings(`knock: [${knock}], for: 3s, watch: ${watch}`),
        [],
      );
      await program.serve();
      const [first, second, third] = hits as [string, string, string];
      for (
        const wrong of [
          [second, first, third],
          [third, second, first],
          [first, second],
          [first, second, first, third],
          [first, second, first.replace("7000", "7001"), third],
        ]
      ) {
        await theirs(pair, wrong);
        await pass(100);
        assert(!await pair.canReach(HERE, SSH), wrong.join(" "));
      }
      await theirs(pair, hits);
      assert(await opens(pair), "the right order");
      assert(!await pair.canReach(CLIENTS[4][1], SSH), "a neighbour");
      await program.logged("open sequence door");
      const status = await program.admin("status", "--json");
      const [grant] = JSON.parse(status.stdout).grants;
      assertEquals([grant.client, grant.address, grant.ports], [
        "sequence door",
        HERE,
        "tcp/22",
      ]);
      await pass(3200);
      assert(!await pair.canReach(HERE, SSH), "its time is over");
      await program.logged("open sequence door");
      await theirs(pair, hits, SERVER[6]);
      assert(await opens(pair, HERE6), "IPv6");
      const { stdout } = await program.admin("log");
      assertMatch(stdout, / open sequence door 10\.77\.0\.2 tcp\/22 for 3s\n/);
      assertMatch(stdout, / end sequence door 10\.77\.0\.2 tcp\/22\n/);
      assertMatch(stdout, / open sequence door fd77::\S+ tcp\/22 for 3s\n/);
    },
    ["knock", "tcpdump"],
  );
}

for (const [watch, , knock] of WATCHES) {
  doors(
    `watch: ${watch}: scans open nothing`,
    async (program, pair) => {
      const ascending = watch === "socket"
        ? "7000:udp, 7100:udp, 7200:udp"
        : "tcp/7000, tcp/7100, tcp/7200";
      program.configure(
        `${settings(`knock: [${knock}], within: 1m, watch: ${watch}`)}
  up: { open: [ssh], knock: [${ascending}], within: 1m, watch: ${watch} }`,
        [],
      );
      await program.serve();
      await program.logged("its ports ascend");
      const nmap = ["nmap", "-n", "-Pn", "-T5", "--max-retries", "0"];
      const ports = watch === "socket" ? "6990-7210" : "6900-9100";
      const how = watch === "socket" ? ["-sU"] : [];
      for (const order of [["-r"], []]) {
        const argv = [...nmap, ...how, ...order, "-p", ports, SERVER[4]];
        await pair.exec(pair.client, argv);
        await pass(200);
        assert(!await pair.canReach(HERE, SSH), argv.join(" "));
      }
      const hits = ascending.split(", ").map((hit) => hit.replace("tcp/", ""));
      await theirs(pair, hits);
      assert(await opens(pair), "it would have opened");
    },
    ["knock", "nmap", "tcpdump"],
  );

  doors(
    `watch: ${watch}: links that go down, and addresses that come later`,
    async (program, pair) => {
      program.configure(
        settings(`knock: [${knock}], for: 10m, watch: ${watch}`),
        [],
      );
      await program.serve();
      await pair.onServer(["ip", "link", "set", "eth0", "down"]);
      await pass(300);
      await pair.onServer(["ip", "link", "set", "eth0", "up"]);
      await pair.onServer([
        "ip",
        "addr",
        "add",
        "10.77.0.99/24",
        "dev",
        "eth0",
      ]);
      await pass(1200);
      const hits = WATCHES.find(([name]) => name === watch)![1];
      await theirs(pair, hits, "10.77.0.99");
      assert(await opens(pair), "by the address that was added");
    },
    ["knock", "tcpdump"],
  );
}

for (const watch of ["kernel", "sniff"]) {
  doors(
    `watch: ${watch}: a knock that is sent again is one`,
    async (program, pair) => {
      program.configure(
        settings(`knock: [7000, 9000, 8000], for: 10m, watch: ${watch}`),
        [],
      );
      await program.serve();
      // Connections that wait: the first sends its SYN again after a second.
      const touch = (port: number, seconds: string) =>
        `timeout ${seconds} bash -c '</dev/tcp/${SERVER[4]}/${port}' 2>&1; `;
      const script = watch === "kernel"
        ? touch(7000, "1.3") + touch(9000, "0.2") + touch(8000, "0.2")
        // Ports that nobody drops are answered at once with a reset.
        : `nft add table inet t; ` + touch(7000, "1.3");
      if (watch === "sniff") {
        const drop = "tcp dport { 7000, 9000, 8000 } drop";
        await pair.onServer(
          ["nft", "-f", "-"],
          `table inet host {
          chain input { type filter hook input priority 0; ${drop}; }
        }
`,
        );
      }
      await pair.exec(pair.client, [
        "bash",
        "-c",
        watch === "kernel"
          ? script
          : touch(7000, "1.3") + touch(9000, "0.2") + touch(8000, "0.2"),
      ]);
      assert(await opens(pair));
    },
    ["bash", "timeout", "tcpdump"],
  );
}

for (const watch of ["kernel", "socket"]) {
  doors(
    `watch: ${watch}: 1,000 sources, each knock of all before the next, all open`,
    async (program, pair) => {
      program.configure(
        settings(
          `knock: [7000:udp, 9000:udp, 8000:udp], within: 1m, for: 10m, ` +
            `watch: ${watch}`,
        ),
        [],
      );
      await program.serve();
      const sources = await addSources(pair);
      await ask(pair, {
        sources,
        target: SERVER[4],
        hits: ["7000:udp", "9000:udp", "8000:udp"],
        // What a socket has not read yet is lost from some 250 datagrams on.
        ...watch === "socket" && { burst: 10 },
        delayMs: 50,
      });
      let open = 0;
      for (let tries = 0; tries < 20 && open < 1000; tries++) {
        const { stdout } = await program.admin("status", "--json");
        open = JSON.parse(stdout).grants.length;
      }
      assertEquals(open, 1000);
      const listed = await pair.onServer(LIST);
      assertEquals([...listed.matchAll(/10\.78\.\d+\.\d+/g)].length, 1000);
    },
    ["tcpdump"],
  );
}

const LIST = ["nft", "list", "set", "inet", "knock", "allow4"];

/** A thousand addresses more for the client. */
async function addSources(pair: Pair): Promise<string[]> {
  const sources = Array.from(
    { length: 1000 },
    (_, index) => `10.78.${index >> 8}.${index & 255}`,
  );
  const batch = sources.map((one) => `address add ${one}/32 dev eth0\n`);
  await pair.exec(pair.client, ["ip", "-batch", "-"], batch.join(""));
  await pair.onServer(["ip", "route", "add", "10.78.0.0/16", "dev", "eth0"]);
  return sources;
}

async function ask(pair: Pair, order: KnockOrder): Promise<Knocked> {
  const talker: Talker = pair.script(pair.client, "knocker.ts");
  return await talker.ask<Knocked>(order);
}

/** An argv in an environment that has no tcpdump. */
function withoutTcpdump(program: Program, pair: Pair): Promise<void> {
  const all = scriptCommand(
    "../../main.ts",
    "serve",
    "--config",
    program.config,
  );
  void pair;
  return program.serveBy(["env", "PATH=/nowhere", ...all]);
}

doors(
  "without tcpdump the kernel opens all the same, and it is said",
  async (program, pair) => {
    program.configure(
      settings("knock: [7000, 9000, 8000], for: 10m, watch: kernel"),
      [],
    );
    await withoutTcpdump(program, pair);
    await program.logged(
      "error sequences (watch: kernel) open in the kernel all the same",
    );
    await theirs(pair, ["7000", "9000", "8000"]);
    assert(await opens(pair));
    const { stdout } = await program.admin("status");
    assertMatch(stdout, /sequence door: is not heard: cannot run "tcpdump"/);
  },
  ["knock"],
);

doors(
  "without tcpdump nothing is sniffed, and it is said",
  async (program, pair) => {
    program.configure(
      settings("knock: [7000, 9000, 8000], for: 10m, watch: sniff"),
      [],
    );
    await withoutTcpdump(program, pair);
    await program.logged("error sequences (watch: sniff) are not heard");
    await theirs(pair, ["7000", "9000", "8000"]);
    await pass(200);
    assert(!await pair.canReach(HERE, SSH));
  },
  ["knock"],
);

for (const watch of ["kernel", "sniff"]) {
  doors(
    `watch: ${watch}: a tcpdump that was killed comes back; kill -9 leaves no deaf one`,
    async (program, pair) => {
      program.configure(
        settings(`knock: [7000, 9000, 8000], for: 10m, watch: ${watch}`),
        [],
      );
      await program.serve();
      await pair.exec(pair.server, ["sh", "-c", KILL_TCPDUMP]);
      const from = program.log.length;
      await program.logged(`info sequences (watch: ${watch}) are heard`, from);
      await theirs(pair, ["7000", "9000", "8000"]);
      assert(await opens(pair));
      await program.logged("info open sequence door", from);
      await program.signal("SIGKILL");
      await program.serve();
      assert(await pair.canReach(HERE, SSH), "still open");
      const again = program.log.length;
      await theirs(pair, ["7000", "9000", "8000"]);
      await program.logged("info open sequence door", again);
    },
    ["knock", "tcpdump"],
  );
}

/** Ends the tcpdumps of this network namespace alone. */
const KILL_TCPDUMP = `for pid in $(ip netns pids "$(ip netns identify $$)"); do
  case "$(cat /proc/$pid/comm)" in tcpdump) kill $pid ;; esac
done`;
