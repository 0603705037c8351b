import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import type { Firewall } from "../../lib/firewall/firewall.ts";
import type { Config } from "../../lib/config/config.ts";
import { parseConfig } from "../../lib/config/read.ts";
import type { Child } from "../../lib/runtime/runtime.ts";
import type { Log } from "../../lib/server/report/log.ts";
import { Counters } from "../../lib/server/report/counters.ts";
import {
  type Perform,
  Sequences,
} from "../../lib/server/sequences/sequences.ts";
import { makeServer } from "../../lib/server/state/server.ts";
import { openStore } from "../../lib/server/state/store.ts";
import { formatPortRange } from "../../lib/values/ports.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";
import { SystemError } from "../../lib/values/errors.ts";

const HERE = "192.0.2.9";
/** A firewall that nothing asks here. */
const FIREWALL = {} as Firewall;

function configure(sequences: string): Config {
  return parseConfig(
    `services: { ssh: tcp/22 }\nsequences:\n${
      sequences.replace(/^/gm, "  ")
    }\n`,
    {
      file: "server.yaml",
      readKey: () => new Uint8Array(32).fill(1),
      readCode: () => new Uint8Array(10),
      stateFolder: () => "/state",
    },
  );
}

/** Sequences on a fake machine: what they claim, what they run, what they say. */
async function machine(config: Config) {
  const runtime = new FakeRuntime({ steps: "by hand" });
  const store = await openStore(runtime, "/state");
  const claims: string[] = [];
  const ran: string[] = [];
  const said: string[] = [];
  const perform: Perform = (change, note) => {
    const { action, client, address, ports, seconds } = change;
    try {
      store.transaction(note);
    } catch (error) {
      assert(error instanceof SystemError);
      return Promise.resolve(false);
    }
    const list = ports.map(formatPortRange).join();
    claims.push(`${action} ${client} ${address} ${list} ${seconds}`);
    return Promise.resolve(true);
  };
  const counters = new Counters();
  const server = await makeServer(
    {
      runtime,
      store,
      counters,
      log: (level, message) => void said.push(`${level} ${message}`),
      runner: {
        hook: () => {},
        run: (name, argv) => {
          ran.push([name, ...argv].join(" "));
          return Promise.resolve(true);
        },
      },
    },
    config,
    FIREWALL,
  );
  const sequences = new Sequences(server, perform);
  await sequences.adopt(config);
  const knock = async (...ports: number[]) => {
    for (const port of ports) {
      const source = { host: HERE, port: 40_000 };
      runtime.network.deliver(port, Uint8Array.of(0), source);
    }
    await Promise.resolve();
    await Promise.resolve();
  };
  return { runtime, store, sequences, claims, ran, said, knock, counters };
}

test("Doors opens by sockets, and forgets who comes to a port beside", async () => {
  const { claims, knock } = await machine(
    configure(
      "a: { knock: [udp/7000, udp/9000], open: ssh, for: 1m, watch: socket }",
    ),
  );
  await knock(9000, 7000);
  await knock(7001, 9000);
  assertEquals(claims, []);
  await knock(7000, 9000);
  assertEquals(claims, [`open sequence a ${HERE} tcp/22 60`]);
});

test("Doors runs a program once in the time of every, and counts what is left out", async () => {
  const { runtime, claims, counters, knock, ran, said } = await machine(
    configure(
      "a: { knock: [udp/7000, udp/9000], run: [wake, x], every: 10s, watch: socket }",
    ),
  );
  await knock(7000, 9000);
  await knock(7000, 9000);
  await knock(7000, 9000);
  assertEquals(ran.length, 1);
  // Nothing ends after a run, so the log names no time.
  assertEquals(claims, [`run sequence a ${HERE}  0`]);
  assertEquals(counters.all, { "left out: every": 2 });
  assertEquals(
    said.filter((line) => line.includes("left out")),
    [`info sequences.a: run for ${HERE} left out, every 10s`],
  );
  await runtime.clock.advance(10_000);
  await knock(7000, 9000);
  assertEquals(ran.length, 2);
});

