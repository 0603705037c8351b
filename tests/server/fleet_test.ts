/** Gateways of a fleet on an engine in memory: what is accepted, shared and refused. */

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import type { Client, Config } from "../../lib/config/config.ts";
import { oneTimeCode } from "../../lib/dialects/crypto/codes.ts";
import type { Request } from "../../lib/dialects/dialect.ts";
import type { Firewall, Grant } from "../../lib/firewall/firewall.ts";
import { FirewallError, openAmong } from "../../lib/firewall/firewall.ts";
import type { FleetConfig } from "../../lib/fleet/fleet.ts";
import { sealValue } from "../../lib/fleet/seal.ts";
import { FleetMember } from "../../lib/server/fleet/member.ts";
import { carryOut } from "../../lib/server/grants/change.ts";
import { dropGrants, sweep } from "../../lib/server/grants/upkeep.ts";
import { decide } from "../../lib/server/packet/decide.ts";
import { makeServer } from "../../lib/server/state/server.ts";
import { openStore } from "../../lib/server/state/store.ts";
import { formatPortRange } from "../../lib/values/ports.ts";
import { FakeCluster, FakeEngine, UNKNOWN } from "../fakes/fake_engine.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";
import { makeClient, makeConfig, makeRequest } from "../fakes/fixtures.ts";

const SOURCE = "203.0.113.9";
const SSH = { protocol: "tcp", first: 22, last: 22 } as const;
const WEB = { protocol: "tcp", first: 8080, last: 8090 } as const;
const SECRET = new Uint8Array(32).fill(5);
const RANDOM = new Uint8Array(16).fill(6);

