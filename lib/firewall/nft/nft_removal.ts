/** What takes ours out of the kernel again: all of it, or what is wanted no more. Pure. */

import {
  formatHostChain,
  type HostChain,
  hostTable,
} from "./rules/nft_chain.ts";
import { type Found, readTable } from "./listing.ts";
import { placesOf, type Plan } from "./rules/nft_plan.ts";
import { KNOWN_NAMES, ownNames } from "./rules/ruleset.ts";
import { setNames, TABLE } from "./rules/sets.ts";
import { lines } from "../script.ts";

/** Deletes the table. */
export function removeText(): string {
  return lines(`delete table ${TABLE}`);
}

/**
 * Makes the table anew, in the same transaction as what follows it. Only for
 * a table of ours whose sets or chain are not as they should be.
 */
function renewText(): string {
  return lines(`table ${TABLE}`, `delete table ${TABLE}`);
}

/** Deletes what was found of ours and is wanted no more. */
export function unneededText(plan: Plan, { own, host }: Found): string {
  const names = ownNames(plan);
  const text = own === null
    ? ""
    : names.size === 0
    ? removeText()
    : unwantedText(own, KNOWN_NAMES, names);
  const place = placesOf(plan).host;
  if (!place) return text;
  const wanted = setNames(place);
  return text + lines(
    ...host.filter(({ kind, name }) => kind === "set" && !wanted.includes(name))
      .map(({ name }) => `delete set ${place.table} ${name}`),
  );
}

/** Clears the way for sets and chains that are to be made anew. */
export function clearText(host: HostChain | null, found: Found): string {
  const own = found.own === null ? "" : renewText();
  if (!host) return own;
  const sets = found.host.filter(({ kind }) => kind === "set");
  const chain = found.host.some(({ kind }) => kind === "chain");
  return own + lines(
    ...(chain ? [`flush chain ${formatHostChain(host)}`] : []),
    ...sets.map(({ name }) => `delete set ${hostTable(host)} ${name}`),
  );
}

/** Deletes what is in a listing of our own table, is of these names, and is wanted no more. */
export function unwantedText(
  table: string,
  known: ReadonlySet<string>,
  wanted: ReadonlySet<string>,
): string {
  const gone = readTable(table).filter(({ name }) =>
    known.has(name) && !wanted.has(name)
  );
  const chains = gone.filter(({ kind }) => kind === "chain");
  const others = gone.filter(({ kind }) => kind !== "chain");
  return [
    ...chains.map(({ name }) => `flush chain ${TABLE} ${name}\n`),
    ...chains.map(({ name }) => `delete chain ${TABLE} ${name}\n`),
    ...others.map(({ kind, name }) => `delete ${kind} ${TABLE} ${name}\n`),
  ].join("");
}
