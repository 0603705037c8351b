import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { commandFirewall } from "../../lib/firewall/command/command.ts";
import { FirewallError, type Grant } from "../../lib/firewall/firewall.ts";
import { runProgram } from "../../lib/firewall/command/programs.ts";
import type { Ran } from "../../lib/runtime/runtime.ts";
import { parsePortRange } from "../../lib/values/ports.ts";
import { FakeRuntime, START_MS } from "../fakes/fake_runtime.ts";
import { runtime } from "../fakes/runtime.ts";

function grant(text: string, over: Partial<Grant> = {}): Grant {
  return {
    client: "alice",
    address: "192.0.2.1",
    ports: parsePortRange(text)!,
    untilMs: START_MS + 30_000,
    once: false,
    to: null,
    ...over,
  };
}

/** A backend whose program answers by `answer`, and what it was run with. */
function faked(answer: (words: string) => Partial<Ran> = () => ({})) {
  const fake = new FakeRuntime();
  const ran: string[] = [];
  const run = (argv: readonly string[]) => {
    ran.push(argv.join(" "));
    return answer(argv.join(" "));
  };
  fake.programs.set("fw", run);
  const firewall = commandFirewall(fake, {
    open: ["fw", "open", "{address}", "{ports}", "{seconds}"],
    close: ["fw", "close", "{address}", "{ports}"],
  });
  return { fake, firewall, ran };
}

const SSH = grant("tcp/22");
const WEB = grant("tcp/80-81");

test("change() runs once a grant, with its words around", async () => {
  const { fake, firewall, ran } = faked();
  assertEquals([firewall.name, firewall.endsGrants], ["command (fw)", false]);
  await firewall.change([SSH, WEB], [SSH, WEB], START_MS);
  await firewall.change([SSH, WEB], [], START_MS);
  assertEquals(ran, [
    "fw open 192.0.2.1 tcp/22 30",
    "fw open 192.0.2.1 tcp/80-81 30",
    "fw close 192.0.2.1 tcp/22",
    "fw close 192.0.2.1 tcp/80-81",
  ]);
  const { env, timeoutMs } = fake.ran[0]!.options;
  assertEquals(env!["KNOCK_CLIENT"], "alice");
  assertEquals(env!["KNOCK_UNTIL"], "2026-01-02T12:00:30.000Z");
  assertEquals(timeoutMs, 10_000);
});

test("change() says how it failed, and closes what it had opened", async () => {
  const { firewall, ran } = faked((words) =>
    words.includes("open 192.0.2.1 tcp/80")
      ? { code: 3, stderr: "first\nno \x1b[1mroom\n" }
      : {}
  );
  const error = await assertRejects(
    () => firewall.change([SSH, WEB], [SSH, WEB], START_MS),
    FirewallError,
  );
  assertEquals(
    error.message,
    "firewall.open: fw: ended with 3: no \\u{1b}[1mroom",
  );
  assertEquals(ran.slice(2), ["fw close 192.0.2.1 tcp/22"]);
});

test("change() that fails leaves alone what was open before", async () => {
  const { firewall, ran } = faked((words) =>
    words.includes("tcp/80") ? { code: 1 } : {}
  );
  await firewall.change([SSH], [SSH], START_MS);
  await assertRejects(() => firewall.change([SSH, WEB], [SSH, WEB], START_MS));
  assert(!ran.some((words) => words.startsWith("fw close")), ran.join("\n"));
});

test("change() tries to close all, opens what stays until its end, and then says what failed", async () => {
  const { firewall, ran } = faked((words) =>
    words.includes("tcp/22") ? { code: 1 } : {}
  );
  const dns = grant("udp/53");
  await assertRejects(
    () => firewall.change([SSH, WEB, dns], [dns], START_MS),
    FirewallError,
    "firewall.close: fw: ended with 1",
  );
  assertEquals(ran, [
    "fw close 192.0.2.1 tcp/22",
    "fw close 192.0.2.1 tcp/80-81",
    "fw open 192.0.2.1 udp/53 30",
  ]);
});

test("apply() opens again what another process opened, once", async () => {
  const { firewall, ran } = faked();
  await firewall.apply([], [SSH], START_MS + 10_000);
  await firewall.change([WEB], [SSH, WEB], START_MS);
  await firewall.apply([], [SSH, WEB], START_MS);
  assertEquals(ran, [
    "fw open 192.0.2.1 tcp/22 20",
    "fw open 192.0.2.1 tcp/80-81 30",
  ]);
  await firewall.remove();
  assertEquals(ran.slice(2), [
    "fw close 192.0.2.1 tcp/22",
    "fw close 192.0.2.1 tcp/80-81",
  ]);
  await firewall.remove();
  assertEquals(ran.length, 4);
});

test("change() refuses what a command cannot do", async () => {
  const { firewall, ran } = faked();
  const to = { host: "10.0.0.5", port: 443 };
  for (const over of [{ once: true }, { to }]) {
    const one = [grant("tcp/22", over)];
    await assertRejects(
      () => firewall.change(one, one, START_MS),
      FirewallError,
      "the command backend cannot",
    );
  }
  assertEquals(ran, []);
});

test("change() says when there is no such program", async () => {
  const firewall = commandFirewall(new FakeRuntime(), {
    open: ["nowhere"],
    close: ["nowhere"],
  });
  await assertRejects(
    () => firewall.change([SSH], [SSH], START_MS),
    FirewallError,
    `cannot run "nowhere"`,
  );
});

test("runProgram() gives up on output that never ends", async () => {
  const fake = new FakeRuntime();
  fake.programs.set("daemon", () => new Promise(() => {}));
  const { failure } = await runProgram(fake, ["daemon"], {}, 10_000);
  assertEquals(failure, "no end within 10 s");
});

const real = runtime.platform === "windows" ? { skip: "needs sh" } : {};

test("runProgram() runs a real program, never a shell", real, async () => {
  const said = await runProgram(
    runtime,
    ["sh", "-c", 'echo "$1 $KNOCK_CLIENT"; echo two >&2; exit 4', "x", "$(id)"],
    { client: "alice" },
    10_000,
  );
  assertEquals(said, {
    failure: "ended with 4: two",
    lines: ["$(id) alice", "two"],
  });
});

test(
  "runProgram() kills a program and its children in time",
  real,
  async () => {
    const startMs = runtime.monotonicMs();
    const { failure } = await runProgram(
      runtime,
      ["sh", "-c", "sleep 30 & sleep 30"],
      {},
      100,
    );
    assertEquals(failure, "no end within 0.1 s");
    assert(runtime.monotonicMs() - startMs < 10_000);
  },
);
