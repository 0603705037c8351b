import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import { knock } from "../../lib/client/knock/knock.ts";
import { formatProfile } from "../../lib/client/profile/add.ts";
import { parseProfiles } from "../../lib/client/profile/profile.ts";
import { run as runExec } from "../../lib/commands/knock/exec.ts";
import { run as runProxy } from "../../lib/commands/knock/proxy.ts";
import { run as runSend } from "../../lib/commands/knock/send.ts";
import { runCommand } from "../../lib/commands/table.ts";
import type { Stream } from "../../lib/runtime/runtime.ts";
import {
  ConfigError,
  FailureError,
  UsageError,
} from "../../lib/values/errors.ts";
import {
  type FakeOptions,
  FakeRuntime,
  START_MS,
} from "../fakes/fake_runtime.ts";
import {
  ENROLMENT,
  FakeServer,
  type Manner,
  PROFILE,
} from "../fakes/fake_server.ts";

const FILE = "/home/alice/.config/knock/profiles.yaml";
const STATE = "/home/alice/.local/state/knock/client";
const IPV4 = "198.51.100.7";
const IPV6 = "2001:db8::7";
const SEEN = "203.0.113.9";
const WISH = {
  action: "open",
  ports: [{ protocol: "tcp", first: 22, last: 22 }],
  command: null,
  seconds: 60,
  code: null,
} as const;
const SOURCE = { from: "source", mayGuess: true } as const;

function scene(
  manner?: Manner,
  options: FakeOptions & { addresses?: string[]; extra?: string } = {},
) {
  const yaml = formatProfile("home", ENROLMENT) + (options.extra ?? "");
  const fake = new FakeRuntime({ files: { [FILE]: yaml }, ...options });
  const server = new FakeServer(manner);
  fake.network.names.set("home.example.org", options.addresses ?? [IPV4]);
  fake.network.world = server.world;
  const named = () => server.requests.map(({ address }) => address);
  return { fake, server, named };
}

/** A service on tcp/22 of the fake network that echoes; how many connected. */
async function serveEcho(fake: FakeRuntime): Promise<() => number> {
  let count = 0;
  await fake.network.listenStream(
    { host: "::", port: 22 },
    async (stream: Stream) => {
      count++;
      try {
        let bytes;
        while ((bytes = await stream.read())) await stream.write(bytes);
        await stream.finish();
      } catch {
        // The other end only looked whether it is open.
      }
    },
  );
  return () => count;
}

test("knock() names the address that the server saw last", async () => {
  const { fake, named } = scene(() => ({ address: SEEN }));
  const first = await knock(fake, PROFILE, WISH, SOURCE);
  assertEquals(first.guessed, false);
  const second = await knock(fake, PROFILE, WISH, SOURCE);
  assertEquals(second.guessed, true);
  assertEquals(named(), [null, SEEN]);
  assertEquals(fake.files.stat(`${STATE}/home.address.json`)?.mode, 0o600);
  assertEquals(fake.files.stat(STATE)?.mode, 0o700);
});

test("knock() knocks at once without it when the server refuses", async () => {
  const { fake, named } = scene(({ address }) =>
    address === SEEN
      ? { status: "refused" }
      : { address: named().length < 2 ? SEEN : "203.0.113.10" }
  );
  await knock(fake, PROFILE, WISH, SOURCE);
  const startMs = fake.monotonicMs();
  const { outcome } = await knock(fake, PROFILE, WISH, SOURCE);
  if (outcome.kind !== "answered") throw new Error(outcome.kind);
  assertEquals(outcome.answer.address, "203.0.113.10");
  assertEquals(fake.monotonicMs(), startMs);
  await knock(fake, PROFILE, WISH, SOURCE);
  assertEquals(named(), [null, SEEN, null, "203.0.113.10"]);
});

test("knock() does not try again for a reason that no address changes", async () => {
  for (
    const [reason, packets] of [
      ["ports", 2],
      ["hours", 2],
      ["address", 3],
      ["source", 3],
    ] as const
  ) {
    let denies = false;
    const { fake, named } = scene(() =>
      denies ? { status: "refused", reason } : {}
    );
    await knock(fake, PROFILE, WISH, SOURCE);
    denies = true;
    const { outcome } = await knock(fake, PROFILE, WISH, SOURCE);
    assertEquals(outcome.kind, "answered");
    assertEquals(named().length, packets, reason);
  }
});

test("knock() goes on without it when nobody answers", async () => {
  const { fake, named } = scene(({ address }) => address ? null : {});
  await knock(fake, PROFILE, WISH, SOURCE);
  const { outcome } = await knock(fake, PROFILE, WISH, SOURCE);
  assertEquals(outcome.kind, "answered");
  assertEquals(named(), [null, SEEN, null]);
});

