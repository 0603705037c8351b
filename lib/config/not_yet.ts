/** What a configuration may say and this version cannot do yet. */

import { isMapping, type Mistake, show } from "./mistake.ts";
import { at } from "./mistake.ts";

/** One thing that is refused for now: delete its line when it works. */
interface NotYet {
  /** A path; `*` is every key. */
  readonly path: string;
  /** Only this value is refused; absent: any. */
  readonly is?: unknown;
  /** Only with this backend. */
  readonly backend?: string;
}

const NOT_YET: readonly NotYet[] = [
  { path: "metrics" },
];

/** What a configuration asks for that this version cannot do. */
export function notYetSupported(raw: unknown, backend: string): Mistake[] {
  return NOT_YET.filter((line) => (line.backend ?? backend) === backend)
    .flatMap((line) =>
      reach(raw, line.path.split("."), "")
        .filter(([, value]) => line.is === undefined || value === line.is)
        .map(([path, value]) => ({
          path: typeof line.is === "string" ? `${path}: ${show(value)}` : path,
          text: "not yet supported by this version",
        }))
    );
}

function reach(
  value: unknown,
  [key, ...rest]: readonly string[],
  path: string,
): [path: string, value: unknown][] {
  if (key === undefined) return [[path, value]];
  if (!isMapping(value)) return [];
  return Object.keys(value).filter((name) => key === "*" || name === key)
    .flatMap((name) => reach(value[name], rest, at(path, name)));
}
