/** A listing of nft: whose a table is, what is in it, and the script that takes ours out. Pure. */

import { FirewallError, lines, OWNER } from "../firewall.ts";
import { KNOWN_NAMES, ownNames } from "./rules/ruleset.ts";
import { knownHostPlace, placesOf, type Plan } from "./rules/plan.ts";
import {
  formatHostChain,
  type HostChain,
  hostTable,
  setNames,
  TABLE,
} from "./rules/sets.ts";

/** One thing in a table. */
interface Listed {
  readonly kind: "chain" | "set" | "map" | "counter";
  readonly name: string;
  /** As it was listed. */
  readonly text: string;
}

/** Our objects in the kernel. */
export interface NftListing {
  /** The listing of our own table; null when there is none. */
  readonly own: string | null;
  /** Our objects in the table of the host's chain. */
  readonly host: readonly Listed[];
  readonly hasHostTable: boolean;
}

/** Joins our objects into one text; null when there are none. */
export function textOf({ own, host }: NftListing): string | null {
  if (own === null && host.length === 0) return null;
  return (own ?? "") + host.map(({ text }) => text + "\n").join("");
}

/** A table's part of a listing of the ruleset; null when there is none. */
export function findTable(listing: string, table: string): string | null {
  const start = `\n${listing}`.indexOf(`\ntable ${table} {\n`);
  if (start < 0) return null;
  return listing.slice(start, listing.indexOf("\n}\n", start) + 3);
}

export function readTable(table: string): Listed[] {
  const blocks = table.matchAll(
    /^\t(chain|set|map|counter) (\S+) \{\n(?:\t\t.*\n|\n)*?\t\}$/gm,
  );
  return [...blocks].map(([text, kind, name]) => ({
    kind: kind as Listed["kind"],
    name: name!,
    text,
  }));
}

/** Our own table's part of a listing, null when there is none; throws when it is another's. */
export function ownTable(listing: string): string | null {
  const found = findTable(listing, TABLE);
  if (found === null || isOurs(found)) return found;
  throw new FirewallError(
    `table ${TABLE} is there already and was not made by this program`,
    `if nobody needs it: nft delete table ${TABLE}`,
  );
}

export function isOurs(table: string): boolean {
  return table.split("\n")[1]?.trim() === `comment "${OWNER}"`;
}

/**
 * Finds our objects in the table of the host's chain; throws when the chain or
 * a set of our names is another's. An empty chain may be the host's own, put
 * there for us.
 */
export function hostObjects(listing: string, host: HostChain): Listed[] {
  const place = knownHostPlace(host);
  const table = findTable(listing, place.table);
  if (table === null) return [];
  const sets = setNames(place);
  const objects = readTable(table);
  if (host.family !== "inet" && objects.some(({ name }) => name === "INPUT")) {
    // It cannot read what is not its own, and then refuses all of the table.
    throw new FirewallError(
      `table ${place.table} is kept by iptables`,
      "firewall: { backend: iptables, mode: accept }",
    );
  }
  const ours = objects.filter(({ kind, name }) =>
    kind === "chain" ? name === host.chain : sets.includes(name)
  );
  for (const object of ours) {
    if (isMade(object)) continue;
    const what = object.kind === "chain"
      ? `chain ${formatHostChain(host)}`
      : `set ${place.table} ${object.name}`;
    throw new FirewallError(
      `${what} is there already and was not made by this program`,
      "firewall.chain may name another chain",
    );
  }
  return ours;
}

function isMade({ kind, text }: Listed): boolean {
  const inner = text.split("\n").slice(1, -1).map((line) => line.trim())
    .filter((line) => line !== "");
  const mark = `comment "${OWNER}"`;
  return kind === "chain"
    ? inner.every((line) => line.endsWith(mark))
    : inner.includes(mark);
}

export const REMOVAL = lines(`delete table ${TABLE}`);

/** A table or chain of ours, and the scripts that take it away, one after another. */
interface NftRemoval {
  readonly what: string;
  /** Closes what is open, and deletes all but the chain that others' rules may jump to. */
  readonly script: string;
  /** Deletes that chain; fails while others' rules jump to it. Null = there is none. */
  readonly chain: string | null;
  /** The host's table, which may have been made for the chain. */
  readonly table: string;
}

/** Finds all that is ours in a listing of the whole ruleset, by its marks. */
export function findRemovals(ruleset: string): readonly NftRemoval[] {
  const tables = ruleset.matchAll(/^table (\S+ \S+) \{\n[^]*?^\}$/gm);
  return [...tables].flatMap(([text, table = ""]): NftRemoval[] => {
    if (table === TABLE) {
      return isOurs(text)
        ? [{ what: `table ${TABLE}`, script: REMOVAL, chain: null, table }]
        : [];
    }
    const made = readTable(text).filter(isMade);
    const sets = made.filter(({ kind }) => kind === "set");
    // A chain without rules may be the host's own.
    const chains = made.filter(({ kind, text }) =>
      kind === "chain" && text.includes(OWNER)
    );
    return chains.map(({ name }) => {
      const chain = `${table} ${name}`;
      const script = lines(
        `flush chain ${chain}`,
        ...sets.filter((set) => set.name.startsWith(`${name}_`))
          .map((set) => `delete set ${table} ${set.name}`),
      );
      return { what: `chain ${chain}`, script, chain, table };
    });
  });
}

/** Deletes what was found of ours and is wanted no more. */
export function unneededText(plan: Plan, { own, host }: NftListing): string {
  const names = ownNames(plan);
  const text = own === null
    ? ""
    : names.size === 0
    ? REMOVAL
    : unwantedText(own, names);
  const place = placesOf(plan).host;
  if (!place) return text;
  const wanted = setNames(place);
  return text + lines(
    ...host.filter(({ kind, name }) => kind === "set" && !wanted.includes(name))
      .map(({ name }) => `delete set ${place.table} ${name}`),
  );
}

/** Clears the way for sets and chains that are to be made anew. */
export function clearText(host: HostChain | null, found: NftListing): string {
  const own = found.own === null ? "" : `table ${TABLE}\n${REMOVAL}`;
  if (!host) return own;
  const sets = found.host.filter(({ kind }) => kind === "set");
  const chain = found.host.some(({ kind }) => kind === "chain");
  return own + lines(
    ...(chain ? [`flush chain ${formatHostChain(host)}`] : []),
    ...sets.map(({ name }) => `delete set ${hostTable(host)} ${name}`),
  );
}

/** Deletes what is in a listing of our own table, has a name of ours, and is wanted no more. */
export function unwantedText(
  table: string,
  wanted: ReadonlySet<string>,
): string {
  const gone = readTable(table).filter(({ name }) =>
    KNOWN_NAMES.has(name) && !wanted.has(name)
  );
  const chains = gone.filter(({ kind }) => kind === "chain");
  const others = gone.filter(({ kind }) => kind !== "chain");
  return [
    ...chains.map(({ name }) => `flush chain ${TABLE} ${name}\n`),
    ...chains.map(({ name }) => `delete chain ${TABLE} ${name}\n`),
    ...others.map(({ kind, name }) => `delete ${kind} ${TABLE} ${name}\n`),
  ].join("");
}
