/**
 * Edits of a configuration's text that leave every comment and the layout as
 * they are. They know block YAML as people write it, and read their own work
 * again: what comes out means the old text and the change, or nothing does.
 * @module
 */

import { parse } from "@std/yaml/parse";
import {
  formatClient,
  indent,
  type NewClient,
  type NewEntry,
} from "./write.ts";

/** Adds a client to the text; null if that has to be done by hand. */
export function addClientText(
  text: string,
  client: NewClient | NewEntry,
): string | null {
  const edited = insertClient(text, client);
  return edited !== null && means(edited, (clients) => {
      Object.assign(clients, read(formatClient(client)));
    }, text)
    ? edited
    : null;
}

/** Removes a client from the text; null if that has to be done by hand. */
export function removeClientText(text: string, name: string): string | null {
  const edited = cutClient(text, name);
  return edited !== null && means(edited, (clients) => {
      delete clients[name];
    }, text)
    ? edited
    : null;
}

/** New values of a client's keys, as YAML of one line; null removes the key. */
export type ClientChanges = ReadonlyMap<string, string | null>;

/** Changes keys of a client in the text; null if that has to be done by hand. */
export function setClientText(
  text: string,
  name: string,
  changes: ClientChanges,
): string | null {
  const edited = changeClient(text, name, changes);
  return edited !== null && means(edited, (clients) => {
      const client = { ...clients[name] as Record<string, unknown> };
      for (const [key, value] of changes) {
        if (value === null) delete client[key];
        else client[key] = read(value);
      }
      clients[name] = client;
    }, text)
    ? edited
    : null;
}

/**
 * Edits a file of `clients.d`: where it has clients alone, it is edited as the
 * part of a configuration that it is.
 */
export function editIncluded(
  text: string,
  edit: (text: string) => string | null,
): string | null {
  if (findClients(split(text).lines) >= 0) return edit(text);
  const edited = edit(`clients:\n${text.replace(/^(?=.*\S)/gm, "  ")}`);
  return edited &&
    edited.replace(/^clients:\r?\n/, "").replace(/^ {2}/gm, "");
}

/** Files that clients name under a key, or under a key of a dialect, by client. */
export function clientFiles(
  clients: Readonly<Record<string, unknown>>,
  path: readonly string[],
): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [name, entry] of Object.entries(clients)) {
    const file = path.reduce<unknown>(
      (value, key) => (value as Record<string, unknown> | undefined)?.[key],
      entry ?? undefined,
    );
    if (typeof file === "string") found.set(name, file);
  }
  return found;
}

/** True if the edited text means the old one with this change to its clients. */
function means(
  edited: string,
  change: (clients: Record<string, unknown>) => void,
  text: string,
): boolean {
  try {
    const wanted = structuredClone(read(text)) as Record<string, unknown>;
    const found = read(edited) as Record<string, unknown>;
    // An empty `clients`, and none at all, mean the same.
    wanted.clients ??= {};
    found.clients ??= {};
    change(wanted.clients as Record<string, unknown>);
    return JSON.stringify(wanted) === JSON.stringify(found);
  } catch {
    return false;
  }
}

function read(text: string): unknown {
  return parse(text, { schema: "core" });
}

