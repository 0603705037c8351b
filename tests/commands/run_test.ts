import { formatProfile } from "../../lib/client/profile/add.ts";
import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { run } from "../../lib/commands/knock/run.ts";
import { FailureError, UsageError } from "../../lib/values/errors.ts";
import { type FakeOptions, FakeRuntime } from "../fakes/fake_runtime.ts";
import { ENROLMENT, FakeServer, type Manner } from "../fakes/fake_server.ts";

const FILE = "/home/alice/.config/knock/profiles.yaml";

function scene(manner: Manner, options: FakeOptions = {}) {
  const files = { [FILE]: formatProfile("home", ENROLMENT) };
  const fake = new FakeRuntime({ files, ...options });
  const server = new FakeServer(manner);
  fake.network.names.set("home.example.org", ["198.51.100.7"]);
  fake.network.world = server.world;
  return { fake, server };
}

test("knock run asks for a command, and says when it is done", async () => {
  const { fake, server } = scene(() => ({}), { terminals: ["out"] });
  assertEquals(await run(["home", "restart-web"], fake), 0);
  const [request] = server.requests;
  assertEquals([request?.action, request?.command], ["run", "restart-web"]);
  assertEquals(fake.stdout, "restart-web: done\n");
});

test("knock run is silent off a terminal, and waits for a slow command", async () => {
  const { fake, server } = scene((_, __, count) =>
    count === 1 ? { afterMs: 59_000 } : null
  );
  assertEquals(await run(["home", "backup"], fake), 0);
  assertEquals(fake.stdout, "");
  const seen = new Set(server.requests.map(({ identity }) => identity.toHex()));
  assertEquals([server.requests.length, seen.size], [3, 1]);
});

const denied: [name: string, manner: Manner, message: string][] = [
  [
    "refused",
    () => ({ status: "refused" }),
    "refused: this client is not allowed to run x",
  ],
  ["failed", () => ({ status: "failed" }), "the server's command failed"],
  ["silent", () => null, "no answer from home.example.org"],
];

test("knock run tells where a command's failure is seen", async () => {
  const { fake } = scene(() => ({ status: "failed" }));
  const error = await assertRejects(
    () => run(["home", "x"], fake),
    FailureError,
  );
  assertEquals(error.hint, "look at the server's log, which says how it ended");
});

for (const [name, manner, message] of denied) {
  test(`knock run fails when the server ${name}`, async () => {
    const { fake } = scene(manner);
    await assertRejects(() => run(["home", "x"], fake), FailureError, message);
    assertEquals(fake.stdout, "");
  });
}

const wrong: [args: string[], message: string][] = [
  [["home"], "COMMAND is missing"],
  [["home", ""], "COMMAND must be 1 to 60 bytes, got 0"],
  [["home", "é".repeat(31)], "got 62"],
  [["home", "x", "y"], `unexpected argument "y"`],
  [["home", "x", "--timeout", "soon"], `--timeout must be a duration`],
];

for (const [args, message] of wrong) {
  test(`knock run ${args.join(" ")}: ${message}`, async () => {
    const { fake } = scene(() => ({}));
    await assertRejects(() => run(args, fake), UsageError, message);
    assertEquals(fake.network.sent.length, 0);
  });
}
