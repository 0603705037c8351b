/** `knock client` with one-time codes and QR codes. */

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { test } from "node:test";
import { parseEnrolment } from "../../lib/client/profile/enrolment.ts";
import { run } from "../../lib/commands/enrol/client.ts";
import { formatQr, formatQrSvg } from "../../lib/commands/enrol/words.ts";
import { loadConfig } from "../../lib/config/files/load.ts";
import { parseCodeSecret } from "../../lib/dialects/crypto/codes.ts";
import { formatBase64url } from "../../lib/values/bytes.ts";
import {
  ConfigError,
  FailureError,
  type OperatorError,
} from "../../lib/values/errors.ts";
import { type FakeOptions, FakeRuntime } from "../fakes/fake_runtime.ts";

const FILE = "/etc/knock/server.yaml";
const SECRET = "/etc/knock/code/alice.secret";
const TEXT = `listen: 62201
services: { ssh: tcp/22 }
clients:
`;

function machine(text = TEXT, options: FakeOptions = {}): FakeRuntime {
  return new FakeRuntime({
    userId: 0,
    files: {
      [FILE]: text,
      "/etc/knock/server.key": `${
        formatBase64url(new Uint8Array(32).fill(1))
      }\n`,
    },
    ...options,
  });
}

async function enrolled(): Promise<FakeRuntime> {
  const runtime = machine();
  assertEquals(await run(["add", "alice", "--code"], runtime), 0);
  return runtime;
}

test("run() add --code makes a secret of 20 bytes that both sides have", async () => {
  const runtime = await enrolled();
  const { code } = parseEnrolment(runtime.stdout);
  assertEquals(parseCodeSecret(code!)!.length, 20);
  assertEquals(runtime.files.readText(SECRET), `${code}\n`);
  assertEquals(runtime.files.stat(SECRET)!.mode, 0o600);
  assertEquals(runtime.files.stat("/etc/knock/code")!.mode, 0o700);
  assertStringIncludes(
    runtime.files.readText(FILE),
    "    code: code/alice.secret\n",
  );
  const [alice] = loadConfig(runtime, FILE).clients;
  assertEquals(alice!.code, parseCodeSecret(code!));
});

test("run() add --code prints one line, and the app's URI beside it", async () => {
  const runtime = await enrolled();
  const { code } = parseEnrolment(runtime.stdout);
  assertEquals(runtime.stdout.split("\n").length, 2);
  assertStringIncludes(
    runtime.stderr,
    `    otpauth://totp/knock:alice?secret=${code}&issuer=knock\n`,
  );
});

test("run() add without --code makes none", async () => {
  const runtime = machine();
  await run(["add", "alice"], runtime);
  assertEquals(parseEnrolment(runtime.stdout).code, undefined);
  assert(!runtime.stderr.includes("otpauth"));
  assertEquals(runtime.files.paths().length, 2);
});

test("run() add --qr draws the enrolment on standard error", async () => {
  for (const terminals of [[], ["err"]] as const) {
    const runtime = machine(TEXT, { terminals });
    await run(["add", "alice", "--qr", "--code"], runtime);
    assertEquals(runtime.stdout.split("\n").length, 2);
    const line = runtime.stdout.trim();
    const uri = /otpauth:\S+/.exec(runtime.stderr)![0];
    const colours = terminals.length > 0;
    for (const text of [line, uri]) {
      assertStringIncludes(runtime.stderr, formatQr(text, colours));
    }
    assert(!runtime.stderr.includes("wide"), runtime.stderr);
  }
});

test("run() add --qr says when the terminal is too narrow", async () => {
  const runtime = machine(TEXT, { terminals: ["err"], columns: 60 });
  await run(["add", "alice", "--qr"], runtime);
  assertStringIncludes(runtime.stderr, "and the terminal 60: make it wider");
});

test("run() add --svg draws the enrolment in a new file", async () => {
  const runtime = machine();
  await run(["add", "alice", "--svg", "/tmp/alice.svg"], runtime);
  assertEquals(
    runtime.files.readText("/tmp/alice.svg"),
    formatQrSvg(runtime.stdout.trim()),
  );
  assertEquals(runtime.files.stat("/tmp/alice.svg")!.mode, 0o600);
});

