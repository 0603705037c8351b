import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import type { Client, Config } from "../../lib/config/config.ts";
import { oneTimeCode } from "../../lib/dialects/crypto/codes.ts";
import {
  type Firewall,
  FirewallError,
  type Grant,
  openAmong,
} from "../../lib/firewall/firewall.ts";
import { applyAll, carryOut } from "../../lib/server/grants/change.ts";
import type { Change } from "../../lib/server/grants/records.ts";
import { care, dropGrants, sweep } from "../../lib/server/grants/upkeep.ts";
import { admit, decide } from "../../lib/server/packet/decide.ts";
import { CodeGuard } from "../../lib/server/packet/limits.ts";
import { makeServer } from "../../lib/server/state/server.ts";
import { openStore } from "../../lib/server/state/store.ts";
import { formatPortRange } from "../../lib/values/ports.ts";
import { FakeRuntime, START_MS } from "../fakes/fake_runtime.ts";
import {
  makeClient,
  makeConfig,
  makeRequest,
  NFT_GUARD,
} from "../fakes/fixtures.ts";

/** A firewall that remembers what is open in it: "address ports" -> until. */
class FakeFirewall implements Firewall {
  readonly name = "fake";
  endsGrants = true;
  readonly open_ = new Map<string, number>();
  whole = true;
  failing = false;
  /** An address whose grants cannot be closed. */
  stuck = "";

  // deno-lint-ignore require-await -- so that a throw is a rejection
  async #do(change: () => void): Promise<void> {
    if (this.failing) throw new FirewallError("it burns");
    change();
  }
  #key = ({ address, ports }: Grant) => `${address} ${formatPortRange(ports)}`;

  apply = (_: unknown, grants: readonly Grant[]) =>
    this.#do(() => {
      this.whole = true;
      this.open_.clear();
      for (const one of grants) this.open_.set(this.#key(one), one.untilMs);
    });
  change = (touched: readonly Grant[], live: readonly Grant[]) =>
    this.#do(() => {
      if (touched.some(({ address }) => address === this.stuck)) {
        throw new FirewallError("it is stuck");
      }
      for (const one of touched) this.open_.delete(this.#key(one));
      for (const one of openAmong(touched, live)) {
        const held = this.open_.get(this.#key(one)) ?? 0;
        this.open_.set(this.#key(one), Math.max(held, one.untilMs));
      }
    });
  intact = () => Promise.resolve(this.whole);
  stop = () => Promise.resolve();
  remove = () => Promise.resolve();
}

const SOURCE = "203.0.113.9";

async function makeTestServer(
  clients: Client[] = [makeClient()],
  over: Partial<Config> = {},
) {
  const runtime = new FakeRuntime({ steps: "by hand" });
  const store = await openStore(runtime, "/var/lib/knock");
  store.replay.begin(runtime.nowMs(), false);
  const firewall = new FakeFirewall();
  const lines: string[] = [];
  const ran: string[] = [];
  const server = await makeServer(
    {
      runtime,
      store,
      runner: {
        hook: (argv, { client }) => {
          if (argv) ran.push([...argv, client].join(" "));
        },
        run: (name, argv) => {
          ran.push(`${name}: ${argv.join(" ")}`);
          return Promise.resolve(argv[0] !== "false");
        },
      },
      log: (level, message) => void lines.push(`${level} ${message}`),
    },
    makeConfig(clients, over),
    firewall,
  );
  const ask = (
    over: Parameters<typeof makeRequest>[0] = {},
    source = SOURCE,
  ) => {
    const nowMs = runtime.nowMs();
    const request = makeRequest({ timestampMs: nowMs, ...over });
    const decision = decide(server, request, source, nowMs);
    return decision && carryOut(server, decision);
  };
  const claim = async (change: Claim, note = () => {}) => {
    const decision = admit(server, change, note, runtime.nowMs());
    return (await carryOut(server, decision))?.status === "done";
  };
  return { runtime, store, firewall, lines, ran, server, ask, claim };
}

/** Change by a complete sequence. */
type Claim = Omit<Change, "before">;

const SSH = { protocol: "tcp", first: 22, last: 22 } as const;

