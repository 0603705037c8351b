import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { runCommand } from "../../lib/commands/table.ts";
import { run, runDropIn } from "../../lib/commands/tools/seq.ts";
import { formatHit, parseHit } from "../../lib/sequences/sequence.ts";
import { type Endpoint, socketAddress } from "../../lib/values/address.ts";
import {
  FailureError,
  SystemError,
  UsageError,
} from "../../lib/values/errors.ts";
import { FakeRuntime, START_MS } from "../fakes/fake_runtime.ts";

const SERVICES = `# network services
ssh		22/tcp
domain		53/tcp
domain		53/udp
http		80/tcp		www	# WorldWideWeb
`;

/** A machine whose every hit is kept: `250 tcp 192.0.2.1:7000`, milliseconds first. */
function machine() {
  const fake = new FakeRuntime({ files: { "/etc/services": SERVICES } });
  fake.network.names.set("gate", ["2001:db8::1", "192.0.2.1"]);
  const hits: string[] = [];
  const note = (protocol: string, { host, port }: Endpoint) =>
    hits.push(`${fake.nowMs() - START_MS} ${protocol} ${host} ${port}`);
  fake.network.world = ({ bytes, to }) => {
    assertEquals([...bytes], [0]);
    note("udp", to);
    return [];
  };
  fake.connectStream = (to) => {
    note("tcp", to);
    return Promise.reject(new SystemError("ECONNREFUSED", "refused"));
  };
  return { fake, hits };
}

const SEQ: [args: string, want: string[]][] = [
  ["192.0.2.1 7000 8000/udp 9000:tcp", [
    "0 tcp 192.0.2.1 7000",
    "100 udp 192.0.2.1 8000",
    "200 tcp 192.0.2.1 9000",
  ]],
  ["gate 7000", ["0 tcp 2001:db8::1 7000"]],
  ["gate -4 7000", ["0 tcp 192.0.2.1 7000"]],
  ["gate 7000 -6", ["0 tcp 2001:db8::1 7000"]],
  ["192.0.2.1 -u 1 65535:tcp", [
    "0 udp 192.0.2.1 1",
    "100 udp 192.0.2.1 65535",
  ]],
  ["192.0.2.1 1 2 --delay 250ms", ["0 tcp 192.0.2.1 1", "250 tcp 192.0.2.1 2"]],
  ["192.0.2.1 1 2 --delay 2", ["0 tcp 192.0.2.1 1", "2000 tcp 192.0.2.1 2"]],
  ["192.0.2.1 1 1 --delay 0", ["0 tcp 192.0.2.1 1", "0 tcp 192.0.2.1 1"]],
  ["192.0.2.1 ssh domain:udp www", [
    "0 tcp 192.0.2.1 22",
    "100 udp 192.0.2.1 53",
    "200 tcp 192.0.2.1 80",
  ]],
];

for (const [args, want] of SEQ) {
  test(`run() of seq ${args} knocks ${want.length} times`, async () => {
    const { fake, hits } = machine();
    assertEquals(await run(args.split(" "), fake), 0);
    assertEquals(hits, want);
    assertEquals(fake.stdout + fake.stderr, "");
    assertEquals(fake.network.open, 0);
  });
}

test("run() of seq takes an IPv6 address in brackets", async () => {
  const { fake, hits } = machine();
  assertEquals(await run(["[2001:db8::1]", "7000"], fake), 0);
  assertEquals(hits, ["0 tcp 2001:db8::1 7000"]);
});

test("run() of seq fails where nothing can be sent", async () => {
  const { fake } = machine();
  fake.connectStream = () =>
    Promise.reject(new SystemError("ENETUNREACH", "network is unreachable"));
  await assertRejects(
    () => run(["192.0.2.1", "7000"], fake),
    FailureError,
    "network is unreachable",
  );
});

