import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { test } from "node:test";
import type { Answered, Outcome } from "../../lib/client/knock/outcome.ts";
import { sendKnock } from "../../lib/client/knock/send.ts";
import { formatProfile } from "../../lib/client/profile/add.ts";
import { run as runClose } from "../../lib/commands/knock/close.ts";
import { run as runPing } from "../../lib/commands/knock/ping.ts";
import { run as runSend } from "../../lib/commands/knock/send.ts";
import { runCommand } from "../../lib/commands/table.ts";
import { oneTimeCode } from "../../lib/dialects/crypto/codes.ts";
import type { Runtime } from "../../lib/runtime/runtime.ts";
import {
  FailureError,
  SystemError,
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
import type { NewRequest, PolicyRefusal } from "../../lib/dialects/dialect.ts";

const FILE = "/home/alice/.config/knock/profiles.yaml";
const IPV4 = "198.51.100.7";
const IPV6 = "2001:db8::7";
const ASK: NewRequest = {
  action: "open",
  ports: [{ protocol: "tcp", first: 22, last: 22 }],
  command: null,
  seconds: 60,
  address: null,
  code: null,
};

function scene(
  manner?: Manner,
  addresses: readonly string[] = [IPV4],
  options: FakeOptions & { extra?: string; aheadMs?: number } = {},
) {
  const yaml = formatProfile("home", ENROLMENT) + (options.extra ?? "");
  const fake = new FakeRuntime({ files: { [FILE]: yaml }, ...options });
  const server = new FakeServer(manner, options.aheadMs);
  fake.network.names.set("home.example.org", addresses);
  fake.network.world = server.world;
  const sent = () => fake.network.sent;
  const times = () => sent().map(({ atMs }) => atMs - START_MS);
  return { fake, server, sent, times };
}

function answered(outcome: Outcome): Answered {
  if (outcome.kind !== "answered") throw new Error(`it is ${outcome.kind}`);
  return outcome;
}

test("sendKnock() sends what is asked, and hands out the answer", async () => {
  const { fake, server, times } = scene(() => ({ count: 1, afterMs: 40 }));
  const outcome = await sendKnock(fake, PROFILE, ASK);
  assertEquals(outcome, {
    kind: "answered",
    answer: {
      status: "done",
      count: 1,
      seconds: 60,
      timeMs: START_MS + 40,
      address: "203.0.113.9",
    },
    from: { host: IPV4, port: 62201 },
    roundTripMs: 40,
    clockAheadMs: 20,
    code: "none",
  });
  const { identity: _, ...request } = server.requests[0]!;
  assertEquals(request, {
    ...ASK,
    dialect: "knock",
    client: "alice",
    timestampMs: START_MS,
    wantsReply: true,
  });
  assertEquals(times(), [0]);
  assertEquals(fake.monotonicMs(), 40);
  assertEquals(fake.network.open, 0);
});

test("sendKnock() tries three times, each time with a fresh packet", async () => {
  const { fake, server, times } = scene(() => null);
  const outcome = await sendKnock(fake, PROFILE, ASK);
  assertEquals(outcome, { kind: "silent", addresses: [IPV4], tries: 3 });
  assertEquals(times(), [0, 1000, 3000]);
  assertEquals(fake.monotonicMs(), 5000);
  const identities = server.requests.map(({ identity }) => identity.toHex());
  assertEquals(new Set(identities).size, 3);
  assertEquals(
    server.requests.map(({ timestampMs }) => timestampMs - START_MS),
    [0, 1000, 3000],
  );
  assertEquals(fake.network.open, 0);
});

test("sendKnock() ends with the first answer, to whichever try", async () => {
  const { fake, times } = scene((_, __, count) => count === 2 ? {} : null);
  const outcome = await sendKnock(fake, PROFILE, ASK);
  assertEquals(outcome.kind, "answered");
  assertEquals(times(), [0, 1000]);
  assertEquals(fake.monotonicMs(), 1000);
});

test("sendKnock() counts an answer that comes late, by its own packet", async () => {
  const { fake, times } = scene((_, __, count) =>
    count === 1 ? { afterMs: 1700 } : null
  );
  const outcome = answered(await sendKnock(fake, PROFILE, ASK));
  assertEquals(outcome.roundTripMs, 1700);
  assertEquals(times(), [0, 1000]);
});

test("sendKnock() takes an answer from any source", async () => {
  const source = { host: "192.0.2.99", port: 4 };
  const { fake } = scene(() => ({ source }));
  const outcome = answered(await sendKnock(fake, PROFILE, ASK));
  assertEquals(outcome.from, source);
});

test("sendKnock() is not taken in by forged, cut or foreign answers", async () => {
  const { fake, server, times } = scene();
  fake.network.world = (sent, count) => {
    const [reply] = server.world(sent, count);
    const { bytes } = reply!;
    const forged = Array.from(
      { length: bytes.length },
      (_, index) => bytes.with(index, bytes[index]! ^ 1),
    );
    const wrong = [...forged, bytes.subarray(1), new Uint8Array(), sent.bytes];
    return wrong.map((bytes) => ({ bytes }));
  };
  const outcome = await sendKnock(fake, PROFILE, ASK);
  assertEquals(outcome.kind, "silent");
  assertEquals(times().length, 3);
});

test("sendKnock() knocks over IPv4 and IPv6, a packet of its own for each", async () => {
  const { fake, server, sent } = scene(() => ({ afterMs: 5 }), [
    IPV6,
    IPV4,
    IPV6,
  ]);
  await sendKnock(fake, PROFILE, ASK);
  assertEquals(sent().map(({ to }) => to.host), [IPV6, IPV4]);
  assertEquals(
    new Set(server.requests.map(({ identity }) => identity.toHex())).size,
    2,
  );
});

test("sendKnock() sends the same packet to all and again when a command is to run", async () => {
  const { fake, sent } = scene(() => null, [IPV6, IPV4]);
  const ask = { ...ASK, action: "run", ports: [], command: "x" } as const;
  await sendKnock(fake, PROFILE, ask, { tries: 2, patienceMs: 65_000 });
  const packets = sent().map(({ bytes }) => bytes.toHex());
  assertEquals(packets.length, 4);
  assertEquals(new Set(packets).size, 1);
  assertEquals(fake.monotonicMs(), 66_000);
});

test("sendKnock() prefers the yes of one family to the no of the other", async () => {
  const { fake } = scene(
    (_, { to }) =>
      to.host === IPV6
        ? { status: "refused", afterMs: 1 }
        : { status: "done", afterMs: 200 },
    [IPV6, IPV4],
  );
  const outcome = answered(await sendKnock(fake, PROFILE, ASK));
  assertEquals(outcome.answer.status, "done");
  assertEquals(fake.monotonicMs(), 200);
});

test("sendKnock() takes a no at once from all, and soon from one of two", async () => {
  const refused = { status: "refused", afterMs: 1 } as const;
  const all = scene(() => refused, [IPV6, IPV4]);
  await sendKnock(all.fake, PROFILE, ASK);
  assertEquals(all.fake.monotonicMs(), 1);
  const one = scene(
    (_, { to }) => to.host === IPV6 ? refused : null,
    [IPV6, IPV4],
  );
  const outcome = answered(await sendKnock(one.fake, PROFILE, ASK));
  assertEquals(outcome.answer.status, "refused");
  assertEquals(one.fake.monotonicMs(), 251);
});

test("sendKnock() goes on when one family cannot be sent to", async () => {
  const { fake, server } = scene(undefined, [IPV6, IPV4]);
  fake.network.world = (sent, count) => {
    if (sent.to.host === IPV6) {
      throw new SystemError("ENETUNREACH", "network is unreachable");
    }
    return server.world(sent, count);
  };
  const outcome = await sendKnock(fake, PROFILE, ASK);
  assertEquals(outcome.kind, "answered");
});

test("sendKnock() fails when no address can be sent to", async () => {
  const { fake, times } = scene(undefined, [IPV6, IPV4]);
  fake.network.world = () => {
    throw new SystemError("ENETUNREACH", "network is unreachable");
  };
  await assertRejects(
    () => sendKnock(fake, PROFILE, ASK),
    FailureError,
    `cannot send to home.example.org: ${IPV6}: network is unreachable; ${IPV4}: network`,
  );
  assertEquals(times(), [0, 0]);
  assertEquals(fake.network.open, 0);
});

test("sendKnock() fails when the name does not resolve, or not in a family", async () => {
  const { fake } = scene();
  await assertRejects(
    () => sendKnock(fake, PROFILE, ASK, { family: "IPv6" }),
    FailureError,
    `the server "home.example.org" has no IPv6 address: it has ${IPV4}`,
  );
  fake.network.names.clear();
  const error = await assertRejects(
    () => sendKnock(fake, PROFILE, ASK),
    FailureError,
    `the server's name "home.example.org" does not resolve`,
  );
  assertStringIncludes(error.hint!, 'profile "home"');
});

test("sendKnock() puts in the one-time code of the moment", async () => {
  const { fake, server } = scene(() => null);
  const code = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
  const secret = new TextEncoder().encode("12345678901234567890");
  fake.clock.set(59_500);
  await sendKnock(fake, { ...PROFILE, code }, ASK, { tries: 2 });
  assertEquals(server.requests.map(({ code }) => code), [
    287082,
    oneTimeCode(secret, 60_500),
  ]);
  await sendKnock(fake, { ...PROFILE, code }, { ...ASK, code: 7 });
  assertEquals(server.requests.at(-1)?.code, 7);
});

test("sendKnock() without a reply sends once to each address, and is gone", async () => {
  const { fake, server, times } = scene(undefined, [IPV6, IPV4]);
  const outcome = await sendKnock(fake, PROFILE, ASK, { reply: false });
  assertEquals(outcome, { kind: "sent", addresses: [IPV6, IPV4] });
  assertEquals(server.requests.map(({ wantsReply }) => wantsReply), [
    false,
    false,
  ]);
  assertEquals(times(), [0, 0]);
  assertEquals(fake.monotonicMs(), 0);
  assertEquals(fake.network.open, 0);
});

/** The time of day in this machine's zone. */
function local(ms: number): string {
  return new Date(ms).toTimeString().slice(0, 8);
}

const told: [args: string[], manner: Manner, line: string][] = [
  [["--open", "tcp/22"], () => ({ count: 1 }), "open tcp/22 for"],
  [
    ["--open", "tcp/22,udp/53", "--open", "tcp/22"],
    () => ({ count: 2 }),
    "open tcp/22, udp/53 for",
  ],
  [[], () => ({ count: 2 }), "open 2 ports for"],
  [[], () => ({ count: 1 }), "open 1 port for"],
];
for (const [args, manner, line] of told) {
  test(`knock send ${args.join(" ")} says "${line} …" on a terminal`, async () => {
    const { fake } = scene(manner, [IPV4], { terminals: ["out"] });
    assertEquals(await runSend(["home", ...args], fake), 0);
    const until = local(START_MS + 30_000);
    assertEquals(fake.stdout, `${line} 203.0.113.9 until ${until}\n`);
    assertEquals(fake.stderr, "");
  });
}

test("knock send is silent with --quiet, --no-reply, or without a terminal", async () => {
  const cases: [string[], ("out")[]][] = [
    [["--quiet"], ["out"]],
    [["-q"], ["out"]],
    [["--no-reply"], ["out"]],
    [[], []],
  ];
  for (const [args, terminals] of cases) {
    const { fake, sent } = scene(undefined, [IPV4], { terminals });
    assertEquals(await runSend(["home", ...args], fake), 0);
    assertEquals(fake.stdout + fake.stderr, "");
    assertEquals(sent().length, 1);
  }
});

test("knock send takes the profile's defaults, and options over them", async () => {
  const extra = "  open: [tcp/22]\n  for: 5m\n  from: 192.0.2.5\n";
  const { fake, server } = scene(undefined, [IPV4], { extra });
  await runSend(["home"], fake);
  await runSend(
    ["home", "--open=udp/1", "--for=90", "--from=source"],
    fake,
  );
  await runSend(["home", "--from", "2001:DB8:0::5"], fake);
  const asked = server.requests.map(({ ports, seconds, address }) => [
    ports.map(({ protocol, first }) => `${protocol}/${first}`).join(),
    seconds,
    address,
  ]);
  assertEquals(asked, [
    ["tcp/22", 300, "192.0.2.5"],
    ["udp/1", 90, null],
    ["tcp/22", 300, "2001:db8::5"],
  ]);
});

test("knock send -4 and -6 choose the family, --tries the packets", async () => {
  for (const [flag, address] of [["-4", IPV4], ["-6", IPV6]] as const) {
    const { fake, sent } = scene(() => null, [IPV6, IPV4]);
    await assertRejects(() => runSend(["home", flag, "--tries", "2"], fake));
    assertEquals(sent().map(({ to }) => to.host), [address, address]);
  }
});

const usage: [args: string[], message: string][] = [
  [[], "PROFILE is missing"],
  [["home", "x"], 'unexpected argument "x"'],
  [["nobody"], 'no profile "nobody"'],
  [["home", "--open", "ssh"], 'must be tcp/PORT or udp/PORT, got "ssh"'],
  [["home", "--open", "tcp/0"], 'must be tcp/PORT or udp/PORT, got "tcp/0"'],
  [["home", "--open", "tcp/9-1"], 'tcp/PORT or udp/PORT, got "tcp/9-1"'],
  [["home", "--open", "tcp/1-99"], 'at most 15 ports, got "99"'],
  [["home", "--open", "tcp/1,"], 'tcp/PORT or udp/PORT, got ""'],
  [
    ["home", ...Array.from({ length: 16 }, (_, i) => `--open=tcp/${i + 1}`)],
    "at most 15 ports, got 16",
  ],
  [
    ["home", "--for", "1y"],
    'must be a duration such as 90, 30s, 5m or 8h, got "1y"',
  ],
  [["home", "--for=-5"], 'got "-5"'],
  [["home", "--from", "me"], 'must be an address, source or resolve, got "me"'],
  [["home", "--tries", "0"], 'must be 1 to 10, got "0"'],
  [["home", "--tries", "11"], 'must be 1 to 10, got "11"'],
  [["home", "--tries", "two"], 'must be 1 to 10, got "two"'],
  [["home", "-4", "-6"], "-4 and -6 exclude each other"],
  [["home", "--opne", "tcp/22"], 'unknown option "--opne"'],
];
for (const [args, message] of usage) {
  test(`knock send ${args.slice(0, 3).join(" ")} is refused: ${message}`, async () => {
    const { fake, sent } = scene();
    await assertRejects(() => runSend(args, fake), UsageError, message);
    assertEquals(sent().length, 0);
  });
}

test("knock send --from resolve needs to know whom to ask", async () => {
  const { fake, sent } = scene();
  await assertRejects(
    () => runSend(["home", "--from", "resolve"], fake),
    UsageError,
    'profile "home" does not say who tells this client its address',
  );
  assertEquals(sent().length, 0);
});

type Run = (args: string[], runtime: Runtime) => Promise<number>;
const denied: [command: string, run: Run, Manner, message: string][] = [
  [
    "send",
    runSend,
    () => ({ status: "refused" }),
    "refused: this client is not allowed to open these ports",
  ],
  [
    "send",
    runSend,
    () => ({ status: "failed" }),
    "the server's firewall failed",
  ],
  [
    "close",
    runClose,
    () => ({ status: "refused" }),
    "refused: this client is not allowed to close these ports",
  ],
  [
    "ping",
    runPing,
    () => ({ status: "refused" }),
    "refused: this client is not allowed to knock now",
  ],
];
for (const [command, run, manner, message] of denied) {
  test(`knock ${command} fails when ${message}`, async () => {
    const { fake, sent } = scene(manner, [IPV4], { terminals: ["out"] });
    const error = await assertRejects(() => run(["home"], fake), FailureError);
    assertEquals(error.message, message);
    assertStringIncludes(error.hint!, "`knock log`");
    assertEquals(sent().length, 1);
    assertEquals(fake.stdout, "");
  });
}

const reasons: [reason: PolicyRefusal, open: string, message: string][] = [
  ["expired", "tcp/22", "refused: this client has expired"],
  ["hours", "tcp/22", "refused: outside its hours"],
  [
    "address required",
    "tcp/22",
    "refused: this client must name its address",
  ],
  [
    "address",
    "tcp/22",
    "refused: 203.0.113.9 is not the address that the packet came from",
  ],
  [
    "source",
    "tcp/22",
    "refused: 203.0.113.9 is not an address of this client",
  ],
  ["ports", "tcp/8080", "refused: tcp/8080 is not allowed"],
  ["ports", "tcp/1,udp/2", "refused: not all of tcp/1, udp/2 are allowed"],
  [
    "nothing to open",
    "tcp/22",
    "refused: this client may not open anything",
  ],
  ["command", "tcp/22", 'refused: command "" is not allowed'],
  ["code", "tcp/22", "refused: the one-time code is missing or wrong"],
  ["code used", "tcp/22", "refused: the one-time code was used before"],
  ["code tries", "tcp/22", "refused: too many wrong one-time codes"],
  ["forward", "tcp/22", "refused: this client may not forward a port"],
];
for (const [reason, open, message] of reasons) {
  test(`knock send --open ${open}, with a server's reason "${reason}"`, async () => {
    const { fake } = scene(() => ({ status: "refused", reason }));
    const args = ["home", "--open", open, "--json"];
    assertEquals(await runCommand(["send", ...args], fake), 1);
    const [error, hint] = fake.stderr.split("\n");
    assertEquals(error, `knock: error: ${message}`);
    assert(hint!.length > "knock: hint: ".length);
    const told = JSON.parse(fake.stdout);
    assertEquals([told.ok, told.status, told.reason, told.error], [
      false,
      "refused",
      reason.replaceAll(" ", "_"),
      message,
    ]);
  });
}

test("knock send says when the server granted less time than was asked for", async () => {
  const { fake } = scene(() => ({ seconds: 3600, count: 1 }), [IPV4], {
    terminals: ["out"],
  });
  const args = ["home", "--open", "tcp/22", "--for", "8h"];
  assertEquals(await runSend(args, fake), 0);
  assertStringIncludes(fake.stdout, "open tcp/22 for 203.0.113.9 until ");
  assertStringIncludes(fake.stdout, " (1h: the server grants no more)\n");
});

test("knock send tells the likely causes when no answer comes", async () => {
  const { fake } = scene(() => null, [IPV6, IPV4]);
  const error = await assertRejects(
    () => runSend(["home"], fake),
    FailureError,
    `no answer from home.example.org:62201 (${IPV6}, ${IPV4}) after 3 tries`,
  );
  const causes: string[] = error.hint!.split("\n");
  assertEquals(causes.map((cause) => cause.split(":")[0]), [
    "the name",
    "the network",
    "the clock",
    "the keys",
    "the reply",
  ]);
  assertStringIncludes(causes[0]!, `${IPV6} or ${IPV4}`);
  assertStringIncludes(causes[1]!, "UDP port 62201");
  assertStringIncludes(causes[2]!, "2026-01-02T12:00:05Z");
});

test("knock close asks to close, and says what was closed", async () => {
  const { fake, server } = scene(() => ({ count: 3, seconds: 0 }), [IPV4], {
    terminals: ["out"],
  });
  assertEquals(await runClose(["home"], fake), 0);
  assertEquals(server.requests[0]?.action, "close");
  assertEquals(server.requests[0]?.ports, []);
  assertEquals(fake.stdout, "closed 3 ports for 203.0.113.9\n");
});

const clocks: [aheadMs: number, line: string][] = [
  [0, ""],
  [-900, ""],
  [42_000, "the server's clock is 42 s ahead of this machine's\n"],
  [-90_000, "the server's clock is 90 s behind this machine's\n"],
];
for (const [aheadMs, line] of clocks) {
  test(`knock ping tells a clock that is off by ${aheadMs} ms`, async () => {
    const { fake, server } = scene(() => ({ afterMs: 12 }), [IPV4], {
      aheadMs,
    });
    assertEquals(await runPing(["home"], fake), 0);
    assertEquals(server.requests[0]?.action, "ping");
    assertEquals(
      fake.stdout,
      `home answers from ${IPV4}:62201 in 12 ms, and sees 203.0.113.9\n${line}`,
    );
  });
}