type Break = (runtime: FakeRuntime) => void;
const broken: [what: string, prepare: Break, message: string][] = [
  [
    "the configuration cannot be written",
    ({ files }) => files.failingWrites.set(FILE, "ENOSPC"),
    `cannot write ${FILE}`,
  ],
  [
    "the secret cannot be written",
    ({ files }) => files.failingWrites.set(SECRET, "ENOSPC"),
    `cannot write ${SECRET}`,
  ],
  [
    "the secret's folder cannot be made",
    ({ files }) => files.failingWrites.set("/etc/knock/code", "EACCES"),
    "cannot make /etc/knock/code",
  ],
  [
    "there is a secret of that name",
    ({ files }) => files.put(SECRET, "old"),
    `${SECRET} exists already: nothing was changed`,
  ],
  [
    "the picture is there already",
    ({ files }) => files.put("/tmp/alice.svg", "mine"),
    "/tmp/alice.svg exists already",
  ],
  [
    "the picture cannot be written",
    ({ files }) => files.failingWrites.set("/tmp/alice.svg", "EACCES"),
    "cannot write /tmp/alice.svg",
  ],
];
for (const [what, prepare, message] of broken) {
  test(`run() add --code --svg leaves nothing behind when ${what}`, async () => {
    const runtime = machine();
    prepare(runtime);
    const before = runtime.files.paths();
    const folder = runtime.files.paths().includes(SECRET);
    const args = ["add", "alice", "--code", "--svg", "/tmp/alice.svg"];
    await assertRejects(() => run(args, runtime), FailureError, message);
    assertEquals(runtime.files.paths(), before);
    assertEquals(runtime.files.list("/etc/knock").includes("code"), folder);
    assertEquals(runtime.files.readText(FILE), TEXT);
    assertEquals(runtime.stdout, "");
    assert(!runtime.stderr.includes("otpauth"));
  });
}

test("run() add --code leaves no secret of an entry that is wrong", async () => {
  const runtime = machine();
  const args = ["add", "alice", "--code", "--for", "9h"];
  await assertRejects(() => run(args, runtime), ConfigError, "max_for");
  assertEquals(runtime.files.stat("/etc/knock/code"), null);
});

test("run() add --code tells the secret's file where the entry goes in by hand", async () => {
  const runtime = machine(`{ listen: 62201, services: { ssh: tcp/22 } }`);
  const error = await assertRejects(
    () => run(["add", "alice", "--code"], runtime),
    FailureError,
  ) as OperatorError;
  const { code } = parseEnrolment(runtime.stdout);
  assertStringIncludes(error.hint!, "    code: code/alice.secret\n");
  assertStringIncludes(error.hint!, `${SECRET}, mode 600`);
  assertStringIncludes(error.hint!, `\n  ${code}`);
  assertEquals(runtime.files.stat(SECRET), null);
});

test("run() show hides the secret", async () => {
  const runtime = await enrolled();
  const { code } = parseEnrolment(runtime.stdout);
  runtime.stdout = "";
  await run(["show", "alice"], runtime);
  assertStringIncludes(runtime.stdout, "code             (hidden)\n");
  assert(!runtime.stdout.includes(code!));
});

test("run() remove takes the secret away, too", async () => {
  const runtime = await enrolled();
  assertEquals(await run(["remove", "alice"], runtime), 0);
  assertEquals(runtime.files.stat(SECRET), null);
  assertEquals(loadConfig(runtime, FILE).clients, []);
  assertEquals(await run(["add", "alice", "--code"], runtime), 0);
});

test("run() remove works when the secret is gone already", async () => {
  const runtime = await enrolled();
  runtime.files.remove(SECRET);
  assertEquals(await run(["remove", "alice"], runtime), 0);
  assertEquals(loadConfig(runtime, FILE).clients, []);
});

test("run() remove leaves a secret that is elsewhere, or another's too", async () => {
  const elsewhere = await enrolled();
  const text = elsewhere.files.readText(FILE);
  const own = elsewhere.files.readText(SECRET);
  elsewhere.files.put("/etc/knock/mine", own);
  elsewhere.files.put(
    FILE,
    text.replace("code/alice.secret", "/etc/knock/mine"),
  );
  await run(["remove", "alice"], elsewhere);
  assert(elsewhere.files.stat("/etc/knock/mine"));
  assert(elsewhere.files.stat(SECRET));

  const shared = await enrolled();
  await run(["add", "bob", "--code"], shared);
  const both = shared.files.readText(FILE);
  shared.files.put(FILE, both.replace("code/bob.secret", "code/alice.secret"));
  await run(["remove", "alice"], shared);
  assert(shared.files.stat(SECRET));
  assertEquals(loadConfig(shared, FILE).clients.length, 1);
});

test("run() remove says when the secret stays", async () => {
  const runtime = await enrolled();
  runtime.files.failingWrites.set(SECRET, "EACCES");
  const error = await assertRejects(
    () => run(["remove", "alice"], runtime),
    FailureError,
    `client "alice" is removed, but ${SECRET} cannot be`,
  ) as OperatorError;
  assertEquals(error.hint, `rm ${SECRET}`);
});