/** A firewall that remembers what is open in it. */
class FakeFirewall implements Firewall {
  readonly name = "fake";
  readonly endsGrants = true;
  readonly open_ = new Set<string>();
  #key = ({ address, ports }: Grant) => `${address} ${formatPortRange(ports)}`;
  apply = (_: unknown, grants: readonly Grant[]) => {
    this.open_.clear();
    for (const one of grants) this.open_.add(this.#key(one));
    return Promise.resolve();
  };
  /** True for one whose kernel refuses every change. */
  isBroken = false;
  changes = 0;
  change = (touched: readonly Grant[], live: readonly Grant[]) => {
    if (this.isBroken) return Promise.reject(new FirewallError("no kernel"));
    this.changes++;
    for (const one of touched) this.open_.delete(this.#key(one));
    for (const one of openAmong(touched, live)) this.open_.add(this.#key(one));
    return Promise.resolve();
  };
  intact = () => Promise.resolve(true);
  stop = () => Promise.resolve();
  remove = () => Promise.resolve();
}

function fleetOf(name: string, over: Partial<FleetConfig> = {}): FleetConfig {
  return {
    ...{ engine: "etcd", servers: ["http://127.0.0.1:1"], prefix: "knock" },
    ...{ secret: SECRET, tls: { ca: null, cert: null, key: null }, user: null },
    ...{
      token: null,
      credentials: null,
      without: "refuse",
      staleMs: 3_600_000,
    },
    ...{ name, ...over },
  };
}

interface GatewayOptions {
  readonly clients?: readonly Client[];
  readonly fleet?: Partial<FleetConfig>;
  readonly over?: Partial<Config>;
  /** The machine of an earlier start. */
  readonly machine?: FakeRuntime;
  /** True: the engine does not answer at first. */
  readonly isDown?: boolean;
}

async function startGateway(
  cluster: FakeCluster,
  name: string,
  {
    clients = [makeClient()],
    fleet = {},
    over = {},
    machine,
    isDown = false,
  }: GatewayOptions = {},
) {
  const runtime = machine ?? new FakeRuntime({ steps: "by hand" });
  // The fake draws the same for all: each gateway has its own part of it.
  for (let draw = 0; draw < cluster.engines.size; draw++) runtime.random(900);
  const store = await openStore(runtime, "/var/lib/knock");
  store.replay.begin(runtime.nowMs(), false);
  const firewall = new FakeFirewall();
  const lines: string[] = [];
  const server = await makeServer(
    {
      runtime,
      store,
      log: (level, text) => void lines.push(`${level} ${text}`),
    },
    makeConfig(clients, over),
    firewall,
  );
  let engine!: FakeEngine;
  const member = await FleetMember.join(
    server,
    fleetOf(name, fleet),
    (_runtime, _config, _known, replaced) =>
      Promise.resolve(engine = new FakeEngine(cluster, replaced!)),
  );
  server.fleet = member;
  engine.isDown = isDown;
  member.begin();
  await settle();
  const ask = (request: Request) => {
    const decision = decide(server, request, SOURCE, runtime.nowMs());
    return decision && carryOut(server, decision);
  };
  const knock = (over: Partial<Request> = {}) =>
    ask(makeRequest({ timestampMs: runtime.nowMs(), ports: [SSH], ...over }));
  const isOpen = () => firewall.open_.has(`${SOURCE} tcp/22`);
  /** The next heartbeat. */
  const beat = async () => {
    await runtime.clock.advance(3000);
    await settle();
  };
  return {
    ...{ runtime, store, firewall, lines, server, member, engine },
    ...{ ask, knock, isOpen, beat },
  };
}

/** Lets what waits go on. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) {
    await new Promise((go) => setTimeout(go));
  }
}

const counter = (
  { server }: {
    server: { counters: { all: Readonly<Record<string, number>> } };
  },
  name: string,
) => server.counters.all[name] ?? 0;

test("one knock opens on all, one close shuts on all", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const two = await startGateway(cluster, "gw2");
  assertEquals((await one.knock())?.status, "done");
  await settle();
  assert(one.isOpen() && two.isOpen());
  assertEquals((await two.knock({ action: "close" }))?.status, "done");
  await settle();
  assert(!one.isOpen() && !two.isOpen());
  assertEquals(
    [...cluster.keys].filter(([key]) => key.startsWith("grants/")),
    [],
  );
});

test("a packet is accepted once, whichever gateway it comes to", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const two = await startGateway(cluster, "gw2");
  const request = makeRequest({ timestampMs: one.runtime.nowMs() });
  const answers = await Promise.all([one.ask(request), two.ask(request)]);
  assertEquals(answers.map((answer) => answer?.status ?? null), ["done", null]);
  assertEquals(counter(two, "refused: replay"), 1);
  // A claim lives as long as any clock could let the packet in again.
  assert(one.engine.claimedFor >= 2 * 120_000 + 60_000);
});

test("without the engine nothing opens, and nothing is recorded as open", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  one.engine.isDown = true;
  assertEquals(await one.knock(), null);
  assertEquals(one.store.ledger.live(one.runtime.nowMs()), []);
  assert(!one.isOpen());
  assertEquals(counter(one, "fleet: unknown"), 1);
  // It was not said to be a copy: the next try is a fresh packet.
  assertEquals(counter(one, "refused: replay"), 0);
  await one.beat();
  const words = "error cut off from etcd since";
  assert(
    one.lines.some((line) => line.startsWith(words)),
    one.lines.join("\n"),
  );
  one.engine.isDown = false;
  await one.beat();
  assert(one.lines.some((line) => line.startsWith("info reached etcd again")));
  assertEquals((await one.knock())?.status, "done");
});

test("a one-time code is used once in the fleet", async () => {
  const code = new Uint8Array(20).fill(4);
  const clients = [makeClient({ code })];
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1", { clients });
  const two = await startGateway(cluster, "gw2", { clients });
  const asked = { code: oneTimeCode(code, one.runtime.nowMs()) };
  assertEquals((await one.knock(asked))?.status, "done");
  await settle();
  assertEquals((await two.knock(asked))?.status, "refused");
  assertEquals(counter(two, "refused: code used"), 1);
});

test("a grant of another gateway is judged by this one's policy", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const narrow = [makeClient({ open: [{ ...SSH, first: 23, last: 23 }] })];
  const two = await startGateway(cluster, "gw2", { clients: narrow });
  const none = await startGateway(cluster, "gw3", { clients: [] });
  const short = await startGateway(cluster, "gw4", {
    clients: [makeClient({ maxForSeconds: 10 })],
  });
  await one.knock({ seconds: 600 });
  await settle();
  assert(!two.isOpen() && !none.isOpen());
  assertEquals(counter(two, "fleet: grant refused"), 1);
  const [entry] = short.store.ledger.live(short.runtime.nowMs());
  assertEquals(entry!.untilMs, short.runtime.nowMs() + 10_000);
});

test("a grant for one connection stays on its gateway", async () => {
  const clients = [makeClient({ once: true })];
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1", { clients });
  const two = await startGateway(cluster, "gw2", { clients });
  await one.knock();
  await settle();
  assert(one.isOpen() && !two.isOpen());
  const told = [...cluster.keys.keys()].filter((key) => /^grants/.test(key));
  assertEquals(told, []);
  // Nor is one taken that an older gateway tells.
  const grant = { client: "alice", address: SOURCE, gateway: "gw1" };
  const untilMs = two.runtime.nowMs() + 60_000;
  await tellGrant(cluster, { ...grant, untilMs });
  assert(!two.isOpen());
});

/** Puts a grant of tcp/22 into the engine, sealed under a secret. */
async function tellGrant(
  cluster: FakeCluster,
  grant: { client: string; address: string; gateway: string; untilMs: number },
  secret = SECRET,
): Promise<void> {
  const { grantId, writeGrant } = await import(
    "../../lib/server/fleet/grants.ts"
  );
  const key = `grants/${grantId({ ...grant, ports: SSH })}`;
  const value = writeGrant({ ...grant, ports: SSH });
  cluster.set(key, sealValue(secret, `knock/${key}`, value, RANDOM));
  await settle();
}

test("a grant for a network stays on its gateway", async () => {
  const clients = [makeClient({ network: { ipv4: 28, ipv6: 64 } })];
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1", { clients });
  const two = await startGateway(cluster, "gw2", { clients });
  const answer = await one.knock();
  // The client takes what the reply names for its own address.
  assertEquals([answer?.status, answer?.address], ["done", SOURCE]);
  await settle();
  assertEquals([...one.firewall.open_], ["203.0.113.0/28 tcp/22"]);
  assertEquals([...two.firewall.open_], []);
  assertEquals(counter(two, "fleet: bad value"), 0);
  const told = [...cluster.keys.keys()].filter((key) => /^grants/.test(key));
  assertEquals(told, []);
});

test("what is not sealed under the fleet's secret opens nothing", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const grant = { client: "alice", address: SOURCE, gateway: "gw9" };
  const untilMs = one.runtime.nowMs() + 60_000;
  await tellGrant(cluster, { ...grant, untilMs }, new Uint8Array(32).fill(8));
  for (
    const value of [
      "",
      "{",
      JSON.stringify({ ...grant, untilMs }),
      "x".repeat(99),
    ]
  ) {
    cluster.set("grants/x", value);
    cluster.set("clients/eve", value);
  }
  await settle();
  assert(!one.isOpen());
  assertEquals(one.member.clients.has("eve"), false);
  assertEquals(counter(one, "fleet: bad value"), 9);
  const told = one.lines.filter((line) => line.includes("grants/x"));
  assertEquals(told.length, 1, "once a key");
  await tellGrant(cluster, { ...grant, untilMs });
  assert(one.isOpen(), "and one that is, opens");
});

test("clients of the fleet are known by the watch, and gone by it", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1", { clients: [] });
  const key = "A".repeat(42) + "E";
  const put = (name: string, entry: object) =>
    cluster.set(
      `clients/${name}`,
      sealValue(SECRET, `knock/clients/${name}`, { entry, files: {} }, RANDOM),
    );
  const knockKeys = { knock: { key, psk: key }, open: ["tcp/22"] };
  put("alice", { ...knockKeys, for: "1m" });
  put("broken", { ...knockKeys, open: ["nowhere"] });
  await settle();
  const { clients } = one.member;
  assertEquals(clients.get("alice")?.forSeconds, 60);
  assertEquals(clients.dialects, ["knock"]);
  assertEquals(clients.get("broken"), null);
  assert(one.lines.some((line) => line.includes("clients.broken.open")));
  const found = clients.find("knock", clients.get("alice")!.knock!.key);
  assertEquals(found?.name, "alice");
  assertEquals((await one.knock())?.status, "done");
  assert(one.isOpen());
  cluster.set("clients/alice", null);
  await settle();
  assertEquals(clients.get("alice"), null);
  assert(!one.isOpen(), "its grants end with it");
  assertEquals(await one.knock(), null);
});

/** A gateway whose one client, alice, is the fleet's. */
async function startWithAlice() {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1", { clients: [] });
  const key = "A".repeat(42) + "E";
  const entry = { knock: { key, psk: key }, open: ["tcp/22"] };
  const name = "knock/clients/alice";
  const value = sealValue(SECRET, name, { entry, files: {} }, RANDOM);
  cluster.set("clients/alice", value);
  await settle();
  return { cluster, one };
}

test("a client that is removed while the disk is full is removed when there is room", async () => {
  const { cluster, one } = await startWithAlice();
  one.runtime.databases.failing = "ENOSPC";
  cluster.set("clients/alice", null);
  assert(one.lines.at(-1)!.includes("cannot write the state file"));
  one.runtime.databases.failing = null;
  assert(one.member.clients.has("alice"));
  await one.beat();
  assertEquals(one.member.clients.has("alice"), false);
});

test("what is closed elsewhere while the disk is full is closed when there is room", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const two = await startGateway(cluster, "gw2");
  assertEquals((await one.knock())?.status, "done");
  await settle();
  assert(two.isOpen());
  two.runtime.databases.failing = "ENOSPC";
  assertEquals((await one.knock({ action: "close" }))?.status, "done");
  await settle();
  assert(two.isOpen(), "nothing of it can be recorded");
  assert(two.lines.at(-1)!.includes("cannot write the state file"));
  await two.beat();
  two.runtime.databases.failing = null;
  await two.beat();
  assert(!two.isOpen());
  assertEquals((await one.knock())?.status, "done");
  await settle();
  await two.beat();
  assert(two.isOpen(), "a newer grant stays");
});

