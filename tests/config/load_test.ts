import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { test } from "node:test";
import { loadConfig } from "../../lib/config/files/load.ts";
import { ConfigError, SystemError } from "../../lib/values/errors.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";

const FILE = "/etc/knock/server.yaml";
const KEY_FILE = "/etc/knock/server.key";
const KEY = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";

function machine(text = "listen: 62201\n", key = `${KEY}\n`): FakeRuntime {
  return new FakeRuntime({ files: { [FILE]: text, [KEY_FILE]: key } });
}

test("loadConfig() reads the key beside the file, and knows the state's folder", () => {
  const config = loadConfig(machine(), FILE);
  assertEquals(config.key, new Uint8Array(32).fill(1));
  assertEquals(config.state, "/var/lib/knock");
  assertEquals(config.file, FILE);
});

test("loadConfig() reads a key elsewhere, and one without its newline", () => {
  const runtime = machine("listen: 62201\nkey: /keys/a\n");
  runtime.files.put("/keys/a", KEY);
  assertEquals(loadConfig(runtime, FILE).key.length, 32);
  runtime.files.put("/keys/a", `${KEY}\r\n`);
  assertEquals(loadConfig(runtime, FILE).key.length, 32);
});

const RIGHTS = "must be closed to other users as it holds secrets, got mode";
const WANTED = "must hold a key of 43 base64url characters";

const wrong: [
  name: string,
  change: (runtime: FakeRuntime) => void,
  mistakes: string[],
  hint?: string,
][] = [
  ["no file", ({ files }) => files.remove(FILE), [`${FILE}: is missing`]],
  ["a folder", ({ files }) => {
    files.remove(FILE);
    files.makeFolder(FILE, 0o700);
  }, [`${FILE}: is a folder, not a file`]],
  [
    "a file of somebody else",
    ({ files }) => files.failing.set(FILE, "EACCES"),
    [
      `${FILE}: cannot be read: permission denied`,
    ],
  ],
  ["an empty file", ({ files }) => files.put(FILE, ""), [`${FILE}: is empty`]],
  ["a file that others read", ({ files }) => files.chmod(FILE, 0o644), [
    `${FILE}: ${RIGHTS} "0644"`,
  ], `chmod 600 ${FILE}`],
  ["a file that a group writes", ({ files }) => files.chmod(FILE, 0o620), [
    `${FILE}: ${RIGHTS} "0620"`,
  ], `chmod 600 ${FILE}`],
  ["a key that others read", ({ files }) => files.chmod(KEY_FILE, 0o604), [
    `${FILE}: key: "${KEY_FILE}" ${RIGHTS} "0604"`,
  ], `chmod 600 ${KEY_FILE}`],
  ["no key", ({ files }) => files.remove(KEY_FILE), [
    `${FILE}: key: "${KEY_FILE}" is missing`,
  ]],
  ["an empty key", ({ files }) => files.put(KEY_FILE, ""), [
    `${FILE}: key: "${KEY_FILE}" ${WANTED}, got nothing`,
  ]],
  ["a truncated key", ({ files }) => files.put(KEY_FILE, KEY.slice(1)), [
    `${FILE}: key: "${KEY_FILE}" ${WANTED}, got 42 characters`,
  ]],
  ["a key of zeros", ({ files }) => files.put(KEY_FILE, "A".repeat(43)), [
    `${FILE}: key: "${KEY_FILE}" ${WANTED}, got 43 characters`,
  ]],
  ["two keys", ({ files }) => files.put(KEY_FILE, `${KEY}\n${KEY}\n`), [
    `${FILE}: key: "${KEY_FILE}" ${WANTED}, got 88 characters`,
  ]],
  ["all of it", ({ files }) => {
    files.put(FILE, "listen: 62201\nreply: 1\n", 0o666);
    files.remove(KEY_FILE);
  }, [
    `${FILE}: ${RIGHTS} "0666"`,
    `${FILE}: reply: must be true or false, got "1"`,
    `${FILE}: key: "${KEY_FILE}" is missing`,
  ]],
];

for (const [name, change, mistakes, hint] of wrong) {
  test(`loadConfig() refuses ${name}`, () => {
    const runtime = machine();
    change(runtime);
    const error = assertThrows(() => loadConfig(runtime, FILE), ConfigError);
    assertEquals(error.lines, mistakes);
    if (hint !== undefined) assertEquals(error.hint, hint);
  });
}

test("loadConfig() lets others enter what they cannot read", () => {
  const runtime = machine();
  runtime.files.chmod(FILE, 0o711);
  assertEquals(loadConfig(runtime, FILE).reply, true);
});

const client = (letter: string, more = "open: [ssh]") =>
  `{ knock: { key: ${letter.repeat(42)}A, psk: ${
    letter.repeat(42)
  }A }, ${more} }`;
