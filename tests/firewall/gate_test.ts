import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import {
  type Firewall,
  FirewallError,
  type Grant,
} from "../../lib/firewall/firewall.ts";
import {
  GateFirewall,
  MAX_CONNECTIONS_OF_ADDRESS,
} from "../../lib/firewall/gate/gate.ts";
import { GateGrants } from "../../lib/firewall/gate/grants.ts";
import type { Stream } from "../../lib/runtime/runtime.ts";
import { type Endpoint, parseEndpoint } from "../../lib/values/address.ts";
import { parsePortRange } from "../../lib/values/ports.ts";
import { settle } from "../fakes/fake_clock.ts";
import { FakeRuntime, START_MS } from "../fakes/fake_runtime.ts";
import { runtime } from "../fakes/runtime.ts";

const ALICE = "198.51.100.7";
const encode = (text: string) => new TextEncoder().encode(text);

function service(name: string, ports: string[], to: string | null) {
  return {
    name,
    ports: ports.map((text) => parsePortRange(text)!),
    to: to === null ? null : parseEndpoint(to),
    masquerade: false,
  };
}

function grant(
  ports: string,
  { seconds = 30, address = ALICE, once = false } = {},
): Grant {
  return {
    address,
    ports: parsePortRange(ports)!,
    untilMs: START_MS + seconds * 1000,
    once,
    to: null,
    client: "alice",
  };
}

test("a grant is for its own ports, its own address and its own time", () => {
  const grants = new GateGrants();
  grants.adopt([grant("tcp/2222-2224")]);
  const use = (port: number, address = ALICE, seconds = 0) =>
    grants.use(
      address,
      { protocol: "tcp", first: port, last: port },
      START_MS + seconds * 1000,
    );
  assertEquals([2221, 2222, 2224, 2225].map((port) => use(port)), [
    false,
    true,
    true,
    false,
  ]);
  assertEquals(use(2222, "198.51.100.8"), false);
  assertEquals([use(2222, ALICE, 29.999), use(2222, ALICE, 30)], [true, false]);
});

test("a single use of before the start is none, one of this process stays", () => {
  const grants = new GateGrants();
  const single = grant("tcp/2222", { once: true });
  const use = () => grants.use(ALICE, single.ports, START_MS);
  grants.adopt([single]);
  assertEquals(use(), false);
  grants.renew([single], [single]);
  grants.adopt([single]);
  assertEquals([use(), use()], [true, false]);
  grants.adopt([single]);
  assertEquals(use(), false);
});

/** A gate for tcp/2222 in front of an echo service, on a network in memory. */
async function setUp(steps: "by hand" | "alone" = "by hand") {
  const fake = new FakeRuntime({ steps });
  const served: Stream[] = [];
  await fake.listenStream({ host: "127.0.0.1", port: 22 }, (stream) => {
    served.push(stream);
    echo(stream).catch(() => {});
  });
  const gate: Firewall = new GateFirewall(fake);
  const ssh = service("ssh", ["tcp/2222"], "127.0.0.1:22");
  await gate.apply([ssh], [], fake.nowMs());
  const connect = (port = 2222, address = ALICE) => {
    fake.network.ownAddress = address;
    return fake.connectStream({ host: "192.0.2.10", port });
  };
  /** Sends "hello" and reads the answer; "" when the gate closed the connection. */
  const hello = async (port = 2222, address = ALICE) => {
    try {
      const stream = await connect(port, address);
      await stream.write(encode("hello")).catch(() => {});
      const bytes = await stream.read();
      stream.close();
      await settle();
      return new TextDecoder().decode(bytes ?? new Uint8Array());
    } catch {
      return "";
    }
  };
  const open = (grants: Grant[], all = grants) =>
    gate.change(grants, all, fake.nowMs());
  return { fake, gate, ssh, served, connect, hello, open };
}

async function echo(stream: Stream): Promise<void> {
  for (let bytes; (bytes = await stream.read()) !== null;) {
    await stream.write(bytes);
  }
  await stream.finish();
}

test("gate closes a connection without a grant, and never asks the service", async () => {
  const { hello, served } = await setUp();
  assertEquals(await hello(), "");
  assertEquals(served.length, 0);
});