test("clients of another fleet, or under another secret, are forgotten", async () => {
  const { cluster, one } = await startWithAlice();
  assert(one.member.clients.has("alice"));
  let member = one.member;
  const others = [
    { fleet: {}, isKnown: true },
    { fleet: { prefix: "other" }, isKnown: false },
    { fleet: { secret: new Uint8Array(32).fill(8) }, isKnown: false },
    { fleet: { engine: "nats" }, isKnown: true },
  ] as const;
  for (const { fleet, isKnown } of others) {
    await member.stop();
    const { store, runtime: machine } = one;
    store.close();
    const options = { clients: [], machine, fleet };
    ({ member } = await startGateway(cluster, "gw1", options));
    assertEquals(member.clients.has("alice"), isKnown, JSON.stringify(fleet));
  }
});

test("cut off with `local`: accepted by the local record, and told of later", async () => {
  const cluster = new FakeCluster();
  const fleet = { without: "local" } as const;
  const one = await startGateway(cluster, "gw1", { fleet });
  const two = await startGateway(cluster, "gw2", { fleet });
  one.engine.isDown = true;
  await one.beat();
  const request = makeRequest({
    timestampMs: one.runtime.nowMs(),
    ports: [SSH],
  });
  assertEquals((await one.ask(request))?.status, "done");
  assertEquals(await one.ask(request), null, "but once");
  await two.runtime.clock.advance(3000);
  assertEquals((await two.ask(request))?.status, "done", "they are apart");
  one.engine.isDown = false;
  await one.beat();
  assert(
    one.lines.some((line) =>
      line === "warn accepted twice while apart: a packet of alice, by gw2 too"
    ),
    one.lines.join("\n"),
  );
  assertEquals(counter(one, "fleet: accepted twice"), 1);
});