test("knock() counts all of its tries when nobody answers at all", async () => {
  let silent = false;
  const { fake } = scene(() => silent ? null : {});
  await knock(fake, PROFILE, WISH, SOURCE);
  silent = true;
  const { outcome } = await knock(fake, PROFILE, WISH, SOURCE);
  assertEquals(outcome, { kind: "silent", addresses: [IPV4], tries: 3 });
});

const bare: [name: string, change: (fake: FakeRuntime) => void][] = [
  ["an hour later", (fake) => fake.clock.set(START_MS + 3_600_000)],
  ["when the clock went back", (fake) => fake.clock.set(START_MS - 1)],
  [
    "in another network",
    (fake) => fake.ownAddresses = () => ["192.0.2.11"],
  ],
  [
    "when others could have written it",
    (fake) => fake.files.chmod(`${STATE}/home.address.json`, 0o666),
  ],
  [
    "when it is broken",
    (fake) => fake.files.put(`${STATE}/home.address.json`, `{"own":`),
  ],
  [
    "when it is no address",
    (fake) => {
      const file = `${STATE}/home.address.json`;
      fake.files.put(file, fake.files.readText(file).replace(SEEN, "x"));
    },
  ],
];
for (const [name, change] of bare) {
  test(`knock() names no address ${name}`, async () => {
    const { fake, named } = scene();
    await knock(fake, PROFILE, WISH, SOURCE);
    change(fake);
    await knock(fake, PROFILE, WISH, SOURCE);
    assertEquals(named(), [null, null]);
  });
}

test("knock() names no remembered address where it may not, or hears no reply", async () => {
  const { fake, named } = scene();
  await knock(fake, PROFILE, WISH, SOURCE);
  await knock(fake, PROFILE, WISH, { ...SOURCE, mayGuess: false });
  await knock(fake, PROFILE, WISH, { ...SOURCE, reply: false });
  await knock(fake, { ...PROFILE, remember: false }, WISH, SOURCE);
  assertEquals(named(), [null, null, null, null]);
});

test("knock() works in a home that cannot be written to", async () => {
  const { fake, named } = scene();
  fake.files.failingWrites.set("/home/alice/.local", "EROFS");
  for (const _ of [1, 2]) await knock(fake, PROFILE, WISH, SOURCE);
  assertEquals(named(), [null, null]);
});

test("knock() with both waits for both families, and remembers both", async () => {
  const manner: Manner = (_, { to }) => ({
    address: to.host === IPV4 ? SEEN : "2001:db8::9",
    afterMs: to.host === IPV4 ? 5 : 700,
  });
  const { fake, named } = scene(manner, { addresses: [IPV6, IPV4] });
  const options = { ...SOURCE, both: true };
  const knocked = await knock(fake, PROFILE, WISH, options);
  const { outcome, also, without } = knocked;
  if (outcome.kind !== "answered" || !also) throw new Error(outcome.kind);
  assertEquals([outcome.answer.address, also.answer.address], [
    "2001:db8::9",
    SEEN,
  ]);
  assertEquals(without, null);
  assertEquals((await knock(fake, PROFILE, WISH, options)).guessed, true);
  assertEquals(named().slice(2).sort(), ["2001:db8::9", SEEN]);
});

test("knock() with both says which family is not open", async () => {
  const manner: Manner = (_, { to }) => to.host === IPV4 ? null : {};
  const { fake } = scene(manner, { addresses: [IPV6, IPV4] });
  const options = { ...SOURCE, both: true };
  const { outcome, without } = await knock(fake, PROFILE, WISH, options);
  assertEquals(outcome.kind, "answered");
  assertEquals(without, "IPv4: no answer");
  const only = scene();
  const one = await knock(only.fake, PROFILE, WISH, options);
  assertEquals(one.without?.includes("has no IPv6 address"), true);
  await assertRejects(
    () => knock(fake, PROFILE, { ...WISH, code: 1 }, options),
    UsageError,
    "each is good for one family",
  );
});

test("parseProfiles() reads who tells the address, for all and for one", () => {
  const yaml = formatProfile("home", ENROLMENT);
  const shared = `resolve: { stun: stun.example.org }\n${yaml}`;
  const stun = { host: "stun.example.org", port: 3478 };
  const read = parseProfiles(shared, FILE).get("home")!;
  assertEquals(read.resolve, { stun, https: null, dns: null });
  assertEquals(parseProfiles(shared, FILE).size, 1);
  const own = `${shared}  resolve: { https: https://example.org/ip }\n`;
  assertEquals(parseProfiles(own, FILE).get("home")!.resolve, {
    stun: null,
    https: "https://example.org/ip",
    dns: null,
  });
  const wrong = `${shared}  resolve: { https: http://example.org/ip }\n`;
  const error = assertThrows(() => parseProfiles(wrong, FILE), ConfigError);
  assertEquals(error.lines, [
    `${FILE}: home.resolve.https: must be a URL that starts with https://, ` +
    'got "http://example.org/ip"',
  ]);
});