const TEXT = `services: { ssh: tcp/22, web: [tcp/80, tcp/443] }
clients:
  a: ${client("B", "open: all")}
`;

function included(files: Readonly<Record<string, string>>): FakeRuntime {
  const runtime = machine(TEXT);
  runtime.files.makeFolder("/etc/knock/clients.d", 0o700);
  for (const [name, text] of Object.entries(files)) {
    runtime.files.put(`/etc/knock/clients.d/${name}`, text);
  }
  return runtime;
}

test("loadConfig() adds the clients of clients.d/*.yaml, by name of the file", () => {
  const { clients } = loadConfig(
    included({
      "20.yaml": `clients:\n  c: ${client("D", "open: [all, udp/53]")}\n`,
      "10.yaml": `b: ${client("C")}\n`,
      "30.yml": "# nobody yet\n",
      "old.yaml~": "b: {}\n",
      ".hidden.yaml": "b: {}\n",
      "README": "clients of the office",
    }),
    FILE,
  );
  assertEquals(clients.map(({ name, open }) => [name, open.length]), [
    ["a", 3],
    ["b", 1],
    ["c", 4],
  ]);
});

const D = "/etc/knock/clients.d";
const wrongIncluded: [text: string, mistake: string][] = [
  ["- b\n", `${D}/x.yaml: must be a mapping of clients, got a list`],
  ["b: [\n", `${D}/x.yaml: line 2: cannot read`],
  [
    `a: ${client("C")}\n`,
    `${D}/x.yaml: clients.a: must be a client of its own, got one as in the configuration itself`,
  ],
  [
    `b: ${client("C", "open: shh")}\n`,
    `${D}/x.yaml: clients.b.open: must be the name of a service, all, tcp/PORT or udp/PORT, got "shh"`,
  ],
  [
    `b: ${client("C", "opne: ssh")}\n`,
    `${D}/x.yaml: clients.b.opne: unknown key`,
  ],
  [
    `b: ${client("B")}\n`,
    `${D}/x.yaml: clients.b.knock.key: must be`,
  ],
  ["b: { open: ssh }\n", `${D}/x.yaml: clients.b: must have the keys`],
];

for (const [text, mistake] of wrongIncluded) {
  test(`loadConfig() names the file of ${JSON.stringify(text.slice(0, 20))}`, () => {
    const runtime = included({ "x.yaml": text });
    const { lines: mistakes } = assertThrows(
      () => loadConfig(runtime, FILE),
      ConfigError,
    );
    assertEquals(mistakes.length, 1, mistakes.join("\n"));
    assertEquals(mistakes[0]!.slice(0, mistake.length), mistake);
  });
}

test("loadConfig() refuses an included file that others can read", () => {
  const runtime = included({});
  runtime.files.put(`${D}/x.yaml`, `b: ${client("C")}\n`, 0o644);
  const { lines: mistakes } = assertThrows(
    () => loadConfig(runtime, FILE),
    ConfigError,
  );
  assertEquals(mistakes, [`${D}/x.yaml: ${RIGHTS} "0644"`]);
});

test("loadConfig() has no service called all", () => {
  const runtime = machine("services: { all: tcp/22 }\n");
  const { lines: mistakes } = assertThrows(
    () => loadConfig(runtime, FILE),
    ConfigError,
  );
  assertEquals(mistakes, [
    `${FILE}: services.all: must have another name, as "open: all" means every service`,
  ]);
});

test("loadConfig() says nothing of a text in a folder that others can change", () => {
  const runtime = new FakeRuntime({
    userId: 0,
    files: { [FILE]: "hunter2: 1\n", [KEY_FILE]: KEY },
  });
  const read = () => loadConfig(runtime, FILE);
  assert(assertThrows(read, ConfigError).message.includes("hunter2"));
  runtime.files.chown("/etc/knock", 1000);
  assertEquals(assertThrows(read, ConfigError).lines, [
    `${FILE}: "/etc/knock" must belong to root, got user id 1000`,
  ]);
  // Nor does the file's own mode matter: it may be a pipe, which never ends.
  runtime.files.chmod(FILE, 0o644);
  runtime.files.readText = () => assert(false, "it is read");
  assertEquals(assertThrows(read, ConfigError).lines, [
    `${FILE}: "/etc/knock" must belong to root, got user id 1000`,
  ]);
});

// As when a user puts other links there while root looks.
for (const looks of [1, 2, 3]) {
  test(`loadConfig() believes no file whose way cannot be looked at, the ${looks}. time`, () => {
    const runtime = machine();
    const way = runtime.files.way.bind(runtime.files);
    let left = looks;
    runtime.files.way = (path) => {
      if (--left !== 0) return way(path);
      throw new SystemError("EINVAL", "invalid argument");
    };
    const error = assertThrows(() => loadConfig(runtime, FILE), ConfigError);
    assertMatch(error.message, /cannot be read: invalid argument$/);
  });
}
