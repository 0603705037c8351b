/**
 * Faults around the program, on the real kernel: it is killed, its disk is
 * full, its clock jumps, its firewall fails, nobody reads its log. The long
 * form is `deno task faults`.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { mkdirSync } from "node:fs";
import process from "node:process";
import { ALICE, faultTest, HERE, LONG, NEIGHBOUR } from "../faults/stage.ts";
import { pass, scriptCommand, until } from "./netns.ts";

const KILLS = LONG ? 200 : 20;
const COPIES = LONG ? 1_000_000 : 100_000;
const RELOADS = LONG ? 20 : 4;
const MANY_CLIENTS = 10_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

faultTest(
  "killed at any moment under load: no replay, no grant lost, the state is sound",
  async (stage) => {
    const { program } = stage;
    stage.configure([
      { ...ALICE, policy: [...ALICE.policy, "any_address: true"] },
    ]);
    let knocks = 0;
    /** Knocks that were answered, and so must be open; when each was sent, and answered. */
    const opened = new Map<string, readonly [number, number]>();
    let packets: string[] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      await program.serve();
      // What was taken before the kill, by an answer or by its record, opens nothing again.
      await stage.send(packets);
      packets = [];
      await stage.answers();
      const load = (async () => {
        // At any moment: before the first answer, or between later ones.
        const answers = opened.size + Math.floor(9 * Math.random());
        const ending = until(
          "knocks are answered",
          () => opened.size >= answers,
        )
          .then(() => pass(50 * Math.random()))
          .then(() => program.signal("SIGKILL"));
        while (program.pid !== null) {
          const some = Array.from({ length: 4 }, async () => {
            // A grant of its own for each, and not too many for one address.
            const port = 20_000 + ++knocks;
            const address = `198.51.100.${1 + Math.floor(knocks / 500)}`;
            const knocked = await stage.knock({
              action: "open",
              ports: [`tcp/${port}`],
              address,
              seconds: 3600,
              timeoutMs: 1000,
            });
            packets.push(knocked.packet);
            if (knocked.status !== "done") return;
            const { sentMs } = knocked;
            opened.set(`${address} tcp ${port}`, [sentMs, Date.now()]);
          });
          await Promise.all(some);
        }
        await ending;
      })();
      await load;
      stage.sound();
    }
    await program.serve();
    await stage.send(packets);
    await stage.answers();
    assert(opened.size > KILLS, `only ${opened.size} knocks opened`);
    const events = stage.query<{ ports: string; times: number }>(
      "select ports, count(*) as times from history where event = 'open' group by ports",
    );
    assertEquals(events.filter(({ times }) => times !== 1), []);
    const count = await stage.agree();
    assert(count >= opened.size);
    const beforeMs = Date.now();
    const kernel = await stage.inKernel();
    const listingMs = Date.now() - beforeMs;
    for (const [grant, [sentMs, doneMs]] of opened) {
      const untilMs = kernel.get(grant);
      assert(untilMs !== undefined, `${grant} was lost`);
      // It began between the knock and its answer; the kernel tells seconds.
      const early = sentMs + HOUR_MS - untilMs! - listingMs;
      const late = untilMs! - doneMs - HOUR_MS - listingMs;
      assert(early < 1500, `${grant} ends ${early} ms too early`);
      assert(late < 1500, `${grant} ends ${late} ms too late`);
    }
  },
);

faultTest(
  "a full disk: knocks fail and say so, nothing opens, until there is room",
  async (stage) => {
    const { program, pair } = stage;
    await pair.serve("tcp", 22);
    mkdirSync(stage.state);
    await program.serveBy([
      ...["unshare", "-m", "sh", "-c"],
      `mount -t tmpfs -o size=1m,mode=0700 tmpfs "${stage.state}" && exec "$@"`,
      "sh",
      ...scriptCommand("../../main.ts", "serve", "--config", program.config),
    ]);
    const inside = (command: string) =>
      pair.exec(pair.server, [
        ...["nsenter", "-t", String(program.pid), "-m", "sh", "-c", command],
      ]);
    await inside(`cat /dev/zero > "${stage.state}/filler"`);
    const failed = await stage.knock({ action: "open", ports: ["tcp/22"] });
    assertEquals(failed.status, "failed");
    assert(!await pair.canReach(HERE, 22), "nothing opens");
    assertMatch(
      program.log,
      /error failed alice .*cannot write the state file/,
    );
    for (let more = 0; more < 20; more++) {
      assertEquals(await stage.open("tcp/22", 60), "failed");
    }
    await inside(`rm "${stage.state}/filler"`);
    await stage.send([failed.packet]);
    assert(!await pair.canReach(HERE, 22), "a copy is a replay all the same");
    assertEquals(await stage.open("tcp/22", 60), "done");
    assert(await pair.canReach(HERE, 22));
    assertEquals(await program.signal("SIGTERM"), 0);
  },
  ["unshare", "nsenter"],
);

