import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { Budget } from "../lib/server/budget.ts";

/** What a dialect costs of a second, when it is asked for all the time. */
function costOf(budget: Budget, stepMs: number, fromMs: number): number {
  let spentMs = 0;
  for (let nowMs = fromMs; nowMs < fromMs + 1000; nowMs++) {
    if (!budget.allows("openspa", nowMs)) continue;
    budget.spend("openspa", stepMs, nowMs);
    spentMs += stepMs;
  }
  return spentMs;
}

test("Budget gives a dialect a share of each second, whatever a step costs", () => {
  for (const stepMs of [0.1, 0.5, 1.5, 9]) {
    const budget = new Budget();
    costOf(budget, stepMs, 0);
    const spentMs = costOf(budget, stepMs, 1000);
    assert(spentMs <= 200 + 2 * stepMs, `${stepMs}: ${spentMs}`);
    assert(
      spentMs >= Math.min(190, 1000 * stepMs - 1),
      `${stepMs}: ${spentMs}`,
    );
  }
});

test("Budget lets no dialect use another's share", () => {
  const budget = new Budget();
  costOf(budget, 1, 0);
  budget.spend("openspa", 1000, 1000);
  assert(!budget.allows("openspa", 1000));
  assert(budget.allows("openme", 1000));
});

test("Budget saves up for a moment, no longer", () => {
  const budget = new Budget();
  budget.spend("openme", 1, 0);
  let spentMs = 0;
  while (budget.allows("openme", 3_600_000)) {
    budget.spend("openme", 1, 3_600_000);
    spentMs++;
  }
  assertEquals(spentMs, 40);
});

test("Budget has none for our own dialect", () => {
  const budget = new Budget();
  for (let i = 0; i < 10_000; i++) budget.spend("knock", 1000, 0);
  assert(budget.allows("knock", 0));
});

test("Budget survives a clock that goes back", () => {
  const budget = new Budget();
  budget.spend("openspa", 100, 10_000);
  assert(!budget.allows("openspa", 0));
  assert(budget.allows("openspa", 1000));
});