test("before there was ever an engine nothing is accepted, with `local` neither", async () => {
  const cluster = new FakeCluster();
  cluster.isSilent = true;
  const fleet = { without: "local" } as const;
  const one = await startGateway(cluster, "gw1", { fleet });
  assertEquals(await one.knock(), null, "no heartbeat has failed yet");
  assertEquals(one.member.trouble, "etcd did not answer: no answer in time");

  const two = await startGateway(new FakeCluster(), "gw1", { fleet });
  const said = "knocks are accepted by the local record";
  two.engine.isDown = true;
  await two.beat();
  assert(two.lines.some((line) => line.endsWith(said)), two.lines.join("\n"));
  const away = new FakeCluster();
  const three = await startGateway(away, "gw1", { fleet, isDown: true });
  assertEquals(await three.knock(), null);
  assertEquals(three.member.trouble, "etcd was never reached");
  assert(
    three.lines.some((line) =>
      line.endsWith("new knocks are refused until it has been reached once")
    ),
    three.lines.join("\n"),
  );
});

test("with old news nothing is accepted, with `local` neither", async () => {
  const cluster = new FakeCluster();
  const fleet = { without: "local", staleMs: 60_000 } as const;
  const one = await startGateway(cluster, "gw1", { fleet });
  one.engine.isDown = true;
  for (let beats = 0; beats < 19; beats++) await one.beat();
  assertEquals((await one.knock())?.status, "done");
  for (let beats = 0; beats < 3; beats++) await one.beat();
  assertEquals(await one.knock(), null);
  assert(
    one.member.trouble?.includes("longer than stale"),
    one.member.trouble!,
  );
});

