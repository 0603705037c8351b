/**
 * `deno task picture`: runs `knock demo` and records it as `docs/demo.svg`: a
 * terminal in which every line appears when it was printed.
 * @module
 */

import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const FILE = join(ROOT, "docs/demo.svg");

/** A printed line, and when it came, milliseconds from the start. */
export interface Printed {
  readonly text: string;
  readonly atMs: number;
}

/** Size of a character and of the margin, pixels. */
const CHARACTER = 8.4;
const LINE = 20;
const MARGIN = 16;
const COLUMNS = 80;
/** Time for which the last line stays before the recording starts again. */
const REST_MS = 5000;

/** Colours of the words that say how a port is. */
const COLOURS: readonly (readonly [RegExp, string])[] = [
  [/(?<= )closed$/, "closed"],
  [/open: .*$/, "open"],
  [/done in .*$/, "open"],
];

/** Draws lines as a terminal. */
export function formatPicture(lines: readonly Printed[]): string {
  const lengthMs = lines.at(-1)!.atMs + REST_MS;
  const width = Math.ceil(COLUMNS * CHARACTER + 2 * MARGIN);
  const height = lines.length * LINE + 2 * MARGIN;
  const percent = (atMs: number) => (atMs / lengthMs * 100).toFixed(2);
  const shown = lines.map(({ text, atMs }, index) => {
    const y = MARGIN + index * LINE + LINE * 0.7;
    const [head, coloured, name] = paint(text);
    const rest = coloured === ""
      ? ""
      : `<tspan class="${name}">${escape(coloured)}</tspan>`;
    // The first line is there from the start, also without animation.
    const style = atMs === 0 ? "" : ` style="animation-name:l${index}"`;
    return `<text x="${MARGIN}" y="${y}"${style}>${escape(head)}${rest}</text>`;
  });
  const frames = lines.map(({ atMs }, index) =>
    atMs === 0 ? "" : `@keyframes l${index}{0%,${percent(atMs)}%{opacity:0}` +
      `${percent(atMs + 1)}%,100%{opacity:1}}\n`
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="knock demo in a terminal">
<style>
text{font:14px ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;fill:#d8dee9;white-space:pre;animation:${lengthMs}ms step-end infinite}
.open{fill:#a3be8c}.closed{fill:#ebcb8b}
@media (prefers-reduced-motion:reduce){text{animation:none}}
${frames.join("")}</style>
<rect width="100%" height="100%" rx="8" fill="#20242c"/>
${shown.join("\n")}
</svg>
`;
}

function paint(text: string): [head: string, rest: string, name: string] {
  for (const [pattern, name] of COLOURS) {
    const found = pattern.exec(text);
    if (found && text.startsWith("  ")) {
      return [text.slice(0, found.index), found[0], name];
    }
  }
  return [text, "", ""];
}

function escape(text: string): string {
  return text.replace(/[&<>]/g, (one) => `&#${one.charCodeAt(0)};`);
}

/** Runs the demo and returns its lines; throws if it fails. */
async function record(): Promise<Printed[]> {
  const lines: Printed[] = [{ text: "$ knock demo", atMs: 0 }];
  const child = spawn("deno", ["run", "-A", "--quiet", "main.ts", "demo"], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const startMs = performance.now();
  let rest = "";
  child.stdout.on("data", (bytes: Uint8Array) => {
    const parts = (rest + new TextDecoder().decode(bytes)).split("\n");
    rest = parts.pop()!;
    const atMs = Math.round(performance.now() - startMs);
    for (const text of parts) lines.push({ text, atMs });
  });
  const code = await new Promise((resolve) => child.on("close", resolve));
  if (code !== 0) throw new Error(`the demo ended with ${code}`);
  return lines;
}

if (import.meta.main) {
  writeFileSync(FILE, formatPicture(await record()));
  process.stdout.write(`wrote ${FILE}\n`);
}
