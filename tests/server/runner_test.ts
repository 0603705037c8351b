import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import type { Argv, Grant } from "../../lib/firewall/firewall.ts";
import type { Ran } from "../../lib/runtime/runtime.ts";
import { createRunner } from "../../lib/server/runner.ts";
import { FakeRuntime, START_MS } from "../fakes/fake_runtime.ts";

const GRANT: Grant = {
  client: "alice",
  address: "192.0.2.1",
  ports: { protocol: "tcp", first: 22, last: 22 },
  untilMs: START_MS + 30_000,
  once: false,
  to: null,
};
const BY = { client: "alice", address: "192.0.2.1" };
const ARGV: Argv = ["tool", "{client}"];

/** A runner whose program answers by `answer`. */
function faked(answer: () => Partial<Ran> | Promise<Partial<Ran>>) {
  const fake = new FakeRuntime();
  fake.programs.set("tool", answer);
  const lines: string[] = [];
  const runner = createRunner(fake, (level, message) => {
    lines.push(`${level} ${message}`);
  });
  return { fake, runner, lines };
}

test("hook() runs in turn with the grant's values, and logs failures alone", async () => {
  const codes = [0, 7, 0];
  const ends: (() => void)[] = [];
  const { fake, runner, lines } = faked(() =>
    new Promise((resolve) => {
      const code = codes.shift()!;
      ends.push(() => resolve({ code, stdout: "x\n", stderr: "why\n" }));
    })
  );
  for (let i = 0; i < 3; i++) runner.hook(ARGV, GRANT);
  runner.hook(null, GRANT);
  for (let i = 1; i <= 3; i++) {
    while (ends.length < i) await Promise.resolve();
    assertEquals(fake.ran.length, i);
    ends[i - 1]!();
  }
  for (let i = 0; i < 50; i++) await Promise.resolve();
  assertEquals(lines, ["error hook tool: ended with 7: why"]);
  assertEquals(fake.ran[0]!.argv, ["tool", "alice"]);
  assertEquals(fake.ran[0]!.options.env!["KNOCK_PORTS"], "tcp/22");
  assertEquals(fake.ran[0]!.options.timeoutMs, 10_000);
});

test("hook() leaves out what would wait behind a thousand", () => {
  const { runner, lines } = faked(() => new Promise(() => {}));
  for (let i = 0; i < 1001; i++) runner.hook(ARGV, GRANT);
  assertEquals(lines, ["error hook tool: left out, 1000 wait already"]);
});

test("run() takes the arguments as they are, and logs what it said", async () => {
  const { fake, runner, lines } = faked(() => ({
    stdout: "one\n\x1b]0;evil\x07\r\n",
    stderr: "two\n",
  }));
  assertEquals(await runner.run("restart", ARGV, BY), true);
  assertEquals(lines, [
    "info command restart: one",
    "info command restart: \\u{1b}]0;evil\\u{07}",
    "info command restart: two",
  ]);
  assertEquals(fake.ran[0]!.argv, ["tool", "{client}"]);
  assertEquals(fake.ran[0]!.options, {
    env: {
      KNOCK_CLIENT: "alice",
      KNOCK_ADDRESS: "192.0.2.1",
      KNOCK_COMMAND: "restart",
    },
    timeoutMs: 60_000,
  });
});

test("run() keeps the log small", async () => {
  const long = "x".repeat(10_000) + "\n";
  const { runner, lines } = faked(() => ({ stdout: long.repeat(150) }));
  await runner.run("restart", ARGV, BY);
  assertEquals(lines.length, 101);
  assert(lines.every((line) => line.length < 600));
  assertEquals(lines.at(-1), "info command restart: … 50 more lines");
});

const failures: [string, () => Partial<Ran>, string][] = [
  ["a status", () => ({ code: 5 }), "ended with 5"],
  ["a signal", () => ({ code: null }), "ended by a signal"],
];

for (const [name, answer, words] of failures) {
  test(`run() is false for ${name}, and says so`, async () => {
    const { runner, lines } = faked(answer);
    assertEquals(await runner.run("restart", ARGV, BY), false);
    assertEquals(lines, [`error command restart: ${words}`]);
  });
}

test("run() is false for a program that is not there", async () => {
  const { runner, lines } = faked(() => ({}));
  assertEquals(await runner.run("restart", ["nowhere"], BY), false);
  assert(lines[0]!.startsWith(`error command restart: cannot run "nowhere"`));
});

test("run() runs sixteen at a time and no more", async () => {
  const ends: (() => void)[] = [];
  const { runner, lines } = faked(() =>
    new Promise((resolve) => ends.push(() => resolve({})))
  );
  const all = Array.from({ length: 16 }, () => runner.run("r", ARGV, BY));
  assertEquals(await runner.run("r", ARGV, BY), false);
  assertEquals(lines, ["error command r: left out, 16 run already"]);
  while (ends.length < 16) await Promise.resolve();
  for (const end of ends) end();
  assertEquals((await Promise.all(all)).every(Boolean), true);
  const again = runner.run("r", ARGV, BY);
  while (ends.length < 17) await Promise.resolve();
  ends[16]!();
  assertEquals(await again, true);
});
