/**
 * Bundles web/ into the page that knocks from a browser, and its service
 * worker, as texts in lib/commands/tools/page_html.ts: `deno task page`. The
 * page's policy names the hashes of its script and its style.
 * @module
 */

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { VERSION } from "../lib/values/program.ts";
import { findBun } from "./compile.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const FILE = "lib/commands/tools/page_html.ts";

/** Nothing is fetched but answers of a resolver that an enrolment names. */
const POLICY = [
  "default-src 'none'",
  "script-src %SCRIPT%",
  "style-src %STYLE%",
  "img-src data:",
  "manifest-src data:",
  "connect-src https:",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
];

/** Makes the module with the page and its worker, with `bun`, an argv that runs Bun. */
export function formatPageModule(bun: readonly string[]): string {
  const script = bundle(bun, "app.ts");
  if (/<\/script|<!--/i.test(script)) throw new Error("the script ends itself");
  const style = read("style.css");
  const policy = POLICY.join("; ").replace("%SCRIPT%", hashOf(script))
    .replace("%STYLE%", hashOf(style));
  const parts: Readonly<Record<string, string>> = {
    CSP: policy,
    ICON: `data:image/svg+xml,${encodeURIComponent(read("icon.svg").trim())}`,
    SCRIPT: script,
    STYLE: style,
    VERSION,
  };
  const page = read("page.html")
    .replace(/%([A-Z]+)%/g, (whole, name) => parts[name] ?? whole);
  return `/** The page and its service worker. \`deno task page\` writes this file from web/. */

/** One HTML file with all that it needs. */
export const PAGE = ${linesOf(page)};

/** A script for a file beside the page. */
export const WORKER = ${linesOf(bundle(bun, "worker.ts"))};
`;
}

function read(name: string): string {
  return readFileSync(join(ROOT, "web", name), "utf8");
}

function bundle(bun: readonly string[], name: string): string {
  const [program, ...first] = bun;
  const args = ["build", "--target=browser", join("web", name)];
  const { status, stdout, stderr, error } = spawnSync(
    program!,
    [...first, ...args],
    { cwd: ROOT, encoding: "utf8" },
  );
  if (error) throw error;
  if (status !== 0) throw new Error(`bun build: ${stderr}`);
  return stdout;
}

/** A source of CSP level 2 for a text between its tags. */
function hashOf(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

function linesOf(text: string): string {
  const lines = text.split("\n").map((line) => `  ${JSON.stringify(line)},\n`);
  return `[\n${lines.join("")}].join("\\n")`;
}

if (import.meta.main) {
  writeFileSync(join(ROOT, FILE), formatPageModule(findBun()));
}
