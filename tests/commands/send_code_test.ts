/** One-time codes on the client's side. */

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { test } from "node:test";
import { sendKnock } from "../../lib/client/knock/send.ts";
import { formatProfile } from "../../lib/client/profile/add.ts";
import { formatEnrolment } from "../../lib/client/profile/enrolment.ts";
import { readProfiles } from "../../lib/client/profile/file.ts";
import { run as runClose } from "../../lib/commands/knock/close.ts";
import { run as runPing } from "../../lib/commands/knock/ping.ts";
import { run as runSend } from "../../lib/commands/knock/send.ts";
import { run as runImport } from "../../lib/commands/profiles/import.ts";
import {
  oneTimeCode,
  parseCodeSecret,
} from "../../lib/dialects/crypto/codes.ts";
import type { Runtime } from "../../lib/runtime/runtime.ts";
import {
  FailureError,
  type OperatorError,
  SystemError,
  UsageError,
} from "../../lib/values/errors.ts";
import {
  type FakeOptions,
  FakeRuntime,
  START_MS,
} from "../fakes/fake_runtime.ts";
import {
  ENROLMENT,
  FakeServer,
  type Manner,
  PROFILE,
} from "../fakes/fake_server.ts";
import type { NewRequest } from "../../lib/dialects/dialect.ts";

const FILE = "/home/alice/.config/knock/profiles.yaml";
const IPV4 = "198.51.100.7";
const IPV6 = "2001:db8::7";
const SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
const STEP_MS = 30_000;
const ASK: NewRequest = {
  action: "open",
  ports: [],
  command: null,
  seconds: 0,
  address: null,
  code: null,
};

function codeAt(timeMs: number): number {
  return oneTimeCode(parseCodeSecret(SECRET)!, timeMs);
}

function scene(
  code: string | undefined,
  manner?: Manner,
  addresses: readonly string[] = [IPV4],
  options: FakeOptions = {},
) {
  const enrolment = code === undefined ? ENROLMENT : { ...ENROLMENT, code };
  const files = { [FILE]: formatProfile("home", enrolment) };
  const fake = new FakeRuntime({ files, ...options });
  const server = new FakeServer(manner);
  fake.network.names.set("home.example.org", addresses);
  fake.network.world = server.world;
  const codes = () => server.requests.map(({ code }) => code);
  const sent = () =>
    fake.network.sent.map(({ to, atMs }) => [to.host, atMs - START_MS]);
  return { fake, server, codes, sent };
}

type Run = (args: string[], runtime: Runtime) => Promise<number>;
const commands: [name: string, run: Run][] = [
  ["send", runSend],
  ["close", runClose],
  ["ping", runPing],
];

for (const [name, run] of commands) {
  test(`knock ${name} --code sends that code, leading zeros too`, async () => {
    for (const profile of [undefined, SECRET, "ask"]) {
      const { fake, codes } = scene(profile);
      assertEquals(await run(["home", "--code", "005924"], fake), 0);
      assertEquals(codes(), [5924]);
      assertEquals(fake.questions, []);
    }
  });

  test(`knock ${name} asks for the code where the profile says so`, async () => {
    const { fake, codes } = scene("ask", undefined, [IPV4], {
      answers: [" 123 456 "],
    });
    assertEquals(await run(["home"], fake), 0);
    assertEquals(codes(), [123456]);
    assertEquals(fake.questions, ["one-time code:"]);
  });

  test(`knock ${name} makes the code of the profile's own secret`, async () => {
    const { fake, codes } = scene(SECRET);
    assertEquals(await run(["home"], fake), 0);
    assertEquals(codes(), [codeAt(START_MS)]);
    assertEquals(fake.questions, []);
  });

  test(`knock ${name} without a terminal says how to give the code`, async () => {
    const { fake, sent } = scene("ask");
    const error = await assertRejects(
      () => run(["home"], fake),
      UsageError,
      'profile "home" needs a one-time code, and there is no terminal',
    ) as OperatorError;
    assertStringIncludes(error.hint!, "--code 123456");
    assertEquals(sent(), []);
  });
}

const wrong = ["12345", "1234567", "12345x", "hunter2", "1e5"];
for (const words of wrong) {
  test(`knock send refuses the code "${words}", and does not repeat it`, async () => {
    const option = scene(undefined);
    const typed = scene("ask", undefined, [IPV4], { answers: [words] });
    for (
      const [{ fake, sent }, args] of [
        [option, [`--code=${words}`]],
        [typed, []],
      ] as const
    ) {
      const error = await assertRejects(
        () => runSend(["home", ...args], fake),
        UsageError,
        `must be the six digits`,
      ) as OperatorError;
      assert(!error.message.includes(words));
      assertEquals(sent(), []);
    }
  });
}