test("gate passes on who has a grant, until its end, and nobody else", async () => {
  const { hello, open, fake } = await setUp();
  await open([grant("tcp/2222")]);
  assertEquals(await hello(), "hello");
  assertEquals(await hello(2222, "198.51.100.77"), "");
  await fake.clock.advance(29_999);
  assertEquals(await hello(), "hello");
  await fake.clock.advance(1);
  assertEquals(await hello(), "");
});

test("gate lets a connection go on when its grant has ended", async () => {
  const { connect, open, gate, fake } = await setUp();
  await open([grant("tcp/2222")]);
  const stream = await connect();
  await fake.clock.advance(60_000);
  await gate.change([grant("tcp/2222")], [], fake.nowMs());
  await stream.write(encode("still"));
  assertEquals(await stream.read(), encode("still"));
});

test("gate extends a grant, and keeps what stays when one is closed", async () => {
  const { hello, open, gate, fake } = await setUp();
  await open([grant("tcp/2222")]);
  await open([grant("tcp/2222", { seconds: 90 })]);
  await fake.clock.advance(60_000);
  assertEquals(await hello(), "hello");
  const range = grant("tcp/2220-2230", { seconds: 90 });
  await gate.change([grant("tcp/2222")], [range], fake.nowMs());
  assertEquals(await hello(), "hello");
  await gate.change([range], [], fake.nowMs());
  assertEquals(await hello(), "");
});

test("gate ends a single-use grant with its first connection", async () => {
  const { hello, open, gate, ssh, fake } = await setUp();
  const once = grant("tcp/2222", { once: true });
  await open([once]);
  assertEquals(await hello(2222, "198.51.100.8"), "");
  assertEquals(await hello(), "hello");
  assertEquals(await hello(), "");
  // The server does not know that it was used, and hands it in again.
  await open([grant("tcp/2222", { address: "198.51.100.8" })], [once]);
  await gate.apply([ssh], [once], fake.nowMs());
  assertEquals(await hello(), "");
  await open([once]);
  assertEquals(await hello(), "hello");
});

test("gate does not spend a single-use grant where another lets in", async () => {
  const { hello, open, fake } = await setUp();
  const once = grant("tcp/2222", { once: true, seconds: 60 });
  const usual = grant("tcp/2222");
  await open([once], [once, usual]);
  assertEquals(await hello(), "hello");
  await fake.clock.advance(30_000);
  assertEquals([await hello(), await hello()], ["hello", ""]);
});

test("apply() adds and removes listeners, and keeps connections and grants", async () => {
  const { gate, ssh, connect, hello, open, fake } = await setUp();
  const given = [grant("tcp/2222"), grant("tcp/8000-8001")];
  await open([given[0]!], given);
  const running = await connect();
  const web = service("web", ["tcp/8000-8001"], "127.0.0.1:22");
  await gate.apply([ssh, web], given, fake.nowMs());
  assertEquals(await hello(8001), "hello");
  await gate.apply([web], given, fake.nowMs());
  assertEquals(await hello(2222), "");
  await running.write(encode("on"));
  assertEquals(await running.read(), encode("on"));
  assertEquals(await gate.intact(), true);
  await gate.remove();
  assertEquals(fake.network.open, 1); // the service itself
});

test("gate bounds the connections of one address", async () => {
  const { connect, hello, open } = await setUp();
  const other = grant("tcp/2222", { address: "198.51.100.8" });
  await open([grant("tcp/2222"), other]);
  const held: Stream[] = [];
  for (let i = 0; i < MAX_CONNECTIONS_OF_ADDRESS; i++) {
    held.push(await connect());
  }
  assertEquals(await hello(), "");
  assertEquals(await hello(2222, "198.51.100.8"), "hello");
  held[0]!.close();
  await settle();
  assertEquals(await hello(), "hello");
});

