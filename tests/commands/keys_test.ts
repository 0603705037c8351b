import { test } from "node:test";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { run as check } from "../../lib/commands/operator/check.ts";
import { run as keygen } from "../../lib/commands/tools/keygen.ts";
import { run as pubkey } from "../../lib/commands/tools/pubkey.ts";
import { parseAdkSecret } from "../../lib/dialects/openspa/adk.ts";
import { ConfigError, UsageError } from "../../lib/values/errors.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";

// RFC 7748 §6.1: Alice's key pair.
const PRIVATE = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo";
const PUBLIC = "hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo";

test("keygen prints a private key, and pubkey its public one", async () => {
  const runtime = new FakeRuntime();
  assertEquals(await keygen([], runtime), 0);
  assert(/^[A-Za-z0-9_-]{43}\n$/.test(runtime.stdout));
  const other = new FakeRuntime({ stdin: runtime.stdout });
  assertEquals(await pubkey([], other), 0);
  assertEquals(runtime.stderr, `public key: ${other.stdout}`);
});

test("keygen --adk prints a secret for openspa.adk_secret", async () => {
  const runtime = new FakeRuntime();
  assertEquals(await keygen(["--adk"], runtime), 0);
  assertEquals(parseAdkSecret(runtime.stdout.trim())?.length, 4);
  assertEquals(runtime.stderr, "");
});

for (const stdin of [PRIVATE, `${PRIVATE}\n`, ` ${PRIVATE}\r\n`]) {
  test(`pubkey reads ${JSON.stringify(stdin)}`, async () => {
    const runtime = new FakeRuntime({ stdin });
    assertEquals(await pubkey([], runtime), 0);
    assertEquals(runtime.stdout, `${PUBLIC}\n`);
  });
}

const wrong: [stdin: string, got: string][] = [
  ["", "got nothing"],
  ["hunter2", "got 7 characters"],
  [PRIVATE.slice(1), "got 42 characters"],
  [`${PRIVATE}\n${PRIVATE}`, "got 87 characters"],
  ["A".repeat(43), "got 43 characters"],
  ["A".repeat(10_000), "must be a private key"],
];

for (const [stdin, got] of wrong) {
  test(`pubkey refuses ${JSON.stringify(stdin.slice(0, 8))}, ${got}`, async () => {
    const runtime = new FakeRuntime({ stdin });
    const error = await assertRejects(
      () => pubkey([], runtime),
      UsageError,
      got,
    );
    assert(!String(error).includes("hunter2"));
    assertEquals(runtime.stdout, "");
  });
}

const FILES = {
  "/d/server.yaml": "listen: 62201\n",
  "/d/server.key": `${PRIVATE}\n`,
};

for (const args of [["/d/server.yaml"], ["--config", "/d/server.yaml"]]) {
  test(`check ${args.join(" ")} says that it is OK`, async () => {
    const runtime = new FakeRuntime({ files: FILES });
    assertEquals(await check(args, runtime), 0);
    assertEquals(runtime.stdout, "configuration OK\n");
  });
}

test("check throws what is wrong, and prints nothing", async () => {
  const files = { ...FILES, "/d/server.yaml": "listen: x\nreply: 1\n" };
  const runtime = new FakeRuntime({ files });
  const error = await assertRejects(
    () => check(["/d/server.yaml"], runtime),
    ConfigError,
  ) as ConfigError;
  assertEquals(error.lines.length, 2);
  assertEquals(runtime.stdout, "");
  await assertRejects(() => check([], runtime), UsageError, "no configuration");
});