test("decide() opens, says so, and answers with what was granted", async () => {
  const { ask, firewall, lines, store, runtime } = await makeTestServer();
  const nowMs = runtime.nowMs();
  const answer = await ask({ ports: [SSH] });
  assertEquals(answer, {
    status: "done",
    count: 1,
    seconds: 30,
    timeMs: nowMs,
    address: SOURCE,
  });
  assertEquals([...firewall.open_], [[`${SOURCE} tcp/22`, nowMs + 30_000]]);
  assertEquals(lines, [
    `info open alice ${SOURCE} tcp/22 until 2026-01-02T12:00:30.000Z (30s)`,
  ]);
  const [event] = store.history.find({});
  assertEquals([event!.event, event!.ports, event!.seconds], [
    "open",
    "tcp/22",
    30,
  ]);
});

test("decide() is silent to a replay, and opens nothing", async () => {
  const { ask, firewall, runtime } = await makeTestServer();
  const request = makeRequest({ timestampMs: runtime.nowMs() });
  assert(await ask(request));
  firewall.open_.clear();
  assertEquals(ask(request), null);
  assertEquals(ask(request, "198.51.100.1"), null);
  assertEquals(firewall.open_.size, 0);
});

test("decide() is silent to a stamp out of time, and says who it was", async () => {
  const { ask, lines, runtime } = await makeTestServer();
  assertEquals(ask({ timestampMs: runtime.nowMs() - 121_000 }), null);
  assertEquals(lines, [
    `warn refused alice ${SOURCE}: its time stamp is 121 s behind this machine's clock`,
  ]);
});

test("decide() refuses by policy with an answer, a line and an event", async () => {
  const { ask, lines, store, firewall } = await makeTestServer();
  const answer = await ask({
    ports: [{ protocol: "udp", first: 53, last: 53 }],
  });
  assertEquals([answer?.status, answer?.count], ["refused", 0]);
  assertEquals(lines, [
    `warn refused alice ${SOURCE} udp/53: a port that this client may not open`,
  ]);
  assertEquals(store.history.find({})[0]!.event, "refused");
  assertEquals(firewall.open_.size, 0);
});

test("decide() extends a grant and never shortens it", async () => {
  const { ask, firewall, runtime } = await makeTestServer();
  const startMs = runtime.nowMs();
  await ask({ ports: [SSH], seconds: 600 });
  await ask({ ports: [SSH], seconds: 10 });
  assertEquals([...firewall.open_.values()], [startMs + 600_000]);
  await runtime.clock.advance(60_000);
  await ask({ ports: [SSH], seconds: 600 });
  assertEquals([...firewall.open_.values()], [startMs + 660_000]);
});

test("a firewall that fails is a knock that failed, and leaves no grant", async () => {
  const { ask, firewall, store, lines, runtime } = await makeTestServer();
  firewall.failing = true;
  const answer = await ask({ ports: [SSH] });
  assertEquals([answer?.status, answer?.seconds], ["failed", 0]);
  assertEquals(lines, [`error failed alice ${SOURCE} tcp/22: it burns`]);
  assertEquals(store.ledger.live(runtime.nowMs()), []);
  assertEquals(store.history.find({}).map(({ event }) => event), [
    "open",
    "failed",
  ]);
});

test("a state that cannot be written opens nothing, and a copy stays a replay", async () => {
  const { ask, firewall, lines, runtime } = await makeTestServer();
  const request = makeRequest({ timestampMs: runtime.nowMs() });
  runtime.databases.failing = "ENOSPC";
  const answer = await ask(request);
  assertEquals(answer?.status, "failed");
  assertEquals(firewall.open_.size, 0);
  assert(lines[0]!.includes("cannot write the state file"), lines[0]);
  runtime.databases.failing = null;
  assertEquals(ask(request), null);
});

test("close ends this client's grant and leaves its neighbour's", async () => {
  const { ask, firewall } = await makeTestServer([
    makeClient(),
    makeClient({ name: "bob" }),
  ]);
  await ask({ ports: [SSH], seconds: 600 });
  await ask({ client: "bob", ports: [SSH], seconds: 60 });
  assertEquals(firewall.open_.size, 1);
  const longer = [...firewall.open_.values()][0]!;
  await ask({ action: "close" });
  const shorter = [...firewall.open_.values()][0]!;
  assertEquals(longer - shorter, 540_000);
  await ask({ client: "bob", action: "close", ports: [SSH] });
  assertEquals(firewall.open_.size, 0);
});