test("knock proxy carries standard input and output, and knocks once", async () => {
  const { fake, server } = scene(undefined, { stdin: "hello" });
  const connected = await serveEcho(fake);
  const args = ["home", "home.example.org", "22"];
  for (const _ of [1, 2, 3]) assertEquals(await runProxy(args, fake), 0);
  const said = fake.written.map((bytes) => new TextDecoder().decode(bytes));
  assertEquals(said, ["hello", "hello", "hello"]);
  assertEquals([server.requests.length, connected()], [1, 3]);
  assertEquals(server.requests[0]!.ports, [WISH.ports[0]]);
  fake.clock.set(fake.nowMs() + 27_500);
  await runProxy(args, fake);
  assertEquals(server.requests.length, 2, "shortly before the end");
  fake.clock.set(START_MS - 1000);
  await runProxy(args, fake);
  assertEquals(server.requests.length, 3, "given at a time that is to come");
});

test("knock proxy knocks once for many at a time", async () => {
  const { fake, server } = scene(() => ({ afterMs: 80 }), { stdin: "x" });
  const connected = await serveEcho(fake);
  const args = ["home", "home.example.org", "22"];
  const ended = await Promise.all(
    Array.from({ length: 10 }, () => runProxy(args, fake)),
  );
  assertEquals(ended, Array(10).fill(0));
  assertEquals([server.requests.length, connected()], [1, 10]);
  const names = fake.files.list(STATE);
  assertEquals(names, ["home.address.json", "home.tcp-22.json"]);
});

test("knock proxy takes the lock of a process that is gone", async () => {
  const { fake, server } = scene();
  await serveEcho(fake);
  const file = `${STATE}/home.tcp-22.lock.json`;
  fake.files.put(file, `99 ${START_MS}\n`);
  assertEquals(await runProxy(["home", IPV4, "22"], fake), 0);
  assertEquals(server.requests.length, 1);
  assert(fake.monotonicMs() < 100);
});

const hosts: [host: string, ok: boolean][] = [
  ["home.example.org", true],
  ["HOME.example.org", true],
  [IPV4, true],
  ["home", false],
  ["198.51.100.8", false],
  ["github.com", false],
];
for (const [host, ok] of hosts) {
  test(`knock proxy ${ok ? "takes" : "refuses"} the host ${host}`, async () => {
    const { fake, server } = scene();
    await serveEcho(fake);
    const run = () => runProxy(["home", host, "22"], fake);
    if (ok) assertEquals(await run(), 0);
    else await assertRejects(run, UsageError, "HOST must be the server");
    assertEquals(server.requests.length, ok ? 1 : 0);
  });
}

test("knock proxy says that the port is not open in time", async () => {
  const { fake } = scene();
  const error = await assertRejects(
    () => runProxy(["home", IPV4, "22"], fake),
    FailureError,
    `${IPV4}:22 is not open for ${SEEN} after 10 s`,
  );
  assertEquals(error.hint?.includes("nothing listens there"), true);
});

test("knock proxy offers --both when it connects over the other family", async () => {
  const manner: Manner = (_, { to }) =>
    to.host === IPV6 ? { address: "2001:db8::9" } : null;
  const { fake } = scene(manner, { addresses: [IPV6, IPV4] });
  const error = await assertRejects(
    () => runProxy(["home", IPV4, "22"], fake),
    FailureError,
  );
  assertEquals(error.hint?.includes("answered over IPv6"), true);
  assertEquals(error.hint?.includes("--both"), true);
});

for (const port of ["0", "65536", "ssh", "22x"]) {
  test(`knock proxy refuses the port ${port}`, async () => {
    const { fake } = scene();
    await assertRejects(
      () => runProxy(["home", IPV4, port], fake),
      UsageError,
      "PORT must be 1 to 65535",
    );
  });
}

test("knock exec waits for the first TCP port, then runs the command", async () => {
  const { fake, server } = scene();
  const connected = await serveEcho(fake);
  fake.programs.set("true", (_, { inherit }) => {
    assertEquals([connected(), inherit], [1, true]);
    return { code: 5 };
  });
  const args = ["home", "--open", "udp/53,tcp/22", "--", "true", "--help"];
  assertEquals(await runExec(args, fake), 5);
  assertEquals(fake.ran[0]!.argv, ["true", "--help"]);
  assertEquals(server.requests.length, 1);
  fake.programs.set("die", () => ({ code: null, signal: 9 }));
  assertEquals(await runExec(["home", "--", "die"], fake), 137);
});