const HINTS: [args: string, hint: string][] = [
  ["seq gate 7000:UDP", "write 7000:udp"],
  ["seq gate 7000,8000:UDP", "separate the ports with spaces: 7000 8000:udp"],
  ["192.0.2.1 7000,8000", "separate the ports with spaces: 7000 8000"],
  ["seq gate 7000,", "separate the ports with spaces: 7000"],
  [
    "seq gate 7000-7002",
    "a sequence has no ranges: write each port: 7000 7001 7002",
  ],
  [
    "192.0.2.1 7000-7001:udp",
    "a sequence has no ranges: write each port: 7000:udp 7001:udp",
  ],
  ["seq gate 65534-65536", "a sequence has no ranges: write each port\n"],
  ["seq gate 7000-70000", "a sequence has no ranges: write each port\n"],
  ["seq \u2013v gate 7000", "type it anew: -v"],
  ["\u2013v 192.0.2.1 7000", "type it anew: -v"],
  ["seq gate 7000 \u2014delay 1s", "type it anew: --delay"],
  ["seq gate 7000 \u2013-delay 1s", "type it anew: --delay"],
];

for (const [args, hint] of HINTS) {
  test(`knock ${args} says what to type`, async () => {
    const { fake, hits } = machine();
    assertEquals(await runCommand(args.split(" "), fake), 2);
    assertEquals(hits, []);
    assert(fake.stderr.includes(`knock: hint: ${hint}`), fake.stderr);
  });
}

const WRONG: [args: string, words: string][] = [
  ["", "HOST is missing"],
  ["gate", "PORT is missing"],
  ["gate 0", `got "0"`],
  ["gate 65536", `got "65536"`],
  ["gate 7000 70000:udp", `got "70000:udp"`],
  ["gate 7000:UDP", `got "7000:UDP"`],
  ["gate 7000:", `got "7000:"`],
  ["gate 7000:sctp", `got "7000:sctp"`],
  ["gate nosuch", `got "nosuch"`],
  ["gate ssh:udp", `got "ssh:udp"`],
  ["gate 1 --delay 1x", `got "1x"`],
  ["gate 1 --delay 2h", `got "2h"`],
  ["gate 1 -4 -6", "exclude each other"],
];

for (const [args, words] of WRONG) {
  test(`run() of seq ${args} refuses: ${words}`, async () => {
    const { fake, hits } = machine();
    const given = args === "" ? [] : args.split(" ");
    await assertRejects(() => run(given, fake), UsageError, words);
    assertEquals(hits, []);
  });
}

test("run() of seq says when there is no address", async () => {
  const { fake } = machine();
  fake.network.names.set("six", ["2001:db8::1"]);
  const failing: [string[], string][] = [
    [["nosuch", "1"], `no address for "nosuch"`],
    [["six", "1", "-4"], `no IPv4 address for "six"`],
  ];
  for (const [args, words] of failing) {
    await assertRejects(() => run(args, fake), FailureError, words);
  }
});

const DROP_IN: [args: string, want: boolean][] = [
  ["gate 7000 8000:udp 9000:tcp", true],
  ["-u gate 7000", true],
  ["-d 100 -v gate 7000", true],
  ["-vud100 gate 7000", true],
  ["gate 7000 -u", true],
  ["--udp --delay 5 --ipv4 --verbose gate 7000", true],
  ["gate 0", true],
  ["gate 70000", true],
  ["gate ssh 7000", true],
  ["gate", false],
  ["-u gate", false],
  ["gate ssh", false],
  ["gate --open tcp/22", false],
  ["gate --for 1h", false],
  ["seq gate 7000", false],
  ["send home 22", false],
  ["gate 7000 tcp/22", false],
];

for (const [args, want] of DROP_IN) {
  test(`runDropIn() takes ${args}: ${want}`, async () => {
    const { fake, hits } = machine();
    const ran = runDropIn(args.split(" "), fake);
    assertEquals(ran !== null, want);
    await ran?.catch((error) => assert(error instanceof UsageError));
    if (!want) assertEquals(hits, []);
  });
}

