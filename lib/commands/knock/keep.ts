/** `knock send --keep`: open until it is stopped. */

import {
  knock,
  type KnockOptions,
  type UnaddressedRequest,
} from "../../client/knock/knock.ts";
import { expectDone } from "../../client/knock/outcome.ts";
import { keepOpen } from "../../client/open/keep.ts";
import type { Profile } from "../../client/profile/profile.ts";
import type { Answer } from "../../dialects/dialect.ts";
import { dialectOf, DIALECTS } from "../../dialects/table.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { type OperatorError, UsageError } from "../../values/errors.ts";
import { formatLocal } from "../../values/time.ts";
import { untilStopped } from "../command.ts";
import type { OutputForm } from "./asking.ts";
import { withProgress } from "./progress.ts";

/** Form of the output, and how to close at the end; null: the grant ends by itself. */
interface Manner extends OutputForm {
  readonly close: KnockOptions | null;
}

/** Keeps open what a knock opens, until SIGINT or SIGTERM; the exit status. */
export async function keep(
  runtime: Runtime,
  profile: Profile,
  request: UnaddressedRequest,
  once: (again: boolean) => Promise<Answer | null>,
  { quiet, reply, close }: Manner,
): Promise<number> {
  checkKeeping(profile, request, reply);
  let trouble: string | null = null;
  let knocks = 0;
  const text = `keeping ${profile.name} open`;
  await withProgress(runtime, text, quiet, (show) => {
    const keeping = {
      knock: () => once(knocks++ > 0),
      seconds: request.seconds,
      opened: (_: unknown, untilMs: number) => {
        const until = formatLocal(untilMs, runtime.nowMs());
        show(`keeping ${profile.name} open, now until ${until},`);
        if (trouble !== null) runtime.err("knock: open again\n");
        trouble = null;
      },
      failed: ({ message }: OperatorError) => {
        // The same failure is reported once.
        if (message === trouble) return;
        trouble = message;
        runtime.err(`knock: trying again: ${message}\n`);
      },
    };
    return untilStopped(runtime, (stop) => keepOpen(runtime, keeping, stop));
  });
  if (close) {
    const closing = { ...request, action: "close", seconds: 0 } as const;
    const knocking = { ...close, mayGuess: false };
    const { outcome } = await knock(runtime, profile, closing, knocking);
    expectDone(profile, closing, outcome, runtime.nowMs());
  }
  return 0;
}

function checkKeeping(
  profile: Profile,
  { seconds, code }: UnaddressedRequest,
  reply: boolean,
): void {
  if (code !== null) {
    throw new UsageError(
      "--keep cannot go with a one-time code that is typed: each is good once",
      "store the secret in the profile, or open for longer with --for",
    );
  }
  const answers = DIALECTS[dialectOf(profile)].answers &&
    profile.transport.kind === "udp";
  if (seconds === 0 && !(reply && answers)) {
    throw new UsageError(
      "--keep must know for how long it is open, and no answer says it",
      "say it with --for DURATION",
    );
  }
}