test("an engine with other data than before: stamps of before are refused, what is open stays", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const two = await startGateway(cluster, "gw2");
  await one.knock();
  await settle();
  const before = makeRequest({
    timestampMs: one.runtime.nowMs(),
    ports: [SSH],
  });
  cluster.empty();
  await settle();
  assert(one.isOpen() && two.isOpen());
  assertEquals(
    [...cluster.keys.keys()].filter((key) => key.startsWith("grants/")).length,
    1,
  );
  assertEquals(await two.ask(before), null);
  await two.runtime.clock.advance(1000);
  assertEquals((await two.knock())?.status, "done");
});

test("a claim of an engine that was emptied meanwhile opens nothing", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const answer = one.knock();
  cluster.empty();
  assertEquals(await answer, null);
  assert(!one.isOpen());
});

test("a stamp that is out of time by the engine's clock is refused", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  one.engine.seen.aheadMs = 100_000;
  assertEquals((await one.knock())?.status, "done", "within skew and margin");
  one.engine.seen.aheadMs = 200_000;
  assertEquals(await one.knock(), null);
  assert(one.member.trouble?.includes("200 s apart"), one.member.trouble!);
});

test("two gateways of one name, and one with another server key, are told of", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const two = await startGateway(cluster, "gw2", {
    over: { key: new Uint8Array(32).fill(9) },
  });
  assert(two.lines.some((line) => line.includes("gw1 has another server key")));
  const same = await startGateway(cluster, "gw1");
  await one.beat();
  await same.beat();
  await same.beat();
  assert(
    one.lines.some((line) => line.includes("another gateway has this name")),
    one.lines.join("\n"),
  );
});

test("a client that was removed while its claim was on its way opens nothing", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const answer = one.knock();
  const gone = makeConfig([]);
  one.server.active = { ...one.server.active, config: gone };
  await dropGrants(one.server, gone);
  assertEquals(await answer, null);
  assertEquals(one.store.ledger.live(one.runtime.nowMs()), []);
  await sweep(one.server);
});

/** The grants that the engine has. */
const grantsIn = ({ keys }: FakeCluster) =>
  [...keys.keys()].filter((key) => key.startsWith("grants/"));

/** Has a gateway's claims carried out, and their answers kept back; the function returns how to let the first go on. */
function heldBack({ engine }: { engine: FakeEngine }): () => void {
  const held: (() => void)[] = [];
  engine.deliver = (carryOut) => {
    const claim = carryOut();
    return new Promise((resolve) => held.push(() => resolve(claim)));
  };
  return () => held.shift()!();
}