test("sendKnock() tries again within a step with the code of the step before", async () => {
  const { fake, codes } = scene(undefined, () => null);
  await sendKnock(fake, { ...PROFILE, code: SECRET }, ASK);
  const [now, before] = [codeAt(START_MS), codeAt(START_MS - STEP_MS)];
  assertEquals(codes(), [now, before, now]);
});

test("sendKnock() takes the new code when a step has begun", async () => {
  const { fake, codes } = scene(undefined, () => null);
  fake.clock.set(START_MS + STEP_MS - 500);
  await sendKnock(fake, { ...PROFILE, code: SECRET }, ASK);
  const [first, second] = [codeAt(START_MS), codeAt(START_MS + STEP_MS)];
  assertEquals(codes().slice(0, 2), [first, second]);
  // The third is within the second's step, and the one before it is spent.
  assertEquals(codes()[2], second);
});

test("sendKnock() with a code tries one family after the other", async () => {
  const { fake, sent } = scene(undefined, () => null, [IPV6, IPV4]);
  const outcome = await sendKnock(fake, PROFILE, { ...ASK, code: 1 }, {
    tries: 2,
  });
  assertEquals(outcome.kind, "silent");
  assertEquals(sent(), [[IPV6, 0], [IPV6, 1000], [IPV4, 3000], [IPV4, 4000]]);
});

test("sendKnock() with a code is done with the first family that answers", async () => {
  for (const order of [[IPV6, IPV4], [IPV4, IPV6]]) {
    const { fake, sent } = scene(undefined, () => ({ afterMs: 3 }), order);
    const outcome = await sendKnock(fake, PROFILE, { ...ASK, code: 1 });
    assertEquals(outcome.kind, "answered");
    assertEquals(sent(), [[order[0], 0]]);
  }
});

test("sendKnock() with a code leaves out a family that cannot be sent to", async () => {
  const { fake, server, sent } = scene(undefined, undefined, [IPV6, IPV4]);
  fake.network.world = (sent, count) => {
    if (sent.to.host === IPV6) throw new SystemError("ENETUNREACH", "no way");
    return server.world(sent, count);
  };
  const outcome = await sendKnock(fake, PROFILE, { ...ASK, code: 1 });
  assert(outcome.kind === "answered" && outcome.code === "first");
  assertEquals(sent(), [[IPV6, 0], [IPV4, 0]]);
  fake.network.world = () => {
    throw new SystemError("ENETUNREACH", "no way");
  };
  await assertRejects(
    () => sendKnock(fake, PROFILE, { ...ASK, code: 1 }),
    FailureError,
    `cannot send to home.example.org: ${IPV6}: no way; ${IPV4}: no way`,
  );
  assertEquals(fake.network.open, 0);
});

test("sendKnock() with a code and no reply sends to one family", async () => {
  const { fake, sent } = scene(undefined, undefined, [IPV6, IPV4]);
  const ask = { ...ASK, code: 1 };
  const outcome = await sendKnock(fake, PROFILE, ask, { reply: false });
  assertEquals(outcome, { kind: "sent", addresses: [IPV6] });
  assertEquals(sent(), [[IPV6, 0]]);
});

test("a no to a second packet with the same code is told as what it is", async () => {
  const manner: Manner = (_, __, count) =>
    count === 1 ? null : { status: "refused" };
  const { fake, codes } = scene("ask", manner);
  const error = await assertRejects(
    () => runSend(["home", "--code", "123456"], fake),
    FailureError,
    "most likely the first was done, and its answer got lost",
  ) as OperatorError;
  assertStringIncludes(error.hint!, "check whether it is open now");
  assertEquals(codes(), [123456, 123456]);
});

test("a no to the first packet with a code is the server's word", async () => {
  const refused: Manner = () => ({ status: "refused" });
  const coded = scene("ask", refused);
  const error = await assertRejects(
    () => runSend(["home", "--code", "123456"], coded.fake),
    FailureError,
    "refused: this client is not allowed to open these ports",
  ) as OperatorError;
  assertStringIncludes(error.hint!, "good for one knock");
  const plain = scene(undefined, refused);
  const other = await assertRejects(
    () => runSend(["home"], plain.fake),
    FailureError,
  ) as OperatorError;
  assert(!other.hint!.includes("code"));
});

test("knock import --ask-code stores no secret", async () => {
  for (const enrolment of [{ ...ENROLMENT, code: SECRET }, ENROLMENT]) {
    const fake = new FakeRuntime({ stdin: formatEnrolment(enrolment) });
    assertEquals(await runImport(["-", "--ask-code"], fake), 0);
    assertEquals(readProfiles(fake, FILE).get("home")?.code, "ask");
    assert(!fake.files.readText(FILE).includes(SECRET));
  }
});

test("knock import without --ask-code stores the secret", async () => {
  const line = formatEnrolment({ ...ENROLMENT, code: SECRET });
  const fake = new FakeRuntime({ stdin: line });
  await runImport(["-"], fake);
  assertEquals(readProfiles(fake, FILE).get("home")?.code, SECRET);
});