test("grants outlive the server, and not their time", async () => {
  const { ask, runtime, store } = await makeTestServer();
  await ask({ ports: [SSH], seconds: 60 });
  store.close();
  const again = await openStore(runtime, "/var/lib/knock");
  assertEquals(again.ledger.live(runtime.nowMs()).length, 1);
  await runtime.clock.advance(60_000);
  assertEquals(again.ledger.live(runtime.nowMs()), []);
});

test("sweep() writes down what has ended", async () => {
  const { ask, runtime, store, server } = await makeTestServer();
  await ask({ ports: [SSH] });
  await runtime.clock.advance(30_000);
  await sweep(server);
  await sweep(server);
  assertEquals(store.ledger.size, 0);
  assertEquals(store.history.find({}).map(({ event }) => event), [
    "open",
    "end",
  ]);
});

test("care() puts a changed firewall back", async () => {
  const { ask, firewall, lines, server } = await makeTestServer();
  await ask({ ports: [SSH] });
  firewall.whole = false;
  firewall.open_.clear();
  await care(server);
  assertEquals(firewall.open_.size, 1);
  assert(lines.at(-1)!.startsWith("warn the firewall or this machine's"));
});

test("dropGrants() ends the grants of who is gone", async () => {
  const { ask, store, runtime, server } = await makeTestServer([
    makeClient(),
    makeClient({ name: "bob" }),
  ]);
  await ask({ ports: [SSH] });
  await ask({ client: "bob", ports: [SSH] });
  await dropGrants(server, makeConfig([makeClient({ name: "bob" })]));
  const left = store.ledger.live(runtime.nowMs());
  assertEquals(left.map(({ client }) => client), ["bob"]);
});

test("dropGrants() ends grants as early as expires and hours say now", async () => {
  const { ask, firewall, runtime, store, server } = await makeTestServer();
  await ask({ ports: [SSH], seconds: 3600 });
  const nowMs = runtime.nowMs();
  const key = `${SOURCE} tcp/22`;
  const adopt = async (over: Partial<Client>) => {
    const config = makeConfig([makeClient(over)]);
    await applyAll(server, { config: config, firewall });
    assertEquals(firewall.open_.get(key), end(over));
    await dropGrants(server, config);
    assertEquals(firewall.open_.get(key), end(over));
    return store.ledger.live(nowMs).map(({ untilMs }) => untilMs - nowMs);
  };
  const end = ({ expiresMs }: Partial<Client>) =>
    nowMs + Math.min(3_600_000, (expiresMs ?? Infinity) - nowMs);
  assertEquals(await adopt({ expiresMs: nowMs + 7_200_000 }), [3_600_000]);
  assertEquals(await adopt({ expiresMs: nowMs + 60_500 }), [60_500]);
  const over = makeConfig([makeClient({ expiresMs: nowMs })]);
  await dropGrants(server, over);
  assertEquals(firewall.open_.size, 0);
  assertEquals(store.ledger.live(nowMs), []);
  assertEquals(
    store.history.find({}).at(-1)!.reason,
    "the client's time is over",
  );
});

test("decide() extends a grant up to the client's expiry", async () => {
  const expiresMs = START_MS + 60_000;
  const { ask, firewall, lines, store } = await makeTestServer([
    makeClient({ expiresMs }),
  ]);
  await ask({ ports: [SSH] });
  const answer = await ask({ ports: [SSH], seconds: 3600 });
  assertEquals(answer!.seconds, 60);
  assertEquals([...firewall.open_.values()], [expiresMs]);
  assertEquals(
    lines.at(-1),
    `info open alice ${SOURCE} tcp/22 until 2026-01-02T12:01:00.000Z (1m)`,
  );
  assertEquals(store.history.find({}).at(-1)!.seconds, 60);
});

test("sweep() closes what the firewall does not end, and runs the hook", async () => {
  const { ask, runtime, firewall, ran, server } = await makeTestServer(
    undefined,
    {
      hooks: { open: ["up"], close: ["down"] },
    },
  );
  firewall.endsGrants = false;
  await ask({ ports: [SSH] });
  await runtime.clock.advance(30_000);
  assertEquals(firewall.open_.size, 1);
  await sweep(server);
  assertEquals(firewall.open_.size, 0);
  assertEquals(ran, ["up alice", "down alice"]);
});

