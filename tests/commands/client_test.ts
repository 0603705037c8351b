import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { parseEnrolment } from "../../lib/client/profile/enrolment.ts";
import { run } from "../../lib/commands/enrol/client.ts";
import { loadConfig } from "../../lib/config/files/load.ts";
import { publicKeyOf } from "../../lib/dialects/crypto/curve25519.ts";
import { formatBase64url } from "../../lib/values/bytes.ts";
import {
  ConfigError,
  FailureError,
  type OperatorError,
  UsageError,
} from "../../lib/values/errors.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";

const FILE = "/etc/knock/server.yaml";
const KEY = new Uint8Array(32).fill(1);
const PUBLIC = formatBase64url(new Uint8Array(32).fill(9));
const TEXT = `# mine
listen: 62201
services: { ssh: tcp/22, web: [tcp/80, tcp/443] }
clients: {} # nobody
`;

function machine(text = TEXT, ownAddresses?: string[]): FakeRuntime {
  return new FakeRuntime({
    userId: 0,
    files: {
      [FILE]: text,
      "/etc/knock/server.key": `${formatBase64url(KEY)}\n`,
    },
    ...ownAddresses ? { ownAddresses } : {},
  });
}

test("run() add enrols a client and prints one line", async () => {
  const runtime = machine();
  const args = ["add", "alice", "--for", "1h", "--server", "home.example"];
  assertEquals(await run(args, runtime), 0);
  assertEquals(runtime.stdout.split("\n").length, 2);
  const enrolment = parseEnrolment(runtime.stdout);
  const [alice] = loadConfig(runtime, FILE).clients;
  assertEquals(enrolment.name, "alice");
  assertEquals([enrolment.host, enrolment.port], ["home.example", 62201]);
  assertEquals(enrolment.server, publicKeyOf(KEY));
  assertEquals(alice!.knock, {
    key: publicKeyOf(enrolment.key!),
    psk: enrolment.psk,
  });
  assertEquals(alice!.forSeconds, 3600);
  assertEquals(alice!.open.length, 3);
  const text = runtime.files.readText(FILE);
  assert(text.startsWith("# mine\n") && text.includes("clients: # nobody\n"));
  assert(!runtime.stderr.includes(formatBase64url(enrolment.psk)));
  assertEquals(
    runtime.stderr,
    `this line is secret: give it to nobody but alice
next, at the client:
    knock import              paste the line; it is not shown
    knock alice               open
knock: hint: no server is running: start it with \`knock serve\`, or \`systemctl start knock\`
`,
  );
});

test("run() add takes a public key, and the private one is nowhere", async () => {
  const runtime = machine();
  await run(["add", "a", "--key", PUBLIC, "--open", "ssh,udp/5-6"], runtime);
  assertEquals(parseEnrolment(runtime.stdout).key, null);
  const [client] = loadConfig(runtime, FILE).clients;
  assertEquals(client!.knock!.key, new Uint8Array(32).fill(9));
  assertEquals(client!.open.length, 2);
});

for (const first of [[0xf8], [0xfb, 0xef]]) {
  const key = new Uint8Array(32).fill(9);
  key.set(first);
  const words = formatBase64url(key);
  for (const args of [["--key", words], ["-k", words], [`--key=${words}`]]) {
    test(`run() add takes a public key that begins with a dash: ${args.join(" ")}`, async () => {
      const runtime = machine();
      assert(words.startsWith("-"));
      assertEquals(await run(["add", "a", ...args], runtime), 0);
      const [client] = loadConfig(runtime, FILE).clients;
      assertEquals(client!.knock!.key, key);
    });
  }
}

const hosts: [
  name: string,
  text: string,
  own: string[],
  args: string[],
  host: string,
][] = [
  [
    "the first own address",
    TEXT,
    ["fe80::1", "169.254.1.1", "2001:db8::1"],
    [],
    "2001:db8::1",
  ],
  ["the name without any", TEXT, [], [], "fake-host"],
  [
    "the only address listened on",
    TEXT.replace("62201", `"127.0.0.1:62201"`),
    [],
    [],
    "127.0.0.1",
  ],
  ["IPv6 by hand", TEXT, [], ["--server", "[2001:db8::2]:1"], "2001:db8::2"],
];

for (const [name, text, own, args, host] of hosts) {
  test(`run() add names the server by ${name}`, async () => {
    const runtime = machine(text, own);
    await run(["add", "a", ...args], runtime);
    assertEquals(parseEnrolment(runtime.stdout).host, host);
    assertEquals(runtime.stderr.includes("--server HOST"), args.length === 0);
  });
}