test("Doors answers to the sources of from alone, and uses nothing up for others", async () => {
  const entry = (from: string) =>
    configure(
      `a: { one_time: [[udp/7000, udp/9000]], open: ssh, from: "${from}" }`,
    );
  const others = await machine(entry("::/0"));
  await others.knock(7000, 9000);
  assertEquals([others.claims, others.counters.all], [[], {
    "left out: from": 1,
  }]);
  assertEquals(
    others.store.sequences.left(entry("::/0").sequences[0]!).length,
    1,
  );
  const mine = await machine(entry("0.0.0.0/0"));
  await mine.knock(7000, 9000);
  assertEquals(mine.claims.length, 1);
});

test("Doors uses up one-time sequences, in their order, and says so", async () => {
  const { claims, knock, said, store } = await machine(
    configure(
      "a: { one_time: [[udp/7000, udp/9000], [udp/6000, udp/5000]], open: ssh }",
    ),
  );
  await knock(6000, 5000);
  await knock(7000, 9000);
  await knock(7000, 9000);
  assertEquals(claims.length, 1);
  await knock(6000, 5000);
  await knock(6000, 5000);
  assertEquals(claims.length, 2);
  assertEquals(
    said.at(-1),
    "warn sequences.a: all one-time sequences are used: it stays shut",
  );
  assertEquals(store.fact("sequences"), [
    { name: "a", watch: "socket", left: 0, trouble: null },
  ]);
});

test("Doors does not open what cannot be written down as used", async () => {
  const { claims, knock, runtime } = await machine(
    configure("a: { one_time: [[udp/7000, udp/9000]], open: ssh }"),
  );
  runtime.databases.failing = "ENOSPC";
  await knock(7000, 9000);
  assertEquals(claims, []);
  runtime.databases.failing = null;
  await knock(7000, 9000);
  assertEquals(claims.length, 1);
});

test("Doors runs programs when it opens, and when its time is over or it is closed", async () => {
  const { ran, knock, runtime, sequences } = await machine(
    configure(
      `a: { knock: [udp/7000, udp/9000], open: ssh, close: [udp/9000, udp/7000],
  for: 10s, run: [up, "{address}", "{ports}"], run_after: [down, "{family}"] }`,
    ),
  );
  await knock(7000, 9000);
  assertEquals(ran, [`sequence a up ${HERE} tcp/22`]);
  sequences.sweep();
  assertEquals(ran.length, 1);
  await runtime.clock.advance(10_000);
  sequences.sweep();
  sequences.sweep();
  assertEquals(ran.slice(1), ["sequence a down ipv4"]);
  await knock(7000, 9000);
  await knock(9000, 7000);
  await runtime.clock.advance(10_000);
  sequences.sweep();
  assertEquals(ran.slice(3), ["sequence a down ipv4"]);
});

test("Doors says when tcpdump is missing, and tries again", async () => {
  const config = configure(
    "a: { knock: [tcp/7000, tcp/6000], open: ssh, watch: sniff }",
  );
  const runtime = new FakeRuntime({ steps: "by hand" });
  let tries = 0;
  runtime.spawn = (): Child => {
    tries++;
    throw new SystemError("ENOENT", "not found");
  };
  const store = await openStore(runtime, "/state");
  const said: string[] = [];
  const log: Log = (level, message) => void said.push(`${level} ${message}`);
  const sequences = new Sequences(
    await makeServer({ runtime, store, log }, config, FIREWALL),
    () => Promise.resolve(true),
  );
  await sequences.adopt(config);
  assertEquals(said, [
    `error sequences (watch: sniff) are not heard, and open nothing: cannot run "tcpdump": not found`,
  ]);
  await runtime.clock.advance(500);
  await runtime.clock.advance(1000);
  assertEquals(tries, 3);
  assertEquals(said.length, 1);
  await sequences.stop();
});