faultTest(
  "a state folder that cannot be written: no start, and the cure",
  async (stage) => {
    const { program } = stage;
    mkdirSync(stage.state);
    const argv = [
      ...["unshare", "-m", "sh", "-c"],
      `mount -t tmpfs -o ro,mode=0700 tmpfs "${stage.state}" && exec "$@"`,
      "sh",
      ...scriptCommand("../../main.ts", "serve", "--config", program.config),
    ];
    const error = await program.serveBy(argv).then(
      () => null,
      (error) => error,
    );
    assertMatch(String(error), /cannot use the state file: .*read-?only/i);
    assertEquals(await program.ended(), 1);
  },
  ["unshare"],
);

const JUMPS = LONG ? [-DAY_MS, -HOUR_MS, HOUR_MS, DAY_MS] : [-HOUR_MS, HOUR_MS];

for (const jumpMs of JUMPS) {
  faultTest(
    `the clock jumps by ${
      jumpMs / HOUR_MS
    } h: no grant is prolonged, no packet is taken again`,
    async (stage) => {
      const { program, pair } = stage;
      await pair.serve("tcp", 22);
      await stage.setFaults({});
      await stage.serveFaulty();
      const knocked = await stage.knock({
        action: "open",
        ports: ["tcp/22"],
        seconds: 25,
      });
      assertEquals(knocked.status, "done");
      await stage.setFaults({ clockMs: jumpMs });
      await program.logged("the clock");
      // Of a grant the time that is left stays when the clock is set back; a
      // clock set forward may as well have told the truth.
      if (jumpMs > 0) {
        await pair.shuts(HERE, 22);
      } else {
        assert(await pair.canReach(HERE, 22), "open after the jump");
        await program.signal("SIGKILL");
        await stage.serveFaulty();
        assert(await pair.canReach(HERE, 22), "open after a restart");
      }
      // On time: by the wrong clock it would be an hour.
      await pair.shuts(HERE, 22);
      assertEquals(
        await stage.open("tcp/22", 1, { clockMs: jumpMs }),
        "done",
      );
      // Time enough to forget, by a clock that is wrong, what was accepted.
      if (LONG) await pass(11_000);
      await stage.setFaults({ clockMs: 0 });
      await pair.shuts(HERE, 22);
      await pass(1200);
      await stage.send([knocked.packet]);
      await pass(300);
      assert(!await pair.canReach(HERE, 22), "the old packet is a replay");
      assertEquals(await stage.open("tcp/22", 1), "done");
    },
  );
}

for (const forked of [false, true]) {
  faultTest(
    `calls of ${
      forked ? "nft" : "libnftables"
    } fail, one or two in three: answers are true, and nothing is half open`,
    async (stage) => {
      const { program } = stage;
      await stage.setFaults({ forked });
      await stage.serveFaulty();
      const ended: Record<string, string[]> = { done: [], failed: [] };
      let port = 20_000;
      for (const nftFails of [1, 2] as const) {
        await stage.setFaults({ forked, nftFails });
        for (let knock = 0; knock < 20; knock++) {
          const status = await stage.open(`tcp/${++port}`, 600);
          assert(status !== null && status !== "refused", `port ${port}`);
          ended[status!]!.push(`${HERE} tcp ${port}`);
        }
      }
      await stage.setFaults({ forked });
      assert(ended.done!.length >= 10 && ended.failed!.length >= 10);
      const kernel = await stage.inKernel();
      assertEquals([...kernel.keys()].sort(), ended.done!);
      await stage.agree();
      assertMatch(program.log, /error failed alice \S+ tcp\/2\d+: nft/);
      assertEquals(await stage.open("tcp/30000", 600), "done");
      await stage.agree();
    },
  );
}