const TWO = `listen: 62201
services: { ssh: tcp/22 }
clients:
  alice:
    knock: { key: ${PUBLIC}, psk: ${PUBLIC} }
    open: ssh
    from: [192.0.2.0/24, 2001:db8::/32, 192.0.2.1]
    expires: 2027-01-01
`;

const wrong: [
  args: string,
  error: new (...args: never[]) => OperatorError,
  message: string,
  hint?: string,
][] = [
  ["", UsageError, "add, set, list, show or remove is missing"],
  [
    "ad bob",
    UsageError,
    `must be add, set, list, show or remove, got "ad"`,
    `did you mean "add"?`,
  ],
  ["add", UsageError, "NAME is missing"],
  ["add -- -x", UsageError, `NAME must be 1 to 64 letters`],
  ["add bob carl", UsageError, `unexpected argument "carl"`],
  ["add alice", FailureError, `there is a client "alice" in ${FILE} already`],
  [
    "add bob --open shh",
    UsageError,
    `--open must be services, all, tcp/PORT or udp/PORT, got "shh"`,
    `did you mean "ssh"?`,
  ],
  ["add bob --open ssh,", UsageError, `got ""`],
  [
    "add bob --for ever",
    UsageError,
    `--for must be a duration such as 90, 30s, 5m or 8h, got "ever"`,
  ],
  ["add bob --for 0", UsageError, `--for must be a duration`],
  [
    "add bob --for 9h",
    ConfigError,
    `clients.bob.for: must be at most max_for, 8h, got "9h"`,
  ],
  [
    "add bob --key x",
    UsageError,
    "--key must be a public key of 43 base64url characters, got 1 character",
  ],
  [
    `add bob --key ${PUBLIC}`,
    UsageError,
    `--key is already the key of client "alice"`,
  ],
  [
    "add bob --server a:b",
    UsageError,
    `--server must be HOST, HOST:PORT or [IPV6]:PORT, got "a:b"`,
  ],
  ["show bob", UsageError, `there is no client "bob" in ${FILE}`],
  [
    "show alcie",
    UsageError,
    `there is no client "alcie"`,
    `did you mean "alice"?`,
  ],
  ["remove bob", UsageError, `there is no client "bob"`],
  ["rm alice", UsageError, `got "rm"`, `did you mean "remove"?`],
  ["set bob --for 1h", UsageError, `there is no client "bob"`],
  [
    "set alice",
    UsageError,
    "there is nothing to set",
    "give --open, --for, --max-for, --expires, --web or --no-web",
  ],
  [
    "set alice --open 22/tcp",
    UsageError,
    `--open must be services, all, tcp/PORT or udp/PORT, got "22/tcp"`,
    "write tcp/22",
  ],
  ["set alice --for ever", UsageError, "--for must be a duration"],
  [
    "set alice --for 9h",
    ConfigError,
    `clients.alice.for: must be at most max_for, 8h, got "9h"`,
  ],
  [
    "set alice --expires soon",
    UsageError,
    `--expires must be never or a time such as 2027-01-01T18:00:00Z, got "soon"`,
  ],
  [
    "set alice --web --no-web",
    UsageError,
    "options --web and --no-web exclude each other",
  ],
];

for (const [args, type, message, hint] of wrong) {
  test(`run() refuses "${args}" and changes nothing`, async () => {
    const runtime = machine(TWO);
    const error = await assertRejects(
      () => run(args === "" ? [] : args.split(" "), runtime),
      type,
      message,
    ) as OperatorError;
    if (hint !== undefined) assertEquals(error.hint, hint);
    assertEquals(runtime.files.readText(FILE), TWO);
    assertEquals(runtime.stdout, "");
  });
}

test("run() add tells the lines where the file is in another form", async () => {
  const flow = `{ listen: 62201, services: { ssh: tcp/22 } }`;
  const runtime = machine(flow);
  const error = await assertRejects(
    () => run(["add", "bob"], runtime),
    FailureError,
  ) as FailureError;
  assert(error.hint!.includes("  bob:\n    knock: { key: "), error.hint);
  assertEquals(runtime.files.readText(FILE), flow);
  assertEquals(parseEnrolment(runtime.stdout).name, "bob");
});

test("run() add prints no enrolment that was not stored", async () => {
  const runtime = machine();
  runtime.files.failingWrites.set(FILE, "ENOSPC");
  await assertRejects(
    () => run(["add", "bob"], runtime),
    FailureError,
    `cannot write ${FILE}`,
  );
  assertEquals(runtime.stdout, "");
});

for (const reader of ["gone", "full"] as const) {
  test(`run() add enrols nobody if the reader of the line is ${reader}`, async () => {
    const runtime = machine();
    runtime.reader = reader;
    const paths = runtime.files.paths();
    await assertRejects(
      () => run(["add", "bob", "--code", "--svg", "/tmp/bob.svg"], runtime),
      FailureError,
      "nobody was enrolled",
    );
    assertEquals(runtime.files.readText(FILE), TEXT);
    assertEquals(runtime.files.paths(), paths);
  });
}