test("sweep() closes the others when one cannot be closed, and tries again", async () => {
  const { ask, runtime, firewall, lines, store, server } =
    await makeTestServer();
  firewall.endsGrants = false;
  await ask({ ports: [SSH] }, "203.0.113.1");
  await ask({ ports: [SSH] }, "203.0.113.2");
  await runtime.clock.advance(30_000);
  firewall.stuck = "203.0.113.1";
  await sweep(server);
  await sweep(server);
  assertEquals([...firewall.open_.keys()], ["203.0.113.1 tcp/22"]);
  assertEquals(lines.slice(2), [
    "error cannot end what is open for 203.0.113.1, and will try again in " +
    "60 s: it is stuck",
  ]);
  firewall.stuck = "";
  await runtime.clock.advance(60_000);
  await sweep(server);
  assertEquals(firewall.open_.size, 0);
  assertEquals(store.ledger.size, 0);
});

test("a firewall that fails leaves the ledger saying what is open", async () => {
  const { ask, runtime, firewall, store } = await makeTestServer();
  const ends = () =>
    store.ledger.live(runtime.nowMs()).map(({ untilMs }) => untilMs);
  await ask({ ports: [SSH] });
  const first = ends();
  await runtime.clock.advance(10_000);
  firewall.failing = true;
  const longer = await ask({ ports: [SSH], seconds: 600 });
  assertEquals(longer?.status, "failed");
  assertEquals(ends(), first);
  const closing = await ask({ action: "close", ports: [SSH] });
  assertEquals(closing?.status, "failed");
  assertEquals(ends(), first);
  firewall.failing = false;
  await ask({ action: "close", ports: [SSH] });
  assertEquals(ends(), []);
  assertEquals(firewall.open_.size, 0);
});

test("run runs what the client may, and answers how it went", async () => {
  const commands = new Map([
    ["good", ["true", "a b"]],
    ["bad", ["false"]],
  ]) as unknown as Config["commands"];
  const client = makeClient({ run: ["good", "bad"] });
  const { ask, ran } = await makeTestServer([client], { commands });
  const run = async (command: string) =>
    (await ask({ action: "run", command }))?.status;
  assertEquals(await run("good"), "done");
  assertEquals(await run("bad"), "failed");
  assertEquals(await run("other"), "refused");
  assertEquals(ran, ["good: true a b", "bad: false"]);
});

test("a one-time code opens once, and a wrong one never", async () => {
  const code = new Uint8Array(20).fill(5);
  const { ask, firewall, runtime, lines } = await makeTestServer([
    makeClient({ code }),
  ]);
  const right = oneTimeCode(code, runtime.nowMs());
  const status = async (code: number | null) =>
    (await ask({ ports: [SSH], code }))?.status;
  assertEquals(await status(null), "refused");
  assertEquals(await status((right + 1) % 1_000_000), "refused");
  assertEquals(firewall.open_.size, 0);
  assertEquals(await status(right), "done");
  assertEquals(await status(right), "refused");
  assertEquals(
    lines.at(-1),
    `warn refused alice ${SOURCE} tcp/22: the one-time code was used before`,
  );
  assertEquals(
    await status(oneTimeCode(code, runtime.nowMs() - 30_000)),
    "done",
  );
  assertEquals(
    await status(oneTimeCode(code, runtime.nowMs() - 60_000)),
    "refused",
  );
});

test("a used one-time code stays used while a time stamp could bring it back", async () => {
  const code = new Uint8Array(20).fill(5);
  const maxSkewMs = 10_000;
  const { ask, runtime, store } = await makeTestServer([makeClient({ code })], {
    maxSkewMs,
  });
  // From the earliest stamp that the code is good for to the latest.
  const used = oneTimeCode(code, runtime.nowMs() + 30_000);
  const status = async (aheadMs: number) =>
    (await ask({
      ports: [SSH],
      code: used,
      timestampMs: runtime.nowMs() + aheadMs,
    }))?.status;
  assertEquals(await status(maxSkewMs), "done");
  for (const pastMs of [25_000, 80_000, 99_999]) {
    runtime.clock.set(START_MS + pastMs);
    store.replay.prune(runtime.nowMs());
    const aheadMs = Math.min(0, 89_999 - pastMs);
    assertEquals(await status(aheadMs), "refused", String(pastMs));
  }
});

test("a client with `once` gets grants for one connection", async () => {
  const { ask, store, runtime } = await makeTestServer([
    makeClient({ once: true }),
  ]);
  await ask({ ports: [SSH] });
  assertEquals(store.ledger.live(runtime.nowMs())[0]!.once, true);
});

