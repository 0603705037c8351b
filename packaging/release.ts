/** Version of a release, and the time that all its files bear. */

import { spawnSync } from "node:child_process";
import process from "node:process";

/** Where neither SOURCE_DATE_EPOCH nor git says: 2026-01-01. */
const FALLBACK_SECONDS = 1_767_225_600;

/**
 * The seconds of SOURCE_DATE_EPOCH, else of the last commit: what is made of
 * the same sources is the same to the byte.
 */
export function releaseSeconds(root: string): number {
  const given = process.env["SOURCE_DATE_EPOCH"];
  if (given !== undefined && /^\d+$/.test(given)) return Number(given);
  const { stdout } = spawnSync("git", ["log", "-1", "--format=%ct"], {
    cwd: root,
    encoding: "utf8",
  });
  return Number(stdout?.trim()) || FALLBACK_SECONDS;
}

/** The same as a date, `YYYY-MM-DD`. */
export function releaseDate(root: string): string {
  return new Date(releaseSeconds(root) * 1000).toISOString().slice(0, 10);
}