test("run() list and show never show a psk", async () => {
  const runtime = machine(
    TWO.replace(`psk: ${PUBLIC}`, `psk: ${"B".repeat(42)}A`),
  );
  assertEquals(await run(["list"], runtime), 0);
  assertEquals(
    runtime.stdout,
    "CLIENT  DIALECTS  FOR  LAST KNOCK  EXPIRES               OPEN\n" +
      "alice   knock     30s  -           2027-01-01T00:00:00Z  tcp/22\n",
  );
  assertEquals(await run(["show", "alice"], runtime), 0);
  assert(runtime.stdout.includes(`public key       ${PUBLIC}\n`));
  assert(runtime.stdout.includes("192.0.2.0/24, 2001:db8::/32, 192.0.2.1\n"));
  assert(!runtime.stdout.includes("BBBB"));
});

test("run() list of nobody prints nothing on standard output", async () => {
  const runtime = machine();
  assertEquals(await run(["list"], runtime), 0);
  assertEquals(runtime.stdout, "");
});

const settings: readonly (readonly [args: string, lines: string])[] = [
  ["--open all", "    open: [all]\n"],
  [
    "-o ssh,tcp/8080-8090 -f 2h",
    "    open: [ssh, tcp/8080-8090]\n    for: 2h\n",
  ],
  ["--max-for 1d", "    max_for: 1d\n"],
  ["--web", "    web: true\n"],
  ["--expires 2028-02-29", "    expires: 2028-02-29\n"],
];

for (const [args, lines] of settings) {
  test(`run() set ${args} changes that alone`, async () => {
    const runtime = machine(TWO);
    const given = ["set", "alice", ...args.split(" ")];
    assertEquals(await run(given, runtime), 0);
    assertEquals(runtime.stdout, "");
    const text = runtime.files.readText(FILE);
    for (const line of lines.split(/(?<=\n)/)) {
      assert(text.includes(line), text);
    }
    const kept = TWO.split("\n").filter((line) =>
      !/^ {4}(open|expires)/.test(line)
    );
    for (const line of kept) assert(text.includes(line), text);
    assertEquals(await run(given, runtime), 0, "again");
    assertEquals(runtime.files.readText(FILE), text);
  });
}

test("run() set --expires never and --no-web remove the keys", async () => {
  const runtime = machine(TWO.replace("    open", "    web: true\n    open"));
  const args = ["set", "alice", "--expires", "never", "--no-web"];
  assertEquals(await run(args, runtime), 0);
  const [alice] = loadConfig(runtime, FILE).clients;
  assertEquals([alice!.expiresMs, alice!.web], [null, false]);
  assertEquals(
    runtime.files.readText(FILE),
    TWO.replace("    expires: 2027-01-01\n", ""),
  );
});

test("run() set and remove find a client in a file of clients.d", async () => {
  const place = "/etc/knock/clients.d/bob.yaml";
  for (const head of ["", "clients:\n"]) {
    const inner = head === "" ? "" : "  ";
    const entry = [
      "bob:",
      `  knock: { key: ${"C".repeat(42)}A, psk: ${"C".repeat(42)}A }`,
      "  open: [ssh] # his own",
    ].map((line) => `${inner}${line}\n`).join("");
    const runtime = machine(TWO);
    runtime.files.makeFolder("/etc/knock/clients.d", 0o700);
    runtime.files.put(place, `# bob's\n${head}${entry}`);
    assertEquals(await run(["set", "bob", "--for", "2h"], runtime), 0);
    assertEquals(
      runtime.files.readText(place),
      `# bob's\n${head}${entry}${inner}  for: 2h\n`,
    );
    assertEquals(loadConfig(runtime, FILE).clients[1]!.forSeconds, 7200);
    assertEquals(await run(["remove", "bob"], runtime), 0);
    assertEquals(runtime.files.readText(place), `# bob's\n${head}`);
    assertEquals(runtime.files.readText(FILE), TWO);
    assertEquals(loadConfig(runtime, FILE).clients.length, 1);
  }
});

test("run() remove takes the entry out and leaves the rest", async () => {
  const runtime = machine(TWO);
  assertEquals(await run(["remove", "alice"], runtime), 0);
  assertEquals(
    runtime.files.readText(FILE),
    "listen: 62201\nservices: { ssh: tcp/22 }\nclients:\n",
  );
  assertEquals(runtime.stdout, "");
  assertEquals(loadConfig(runtime, FILE).clients, []);
});
