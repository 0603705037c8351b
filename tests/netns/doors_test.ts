/** Doors of port sequences with the whole program, knocked by knockd's own client and ours. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
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
  until,
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

/** Waits until it is open: a server that sniffs hears after the client. */
async function opens(pair: Pair, source: string = HERE): Promise<true> {
  await pair.opens(source, SSH);
  return true;
}

for (const [watch, hits, knock] of WATCHES) {
  doors(
    `watch: ${watch}: knockd's client opens, in the right order alone`,
    async (program, pair) => {
      program.configure(
        settings(`knock: [${knock}], for: 15s, watch: ${watch}`),
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
        ["tcp/22"],
      ]);
      await pair.shuts(HERE, SSH); // its time is over
      // The server notes the end at its next look, once a second.
      await until("the end is in the log", async () => {
        const { stdout } = await program.admin("log");
        return / end sequence door 10\.77\.0\.2 tcp\/22\n/.test(stdout);
      });
      await program.logged("open sequence door");
      await theirs(pair, hits, SERVER[6]);
      assert(await opens(pair, HERE6), "IPv6");
      const { stdout } = await program.admin("log");
      assertMatch(stdout, / open sequence door 10\.77\.0\.2 tcp\/22 for 15s\n/);
      assertMatch(stdout, / end sequence door 10\.77\.0\.2 tcp\/22\n/);
      assertMatch(stdout, / open sequence door fd77::\S+ tcp\/22 for 15s\n/);
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
      const hits = WATCHES.find(([name]) => name === watch)![1];
      // How soon the server hears there is its own affair.
      await until("it opens by the address that was added", async () => {
        await theirs(pair, hits, "10.77.0.99");
        return await pair.canReach(HERE, SSH);
      });
    },
    ["knock", "tcpdump"],
  );
}

