/** Lines of fwknop's files: a keyword, and what comes after it. */

/** A file that was given, or that another one includes. */
export interface SourceFile {
  /** As messages show it. */
  readonly name: string;
  readonly text: string;
}

/** How files that others include are found. Null: it cannot be read. */
export interface Includes {
  readonly read: (name: string) => string | null;
  /** The names of a folder's files, without the folder. */
  readonly list: (name: string) => readonly string[] | null;
}

/** One line. */
export interface Directive {
  readonly keyword: string;
  /** Never empty. */
  readonly value: string;
  /** "FILE:LINE" for messages. */
  readonly where: string;
}

/** Keywords with what they were last set to. */
export type Settings = ReadonlyMap<string, Directive>;

/** How deep files may include each other, as in fwknopd. */
const MAX_DEPTH = 3;

/** Reads `KEYWORD value`, `KEYWORD: value` and `KEYWORD value;` lines; comments go. */
export function readDirectives(
  { name, text }: SourceFile,
  warnings: string[],
): Directive[] {
  const directives: Directive[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*([#;]|$)/.test(line)) continue;
    const where = `${name}:${index + 1}`;
    const match = /^\s*(\S+?):?\s+([^;]*[^;\s])/.exec(line);
    // The rest of the line may be a key: it is not shown.
    const keyword = match?.[1] ?? /^\s*([A-Z_%a-z0-9]+)/.exec(line)?.[1] ?? "?";
    if (match) directives.push({ keyword, value: match[2]!, where });
    else warnings.push(`${where}: ${keyword}: has no value, left out`);
  }
  return directives;
}

/** Reads the same, and puts the files in that `%include` and the like name. */
export function readWithIncludes(
  file: SourceFile,
  includes: Includes,
  warnings: string[],
  depth = 0,
): Directive[] {
  return readDirectives(file, warnings).flatMap((directive) => {
    const { keyword, value, where } = directive;
    if (!INCLUDES.includes(keyword)) return [directive];
    if (depth >= MAX_DEPTH) {
      warnings.push(`${where}: ${keyword}: too deep, left out`);
      return [];
    }
    const names = keyword === "%include_folder"
      ? includes.list(value)?.filter((name) => name.endsWith(".conf"))
        .toSorted().map((name) => `${value.replace(/\/$/, "")}/${name}`)
      : [value];
    if (!names) {
      warnings.push(`${where}: ${keyword}: cannot read "${value}"`);
      return [];
    }
    return names.flatMap((name) => {
      const text = includes.read(name);
      if (text !== null) {
        return readWithIncludes({ name, text }, includes, warnings, depth + 1);
      }
      warnings.push(`${where}: ${keyword}: cannot read "${name}"`);
      return [];
    });
  });
}

/** The last value of each keyword; others before it are named. */
export function settle(
  directives: readonly Directive[],
  warnings: string[],
): Settings {
  const settings = new Map<string, Directive>();
  for (const directive of directives) {
    const { keyword, where } = directive;
    const before = settings.get(keyword);
    if (before) {
      warnings.push(`${before.where}: ${keyword}: set again at ${where}`);
    }
    settings.set(keyword, directive);
  }
  return settings;
}

/** Whether a value means yes, as fwknop reads it. */
export function isYes(directive: Directive | undefined): boolean {
  return /^y/i.test(directive?.value ?? "");
}

const INCLUDES = ["%include", "%include_folder", "%include_keys"];
