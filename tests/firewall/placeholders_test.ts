import { assertEquals } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import type { Grant } from "../../lib/firewall/firewall.ts";
import {
  describeGrant,
  fillIn,
  PLACEHOLDERS,
  runProgram,
  unknownPlaceholders,
} from "../../lib/firewall/command/programs.ts";
import { parsePortRange } from "../../lib/values/ports.ts";
import { FakeRuntime, START_MS } from "../fakes/fake_runtime.ts";

const GRANT: Grant = {
  client: "alice",
  address: "2001:db8::1",
  ports: parsePortRange("tcp/8000-8010")!,
  untilMs: START_MS + 30_001,
  once: false,
  to: null,
};

test("describeGrant() has a value for every placeholder", () => {
  const values = describeGrant(GRANT, START_MS);
  assertEquals(values, {
    client: "alice",
    address: "2001:db8::1",
    family: "ipv6",
    protocol: "tcp",
    port: "8000-8010",
    ports: "tcp/8000-8010",
    seconds: "31",
    until: "2026-01-02T12:00:30.001Z",
  });
  const placeholders = Object.keys(values).map((name) => `{${name}}`);
  assertEquals(placeholders.sort(), [...PLACEHOLDERS].sort());
  const over = describeGrant({ ...GRANT, untilMs: START_MS - 1 }, START_MS);
  assertEquals(over.seconds, "0");
});

test("fillIn() fills in once, within the argument", () => {
  const values = { client: "{address}", address: "a b; $(c) $&" };
  assertEquals(
    fillIn(["x", "-{client}-", "{address}", "{constructor}", "{}"], values),
    ["x", "-{address}-", "a b; $(c) $&", "{constructor}", "{}"],
  );
});

test("fillIn() never changes how many arguments there are", () => {
  const argv = fc.array(fc.string());
  const values = fc.dictionary(fc.string(), fc.string());
  fc.assert(fc.property(argv, values, (argv, values) => {
    assertEquals(fillIn(argv, values).length, argv.length);
  }));
});

test("runProgram() names values KNOCK_… in the environment", async () => {
  const fake = new FakeRuntime();
  fake.programs.set("x", () => ({}));
  await runProgram(fake, ["x"], { client: "alice" }, 1000);
  assertEquals(fake.ran[0]!.options.env, { KNOCK_CLIENT: "alice" });
});

test("unknownPlaceholders() finds what is not filled in", () => {
  assertEquals(
    unknownPlaceholders(["{client}", "{port}{x}", "{ports}", "{}", "{a b}"]),
    ["{client}", "{x}"],
  );
});