/** Command lines of knockd's own client, as its manual has them, and who is knocked at. */
const KNOCKD_LINES: [args: string, want: string[]][] = [
  ["192.0.2.1 7000", ["0 tcp 192.0.2.1 7000"]],
  ["-v 192.0.2.1 7000", ["0 tcp 192.0.2.1 7000"]],
  ["-v gate -4 7000", ["0 tcp 192.0.2.1 7000"]],
  ["192.0.2.1 ssh 7000", ["0 tcp 192.0.2.1 22", "0 tcp 192.0.2.1 7000"]],
  ["-u 192.0.2.1 7000 ssh:tcp", [
    "0 udp 192.0.2.1 7000",
    "0 udp 192.0.2.1 22",
  ]],
  ["-d50 192.0.2.1 7000:udp 8000", [
    "0 udp 192.0.2.1 7000",
    "50 tcp 192.0.2.1 8000",
  ]],
  ["-d 50 192.0.2.1 7000 8000", [
    "0 tcp 192.0.2.1 7000",
    "50 tcp 192.0.2.1 8000",
  ]],
  ["192.0.2.1 -ud50 7000 8000", [
    "0 udp 192.0.2.1 7000",
    "50 udp 192.0.2.1 8000",
  ]],
  ["--delay=50 --udp 192.0.2.1 7000 8000", [
    "0 udp 192.0.2.1 7000",
    "50 udp 192.0.2.1 8000",
  ]],
  ["-- 192.0.2.1 7000", ["0 tcp 192.0.2.1 7000"]],
];

for (const [args, want] of KNOCKD_LINES) {
  test(`runCommand() takes knockd's own "knock ${args}"`, async () => {
    const { fake, hits } = machine();
    assertEquals(await runCommand(args.split(" "), fake), 0, fake.stderr);
    assertEquals(hits, want);
  });
}

test("runDropIn() knocks without a pause, or with one in milliseconds", async () => {
  const cases: [string, string[], string][] = [
    ["-4 gate 7000 8000:udp", [
      "0 tcp 192.0.2.1 7000",
      "0 udp 192.0.2.1 8000",
    ], ""],
    [
      "-4 -vud50 gate 1 2",
      ["0 udp 192.0.2.1 1", "50 udp 192.0.2.1 2"],
      "hitting udp 192.0.2.1:1\nhitting udp 192.0.2.1:2\n",
    ],
  ];
  for (const [args, want, said] of cases) {
    const { fake, hits } = machine();
    assertEquals(await runDropIn(args.split(" "), fake), 0);
    assertEquals(hits, want);
    assertEquals(fake.stdout, said);
  }
});

test("runDropIn() refuses what knockd's client takes for another port", async () => {
  for (
    const args of ["gate 70000", "gate 0", "gate 7000:UDP", "-d 1s gate 1"]
  ) {
    const { fake } = machine();
    await assertRejects(() => runDropIn(args.split(" "), fake)!, UsageError);
  }
});

test("parseHit() reads each way to write a hit", () => {
  for (const text of ["udp/53", "53/udp", "53:udp"]) {
    assertEquals(formatHit(parseHit(text)!), "udp/53");
  }
  assertEquals(formatHit(parseHit("22")!), "tcp/22");
  for (
    const text of ["", "x", "0", "65536", "1:", "1/sctp", "tcp/1/tcp", "-1"]
  ) {
    assertEquals(parseHit(text), null, text);
  }
});

test("socketAddress() writes both families", () => {
  assertEquals(
    socketAddress("192.0.2.1", 7000).toHex(),
    "02001b58c00002010000000000000000",
  );
  assertEquals(
    socketAddress("2001:db8::1", 7000).toHex(),
    "0a001b580000000020010db800000000000000000000000100000000",
  );
});
