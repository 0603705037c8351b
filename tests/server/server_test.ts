/** The server on a fake machine: starts, restarts and reloads at bad moments. */

import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import type { Config } from "../../lib/config/config.ts";
import { publicKeyOf } from "../../lib/dialects/crypto/curve25519.ts";
import {
  type Firewall,
  FirewallError,
  type Grant,
} from "../../lib/firewall/firewall.ts";
import type { ServerFact } from "../../lib/server/report/status.ts";
import { RunningServer } from "../../lib/server/server.ts";
import { openStore } from "../../lib/server/state/store.ts";
import { OperatorError } from "../../lib/values/errors.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";
import { makeClient, makeConfig, NFT_GUARD } from "../fakes/fixtures.ts";
import { sealKnock } from "../../lib/dialects/knock1/seal.ts";

const KEY = new Uint8Array(32).fill(2);
const PSK = new Uint8Array(32).fill(3);
const ALICE = makeClient({ knock: { key: publicKeyOf(KEY), psk: PSK } });
const SOURCE = { host: "203.0.113.9", port: 40_000 };
const PORT = 62_201;

/** A firewall that tells what is open, and what was done to it. */
class FakeFirewall implements Firewall {
  readonly name = "fake";
  readonly endsGrants = true;
  readonly open_ = new Set<string>();
  readonly calls: string[] = [];
  failing = false;
  /** Called within apply(). */
  meanwhile = () => {};

  #do(name: string, change: () => void): Promise<void> {
    this.calls.push(name);
    if (this.failing) return Promise.reject(new FirewallError("it burns"));
    change();
    return Promise.resolve();
  }
  #add = (grants: readonly Grant[]) => {
    for (const { address } of grants) this.open_.add(address);
  };
  apply = (_: unknown, grants: readonly Grant[]) =>
    this.#do("apply", () => {
      this.open_.clear();
      this.#add(grants);
      this.meanwhile();
    });
  change = (touched: readonly Grant[], live: readonly Grant[]) =>
    this.#do("change", () => {
      for (const { address } of touched) this.open_.delete(address);
      this.#add(live);
    });
  intact = () => Promise.resolve(true);
  stop = () => this.#do("stop", () => {});
  remove = () => this.#do("remove", () => this.open_.clear());
}

async function makeServer(
  config: Config = makeConfig([ALICE]),
  runtime = new FakeRuntime({ steps: "by hand" }),
) {
  const firewalls: FakeFirewall[] = [];
  const lines: string[] = [];
  const server = await RunningServer.start({
    runtime,
    store: await openStore(runtime, config.state),
    log: (level, message) => void lines.push(`${level} ${message}`),
    createFirewall: () => {
      firewalls.push(new FakeFirewall());
      return Promise.resolve(firewalls.at(-1)!);
    },
  }, config);
  let sent = 0;
  const knock = () => {
    const { packet } = sealKnock(
      {
        server: publicKeyOf(config.key),
        key: KEY,
        psk: PSK,
        ephemeral: new Uint8Array(32).fill(100 + sent++),
      },
      {
        action: "open",
        ports: [],
        command: null,
        seconds: 600,
        address: null,
        code: null,
        wantsReply: false,
      },
      runtime.nowMs(),
    );
    runtime.network.deliver(PORT, packet, SOURCE);
  };
  return { runtime, server, firewalls, lines, knock };
}

/** Lets what is waiting go on. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 5));

test("a client that was removed while the server was down is closed by its start", async () => {
  const { runtime, server, firewalls: [firewall], knock } = await makeServer();
  knock();
  await settle();
  assertEquals([...firewall!.open_], [SOURCE.host]);
  await server.stop();
  const again = await makeServer(makeConfig([]), runtime);
  assertEquals([...again.firewalls[0]!.open_], []);
  await again.server.stop();
  const third = await makeServer(makeConfig([ALICE]), runtime);
  assertEquals(
    [...third.firewalls[0]!.open_],
    [],
    "its grant is gone for good",
  );
  await third.server.stop();
});

test("a reload does not change since when the server runs", async () => {
  const config = makeConfig([ALICE]);
  const { runtime, server } = await makeServer(config);
  const since = runtime.nowMs();
  await runtime.clock.advance(5000);
  await server.reload(config);
  const store = await openStore(runtime, config.state);
  const { sinceMs } = store.fact("server") as ServerFact;
  assertEquals(sinceMs, since);
  store.close();
  await server.stop();
});

test("a packet of a client that a reload is removing opens nothing", async () => {
  const { server, firewalls: [firewall], knock } = await makeServer();
  let came = 0;
  firewall!.meanwhile = () => {
    if (came++ === 0) queueMicrotask(() => queueMicrotask(knock));
  };
  await server.reload(makeConfig([]));
  await settle();
  assertEquals(came, 1);
  assertEquals([...firewall!.open_], []);
  await server.stop();
});

test("a reload that fails twice is an error of the operator's, and the server goes on", async () => {
  const { runtime, server, firewalls: [firewall], knock } = await makeServer();
  knock();
  await settle();
  firewall!.failing = true;
  await assertRejects(() => server.reload(makeConfig([])), OperatorError);
  firewall!.failing = false;
  runtime.databases.failing = "ENOSPC";
  await assertRejects(() => server.reload(makeConfig([])), OperatorError);
  runtime.databases.failing = null;
  assertEquals([...firewall!.open_], [SOURCE.host]);
  knock();
  await settle();
  assertEquals(firewall!.calls.at(-1), "change");
  await server.stop();
});

test("another backend takes over before the old one is taken back", async () => {
  const { server, firewalls } = await makeServer();
  const command = {
    ...NFT_GUARD,
    backend: "command",
    commands: { open: ["open"], close: ["close"] },
  } as const;
  await server.reload(makeConfig([ALICE], { firewall: command }));
  assertEquals(firewalls[0]!.calls.slice(-2), ["remove", "stop"]);
  assertEquals(firewalls[1]!.calls[0], "apply");
  await server.stop();
});

test("numbers whose new address is in use come back at the old one", async () => {
  const { runtime, server } = await makeServer();
  const at = (port: number) =>
    makeConfig([ALICE], { metrics: { host: "127.0.0.1", port } });
  const nobody = () => {};
  await runtime.listenStream({ host: "127.0.0.1", port: 9101 }, nobody);
  for (const port of [9100, 9101, 9100]) await server.reload(at(port));
  const stream = await runtime.connectStream({ host: "127.0.0.1", port: 9100 });
  await stream.write(new TextEncoder().encode("GET /metrics HTTP/1.1\r\n\r\n"));
  const answer = new TextDecoder().decode((await stream.read())!);
  assertEquals(answer.split("\r\n")[0], "HTTP/1.1 200 OK");
  await server.stop();
});