test("decide() leads to a port of the machine where the backend can", async () => {
  for (const backend of ["nft", "gate"] as const) {
    const { ask, firewall, lines, store, runtime } = await makeTestServer(
      [makeClient()],
      { firewall: { ...NFT_GUARD, backend } },
    );
    const [host] = runtime.ownAddresses();
    const answer = await ask({
      dialect: "fwknop",
      ports: [{ protocol: "tcp", first: 9000, last: 9000 }],
      forward: { kind: "local", host: host!, port: 22 },
    });
    const live = store.ledger.live(runtime.nowMs()).map(({ to }) => to);
    if (backend === "nft") {
      assertEquals(answer?.status, "done");
      assertEquals(live, [{ host: host!, port: 22 }]);
    } else {
      assertEquals(answer?.status, "failed");
      assertEquals(live, []);
      assertEquals(firewall.open_.size, 0);
      assertEquals(lines, [
        `error failed alice ${SOURCE} tcp/9000: the gate backend cannot forward a port`,
      ]);
    }
  }
});

test("admit() opens for a sequence, under its name", async () => {
  const { firewall, store, runtime, lines, server, claim } =
    await makeTestServer();
  const nowMs = runtime.nowMs();
  assert(await claim(makeClaim()));
  assertEquals([...firewall.open_], [[`${SOURCE} tcp/22`, nowMs + 10_000]]);
  assertEquals(lines, [
    `info open sequence door ${SOURCE} tcp/22 until 2026-01-02T12:00:10.000Z (10s)`,
  ]);
  const [event] = store.history.find({});
  assertEquals([event!.client, event!.dialect], ["sequence door", "sequence"]);
  await dropGrants(server, makeConfig([]));
  assertEquals(store.ledger.live(nowMs), []);
});

test("admit() opens for no address that a client cannot have", async () => {
  const { firewall, lines, store, claim } = await makeTestServer();
  const nobodys = ["0.0.0.0", "::", "192.0.2.10", "192.0.2.255", "ff02::1"];
  for (const address of nobodys) {
    assert(!await claim(makeClaim({ address })));
  }
  assertEquals(firewall.open_.size, 0);
  assertEquals(store.ledger.size, 0);
  assertEquals(lines.length, nobodys.length);
  assert(lines[0]!.startsWith("warn refused sequence door 0.0.0.0 tcp/22: "));
});

test("admit() leaves to the kernel what it has done, but what others have for longer", async () => {
  const { ask, firewall, runtime, store, claim } = await makeTestServer();
  const nowMs = runtime.nowMs();
  const done = makeClaim({ inKernel: true });
  await claim(done);
  assertEquals([...firewall.open_], []);
  assertEquals(store.ledger.live(nowMs).length, 1);
  await ask({ ports: [SSH], seconds: 600 });
  firewall.open_.clear(); // the kernel has given it the sequence's time
  await claim(done);
  assertEquals([...firewall.open_.values()], [nowMs + 600_000]);
  firewall.open_.clear(); // the kernel has closed it for all
  await claim({ ...done, action: "close", seconds: 0 });
  assertEquals([...firewall.open_.values()], [nowMs + 600_000]);
  assertEquals(store.ledger.live(nowMs).map(({ client }) => client), ["alice"]);
});

test("admit() opens nothing that cannot be written down", async () => {
  const { firewall, runtime, lines, claim } = await makeTestServer();
  runtime.databases.failing = "ENOSPC";
  assertEquals(await claim(makeClaim()), false);
  assertEquals(firewall.open_.size, 0);
  assert(lines[0]!.startsWith("error failed sequence door"), lines[0]);
});

function makeClaim(over: Partial<Claim> = {}): Claim {
  return {
    ...{ client: "sequence door", dialect: "sequence", action: "open" },
    ...{ command: null, address: SOURCE, ports: [SSH], seconds: 10 },
    ...{ to: null, run: null, inKernel: false },
    ...over,
  };
}

