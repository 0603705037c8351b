/** Every parser, fed with its samples and with a few thousand changed ones; `deno task fuzz` goes on from there. */

import { test } from "node:test";
import { assert } from "@std/assert";
import { mutate, randomOf } from "../fuzz/mutate.ts";
import { TARGETS } from "../fuzz/targets.ts";
import { OperatorError } from "../../lib/values/errors.ts";

/** Long enough for a few hundred calls of the slowest. */
const BUDGET_MS = 100;
const MOST = 2000;

for (const { name, seeds, run } of TARGETS) {
  test(`${name}: throws nothing but what is for the operator`, () => {
    assert(seeds.length > 0);
    const random = randomOf(1);
    const call = (bytes: Uint8Array) => {
      try {
        run(bytes);
      } catch (error) {
        const input = bytes.toBase64();
        assert(error instanceof OperatorError, `${error}: ${input}`);
      }
    };
    for (const seed of seeds) call(seed);
    const endMs = performance.now() + BUDGET_MS;
    for (let count = 0; count < MOST && performance.now() < endMs; count++) {
      call(mutate(seeds, random));
    }
  });
}