test("gate looks at no other connection when a stranger's comes", async () => {
  const fake = new FakeRuntime();
  const { network } = fake;
  let take: (stream: Stream) => void = () => {};
  const gate: Firewall = new GateFirewall(Object.assign(fake, {
    listenStream: (at: Endpoint, handler: (stream: Stream) => void) => {
      take = handler;
      return network.listenStream(at, handler);
    },
    connectStream: () => new Promise(() => {}),
  }));
  await gate.apply([service("ssh", ["tcp/2222"], "127.0.0.1:22")], [], 0);
  await gate.change([grant("tcp/2222")], [grant("tcp/2222")], START_MS);
  let looks = 0;
  const come = (host: string) =>
    take({
      get peer() {
        looks++;
        return { host, port: 1 };
      },
      close: () => {},
    } as Stream);
  for (let i = 0; i < 10; i++) come(ALICE);
  looks = 0;
  come("198.51.100.77");
  assertEquals(looks, 1);
});

const refused: [string, Parameters<typeof service>[], RegExp][] = [
  ["UDP", [["dns", ["udp/53"], "127.0.0.1:53"]], /TCP only, got "udp\/53"/],
  ["no target", [["ssh", ["tcp/22"], null]], /ssh: the gate must know where/],
  ["257 ports", [["x", ["tcp/1000-1256"], "[::1]:1"]], /at most 256 ports/],
  [
    "a port twice",
    [["a", ["tcp/7"], "[::1]:1"], ["b", ["tcp/1-9"], "[::1]:1"]],
    /"tcp\/7" already/,
  ],
];

for (const [name, services, message] of refused) {
  test(`apply() refuses ${name}`, async () => {
    const fake = new FakeRuntime();
    const gate: Firewall = new GateFirewall(fake);
    const error = await assertRejects(
      () => gate.apply(services.map((args) => service(...args)), [], START_MS),
      FirewallError,
    );
    assertEquals(message.test(error.message), true, error.message);
    assertEquals(fake.network.open, 0);
  });
}

test("apply() keeps the old listeners when a new port is in use", async () => {
  const { gate, ssh, hello, open, fake } = await setUp();
  await open([grant("tcp/2222")]);
  const web = service("web", ["tcp/80"], "127.0.0.1:8080");
  const taken = service("taken", ["tcp/22"], "127.0.0.1:23");
  const error = await assertRejects(
    () => gate.apply([ssh, web, taken], [], fake.nowMs()),
    FirewallError,
    "cannot listen on tcp/22",
  );
  assertEquals(error.hint?.includes("127.0.0.1"), true);
  assertEquals(fake.network.open, 2);
  assertEquals(await hello(), "hello");
});

test("change() fails for ports that the gate does not listen on", async () => {
  const { open } = await setUp();
  await assertRejects(
    () => open([grant("tcp/443")]),
    FirewallError,
    'the gate does not listen on "tcp/443"',
  );
});

test("gate carries half-closed connections over real sockets", async () => {
  const behind = await runtime.listenStream(
    { host: "127.0.0.1", port: 0 },
    async (stream) => {
      // Answers only when the whole question was asked, as HTTP/1.0 and nc do.
      let size = 0;
      for (let bytes; (bytes = await stream.read()) !== null;) {
        size += bytes.length;
      }
      await stream.write(encode(`${size} bytes`));
      await stream.finish();
    },
  );
  const gate: Firewall = new GateFirewall(runtime);
  try {
    const port = await applyAnywhere(gate, `127.0.0.1:${behind.at.port}`);
    const at = { host: "127.0.0.1", port };
    const stream = await runtime.connectStream(at, { timeoutMs: 1000 });
    await stream.write(new Uint8Array(300_000));
    await stream.finish();
    let text = "";
    for (let bytes; (bytes = await stream.read()) !== null;) {
      text += new TextDecoder().decode(bytes);
    }
    stream.close();
    assertEquals(text, "300000 bytes");
  } finally {
    await gate.stop();
    await behind.close();
  }
});

/** Applies a gate, open to loopback, on the first port that is free. */
async function applyAnywhere(gate: Firewall, to: string): Promise<number> {
  for (let port = 20_000 + runtime.pid % 10_000;; port++) {
    const ports = `tcp/${port}`;
    const open = {
      ...grant(ports, { address: "127.0.0.1" }),
      untilMs: runtime.nowMs() + 60_000,
    };
    try {
      await gate.apply([service("x", [ports], to)], [open], 0);
      return port;
    } catch (error) {
      if (!/in use/.test(String(error))) throw error;
    }
  }
}
