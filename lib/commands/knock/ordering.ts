/** What `knock close` and `knock run` have in common: an order that opens nothing. */

import { knock, type Wish } from "../../client/knock/knock.ts";
import { expectDone } from "../../client/knock/outcome.ts";
import type { Answer } from "../../dialects/dialect.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { type Asked, askedCode, askedWhom } from "./asking.ts";
import type { Options } from "../command.ts";

/**
 * Knocks for what is ordered. Returns the answer if it is to be told: on a
 * terminal and without `--quiet`; null otherwise, or where no answer was
 * wanted. Throws FailureError when it was not done.
 */
export async function order(
  runtime: Runtime,
  options: Options,
  { profile, sending }: Asked,
  ordered: Pick<Wish, "action" | "ports" | "command">,
): Promise<Answer | null> {
  const code = askedCode(runtime, options, profile);
  const whom = askedWhom(options, profile);
  const wish = { ...ordered, seconds: 0, code };
  const knocking = { ...sending, ...whom, mayGuess: false };
  const { outcome } = await knock(runtime, profile, wish, knocking);
  const { action } = ordered;
  const answer = expectDone(profile, action, outcome, runtime.nowMs());
  const told = !options.flag("quiet") && runtime.isTerminal("out");
  return told ? answer : null;
}
