import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { parseTime } from "../../lib/values/time.ts";

const START = Date.UTC(2027, 0, 1);

const times: [text: string, ms: number | null][] = [
  ["2027-01-01T00:00:00Z", START],
  ["2027-01-01t00:00:00z", START],
  ["2027-01-01 01:00:00+01:00", START],
  ["2027-01-01T00:00:00.5Z", START + 500],
  ["2027-01-01T00:00:00.123456789Z", START + 123],
  ["2027-01-01", START],
  ["2028-02-29", Date.UTC(2028, 1, 29)],
  ["2027-02-29", null],
  ["2027-02-30T00:00:00Z", null],
  ["2027-13-01", null],
  ["2027-01-01T24:00:00Z", null],
  ["2027-01-01T00:00:60Z", null],
  ["2027-01-01T00:00:00", null],
  ["2027-01-01T00:00:00+25:00", null],
  ["2027-1-1", null],
  ["tomorrow", null],
  ["", null],
];

for (const [text, ms] of times) {
  test(`parseTime() reads "${text}" as ${ms}`, () => {
    assertEquals(parseTime(text), ms);
  });
}
