import type { Runtime } from "../../runtime/runtime.ts";
import { failing, FailureError } from "../../values/errors.ts";
import { escapeUnsafe } from "../../values/text.ts";
import { parseOptions, takePositionals } from "../command.ts";
import { pathBeside } from "../../config/files/places.ts";
import { PAGE, WORKER } from "./page_html.ts";

export const help = `Usage:
    knock page [--out FILE]

Prints the web page that knocks from a browser: one HTML file that loads
nothing else, for any static host with https, or to open as a file. \`knock
client add NAME --web URL\` enrols a phone that opens it.

Options:
    -o, --out FILE    Write the page to FILE, and knock-worker.js beside it:
                      where the host has both, the page opens without a network
                      to its host, too. An older page is replaced, nothing else.

Example:
    $ knock page --out /var/www/html/knock/index.html
`;

/** First words of what this command wrote before. */
const OURS = [
  /<meta name="generator" content="knock /,
  /^\/\/ web\/worker\.ts\n/,
] as const;

/** Runs `knock page`, and returns the exit status. */
// deno-lint-ignore require-await -- so that a throw is a rejection
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, help);
  takePositionals(options, []);
  const out = options.value("out");
  if (out === undefined) {
    runtime.out(PAGE);
    return 0;
  }
  // The page asks its host for the worker by this name.
  const worker = pathBeside(runtime, out, "knock-worker.js");
  for (const path of [out, worker]) refuseForeign(runtime, path);
  for (const [path, text] of [[out, PAGE], [worker, WORKER]] as const) {
    failing(
      `cannot write ${path}`,
      () => runtime.files.replace(path, text, 0o644),
    );
  }
  const shown = [out, worker].map(escapeUnsafe);
  runtime.err(`wrote ${shown[0]}, and ${shown[1]} to go beside it\n`);
  return 0;
}

function refuseForeign(runtime: Runtime, path: string): void {
  failing(`cannot write ${path}`, () => {
    if (!runtime.files.stat(path)?.isFile) return;
    const text = runtime.files.readText(path);
    if (OURS.some((words) => words.test(text))) return;
    throw new FailureError(
      `${path} exists already and is no page of knock's: nothing was changed`,
      "name another file, or move that one away",
    );
  });
}
