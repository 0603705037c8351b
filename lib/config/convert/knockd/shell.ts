/** Shell lines as people write them into knockd.conf, taken apart. */

/** One simple command of a line. */
interface Part {
  /** The operator before it; "" at the beginning. */
  readonly before: "" | ";" | "&&" | "||" | "|" | "&";
  /** Its words; null for one that only a shell can expand. */
  readonly words: readonly (string | null)[];
  /** Where its output goes, but for `/dev/null` and other descriptors. */
  readonly redirects: readonly string[];
  readonly source: string;
}

/** The deepest `sh -c` within another that is read; a line of this depth is left as it is. */
export const MAX_DEPTH = 3;

/**
 * Takes a line apart; comments are left out, `sh -c "…"` is read as what it
 * runs. Null where only a shell can read it.
 */
export function readParts(line: string, depth = 0): Part[] | null {
  const parts: Part[] = [];
  let at = 0, before: Part["before"] = "";
  while (at < line.length) {
    const read = readPart(line, at, before);
    if (!read) return null;
    const { part, end, operator } = read;
    if (part.words.length > 0) parts.push(part);
    else if (part.redirects.length > 0 || operator !== null) return null;
    if (operator === null) break;
    // Nothing has to stand behind ";" and "&".
    if (/^[^;&]|&&/.test(operator) && line.slice(end).trim() === "") {
      return null;
    }
    before = operator;
    at = end;
  }
  if (parts.length === 0) return null;
  const all = parts.map((part) => inShell(part, depth));
  return all.includes(null) ? null : all.flatMap((one) => one!);
}

/**
 * The program and its arguments, without what only leads to them, such as
 * sudo; null where a word is not known, or another user's rights are wanted.
 */
export function words({ words }: Part): string[] | null {
  if (words.includes(null)) return null;
  let left = words as string[];
  for (;;) {
    const [first = "", ...rest] = left;
    const program = first.replace(/^.*\//, "");
    if (/^[A-Za-z_]\w*=/.test(first)) left = rest;
    else if (/^(sudo|doas)$/.test(program)) {
      const user = /^-u$|^--user$/.test(rest[0] ?? "") ? rest[1] : "root";
      if (user !== "root" && user !== "0") return null;
      left = rest.slice(rest[0] === "-u" || rest[0] === "--user" ? 2 : 0);
      while (/^(-[nEHkS]+|--[a-z-]+(=root)?|--|-uroot)$/.test(left[0] ?? "")) {
        left = left.slice(1);
      }
    } else if (/^(env|nohup|command|exec|setsid|busybox|time)$/.test(program)) {
      left = rest;
      while (/^(-i|--|-)$/.test(left[0] ?? "")) left = left.slice(1);
    } else if (/^(nice|ionice)$/.test(program)) {
      left = rest;
      while (/^-/.test(left[0] ?? "")) {
        left = left.slice(/^-[nc]$/.test(left[0]!) ? 2 : 1);
      }
    } else return left.length > 0 ? left : null;
  }
}

function inShell(part: Part, depth: number): Part[] | null {
  const argv = words(part);
  const shell = argv?.[0]?.replace(/^.*\//, "") ?? "";
  if (
    !/^(ba|da|a|k|z)?sh$/.test(shell) || argv?.[1] !== "-c" ||
    argv.length !== 3 || part.redirects.length > 0 || depth >= MAX_DEPTH
  ) return [part];
  const [first, ...others] = readParts(argv[2]!, depth + 1) ?? [];
  return first ? [{ ...first, before: part.before }, ...others] : null;
}

/** Reads up to the next operator, or a comment. */
function readPart(
  line: string,
  start: number,
  before: Part["before"],
): { part: Part; end: number; operator: Part["before"] | null } | null {
  const found: (string | null)[] = [];
  const redirects: string[] = [];
  const blank = /[ \t]+/y, operators = /&&|\|\||;|\||&(?!>)/y;
  const redirect = /(\d*)(>>|>&|>|<|&>)[ \t]*/y;
  let at = start;
  const take = (pattern: RegExp) => {
    pattern.lastIndex = at;
    const match = pattern.exec(line);
    if (match) at += match[0].length;
    return match;
  };
  const done = (end: number, operator: Part["before"] | null) => {
    const source = line.slice(start, end).trim();
    const part = { before, words: found, redirects, source };
    return { part, end: at, operator };
  };
  while (at < line.length) {
    if (take(blank)) continue;
    const here = at;
    if (line[at] === "#") {
      at = line.length;
      return done(here, null);
    }
    const operator = take(operators);
    if (operator) return done(here, operator[0] as Part["before"]);
    const to = take(redirect);
    const word = readWord(line, at);
    if (!word) return null;
    at = word.end;
    if (!to) found.push(word.text);
    else if (
      word.text !== "/dev/null" && !(to[2] === ">&" && word.text?.match(/^\d$/))
    ) {
      redirects.push(line.slice(here, at));
    }
  }
  return done(at, null);
}

/** Reads one word; its text is null where only a shell can expand it. */
function readWord(
  line: string,
  start: number,
): { text: string | null; end: number } | null {
  const plain = /[\w%@+:,.\/=!^\u00a0-\uffff-]+/y, single = /'([^']*)'/y;
  const double = /"((?:[^"\\$`]|\\.)*)"/y, brace = /[{}](?=[\s;]|$)/y;
  const substitution = /\$\w+|\$\{\w+\}|\$\([^()'"`]*\)|`[^`'"]*`/y;
  const opaque =
    /[*?~[\]{}$]|"(?:[^"\\`$]|\\.|\$\([^()"`]*\)|\$(?!\()|`[^`"]*`)*"/y;
  let text = "", at = start, known = true;
  const take = (pattern: RegExp) => {
    pattern.lastIndex = at;
    const match = pattern.exec(line);
    if (match) at += match[0].length;
    return match;
  };
  while (at < line.length && !/[ \t;&|<>]/.test(line[at]!)) {
    const match = take(plain) ?? take(brace);
    const quoted = match ? null : take(single);
    const soft = match || quoted ? null : take(double);
    if (match) text += match[0];
    else if (quoted) text += quoted[1];
    else if (soft) text += soft[1]!.replace(/\\([\\"$`])/g, "$1");
    else if (line[at] === "\\" && at + 1 < line.length) {
      text += line[at + 1];
      at += 2;
    } else if (take(substitution) ?? take(opaque)) known = false;
    else return null;
  }
  return at === start ? null : { text: known ? text : null, end: at };
}