test("the others are told with the claim, before this one's firewall has opened", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const two = await startGateway(cluster, "gw2");
  const goOn = heldBack(one);
  const answer = one.knock();
  await settle();
  assert(!one.isOpen() && two.isOpen());
  goOn();
  assertEquals((await answer)?.status, "done");
  await settle();
  assert(one.isOpen());
  assertEquals(grantsIn(cluster).length, 1);
  assertEquals(writesOf(cluster, grantsIn(cluster)[0]!), 1, "told once");
});

/** Times that a key was written. */
const writesOf = ({ writes }: FakeCluster, key: string) =>
  writes.filter((one) => one === key).length;

test("what one knock opens is opened by one change at the others, too", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const two = await startGateway(cluster, "gw2");
  const clients = [makeClient({ open: [SSH] })];
  const three = await startGateway(cluster, "gw3", { clients });
  assertEquals((await one.knock({ ports: [SSH, WEB] }))?.status, "done");
  await settle();
  assertEquals([one.firewall.changes, two.firewall.changes], [1, 1]);
  assertEquals(one.firewall.open_, two.firewall.open_);
  assertEquals([...three.firewall.open_], [`${SOURCE} tcp/22`]);
});

for (const lengths of [[30, 60], [60, 30]]) {
  test(`a gateway that starts opens what two others gave for ${lengths} s, once and for the longest`, async () => {
    const cluster = new FakeCluster();
    const one = await startGateway(cluster, "gw1");
    const two = await startGateway(cluster, "gw2");
    await one.knock({ seconds: lengths[0]! });
    await two.knock({ seconds: lengths[1]! });
    await settle();
    assertEquals(grantsIn(cluster).length, 2);
    const three = await startGateway(cluster, "gw3");
    const nowMs = three.runtime.nowMs();
    const live = three.store.ledger.live(nowMs);
    assertEquals(live.map(({ untilMs }) => untilMs), [nowMs + 60_000]);
    assertEquals(three.firewall.changes, 1);
  });
}

test("an engine that sets nothing along with a claim is told afterwards", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const two = await startGateway(cluster, "gw2");
  one.engine.isAlone = true;
  assertEquals((await one.knock())?.status, "done");
  await settle();
  assert(one.isOpen() && two.isOpen());
  assertEquals(grantsIn(cluster).length, 1);
});

test("a packet that is taken tells nothing, and closes nothing", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const two = await startGateway(cluster, "gw2");
  const request = makeRequest({
    timestampMs: one.runtime.nowMs(),
    ports: [SSH],
  });
  assertEquals((await one.ask(request))?.status, "done");
  await settle();
  assertEquals(await two.ask(request), null);
  await settle();
  assertEquals(grantsIn(cluster).length, 1);
  assert(one.isOpen() && two.isOpen());
});

test("a code that another gateway has used tells nothing", async () => {
  const code = new Uint8Array(20).fill(4);
  const clients = [makeClient({ code })];
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1", { clients });
  const two = await startGateway(cluster, "gw2", { clients });
  const asked = { code: oneTimeCode(code, one.runtime.nowMs()) };
  await one.knock({ ...asked, action: "ping", ports: [] });
  await settle();
  assertEquals((await two.knock(asked))?.status, "refused");
  await settle();
  assertEquals(grantsIn(cluster), []);
  assert(!one.isOpen() && !two.isOpen());
});

test("what this gateway's firewall cannot open is closed at the others", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const two = await startGateway(cluster, "gw2");
  one.firewall.isBroken = true;
  assertEquals((await one.knock())?.status, "failed");
  await settle();
  assertEquals(grantsIn(cluster), []);
  assert(!two.isOpen());
  // What was open before stays, for as long as before.
  one.firewall.isBroken = false;
  assertEquals((await one.knock({ seconds: 60 }))?.status, "done");
  await settle();
  one.firewall.isBroken = true;
  await one.runtime.clock.advance(1000);
  await two.runtime.clock.advance(1000);
  assertEquals((await one.knock({ seconds: 90 }))?.status, "failed");
  await settle();
  assert(two.isOpen());
  assertEquals(grantsIn(cluster).length, 1);
  const late = await startGateway(cluster, "gw3");
  const [entry] = late.store.ledger.live(late.runtime.nowMs());
  assertEquals(entry!.untilMs, late.runtime.nowMs() + 60_000);
});

