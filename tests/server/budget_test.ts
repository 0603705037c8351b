import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import type { DialectName } from "../../lib/dialects/dialect.ts";
import { Budget, SHARES } from "../../lib/server/packet/limits.ts";

const DIALECTS = Object.keys(SHARES) as DialectName[];
const SECOND_MS = 1000;
const STEP_MS = 0.5;
/** What may be saved up, in a dialect's account and in the spare one. */
const SAVED_MS = 80 + 2 * STEP_MS;

/** Junk that comes in turns without a pause for a second: what each dialect's costs. */
function flood(
  budget: Budget,
  dialects: readonly DialectName[],
  fromMs: number,
): Map<DialectName, number> {
  const spent = new Map(dialects.map((name) => [name, 0]));
  for (let atMs = fromMs; atMs < fromMs + SECOND_MS; atMs += 0.125) {
    for (const name of dialects) {
      if (!budget.allows(name, atMs)) continue;
      budget.charge(name, STEP_MS);
      spent.set(name, spent.get(name)! + STEP_MS);
    }
  }
  return spent;
}

const sum = (values: Iterable<number>) => [...values].reduce((a, b) => a + b);

test("Budget leaves nearly half of the processor, whoever floods", () => {
  const total = sum(Object.values(SHARES));
  assert(total <= 550, `${total} ms of each second`);
  for (const dialects of [["knock"], ["fwknop", "openspa"], DIALECTS]) {
    const budget = new Budget();
    const spent = sum(flood(budget, dialects as DialectName[], 0).values());
    const saved = SAVED_MS * dialects.length;
    assert(spent <= total + saved, `${dialects}: ${spent} ms`);
    assert(spent >= total * 0.9, `${dialects}: only ${spent} ms were used`);
  }
});

test("Budget gives every dialect its share when all are flooded", () => {
  const budget = new Budget();
  flood(budget, DIALECTS, 0);
  for (const [name, spent] of flood(budget, DIALECTS, SECOND_MS)) {
    assert(spent >= SHARES[name] - STEP_MS, `${name}: ${spent} ms`);
  }
});

for (const flooded of DIALECTS) {
  test(`Budget: junk of ${flooded} never makes another dialect wait`, () => {
    const budget = new Budget();
    for (let atMs = 0; atMs < 3 * SECOND_MS; atMs += 0.125) {
      if (budget.allows(flooded, atMs)) budget.charge(flooded, STEP_MS);
      for (const name of DIALECTS) {
        if (name !== flooded) assert(budget.allows(name, atMs), name);
      }
    }
  });
}

test("Budget charges nobody for what does not fail", () => {
  const budget = new Budget();
  for (let i = 0; i < 100_000; i++) assert(budget.allows("knock", 0));
});

test("Budget saves up for a moment, no longer", () => {
  const budget = new Budget();
  budget.charge("openme", 1);
  let spent = 0;
  while (budget.allows("openme", 3_600_000)) {
    budget.charge("openme", 1);
    spent++;
  }
  assertEquals(spent, 80);
});

test("Budget ends a debt: a step that takes long is paid back, at any clock", () => {
  const budget = new Budget();
  const dry = (atMs: number) => !budget.allows("openspa", atMs);
  budget.allows("openspa", 10_000);
  budget.charge("openspa", 100);
  budget.charge("openspa", 100);
  assert(dry(10_000));
  assert(dry(0), "a clock that goes back gives nothing");
  assert(!dry(1_000));
});