for (const watch of ["kernel", "sniff"]) {
  doors(
    `watch: ${watch}: a knock that is sent again is one`,
    async (program, pair) => {
      program.configure(
        settings(
          `knock: [7000, 9000, 8000], within: 1m, for: 10m, watch: ${watch}`,
        ),
        [],
      );
      await program.serve();
      // Connections that wait: the first sends its SYN again after a second.
      const touch = (port: number, seconds: string) =>
        `timeout ${seconds} bash -c '</dev/tcp/${SERVER[4]}/${port}' 2>&1; `;
      const script = watch === "kernel"
        ? touch(7000, "2.5") + touch(9000, "2.5") + touch(8000, "2.5")
        // Ports that nobody drops are answered at once with a reset.
        : `nft add table inet t; ` + touch(7000, "2.5");
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
          : touch(7000, "2.5") + touch(9000, "2.5") + touch(8000, "2.5"),
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
      let missing = sources;
      await until("all 1,000 are open", async () => {
        await ask(pair, {
          sources: missing,
          target: SERVER[4],
          hits: ["7000:udp", "9000:udp", "8000:udp"],
          // What a socket has not read yet is lost from some 250 datagrams on,
          // and on a busy machine it reads late.
          ...watch === "socket" && { burst: 10 },
          delayMs: 50,
        });
        await pass(500);
        const { stdout } = await program.admin("status", "--json");
        const { grants } = JSON.parse(stdout) as {
          grants: { address: string }[];
        };
        const open = new Set(grants.map(({ address }) => address));
        missing = sources.filter((source) => !open.has(source));
        return missing.length === 0;
      });
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

/** Starts the server in an environment that has no tcpdump. */
function serveWithoutTcpdump(program: Program): Promise<void> {
  const all = scriptCommand(
    "../../main.ts",
    "serve",
    "--config",
    program.config,
  );
  return program.serveBy(["env", "PATH=/nowhere", ...all]);
}

doors(
  "without tcpdump the kernel opens all the same, and it is said",
  async (program, pair) => {
    program.configure(
      settings("knock: [7000, 9000, 8000], for: 10m, watch: kernel"),
      [],
    );
    await serveWithoutTcpdump(program);
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
    await serveWithoutTcpdump(program);
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

for (const watch of ["kernel", "sniff"]) {
  doors(
    `watch: ${watch}: a restart keeps what is open; once ends with the first connection`,
    async (program, pair) => {
      await pair.serve("tcp", 2222);
      program.configure(
        `firewall: { backend: nft }
services: { ssh: tcp/${SSH}, other: tcp/2222 }
sequences:
  door: { open: [ssh], knock: [7000, 9000, 8000], for: 10m, watch: ${watch} }
  single: { open: [other], knock: [9000, 7000, 8000], for: 10m, once: true, watch: ${watch} }`,
        [],
      );
      await program.serve();
      await theirs(pair, ["7000", "9000", "8000"]);
      await program.logged("info open sequence door");
      await program.signal("SIGTERM");
      assert(await pair.canReach(HERE, SSH), "without a server");
      await program.serve();
      assert(await pair.canReach(HERE, SSH), "after the restart");
      const from = program.log.length;
      await theirs(pair, ["9000", "7000", "8000"]);
      await program.logged("info open sequence single", from);
      assert(await pair.canReach(HERE, 2222), "once");
      assert(!await pair.canReach(HERE, 2222), "and no more");
      // A reload keeps what is open, and a door that is gone is closed.
      program.configure(
        `firewall: { backend: nft }
services: { ssh: tcp/${SSH}, other: tcp/2222 }
sequences:
  door: { open: [ssh], knock: [7001, 9000, 8000], for: 10m, watch: ${watch} }`,
        [],
      );
      await program.signal("SIGHUP");
      await program.logged("info reloaded", from);
      assert(await pair.canReach(HERE, SSH), "after a reload");
      program.configure(
        `firewall: { backend: nft }\nservices: { ssh: tcp/${SSH} }`,
        [],
      );
      const again = program.log.length;
      await program.signal("SIGHUP");
      await program.logged("info reloaded", again);
      assert(!await pair.canReach(HERE, SSH), "the door is gone");
    },
    ["knock", "tcpdump"],
  );

  doors(
    `watch: ${watch}: a sequence shortens nobody's grant, and closes its own alone`,
    async (program, pair) => {
      program.configure(
        settings(
          `knock: [7000, 9000, 8000], close: [8000, 7000], for: 8s, ` +
            `watch: ${watch}`,
        ),
        [{ name: "alice", policy: ["open: [ssh]", "for: 10m"] }],
      );
      await program.enrol("alice");
      await program.serve();
      assertEquals((await program.client(["alice"])).stderr, "");
      await theirs(pair, ["7000", "9000", "8000"]);
      await program.logged("info open sequence door");
      await pass(8500);
      assert(await pair.canReach(HERE, SSH), "alice's goes on");
      await theirs(pair, ["8000", "7000"]);
      await program.logged("info close sequence door");
      assert(await pair.canReach(HERE, SSH), "alice's goes on still");
      assertEquals((await program.client(["close", "alice"])).stderr, "");
      assert(!await pair.canReach(HERE, SSH));
      await theirs(pair, ["7000", "9000", "8000"]);
      assert(await opens(pair));
      const from = program.log.length;
      await theirs(pair, ["8000", "7000"]);
      await program.logged("info close sequence door", from);
      assert(!await pair.canReach(HERE, SSH), "closed before its time");
    },
    ["knock", "tcpdump"],
  );
}

for (const watch of ["sniff", "socket"]) {
  const p = (port: number) => watch === "socket" ? `${port}:udp` : `${port}`;
  doors(
    `watch: ${watch}: one-time sequences, each once, over restarts`,
    async (program, pair) => {
      const [a, b] = [[p(7000), p(9000)], [p(7500), p(6500)]];
      program.configure(
        settings(`one_time: [[${a}], [${b}]], for: 8s, watch: ${watch}`),
        [],
      );
      await program.serve();
      await program.logged("2 one-time sequences left");
      await theirs(pair, b);
      await pass(100);
      assert(!await pair.canReach(HERE, SSH), "not yet the second");
      await theirs(pair, a);
      assert(await opens(pair), "the first");
      await pair.shuts(HERE, SSH);
      await theirs(pair, a);
      await pass(100);
      assert(!await pair.canReach(HERE, SSH), "the first is used");
      await program.signal("SIGKILL");
      const from = program.log.length;
      await program.serve();
      await program.logged("1 one-time sequence left", from);
      await theirs(pair, a);
      await pass(100);
      assert(!await pair.canReach(HERE, SSH), "used after a restart, too");
      await theirs(pair, b);
      assert(await opens(pair), "the second");
      await program.logged("all one-time sequences are used: it stays shut");
      const { stdout } = await program.admin("status");
      assertMatch(stdout, /sequence door: all one-time sequences are used/);
      await pair.shuts(HERE, SSH);
      await theirs(pair, b);
      await pass(100);
      assert(!await pair.canReach(HERE, SSH));
    },
    ["knock", "tcpdump"],
  );
}

doors(
  "programs of a sequence run when it opens and when its time is over",
  async (program, pair) => {
    const file = join(program.folder, "ran");
    const script = JSON.stringify(`echo "$0 $1 $KNOCK_CLIENT" >> ${file}`);
    program.configure(
      `firewall: { backend: nft }
services: { ssh: tcp/${SSH} }
sequences:
  wake:
    knock: [7000, 9000, 8000]
    for: 1s
    flags: syn
    target: ${SERVER[4]}
    run: [sh, -c, ${script}, "{address}", start]
    run_after: [sh, -c, ${script}, "{address}", stop]
    run_ipv6: false
    run_after_ipv6: false`,
      [],
    );
    await program.serve();
    await theirs(pair, ["7000", "9000", "8000"], SERVER[6]);
    await theirs(pair, ["7000", "9000", "8000"]);
    const want = `${HERE} start sequence wake\n${HERE} stop sequence wake\n`;
    const ran = () => existsSync(file) ? readFileSync(file, "utf8") : "";
    await until("both have run", () => ran().length >= want.length);
    assertEquals(ran(), want);
    const { stdout } = await program.admin("log");
    assertMatch(stdout, / run sequence wake 10\.77\.0\.2 sh/);
  },
  ["knock", "tcpdump"],
);

doors(
  "knock seq, and knockd's client's command line, open a door of the real knockd",
  async (program, pair) => {
    const file = join(program.folder, "ran");
    const conf = join(program.folder, "knockd.conf");
    const door = (name: string, ports: string) =>
      `[${name}]\nsequence = ${ports}\ntcpflags = syn\n` +
      `command = echo ${name} %IP% >> ${file}\n`;
    writeFileSync(
      conf,
      `[options]\n` + door("seq", "7000,8000:udp,9000") +
        door("dropin", "9001,7001"),
    );
    pair.spawn(pair.server, [
      "knockd",
      "-i",
      "eth0",
      "-c",
      conf,
      "-p",
      join(program.folder, "pid"),
    ]);
    await until("knockd listens", async () => {
      const sockets = await pair.onServer(["cat", "/proc/net/packet"]);
      return sockets.trim().includes("\n");
    });
    // Its socket is there before it reads from it: the first ones may be lost.
    const ran = () => existsSync(file) ? readFileSync(file, "utf8") : "";
    const knock = (name: string, ...args: string[]) =>
      until(`${name} has run`, async () => {
        const said = await program.client(args);
        assertEquals([said.code, said.stderr], [0, ""]);
        return ran().includes(`${name} ${HERE}\n`);
      });
    await knock("seq", "seq", SERVER[4], "7000", "8000/udp", "9000");
    await knock("dropin", "-d", "50", SERVER[4], "9001", "7001");
    const lines = new Set(ran().trim().split("\n"));
    assertEquals(lines, new Set([`seq ${HERE}`, `dropin ${HERE}`]));
  },
  ["knockd"],
);

/** Forged first knocks: as many sources as one machine's ports, nearly. */
const FORGED = 60_000;

for (const watch of ["kernel", "sniff"]) {
  doors(
    `watch: ${watch}: ${FORGED} forged first knocks keep no real one out`,
    async (program, pair) => {
      program.configure(
        settings(
          `knock: [7000:udp, 9000, 8000], within: 10m, for: 10m, ` +
            `watch: ${watch}`,
        ),
        [],
      );
      await pair.onServer([
        "ip",
        "route",
        "add",
        "10.128.0.0/9",
        "dev",
        "eth0",
      ]);
      await program.serve();
      await theirs(pair, ["7000:udp"]);
      const argv = scriptCommand("spoofer.ts", SERVER[4], "7000", `${FORGED}`);
      const { code, stderr } = await pair.exec(pair.client, argv);
      assertEquals([code, stderr], [0, ""]);
      if (watch === "kernel") {
        const set = ["inet", "knock", "seq_window4_600000"];
        const listed = await pair.onServer(["nft", "list", "set", ...set]);
        const sources = [...listed.matchAll(/ timeout /g)].length;
        assert(sources > FORGED / 2, `${sources} were remembered`);
      }
      await theirs(pair, ["9000", "8000"]);
      assert(await opens(pair), "begun before them");
      assertEquals((await program.admin("status")).code, 0);
      await theirs(pair, ["7000:udp", "9000", "8000"], SERVER[6]);
      assert(await opens(pair, HERE6), "begun after them");
    },
    ["knock", "tcpdump"],
  );
}
