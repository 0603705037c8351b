import type { Runtime } from "../../runtime/runtime.ts";
import { caught, FailureError, OperatorError } from "../../values/errors.ts";
import { parseEndpoint } from "../../values/address.ts";
import { parseOptions, takePositionals } from "../command.ts";
import { stageNamespaces } from "./namespaces.ts";
import {
  hear,
  OPEN_SECONDS,
  serveGreeting,
  type Stage,
  stageHere,
} from "./stage.ts";

export const help = `Usage:
    knock demo

Shows the whole job with real parts in a few seconds: a service, the server
and the client; closed, knock, open, expired, closed.

As root on Linux with nftables, it runs in two network namespaces that it
creates and removes; elsewhere over loopback, with the gate. It leaves nothing
behind.

Example:
    $ knock demo
`;

/** Runs `knock demo`, and returns the exit status: 0 when all went as it should. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  // The demo's own helpers, which it runs inside its namespaces.
  const at = parseEndpoint(args[1] ?? "");
  if (args[0] === "--serve" && at) {
    await serveGreeting(runtime, at);
    runtime.out("ready\n");
    return await new Promise(() => {});
  }
  if (args[0] === "--greet" && at) {
    const heard = await hear(runtime, at);
    runtime.out(heard ?? "");
    return heard === null ? 1 : 0;
  }

  takePositionals(parseOptions(args, help), []);
  const stage = await chooseStage(runtime);
  try {
    return await play(runtime, stage);
  } finally {
    await stage.remove();
  }
}

async function chooseStage(runtime: Runtime): Promise<Stage> {
  if (runtime.platform !== "linux" || runtime.userId() !== 0) {
    return await stageHere(runtime);
  }
  const make = () => stageNamespaces(runtime);
  return await caught(OperatorError, make, ({ message }) => {
    runtime.err(`no network namespaces here (${message})\n`);
    return stageHere(runtime);
  });
}

async function play(runtime: Runtime, stage: Stage): Promise<number> {
  let asItShould = true;
  const say = (text: string) => runtime.out(`${text}\n`);
  const show = (what: string, found: string, wanted: boolean) => {
    asItShould &&= wanted;
    // A line fits into 80 columns.
    say(`  ${what.padEnd(37)} ${found}${wanted ? "" : "   <- wrong"}`);
  };
  const reach = async (what: string, wanted: boolean, other = false) => {
    const heard = await stage.reach(other);
    const found = heard === null ? "closed" : `open: "${heard}"`;
    show(what, found, (heard !== null) === wanted);
  };

  say(stage.words);
  await reach("the service, before a knock:", false);
  const beforeMs = runtime.monotonicMs();
  const { code } = await stage.knock();
  const tookMs = Math.round(runtime.monotonicMs() - beforeMs);
  show(
    "knock:",
    code === 0 ? `done in ${tookMs} ms, program start included` : "failed",
    code === 0,
  );
  await reach("the service, after the knock:", true);
  if (stage.hasNeighbour) {
    await reach("the same, from a neighbour's address:", false, true);
  }
  await runtime.sleep(OPEN_SECONDS * 1000);
  await reach(`the service, ${OPEN_SECONDS} s later:`, false);
  if (!asItShould) {
    throw new FailureError("the demo did not go as it should", stage.log());
  }
  say("closed -> knock -> open -> expired -> closed: all as it should be");
  say("next: `knock serve` on a server, `knock help` for the rest");
  return 0;
}