faultTest("a cable pulled and put back while knocks come", async (stage) => {
  const { program, pair } = stage;
  await program.serve();
  await stage.answers();
  let port = 20_000;
  for (let flap = 0; flap < (LONG ? 50 : 5); flap++) {
    const knocks = Array.from(
      { length: 10 },
      () => stage.open(`tcp/${++port}`, 600),
    );
    await pair.onServer(["ip", "link", "set", "eth0", "down"]);
    await pass(50);
    await pair.onServer(["ip", "link", "set", "eth0", "up"]);
    await Promise.all(knocks);
  }
  await stage.answers();
  assertEquals(await stage.open("tcp/22", 600), "done");
  await stage.agree();
  assert(program.pid !== null);
});

faultTest(
  `${COPIES} copies of a knock at a stopped server: it comes back and opens`,
  async (stage) => {
    const { program } = stage;
    await program.serve();
    const knock = { action: "open", ports: ["tcp/22"], seconds: 1 } as const;
    const { packet, status } = await stage.knock(knock);
    assertEquals(status, "done");
    const before = stage.memoryMb();
    process.kill(program.pid!, "SIGSTOP");
    await stage.send([packet], COPIES);
    process.kill(program.pid!, "SIGCONT");
    await stage.answers();
    assertEquals(await stage.open("tcp/20000", 60), "done");
    const grown = stage.memoryMb() - before;
    assert(grown < 60, `it grew by ${grown} MB`);
    const [opened] = stage.query<{ times: number }>(
      "select count(*) as times from history where event = 'open'",
    );
    assertEquals(opened?.times, 2);
  },
);

faultTest(
  `${MANY_CLIENTS} clients, read again ${RELOADS} times`,
  async (stage) => {
    const { program } = stage;
    const line = (index: number) =>
      Array.from({ length: 32 }, (_, at) => (index >> (at % 4) * 8) ^ at);
    const clients = Array.from({ length: MANY_CLIENTS }, (_, index) => ({
      name: `client${index}`,
      keys: `knock: { key: "${
        Uint8Array.from(line(index + 1)).toBase64({
          alphabet: "base64url",
          omitPadding: true,
        })
      }", psk: "${
        Uint8Array.from(line(index + 1)).toBase64({
          alphabet: "base64url",
          omitPadding: true,
        })
      }" }`,
      policy: ["open: [ssh]"],
    }));
    const alice = { name: "alice", policy: ["open: [ssh]"] };
    stage.configure([...clients, alice]);
    await program.serve();
    assertEquals(await stage.open("tcp/22", 600), "done");
    const memory: number[] = [];
    for (let reload = 0; reload < RELOADS; reload++) {
      const from = program.log.length;
      await program.signal("SIGHUP");
      await program.logged("info reloaded", from);
      memory.push(stage.memoryMb());
    }
    assertEquals(await stage.open("tcp/22", 600), "done");
    await stage.agree();
    assert(Math.max(...memory) < 400, `memory: ${memory} MB`);
    if (LONG) {
      const mb = memory.map(Math.round).join(", ");
      process.stderr.write(`memory: ${mb} MB\n`);
    }
  },
);

faultTest(
  "nobody reads the log: knocks open, lines are counted, it stops when told",
  async (stage) => {
    const { pair } = stage;
    await pair.serve("tcp", 22);
    const server = stage.serveUnread();
    await stage.answers();
    // 45 kB of log each: more than a pipe and the queue behind it take.
    for (let turn = 0; turn < 20; turn++) {
      const ran = await stage.knock({ action: "run", command: "talk" });
      assertEquals(ran.status, "done", `turn ${turn}`);
    }
    assertEquals(await stage.open("tcp/22", 15), "done");
    assert(await pair.canReach(HERE, 22));
    assert(!await pair.canReach(NEIGHBOUR, 22));
    await pair.shuts(HERE, 22);

    let log = "";
    server.stderr!.on("data", (bytes) => log += bytes);
    await until("lost lines are told", async () => {
      assertEquals(await stage.open("tcp/22", 1), "done");
      return log.includes("lines lost");
    });
    assertMatch(log, / warn log: \d+ lines lost: nobody read them\n/);
    server.stderr!.pause();
    for (let turn = 0; turn < 20; turn++) {
      await stage.knock({ action: "run", command: "talk" });
    }
    const ended = new Promise((resolve) => server.on("exit", resolve));
    process.kill(server.pid!, "SIGTERM");
    assertEquals(await ended, 0);
  },
);