test("nobody else's knock gives a used single-use grant back", async () => {
  const { ask, firewall } = await makeTestServer([
    makeClient({ once: true }),
    makeClient({ name: "bob" }),
  ]);
  const use = () => void firewall.open_.delete(`${SOURCE} tcp/22`);
  await ask({ ports: [SSH], seconds: 600 });
  use();
  const WEB = { protocol: "tcp", first: 8080, last: 8080 } as const;
  await ask({ client: "bob", ports: [WEB] });
  await ask({ client: "bob", action: "close", ports: [WEB] });
  assertEquals([...firewall.open_.keys()], [], "closing others");
  await ask({ ports: [WEB], seconds: 600 });
  await ask({ action: "close", ports: [WEB] });
  assertEquals([...firewall.open_.keys()], [], "closing her own others");

  const once: boolean[] = [];
  const { change } = firewall;
  firewall.change = (touched, live) => {
    once.push(...touched.map((grant) => grant.once));
    return change(touched, live);
  };
  await ask({ client: "bob", ports: [SSH], seconds: 10 });
  assertEquals(once, [false], "only what bob asked for");
});

test("close ends a part of a range, and leaves the rest", async () => {
  const { ask, firewall, store, runtime } = await makeTestServer();
  const tcp = (first: number, last = first) =>
    ({ protocol: "tcp", first, last }) as const;
  await ask({ seconds: 60 });
  const answer = await ask({ action: "close", ports: [tcp(8085)] });
  assertEquals(answer?.status, "done");
  assertEquals([...firewall.open_.keys()].sort(), [
    `${SOURCE} tcp/22`,
    `${SOURCE} tcp/8080-8084`,
    `${SOURCE} tcp/8086-8090`,
  ]);
  firewall.failing = true;
  assertEquals(
    (await ask({ action: "close", ports: [tcp(8090)] }))?.status,
    "failed",
  );
  const left = store.ledger.live(runtime.nowMs()).map(({ ports }) =>
    formatPortRange(ports)
  );
  assert(left.includes("tcp/8086-8090"), left.join(" "));
});

test("apply() brings back no grant of a client that is gone", async () => {
  const { ask, firewall, server } = await makeTestServer([
    makeClient(),
    makeClient({ name: "bob" }),
  ]);
  await ask({ ports: [SSH] });
  await ask({ client: "bob", ports: [SSH] }, "203.0.113.10");
  await applyAll(server, { config: makeConfig([makeClient()]), firewall });
  assertEquals([...firewall.open_.keys()], [`${SOURCE} tcp/22`]);
});

test("one client cannot fill the ledger for an address", async () => {
  const { ask, store } = await makeTestServer([
    makeClient({ open: [{ protocol: "tcp", first: 1, last: 65_535 }] }),
  ]);
  const ports = (from: number) =>
    Array.from({ length: 15 }, (_, index) => ({
      protocol: "tcp" as const,
      first: from + index,
      last: from + index,
    }));
  let last = "";
  for (let from = 1; from < 1200; from += 15) {
    last = (await ask({ ports: ports(from) }))!.status;
  }
  assertEquals(last, "failed");
  assert(store.ledger.size < 1100, `${store.ledger.size}`);
  assertEquals((await ask({ ports: ports(1) }))?.status, "done", "extended");
});

test("one-time codes cannot be guessed: a few wrong ones, then a delay that doubles", async () => {
  const code = new Uint8Array(20).fill(5);
  const { ask, runtime, store } = await makeTestServer([makeClient({ code })]);
  const right = () => oneTimeCode(code, runtime.nowMs());
  const wrong = () => (right() + 1) % 1_000_000;
  const status = async (code: number | null) =>
    (await ask({ ports: [SSH], code }))?.status;
  for (let tried = 0; tried < 5; tried++) await status(wrong());
  assertEquals(await status(right()), "refused", "not even looked at");
  assertEquals(
    store.history.find({}).at(-1)?.reason,
    "too many wrong one-time codes: wait, up to an hour",
  );
  await runtime.clock.advance(60_000);
  assertEquals(await status(null), "refused", "none is no guess");
  assertEquals(await status(right()), "done");
  assertEquals(await status(wrong()), "refused", "the first of five again");
  await runtime.clock.advance(30_000);
  assertEquals(await status(right()), "done");
});

