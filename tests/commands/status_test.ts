import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { run } from "../../lib/commands/operator/status/status.ts";
import { run as runLog } from "../../lib/commands/operator/log.ts";
import { changes } from "../../lib/commands/operator/status/watch.ts";
import type { Status } from "../../lib/server/report/status.ts";
import type { Event } from "../../lib/server/state/history.ts";
import type { LedgerEntry } from "../../lib/server/state/ledger.ts";
import { openStore } from "../../lib/server/state/store.ts";
import { formatBase64url } from "../../lib/values/bytes.ts";
import { UsageError } from "../../lib/values/errors.ts";
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
    `server running since 2026-01-02T12:00:00.000Z: gate, udp [::]:62201
CLIENT  ADDRESS    LEFT  PORTS
alice   192.0.2.9  27s   tcp/22
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
      "server not running\nnothing is open\n",
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
  assert(pictures[0]!.includes("2s    tcp/22"), pictures[0]);
  assert(pictures[1]!.includes("1s    tcp/22"), pictures[1]);
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
    `2026-01-02T12:00:00.000Z server running since 2026-01-02T12:00:00.000Z: gate, udp [::]:62201
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
    JSON.parse(line)
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
    "2026-01-02T12:00:00.000Z server not running\n",
  );
});

test("changes() is nothing where nothing changed but the time left", () => {
  const at = (nowMs: number): Status => ({
    nowMs,
    server: null,
    grants: [entry(START_MS + 4000)],
    sequences: [],
    sniff: null,
    fleet: null,
    prefilter: null,
    droppedByHost: [],
    counters: {},
    events: [],
  });
  assertEquals(changes(at(START_MS + 1000), at(START_MS)), []);
});

