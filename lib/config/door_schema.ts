/** The shape of `sequences.NAME`. */

import { FLAG, type FlagName, parseHit } from "../sequences/sequence.ts";
import { parseAddress } from "../values/address.ts";
import type { Argv, Watch } from "./config.ts";
import {
  bool,
  list,
  object,
  oneOf,
  oneOrMore,
  optional,
  type Schema,
  text,
} from "../values/schema.ts";
import { argv, duration, opening } from "./shapes.ts";

/** From the first hit to the last, seconds. */
const WITHIN_SECONDS = 5;
/** The longest that may be asked for. */
export const MAX_WITHIN_SECONDS = 3600;

/** Who may look out for the hits. */
export const WATCHES: readonly Watch[] = ["kernel", "sniff", "socket"];

/** A flag of TCP that must be set, or with "!" must be clear. */
export interface FlagWord {
  readonly name: FlagName;
  readonly set: boolean;
}

const hit = text("tcp/PORT or udp/PORT", parseHit, {
  json: { pattern: "^((tcp|udp)/[0-9]+|[0-9]+([/:](tcp|udp))?)$" },
});

const flag = text(
  `one of ${Object.keys(FLAG).join(", ")}, with "!" before it or without`,
  parseFlag,
);

const address = text("an address", parseAddress);

/** A program and its arguments, or false for none. */
const program: Schema<Argv | false> = {
  read: (value, path, mistakes) =>
    value === false ? false : argv.read(value, path, mistakes),
  json: { anyOf: [argv.json, { const: false }] },
};

/** `sequences.NAME`. */
export const door = object({
  knock: optional(oneOrMore(hit), null),
  one_time: optional(list(oneOrMore(hit)), null),
  within: optional(duration(MAX_WITHIN_SECONDS), WITHIN_SECONDS),
  open: optional(oneOrMore(opening), []),
  for: optional(duration(), null),
  once: optional(bool, false),
  close: optional(oneOrMore(hit), null),
  run: optional(program, null),
  run_ipv6: optional(program, null),
  run_after: optional(program, null),
  run_after_ipv6: optional(program, null),
  every: optional(duration(), null),
  flags: optional(oneOrMore(flag), null),
  target: optional(address, null),
  watch: optional(oneOf(WATCHES), null),
});

/** A door as it was read, before it was held against all else. */
export type DoorYaml = typeof door extends Schema<infer T> ? T : never;

function parseFlag(value: string): FlagWord | null {
  const name = value.toLowerCase().replace(/^!/, "");
  if (!Object.hasOwn(FLAG, name)) return null;
  return { name: name as FlagName, set: !value.startsWith("!") };
}
