import { assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { loadConfig } from "../../lib/config/files/load.ts";
import { ConfigError } from "../../lib/values/errors.ts";
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
    assertEquals(error.mistakes, mistakes);
    if (hint !== undefined) assertEquals(error.hint, hint);
  });
}

test("loadConfig() lets others enter what they cannot read", () => {
  const runtime = machine();
  runtime.files.chmod(FILE, 0o711);
  assertEquals(loadConfig(runtime, FILE).reply, true);
});