test("the delay after wrong one-time codes doubles up to an hour, over restarts", async () => {
  const runtime = new FakeRuntime({ steps: "by hand" });
  const store = await openStore(runtime, "/var/lib/knock");
  let nowMs = START_MS;
  let tries = 0;
  const dayMs = 24 * 3_600_000;
  const waits: number[] = [];
  const stepMs = () => tries < 5 ? 1000 : 20_000;
  for (let triedMs = nowMs; nowMs < START_MS + dayMs; nowMs += stepMs()) {
    // Each time as after a restart: what counts is in the state.
    const codes = new CodeGuard(store);
    if (!codes.mayTry("alice", nowMs)) continue;
    codes.noteWrong("alice", nowMs);
    tries++;
    waits.push((nowMs - triedMs) / 1000);
    triedMs = nowMs;
  }
  // deno-fmt-ignore
  assertEquals(waits.slice(0, 13), [
    0, 1, 1, 1, 1, 60, 120, 240, 480, 960, 1920, 3600, 3600,
  ]);
  assertEquals(tries, 33, "with three right codes of a million: 0.01 % a day");
  const codes = new CodeGuard(store);
  assert(codes.mayTry("bob", nowMs), "another client's are another's");
  assert(!codes.mayTry("alice", START_MS), "a clock that was set back");
  assert(codes.mayTry("alice", START_MS + 3_600_000), "waits an hour at most");
  assert(codes.use("alice", 1, 120_000, START_MS));
  codes.noteWrong("alice", START_MS + 1);
  assert(codes.mayTry("alice", START_MS + 1), "a right one begins anew");
});

test("a ping is counted, and leaves no event", async () => {
  const { ask, store } = await makeTestServer();
  await ask({ ports: [SSH] });
  for (let sent = 0; sent < 100; sent++) {
    assertEquals((await ask({ action: "ping" }))?.status, "done");
  }
  assertEquals(store.history.find({}).map(({ event }) => event), ["open"]);
});

test("whoever is refused again and again is told of a few times, and counted", async () => {
  const { ask, lines, store, runtime } = await makeTestServer();
  const other = [{ protocol: "tcp", first: 5432, last: 5432 }] as const;
  for (let i = 0; i < 1000; i++) await ask({ ports: other });
  assert(store.history.find({}).length <= 60);
  assert(lines.length <= 61, `${lines.length}`);
  assertEquals(
    lines.at(-1),
    "warn refused alice: too often to be told each time: see the counts of `knock status`",
  );
  await runtime.clock.advance(10_000);
  await ask({ ports: other });
  assertEquals(
    lines.at(-1),
    `warn refused alice ${SOURCE} tcp/5432: a port that this client may not open`,
  );
  lines.length = 0;
  for (let i = 0; i < 1000; i++) {
    ask({ timestampMs: runtime.nowMs() - 121_000 });
  }
  assert(lines.length > 10 && lines.length <= 61, `${lines.length}`);
});

test("a client's requests that wait for the firewall are so many at most", async () => {
  const { ask, store, server } = await makeTestServer([
    makeClient({ anyAddress: true }),
    makeClient({ name: "bob" }),
  ]);
  const { promise, resolve } = Promise.withResolvers<void>();
  server.queue.add(() => promise);
  const answers = Array.from(
    { length: 1000 },
    (_, index) => ask({ ports: [SSH], address: `192.0.2.${index % 250}` }),
  );
  const bob = ask({ client: "bob", ports: [SSH] });
  assert(store.ledger.size < 260);
  resolve();
  const statuses = (await Promise.all(answers)).map((one) => one!.status);
  assertEquals(statuses.filter((status) => status === "done").length, 256);
  assertEquals(statuses.at(-1), "failed");
  assertEquals((await bob)?.status, "done");
  assertEquals((await ask({ ports: [SSH] }))?.status, "done", "again");
});

for (const aheadMs of [-119_000, -1, 0, 1, 119_000]) {
  test(`a packet stamped ${aheadMs} ms ahead is taken once, as long as its stamp is timely`, async () => {
    const { ask, runtime, store } = await makeTestServer();
    const timestampMs = runtime.nowMs() + aheadMs;
    const identity = new Uint8Array(32).fill(77);
    const copy = () => ask({ timestampMs, identity, ports: [SSH] });
    assert(copy() !== null);
    const lastMs = timestampMs + 120_000;
    for (const ms of [runtime.nowMs() + 1, lastMs - 1, lastMs]) {
      runtime.clock.set(ms);
      store.replay.prune(ms);
      assertEquals(copy(), null, `${ms - timestampMs} ms after its stamp`);
    }
  });
}