test("what cannot be recorded here is closed at the others", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const two = await startGateway(cluster, "gw2");
  const goOn = heldBack(one);
  const answer = one.knock();
  await settle();
  assert(two.isOpen());
  const gone = makeConfig([]);
  one.server.active = { ...one.server.active, config: gone };
  goOn();
  assertEquals(await answer, null);
  await settle();
  assert(!one.isOpen() && !two.isOpen());
  assertEquals(grantsIn(cluster), []);
});

test("an answer that is lost: silence here, and closed at the others by the next heartbeat", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const two = await startGateway(cluster, "gw2");
  one.engine.deliver = (carryOut) => (carryOut(), UNKNOWN);
  assertEquals(await one.knock(), null);
  await settle();
  assert(!one.isOpen(), "unknown is never ours");
  assert(two.isOpen(), "it was, and the client has asked for it");
  await one.beat();
  assert(!one.isOpen() && !two.isOpen());
  assertEquals(grantsIn(cluster), []);
});

test("a fresh packet after an answer that was lost opens on all, and stays", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const two = await startGateway(cluster, "gw2");
  one.engine.deliver = (carryOut) => (carryOut(), UNKNOWN);
  assertEquals(await one.knock(), null);
  one.engine.deliver = (carryOut) => carryOut();
  await one.runtime.clock.advance(1000);
  const again = { identity: new Uint8Array(16).fill(3) };
  assertEquals((await one.knock(again))?.status, "done");
  await one.beat();
  assert(one.isOpen() && two.isOpen());
  assertEquals(grantsIn(cluster).length, 1);
});

test("a claim that comes late, after the next heartbeat, opens nothing anywhere", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const two = await startGateway(cluster, "gw2");
  let late = () => {};
  one.engine.deliver = (carryOut) => {
    late = () => void carryOut();
    return UNKNOWN;
  };
  assertEquals(await one.knock(), null);
  await one.beat();
  late();
  await settle();
  assert(!one.isOpen() && !two.isOpen());
});

test("a claim that was on its way to data that is lost meanwhile tells nothing", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const two = await startGateway(cluster, "gw2");
  const request = makeRequest({
    timestampMs: one.runtime.nowMs(),
    ports: [SSH],
  });
  assertEquals((await one.ask(request))?.status, "done");
  assertEquals((await one.knock({ action: "close" }))?.status, "done");
  await settle();
  // The copy of it is sent to the other one, and to an engine that has lost all.
  let late = () => {};
  two.engine.deliver = (carryOut) =>
    new Promise((resolve) => late = () => resolve(carryOut()));
  const answer = two.ask(request);
  cluster.empty();
  late();
  assertEquals(await answer, null);
  await settle();
  assertEquals(grantsIn(cluster), []);
  assert(!one.isOpen() && !two.isOpen());
});

test("what is closed elsewhere while its claim is on its way is told again, or stays closed", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const two = await startGateway(cluster, "gw2");
  const goOn = heldBack(one);
  const answer = one.knock();
  await settle();
  assertEquals((await two.knock({ action: "close" }))?.status, "done");
  await settle();
  assert(!two.isOpen());
  goOn();
  assertEquals((await answer)?.status, "done");
  await settle();
  // Open is open on all: the answer that was given last says so.
  assert(one.isOpen() && two.isOpen());
  assertEquals(grantsIn(cluster).length, 1);
});

test("what is closed elsewhere after a claim that was given up stays closed", async () => {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const two = await startGateway(cluster, "gw2");
  const identity = (byte: number) => ({
    identity: new Uint8Array(16).fill(byte),
  });
  assertEquals((await one.knock(identity(1)))?.status, "done");
  one.engine.deliver = () => UNKNOWN;
  assertEquals(await one.knock(identity(2)), null);
  await two.runtime.clock.advance(5000);
  assertEquals((await two.knock(identity(3)))?.status, "done");
  await settle();
  const close = { action: "close", ...identity(4) } as const;
  assertEquals((await two.knock(close))?.status, "done");
  await settle();
  assert(!one.isOpen() && !two.isOpen());
  await one.beat();
  assert(!one.isOpen() && !two.isOpen());
  assertEquals(grantsIn(cluster), []);
});