/** Lines of a terminal with 80 columns: no line is longer, none ends within a word. */
function checkScreen(text: string): string[] {
  const lines = text.split("\x1b[E").map((line) =>
    // deno-lint-ignore no-control-regex -- escape sequences
    line.replace(/\x1b\[[\d;?]*[A-Za-z]/g, "")
  );
  assert(lines.length <= 24, `${lines.length} lines`);
  for (const line of lines) assert(line.length <= 80, line);
  return lines;
}

const event = (
  atMs: number,
  name: Event["event"],
  more: Partial<Event> = {},
): Event => ({
  atMs,
  event: name,
  client: "alice",
  address: "192.0.2.9",
  ports: "tcp/22",
  seconds: name === "open" ? 30 : 0,
  dialect: "knock",
  reason: "",
  ...more,
});

/** A machine in use: two grants, refusals, and a history. */
async function busyMachine(terminal: boolean, grants: number) {
  const { runtime, store } = await machine({ terminal });
  store!.setFact("counters", {
    received: 12_345,
    open: 7,
    ping: 0,
    "refused: ports": 3,
    "kernel: wrong tag": 41,
    "failed: firewall": 1,
  });
  const ports = (first: number) =>
    ({ protocol: "tcp", first, last: first }) as const;
  const put = (more: Partial<LedgerEntry>) =>
    store!.ledger.put({ ...entry(START_MS + 7_199_000), ...more });
  put({});
  put({ ports: ports(443) });
  put({
    client: "bob",
    address: "2001:db8:1234:5678:9abc:def0:1234:5678",
    once: true,
    capped: true,
    untilMs: START_MS + 59_000,
  });
  for (let index = 0; index < grants; index++) {
    put({ client: `client-${index}`, address: `198.51.100.${index}` });
  }
  store!.history.add(event(START_MS - 300_000, "open"));
  store!.history.add(event(START_MS - 240_000, "refused", {
    ports: "tcp/8080",
    reason:
      "a port that this client may not open, however often it asks for it",
  }));
  store!.history.add(
    event(START_MS - 1000, "run", { ports: "restart-web", seconds: 0 }),
  );
  return { runtime, store };
}

test("run() on a terminal uses colours and local time, unless NO_COLOR is set", async () => {
  for (const colour of [true, false]) {
    const { runtime } = await busyMachine(true, 0);
    if (!colour) runtime.environment.set("NO_COLOR", "1");
    assertEquals(await run([], runtime), 0);
    assertEquals(runtime.stdout.includes("\x1b["), colour);
    assert(/running since \d\d:00:00 \(0 s\): gate/.test(runtime.stdout));
  }
});

test("run() --watch at 80x24: what is open, the counters in words, the last events", async () => {
  const { runtime } = await busyMachine(true, 0);
  const ended = run(["--watch"], runtime);
  await settle();
  runtime.signal("SIGINT");
  await ended;
  const lines = checkScreen(
    runtime.stdout.split("\x1b[H")[1]!.split("\x1b[J")[0]!,
  );
  const local = (ms: number) => new Date(ms).toTimeString().slice(0, 8);
  assertEquals(lines, [
    `${local(START_MS)}${" ".repeat(61)}Ctrl-C ends`,
    `server running since ${local(START_MS)} (0 s): gate, udp [::]:62201`,
    "",
    "CLIENT  ADDRESS                                 LEFT                PORTS",
    "alice   192.0.2.9                               1h59m               tcp/22,",
    "    tcp/443",
    "bob     2001:db8:1234:5678:9abc:def0:1234:5678  59s    once capped  tcp/22",
    "",
    "    1  failed: firewall   the firewall reported an error: knock log",
    "    3  refused: ports     ports that the client may not open",
    "   41  kernel: wrong tag  another server's key, or a clock that is off",
    "12345  received           packets that reached the server",
    "    7  open               requests that opened ports",
    "",
    `${local(START_MS - 300_000)}  open alice 192.0.2.9 tcp/22 for 30s`,
    `${
      local(START_MS - 240_000)
    }  refused alice 192.0.2.9 tcp/8080: a port that this client may not`,
    "          open, however often it asks for it",
    `${local(START_MS - 1000)}  run alice 192.0.2.9 restart-web`,
  ]);
});

test("run() --watch at 80x24 with 40 grants keeps the counters and the events", async () => {
  const { runtime } = await busyMachine(true, 40);
  const ended = run(["--watch"], runtime);
  await settle();
  runtime.signal("SIGINT");
  await ended;
  const lines = checkScreen(
    runtime.stdout.split("\x1b[H")[1]!.split("\x1b[J")[0]!,
  );
  assertEquals(lines.length, 24);
  const text = lines.join("\n");
  assert(/… and \d+ more of 43 grants/.test(text), text);
  assert(text.includes("kernel: wrong tag"), text);
  assert(lines.at(-1)!.endsWith("run alice 192.0.2.9 restart-web"), text);
});

test("run() --json has no name but in snake_case, and times in RFC 3339", async () => {
  const { runtime } = await busyMachine(false, 0);
  await run(["--json"], runtime);
  const status = JSON.parse(runtime.stdout);
  assertEquals(status.server, {
    pid: runtime.pid,
    since: "2026-01-02T12:00:00.000Z",
    backend: "gate",
    listen: ["[::]:62201"],
  });
  assertEquals(status.grants.at(-1), {
    client: "bob",
    address: "2001:db8:1234:5678:9abc:def0:1234:5678",
    ports: ["tcp/22"],
    to: null,
    since: "2026-01-02T12:00:00.000Z",
    until: "2026-01-02T12:00:59.000Z",
    seconds_left: 59,
    once: true,
    capped: true,
  });
  assertEquals(status.counters.refused_ports, 3);
  assertEquals(status.counters.kernel_wrong_tag, 41);
});

test("runLog() prints RFC 3339 in a pipe, and local time with its age on a terminal", async () => {
  const { runtime } = await busyMachine(false, 0);
  assertEquals(await runLog(["-n", "1"], runtime), 0);
  assertEquals(
    runtime.stdout,
    "2026-01-02T11:59:59.000Z run alice 192.0.2.9 restart-web\n",
  );
  const seen = await busyMachine(true, 0);
  assertEquals(await runLog(["--lines=2"], seen.runtime), 0);
  const [refused, rest, ran] = seen.runtime.stdout.split("\n");
  assertEquals(
    rest,
    `${" ".repeat(22)}\x1b[33mmay not open, however often it asks for it\x1b[m`,
  );
  assert(refused!.includes("   4 min ago  \x1b[33mrefused alice"), refused);
  assert(ran!.includes("     1 s ago  run alice"), ran);
});

test("runLog() --json has ports as a list, and a command apart from them", async () => {
  const { runtime } = await busyMachine(false, 0);
  assertEquals(await runLog(["--json"], runtime), 0);
  const events = runtime.stdout.trimEnd().split("\n").map((line) =>
    JSON.parse(line)
  );
  assertEquals(
    events.map((
      { event, ports, command, reason },
    ) => [event, ports, command, reason !== null]),
    [
      ["open", ["tcp/22"], null, false],
      ["refused", ["tcp/8080"], null, true],
      ["run", [], "restart-web", false],
    ],
  );
});

test("runLog() --follow prints what happens, until Ctrl-C", async () => {
  const { runtime, store } = await busyMachine(false, 0);
  const ended = runLog(["-f", "-n", "1"], runtime);
  await settle();
  store!.history.add(event(START_MS + 5000, "open"));
  await runtime.clock.advance(1000);
  store!.history.add(event(START_MS + 6000, "end"));
  await runtime.clock.advance(1000);
  assert(runtime.signal("SIGINT"));
  assertEquals(await ended, 0);
  assertEquals(
    runtime.stdout.trimEnd().split("\n").map((line) => line.split(" ")[1]),
    ["run", "open", "end"],
  );
  for (const lines of ["0", "-1", "x"]) {
    await assertRejects(
      () => runLog([`--lines=${lines}`], runtime),
      UsageError,
    );
  }
});