test("a packet that only the file knows is a replay", async () => {
  const { ask, store, firewall, runtime } = await makeTestServer();
  const identity = new Uint8Array(32).fill(78);
  store.replay.record(identity, runtime.nowMs() + 60_000);
  assert(!store.replay.seen(identity));
  assertEquals(ask({ identity, ports: [SSH] }), null);
  assertEquals(firewall.open_.size, 0);
});

test("a packet stamped before the machine's start is out of time", async () => {
  const { ask, store, runtime } = await makeTestServer();
  const nowMs = runtime.nowMs();
  store.replay.begin(nowMs, true);
  assertEquals(ask({ timestampMs: nowMs }), null);
  assert(ask({ timestampMs: nowMs + 1 }) !== null);
});

test("where the ledger has no room nothing opens, whoever asks", async () => {
  const { ask, firewall, store } = await makeTestServer();
  store.ledger.hasRoom = (count, limit) => count > limit;
  assertEquals((await ask({ ports: [SSH] }))?.status, "failed");
  assertEquals([firewall.open_.size, store.ledger.size], [0, 0]);
});

test("a range that is closed in pieces ends where its pieces are too many", async () => {
  const { ask, store, runtime } = await makeTestServer([
    makeClient({ open: [{ protocol: "tcp", first: 1, last: 65_535 }] }),
  ]);
  await ask();
  let most = 0;
  for (let from = 2; from < 4000; from += 900) {
    const ports = Array.from({ length: 450 }, (_, index) => {
      const first = from + 2 * index;
      return { protocol: "tcp", first, last: first } as const;
    });
    await ask({ action: "close", ports });
    most = Math.max(most, store.ledger.size);
  }
  assert(most > 900 && most <= 1024, `${most}`);
  // What there was no room for is shut, not open for ever.
  const live = store.ledger.live(runtime.nowMs());
  assert(live.every(({ ports }) => ports.last < 65_535), `${live.length}`);
});

/** A server on a host whose input chain drops all but what these rules of nft accept or pass. */
async function onHost(...rules: readonly (readonly object[])[]) {
  const made = await makeTestServer(
    [makeClient({ anyAddress: true })],
    { firewall: NFT_GUARD },
  );
  const setRules = (...rules: readonly (readonly object[])[]) => {
    const chain = { family: "inet", table: "filter", name: "input" };
    const text = JSON.stringify({
      nftables: [
        { table: { family: "inet", name: "filter" } },
        {
          chain: { ...chain, type: "filter", hook: "input", policy: "drop" },
        },
        ...rules.map((expr) => ({
          rule: { family: "inet", table: "filter", chain: "input", expr },
        })),
      ],
    });
    made.runtime.programs.set("nft", () => ({ stdout: text }));
  };
  setRules(...rules);
  const { host, active } = made.server;
  await host.look(active.config);
  return { ...made, setRules };
}

const ACCEPT = { accept: null };
const match = (protocol: string, field: string, right: unknown) => ({
  match: { op: "==", left: { payload: { protocol, field } }, right },
});

test("a knock for a port that the host's own rules drop fails, and nothing opens", async () => {
  const { ask, firewall, store, lines } = await onHost(
    [match("tcp", "dport", 8080), ACCEPT],
  );
  assertEquals((await ask({ ports: [SSH] }))?.status, "failed");
  assertEquals([firewall.open_.size, store.ledger.size], [0, 0]);
  const last = lines.at(-1)!;
  assert(last.includes("stays closed"), last);
  const WEB = { protocol: "tcp", first: 8080, last: 8080 } as const;
  assertEquals((await ask({ ports: [WEB] }))?.status, "done");
});

test("where the host's own rules go by the source, the client's decides", async () => {
  const { ask } = await onHost([
    match("ip", "saddr", { prefix: { addr: "203.0.113.0", len: 24 } }),
    ACCEPT,
  ]);
  const status = async (address: string) =>
    (await ask({ ports: [SSH], address }))?.status;
  assertEquals(
    [await status(SOURCE), await status("198.51.100.1")],
    ["done", "failed"],
  );
});

test("before a knock is refused by the host's rules, they are read again", async () => {
  const { ask, runtime, setRules } = await onHost();
  const status = async () => (await ask({ ports: [SSH] }))?.status;
  assertEquals(await status(), "failed");
  setRules([ACCEPT]);
  await runtime.clock.advance(2000);
  assertEquals(await status(), "done");
});