/** Two gateways with one grant, renewed by a claim of the first that is given up, and its late carrying out. */
async function startInDoubt() {
  const cluster = new FakeCluster();
  const one = await startGateway(cluster, "gw1");
  const two = await startGateway(cluster, "gw2");
  let packets = 0;
  const fresh = (action: "open" | "close" = "open") => ({
    ...{ action, identity: new Uint8Array(16).fill(++packets) },
  });
  assertEquals((await one.knock(fresh()))?.status, "done");
  let carryOut = () => {};
  one.engine.deliver = (late) => {
    carryOut = () => void late();
    return UNKNOWN;
  };
  assertEquals(await one.knock(fresh()), null);
  one.engine.deliver = (now) => now();
  const close = async () => {
    assertEquals((await two.knock(fresh("close")))?.status, "done");
    await settle();
  };
  const isShut = () => {
    assert(!one.isOpen() && !two.isOpen());
    assertEquals(grantsIn(cluster), []);
  };
  return { one, two, fresh, close, isShut, carryOut };
}

for (const comes of ["late", "never"]) {
  test(`what is closed elsewhere stays closed, though the next heartbeat is answered before that is heard, and the claim comes ${comes}`, async () => {
    const { one, close, isShut, carryOut } = await startInDoubt();
    one.engine.late = [];
    await close();
    if (comes === "late") carryOut();
    await one.beat();
    const { late } = one.engine;
    one.engine.late = null;
    for (const tell of late) tell();
    await settle();
    isShut();
    await one.beat();
    isShut();
  });
}

for (const isLate of [false, true]) {
  test(`what is closed elsewhere while a doubt ends stays closed${isLate ? ", heard later" : ""}`, async () => {
    const { one, close, isShut } = await startInDoubt();
    const put = one.engine.put;
    let isClosed = false;
    one.engine.put = async function (key, ...rest) {
      if (key.startsWith("grants/") && !isClosed) {
        isClosed = true;
        if (isLate) one.engine.late = [];
        await close();
      }
      return await put.call(this, key, ...rest);
    };
    await one.beat();
    assert(isClosed, "it is put back");
    for (const tell of one.engine.late ?? []) tell();
    await settle();
    isShut();
  });
}

test("a claim that was given up and comes after a newer knock and its end opens nothing for long", async () => {
  const { one, fresh, close, isShut, carryOut } = await startInDoubt();
  assertEquals((await one.knock(fresh()))?.status, "done");
  await settle();
  await close();
  isShut();
  carryOut();
  await settle();
  assert(!one.isOpen());
  await one.beat();
  isShut();
});

for (const comes of ["late", "never"] as const) {
  test(`what is closed elsewhere while a claim is on its way, which comes ${comes} and has no answer, stays closed`, async () => {
    const cluster = new FakeCluster();
    const one = await startGateway(cluster, "gw1");
    const two = await startGateway(cluster, "gw2");
    const identity = (byte: number) => ({
      identity: new Uint8Array(16).fill(byte),
    });
    assertEquals((await one.knock(identity(1)))?.status, "done");
    let goOn = () => {};
    one.engine.deliver = (carryOut) =>
      new Promise((resolve) =>
        goOn = () => {
          if (comes === "late") carryOut();
          resolve(UNKNOWN);
        }
      );
    const answer = one.knock(identity(2));
    await settle();
    const close = { action: "close", ...identity(3) } as const;
    assertEquals((await two.knock(close))?.status, "done");
    await settle();
    assert(!one.isOpen() && !two.isOpen());
    goOn();
    assertEquals(await answer, null);
    await one.beat();
    assert(!one.isOpen() && !two.isOpen());
    assertEquals(grantsIn(cluster), []);
  });
}