function insertClient(
  text: string,
  client: NewClient | NewEntry,
): string | null {
  const { lines, newline } = split(text);
  const entry = (columns: number) =>
    indent(formatClient(client), columns).trimEnd().split("\n");

  const head = findClients(lines);
  if (head < 0) {
    const gap = lines.length === 0 || lines.at(-1) === "" ? [] : [""];
    return join([...lines, ...gap, "clients:", ...entry(2)], newline);
  }
  const value = /^([^:]*:)(.*)$/.exec(lines[head]!)!;
  const empty = /^\s*(?:\{\s*\}|~|null)?\s*(#.*)?$/.exec(value[2]!);
  if (!empty) return null;
  lines[head] = empty[1] ? `${value[1]} ${empty[1]}` : value[1]!;

  const { columns, last } = block(lines, head, 0);
  const width = columns ?? usualIndent(lines);
  lines.splice(last + 1, 0, ...entry(width));
  return join(lines, newline);
}

function cutClient(text: string, name: string): string | null {
  const { lines, newline } = split(text);
  const found = findClient(lines, name);
  if (!found) return null;
  const { index, columns } = found;
  lines.splice(index, block(lines, index, columns).last - index + 1);
  return join(lines, newline);
}

function changeClient(
  text: string,
  name: string,
  changes: ClientChanges,
): string | null {
  const { lines, newline } = split(text);
  const found = findClient(lines, name);
  if (!found) return null;
  const { index, columns } = found;
  const flow = /^(\s*[^{]*:\s*)\{(.*)\}(\s*(?:#.*)?)$/.exec(lines[index]!);
  if (flow) {
    const [, head, items, tail] = flow;
    lines[index] = `${head}{ ${changeFlow(items!, changes)} }${tail}`;
    return join(lines, newline);
  }
  for (const [key, value] of changes) {
    const own = block(lines, index, columns);
    if (own.columns === null) return null;
    const at = findKey(lines, key, index + 1, own.last, own.columns);
    if (at < 0) {
      const line = `${" ".repeat(own.columns)}${key}: ${value}`;
      if (value !== null) lines.splice(own.last + 1, 0, line);
      continue;
    }
    let { last } = block(lines, at, own.columns);
    // The entries of a list may stand as far out as its key.
    while (/^ *- /.test(lines[last + 1] ?? "")) last++;
    const comment = /^[^#"']*?(\s+#.*)$/.exec(lines[at]!)?.[1] ?? "";
    const line = `${" ".repeat(own.columns)}${key}: ${value}${comment}`;
    lines.splice(at, last - at + 1, ...value === null ? [] : [line]);
  }
  return join(lines, newline);
}

/** Changes keys in what stands between the braces of a flow mapping. */
function changeFlow(items: string, changes: ClientChanges): string {
  // An item ends at a comma outside of brackets and quotes.
  const found =
    items.match(/(?:"(?:[^"\\]|\\.)*"|'[^']*'|\{[^{}]*\}|\[[^[\]]*\]|[^,])+/g)
      ?.map((item) => item.trim()).filter((item) => item !== "") ?? [];
  for (const [key, value] of changes) {
    const at = found.findIndex((item) => keyOf(item) === key);
    const item = value === null ? [] : [`${key}: ${value}`];
    found.splice(at < 0 ? found.length : at, at < 0 ? 0 : 1, ...item);
  }
  return found.join(", ");
}

/** Line and column of a client's key; null if there is none in block form. */
function findClient(
  lines: readonly string[],
  name: string,
): { readonly index: number; readonly columns: number } | null {
  const head = findClients(lines);
  if (head < 0) return null;
  const { columns, last } = block(lines, head, 0);
  if (columns === null) return null;
  const index = findKey(lines, name, head + 1, last, columns);
  return index < 0 ? null : { index, columns };
}

/** Line of a key at a column, from one line to another; -1 if there is none. */
function findKey(
  lines: readonly string[],
  key: string,
  first: number,
  last: number,
  columns: number,
): number {
  return lines.findIndex((line, index) =>
    index >= first && index <= last && indentOf(line) === columns &&
    keyOf(line) === key
  );
}

/**
 * Finds what belongs to the mapping whose key is on line `head` at column
 * `parent`: the column of its keys, null if it has none, and its last line.
 */
function block(
  lines: readonly string[],
  head: number,
  parent: number,
): { columns: number | null; last: number } {
  let columns: number | null = null;
  let last = head;
  let broken = false;
  for (let index = head + 1; index < lines.length; index++) {
    const line = lines[index]!;
    if (line.trim() === "") continue;
    const inner = indentOf(line) > parent;
    if (/^\s*#/.test(line)) {
      // A comment further out belongs to what follows, if nothing inner does.
      if (!inner) broken = true;
      else if (!broken) last = index;
      continue;
    }
    if (!inner) break;
    columns ??= indentOf(line);
    broken = false;
    last = index;
  }
  return { columns, last };
}

function findClients(lines: readonly string[]): number {
  return lines.findIndex((line) => /^(["']?)clients\1\s*:(\s|$)/.test(line));
}

function keyOf(line: string): string | null {
  const key = /^\s*("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s:#][^:]*?)\s*:(?:\s|$)/
    .exec(line)?.[1];
  if (key === undefined) return null;
  try {
    return Object.keys(read(`${key}: 0`) as object)[0] ?? null;
  } catch {
    return null;
  }
}

function usualIndent(lines: readonly string[]): number {
  const inner = lines.find((line) => /^ +[^\s#-]/.test(line));
  return inner === undefined ? 2 : indentOf(inner);
}

function indentOf(line: string): number {
  return line.length - line.trimStart().length;
}

function split(text: string): { lines: string[]; newline: string } {
  const newline = /\r\n/.test(text) ? "\r\n" : "\n";
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === "") lines.pop();
  return { lines, newline };
}

function join(lines: readonly string[], newline: string): string {
  return lines.join(newline) + newline;
}
