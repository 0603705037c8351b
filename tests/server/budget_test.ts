import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import type { DialectName } from "../../lib/dialects/dialect.ts";
import {
  MAX_SEARCHES,
  MAX_WAITING_PACKETS,
  SHARES,
  Turns,
} from "../../lib/server/packet/limits.ts";

const DIALECTS = Object.keys(SHARES) as DialectName[];
const STEP_MS = 0.5;

/** Takes turns while so many lines are kept full: the time that each dialect got. */
function flood(
  turns: Turns<DialectName>,
  flooded: readonly DialectName[],
  totalMs: number,
): Record<string, number> {
  const spent: Record<string, number> = {};
  for (let ms = 0; ms < totalMs; ms += STEP_MS) {
    for (const name of flooded) while (turns.add(name, name));
    const name = turns.next()!;
    turns.charge(name, STEP_MS);
    spent[name] = (spent[name] ?? 0) + STEP_MS;
  }
  return spent;
}

for (const name of DIALECTS) {
  test(`Turns: ${name} gets all the time that no other dialect wants`, () => {
    assertEquals(flood(new Turns(), [name], 1000), { [name]: 1000 });
  });

  test(`Turns: a flood of ${name} makes no other dialect wait for more than a step`, () => {
    const turns = new Turns<DialectName>();
    flood(turns, [name], 1000);
    for (const other of DIALECTS.filter((other) => other !== name)) {
      assert(turns.add(other, other));
      const served = [turns.next(), turns.next()];
      assert(served.includes(other), `${other}: ${served}`);
      for (const one of served) turns.charge(one!, STEP_MS);
    }
  });
}

test("Turns gives every dialect its share when all are flooded", () => {
  const turns = new Turns<DialectName>();
  const all = Object.values(SHARES).reduce((a, b) => a + b);
  // What one took alone, before, gives the others no claim to more later.
  flood(turns, ["fwknop"], 1000);
  flood(turns, ["knock", "fwknop"], 1000);
  const spent = flood(turns, DIALECTS, 700);
  for (const name of DIALECTS) {
    const fair = 700 * SHARES[name] / all;
    assert(Math.abs(spent[name]! - fair) <= 3 * STEP_MS, `${name} ${spent}`);
  }
});

test("Turns: a dialect that costs more is served less often", () => {
  const turns = new Turns<DialectName>();
  let openspa = 0;
  for (let i = 0; i < 1000; i++) {
    for (const name of ["openme", "openspa"] as const) {
      while (turns.add(name, name));
    }
    const name = turns.next()!;
    turns.charge(name, name === "openspa" ? 9 : 1);
    if (name === "openspa") openspa++;
  }
  assertEquals(openspa, 100);
});

test("Turns: so many of a dialect wait, the oldest first, and no other's are less", () => {
  const turns = new Turns<number>();
  for (let i = 0; i < MAX_WAITING_PACKETS; i++) assert(turns.add("fwknop", i));
  assert(!turns.add("fwknop", -1));
  assert(turns.add("knock", -2));
  assertEquals([turns.next(), turns.next(), turns.next()], [0, 1, -2].sort());
  assert(turns.add("fwknop", -3) && turns.add("fwknop", -4));
  let last;
  for (let next = turns.next(); next !== undefined; next = turns.next()) {
    last = next;
  }
  assertEquals(last, -4);
});

test("Turns: a search that goes on is before those that came later, and no more than so many wait", () => {
  const turns = new Turns<number>();
  for (let at = 0; at < MAX_SEARCHES; at++) {
    assert(turns.add("openme search", at));
  }
  assert(!turns.add("openme search", -1));
  assert(
    turns.add("openme", -2),
    "other packets of the dialect wait elsewhere",
  );
  const taken = [turns.next(), turns.next()].filter((one) => one !== -2);
  assertEquals(taken, [0]);
  turns.again("openme search", 0);
  assertEquals([turns.next(), turns.next()], [0, 1]);
});
