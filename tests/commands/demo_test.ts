/** Processes of the demo that end too early. */

import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { demoProcesses, setStage } from "../../lib/commands/demo/stage.ts";
import { FailureError, SystemError } from "../../lib/values/errors.ts";
import { runtime } from "../fakes/runtime.ts";

const skip = runtime.platform === "windows" && "needs sh";

/** Starts a process that is this script of the shell; its error. */
async function start(script: string): Promise<FailureError> {
  const self = { ...runtime, selfCommand: () => ["sh", "-c", script, "sh"] };
  const processes = demoProcesses(self, "/nonexistent");
  return await assertRejects(
    () => processes.start([], ["serve"], "ready"),
    FailureError,
  );
}

test("a process that does not start says why", { skip }, async () => {
  const { message, hint } = await start("echo broken >&2; exit 3");
  assertEquals(message, "the demo's serve did not start: it ended with 3");
  assertEquals(hint, "broken");
});

test("where it said nothing, the hint is its line", { skip }, async () => {
  const { message, hint } = await start("kill -9 $$");
  assertEquals(
    message,
    "the demo's serve did not start: it ended with a signal",
  );
  assertEquals(
    hint,
    "see what it says by itself: sh -c kill -9 $$ sh serve",
  );
});

test("without a temporary folder it says what to set", async () => {
  const files = {
    ...runtime.files,
    makeTemporaryFolder: () => {
      throw new SystemError("EACCES", "permission denied");
    },
  };
  const nothing = () => Promise.reject(new Error("not reached"));
  const error = await assertRejects(
    () => setStage({ ...runtime, files }, nothing, nothing),
    FailureError,
    "cannot make a temporary folder: permission denied",
  );
  assertEquals(error.hint, "set TMPDIR to a folder that you may write to");
});
