import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { run } from "../../lib/commands/operator/status/status.ts";
import type {
  OpenGrant,
  Status,
} from "../../lib/commands/operator/status/text.ts";
import { changes } from "../../lib/commands/operator/status/watch.ts";
import { openStore } from "../../lib/server/state/store.ts";
import { formatBase64url } from "../../lib/values/bytes.ts";
import { settle } from "../fakes/fake_clock.ts";
import { FakeRuntime, START_MS } from "../fakes/fake_runtime.ts";

const STATE = "/var/lib/knock";
const key = (byte: number) => formatBase64url(new Uint8Array(32).fill(byte));

async function machine(options: { terminal?: boolean; server?: boolean } = {}) {
  const runtime = new FakeRuntime({
    userId: 0,
    steps: "by hand",
    ...options.terminal && { terminals: ["out"] as const },
    files: {
      "/etc/knock/server.yaml":
        `state: ${STATE}\nclients: { alice: { knock: { key: "${
          key(9)
        }", psk: "${key(8)}" } } }\n`,
      "/etc/knock/server.key": key(7),
    },
  });
  if (options.server === false) return { runtime, store: null };
  runtime.files.put(`${STATE}/state.db`, "");
  const store = await openStore(runtime, STATE);
  store.setFact("server", {
    pid: runtime.pid,
    sinceMs: START_MS,
    backend: "gate",
    listen: ["[::]:62201"],
  });
  return { runtime, store };
}

const entry = (untilMs: number) => ({
  client: "alice",
  address: "192.0.2.9",
  ports: { protocol: "tcp", first: 22, last: 22 } as const,
  sinceMs: START_MS,
  untilMs,
  once: false,
  to: null,
});

test("run() says what is open, and ends with 0", async () => {
  const { runtime, store } = await machine();
  store!.ledger.put(entry(START_MS + 27_000));
  assertEquals(await run([], runtime), 0);
  assertEquals(
    runtime.stdout,
    `the server runs since 2026-01-02T12:00:00.000Z: gate, udp [::]:62201
CLIENT  ADDRESS    PORTS   LEFT
alice   192.0.2.9  tcp/22  27s
`,
  );
});

test("run() ends with 1 where no server runs", async () => {
  for (const server of [true, false]) {
    const { runtime } = await machine({ server });
    runtime.processes.clear();
    assertEquals(await run([], runtime), 1);
    assertEquals(
      runtime.stdout,
      "the server does not run\nnothing is open\n",
    );
  }
});

test("run() --watch paints over on a terminal, and Ctrl-C ends it with 0", async () => {
  const { runtime, store } = await machine({ terminal: true });
  store!.ledger.put(entry(START_MS + 2000));
  const ended = run(["--watch"], runtime);
  await runtime.clock.advance(2500);
  assert(runtime.signal("SIGINT"), "it listens for Ctrl-C");
  assertEquals(await ended, 0);
  const [enter, ...pictures] = runtime.stdout.split("\x1b[H");
  assertEquals(enter, "\x1b[?1049h\x1b[?25l\x1b[?7l");
  assertEquals(pictures.length, 3);
  assert(pictures[0]!.includes("tcp/22  2s"), pictures[0]);
  assert(pictures[1]!.includes("tcp/22  1s"), pictures[1]);
  assert(pictures[2]!.includes("nothing is open"), pictures[2]);
  assert(runtime.stdout.endsWith("\x1b[?7h\x1b[?25h\x1b[?1049l"));
  assert(!runtime.stdout.includes("\n"), "nothing scrolls");
  assert(!runtime.signal("SIGINT"), "it listens no more");
});

test("run() --watch says each change in a line where there is no terminal", async () => {
  const { runtime, store } = await machine();
  const ended = run(["-w"], runtime);
  await settle();
  store!.ledger.put(entry(START_MS + 3000));
  await runtime.clock.advance(1000);
  store!.ledger.put(entry(START_MS + 4000));
  await runtime.clock.advance(4000);
  runtime.signal("SIGTERM");
  assertEquals(await ended, 0);
  assertEquals(
    runtime.stdout,
    `2026-01-02T12:00:00.000Z the server runs since 2026-01-02T12:00:00.000Z: gate, udp [::]:62201
2026-01-02T12:00:01.000Z open alice 192.0.2.9 tcp/22 until 2026-01-02T12:00:03.000Z
2026-01-02T12:00:02.000Z extended alice 192.0.2.9 tcp/22 until 2026-01-02T12:00:04.000Z
2026-01-02T12:00:04.000Z end alice 192.0.2.9 tcp/22
`,
  );
});

test("run() --watch --json prints an object a line", async () => {
  const { runtime } = await machine();
  const ended = run(["--watch", "--json"], runtime);
  await runtime.clock.advance(1000);
  runtime.signal("SIGINT");
  await ended;
  const lines = runtime.stdout.trimEnd().split("\n").map((line) =>
    JSON.parse(line) as Status
  );
  assertEquals(lines.map(({ running }) => running), [true, true]);
});

test("run() --watch waits for a server that has not run yet", async () => {
  const { runtime } = await machine({ server: false });
  const ended = run(["--watch"], runtime);
  await runtime.clock.advance(2000);
  runtime.signal("SIGINT");
  assertEquals(await ended, 0);
  assertEquals(
    runtime.stdout,
    "2026-01-02T12:00:00.000Z the server does not run\n",
  );
});

test("changes() is nothing where nothing changed but the time left", () => {
  const grant: OpenGrant = {
    client: "alice",
    address: "192.0.2.9",
    ports: "tcp/22",
    until: "2026-01-02T12:00:04.000Z",
    seconds_left: 4,
  };
  const at = (seconds_left: number): Status => ({
    running: false,
    server: null,
    grants: [{ ...grant, seconds_left }],
    sequences: [],
    dropped_by_host: [],
    counters: {},
  });
  assertEquals(changes(at(3), at(4)), []);
});