test("knock exec runs nothing that was not let in", async () => {
  const { fake } = scene(() => ({ status: "refused" }));
  const run = () => runExec(["home", "--", "true"], fake);
  await assertRejects(run, FailureError, "refused: ");
  assertEquals(fake.ran.length, 0);
  await assertRejects(
    () => runExec(["home", "true"], fake),
    UsageError,
    'behind "--"',
  );
  await assertRejects(
    () => runExec(["home", "--"], fake),
    UsageError,
    "COMMAND is missing",
  );
});

/** Does things at their seconds, counted from the first request. */
function schedule(
  fake: () => FakeRuntime,
  plan: Readonly<Record<number, () => void>>,
  manner: Manner = () => ({}),
): Manner {
  let planned = false;
  return (request, sent, count) => {
    if (!planned) {
      planned = true;
      for (const [seconds, act] of Object.entries(plan)) {
        fake().clock.after(Number(seconds) * 1000, act);
      }
    }
    return manner(request, sent, count);
  };
}

test("knock send --keep renews before each end, quietly, until it is stopped", async () => {
  const plan = { 70: () => void fake.signal("SIGINT") };
  const manner = schedule(() => fake, plan);
  const { fake, server } = scene(manner, { terminals: ["out"] });
  const args = ["home", "--for", "30s", "--keep", "--close"];
  assertEquals(await runSend(args, fake), 0);
  const times = server.requests.map(({ timestampMs, action }) =>
    `${(timestampMs - START_MS) / 1000} ${action}`
  );
  assertEquals(times, ["0 open", "21 open", "42 open", "63 open", "70 close"]);
  assertEquals(fake.stdout.split("\n").length, 2, "told once");
  assertEquals(fake.stderr, "");
});

test("knock send --keep knocks when this machine's addresses change, and after a failure", async () => {
  let own = ["192.0.2.10"];
  let silent = false;
  const plan = {
    12: () => void (own = ["192.0.2.99"]),
    14: () => void (silent = true),
    240: () => void (silent = false),
    320: () => void fake.signal("SIGTERM"),
  };
  const manner = schedule(() => fake, plan, () => silent ? null : {});
  const { fake, server } = scene(manner);
  fake.ownAddresses = () => [...own];
  const args = ["home", "--for", "5m", "--keep", "--tries", "1"];
  assertEquals(await runSend(args, fake), 0);
  const times = server.requests.map(({ timestampMs }) =>
    (timestampMs - START_MS) / 1000
  );
  // The addresses are looked at every 5 s; then silence, told once.
  assertEquals(times.slice(0, 3), [0, 15, 18]);
  assertEquals(fake.stderr.match(/trying again/g)?.length, 1);
  assertEquals(fake.stderr.match(/open again/g)?.length, 1);
});

const keeping: [args: string, message: string][] = [
  ["home --keep --code 123456", "each is good once"],
  ["home --keep --no-reply", "must know for how long"],
  ["home --close", "goes with --keep"],
];
for (const [args, message] of keeping) {
  test(`knock send ${args} is refused`, async () => {
    const { fake, server } = scene();
    const run = () => runSend(args.split(" "), fake);
    await assertRejects(run, UsageError, message);
    assertEquals(server.requests.length, 0);
  });
}

test("knock send --json and ping --json print one object, also for a no", async () => {
  const { fake } = scene();
  await runSend(["home", "--open", "tcp/22", "--json"], fake);
  const told = JSON.parse(fake.stdout);
  assertEquals([told.status, told.ports, told.address, told.seconds], [
    "done",
    ["tcp/22"],
    SEEN,
    30,
  ]);
  assertEquals(told.until, new Date(START_MS + 30_000).toISOString());
  const refused = scene(() => ({ status: "refused" }));
  assertEquals(await runCommand(["ping", "home", "--json"], refused.fake), 1);
  assertEquals(JSON.parse(refused.fake.stdout).status, "refused");
  const silent = scene(() => null);
  assertEquals(await runCommand(["home", "--json"], silent.fake), 1);
  const { status, tries, error } = JSON.parse(silent.fake.stdout);
  assertEquals([status, tries], ["no_answer", 3]);
  assertStringIncludes(error, "no answer from home.example.org:62201");
});

for (const [env, colour] of [[{}, true], [{ NO_COLOR: "1" }, false]] as const) {
  test(`progress is painted on a terminal ${colour ? "with" : "without"} colours`, async () => {
    const { fake } = scene(() => null, {
      terminals: ["err"],
      env: { HOME: "/home/alice", ...env },
    });
    await assertRejects(() => runSend(["home"], fake));
    assertEquals(fake.stderr.includes("knocking at home 1 s"), true);
    assertEquals(fake.stderr.includes("\x1b[2m"), colour);
    assertEquals(fake.stderr.endsWith("\r\x1b[K"), true);
    assertEquals(scene().fake.stderr, "");
  });
}
