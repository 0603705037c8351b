/**
 * Edits of a configuration's text that leave every comment and the layout as
 * they are. They know block YAML as people write it, and read their own work
 * again: what comes out means the old text and the change, or nothing does.
 * @module
 */

import { parse } from "@std/yaml/parse";
import { formatClient, indent, type NewClient } from "./write.ts";

/** Adds a client to the text; null if that has to be done by hand. */
export function addClientText(text: string, client: NewClient): string | null {
  const wanted = formatClient(client);
  const entry = (columns: number) =>
    indent(wanted, columns).trimEnd().split("\n");
  return editLines(text, (lines) => {
    const head = findClients(lines);
    if (head < 0) {
      const gap = lines.length === 0 || lines.at(-1) === "" ? [] : [""];
      lines.push(...gap, "clients:", ...entry(2));
      return true;
    }
    const [, key, value] = /^([^:]*:)(.*)$/.exec(lines[head]!)!;
    const empty = /^\s*(?:\{\s*\}|~|null)?\s*(#.*)?$/.exec(value!);
    if (!empty) return false;
    lines[head] = empty[1] ? `${key} ${empty[1]}` : key!;
    const { columns, last } = block(lines, head);
    lines.splice(last + 1, 0, ...entry(columns ?? usualIndent(lines)));
    return true;
  }, (clients) => {
    Object.assign(clients, read(wanted));
  });
}

/** Removes a client from the text; null if that has to be done by hand. */
export function removeClientText(text: string, name: string): string | null {
  return editLines(text, (lines) => {
    const index = findClient(lines, name);
    if (index < 0) return false;
    lines.splice(index, block(lines, index).last - index + 1);
    return true;
  }, (clients) => {
    delete clients[name];
  });
}

/** New values of a client's keys, as YAML of one line; null removes the key. */
export type ClientChanges = ReadonlyMap<string, string | null>;

/** Changes keys of a client in the text; null if that has to be done by hand. */
export function setClientText(
  text: string,
  name: string,
  changes: ClientChanges,
): string | null {
  return editLines(text, (lines) => {
    const index = findClient(lines, name);
    return index >= 0 && changeClient(lines, index, changes);
  }, (clients) => {
    const client = { ...clients[name] as Record<string, unknown> };
    for (const [key, value] of changes) {
      if (value === null) delete client[key];
      else client[key] = read(value);
    }
    clients[name] = client;
  });
}

/**
 * Edits a file of `clients.d`: where it has clients alone, it is edited as the
 * part of a configuration that it is.
 */
export function editIncluded(
  text: string,
  edit: (text: string) => string | null,
): string | null {
  if (findClients(text.split(/\r?\n/)) >= 0) return edit(text);
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

/**
 * Edits a text by its lines. Null if `edit` cannot, or if what comes out does
 * not mean the old text with this change to its clients.
 */
function editLines(
  text: string,
  edit: (lines: string[]) => boolean,
  change: (clients: Record<string, unknown>) => void,
): string | null {
  const newline = /\r\n/.test(text) ? "\r\n" : "\n";
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === "") lines.pop();
  if (!edit(lines)) return null;
  const edited = lines.join(newline) + newline;
  try {
    const wanted = structuredClone(read(text)) as Record<string, unknown>;
    const found = read(edited) as Record<string, unknown>;
    // An empty `clients`, and none at all, mean the same.
    wanted.clients ??= {};
    found.clients ??= {};
    change(wanted.clients as Record<string, unknown>);
    return JSON.stringify(wanted) === JSON.stringify(found) ? edited : null;
  } catch {
    return null;
  }
}

function read(text: string): unknown {
  return parse(text, { schema: "core" });
}

/** Changes keys of the client at a line; false if that has to be done by hand. */
function changeClient(
  lines: string[],
  index: number,
  changes: ClientChanges,
): boolean {
  const flow = /^(\s*[^{]*:\s*)\{(.*)\}(\s*(?:#.*)?)$/.exec(lines[index]!);
  if (flow) {
    const [, head, items, tail] = flow;
    lines[index] = `${head}{ ${changeFlow(items!, changes)} }${tail}`;
    return true;
  }
  for (const [key, value] of changes) {
    const own = block(lines, index);
    if (own.columns === null) return false;
    const at = findKey(lines, key, index);
    if (at < 0) {
      const line = `${" ".repeat(own.columns)}${key}: ${value}`;
      if (value !== null) lines.splice(own.last + 1, 0, line);
      continue;
    }
    let { last } = block(lines, at);
    // The entries of a list may stand as far out as its key.
    while (/^ *- /.test(lines[last + 1] ?? "")) last++;
    const comment = /^[^#"']*?(\s+#.*)$/.exec(lines[at]!)?.[1] ?? "";
    const line = `${" ".repeat(own.columns)}${key}: ${value}${comment}`;
    lines.splice(at, last - at + 1, ...value === null ? [] : [line]);
  }
  return true;
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

/** Line of a client's key; -1 if there is none in block form. */
function findClient(lines: readonly string[], name: string): number {
  const head = findClients(lines);
  return head < 0 ? -1 : findKey(lines, name, head);
}

/** Line of a key of the mapping on line `head`; -1 if there is none. */
function findKey(lines: readonly string[], key: string, head: number): number {
  const { columns, last } = block(lines, head);
  return lines.findIndex((line, index) =>
    index > head && index <= last && indentOf(line) === columns &&
    keyOf(line) === key
  );
}

/**
 * Finds what belongs to the mapping whose key is on line `head`: the column of
 * its keys, null if it has none, and its last line.
 */
function block(
  lines: readonly string[],
  head: number,
): { columns: number | null; last: number } {
  const parent = indentOf(lines[head]!);
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
