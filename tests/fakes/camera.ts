/** A camera: QR codes as pictures, and a decoder that is not ours, zbarimg. */

import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { spawnSync } from "node:child_process";
import process from "node:process";

const missing = spawnSync("zbarimg", ["--version"]).status !== 0;
/** The reason why nothing can be decoded here; false: it can. */
export const cameraSkip = missing && process.env["CI"] !== "true"
  ? "needs the program zbarimg"
  : false;

/** Rows of modules as a grey picture (PGM, netpbm's), a module of so many pixels. */
function picture(
  rows: readonly (readonly boolean[])[],
  scale: number,
): Uint8Array {
  const wide = rows.map((row) =>
    row.flatMap((dark) => Array(scale).fill(dark ? 0 : 255) as number[])
  );
  const pixels = wide.flatMap((row) => Array(scale).fill(row).flat());
  const size = `${wide[0]!.length} ${rows.length * scale}`;
  const header = new TextEncoder().encode(`P5 ${size} 255\n`);
  return Uint8Array.from([...header, ...pixels]);
}

/** Reads a code as a camera would. */
export function decode(image: Uint8Array): string {
  const argv = ["--raw", "--quiet", "--oneshot", "-"];
  const { status, stdout, stderr } = spawnSync("zbarimg", argv, {
    input: Buffer.from(image),
    encoding: "utf8",
  });
  assertEquals(status, 0, stderr);
  return stdout.replace(/\n$/, "");
}

/** The picture of what a terminal shows: ink on paper, a character is 1 × 2. */
export function photograph(lines: string): Uint8Array {
  // deno-lint-ignore no-control-regex -- colours are no characters
  const rows = lines.replace(/\x1b\[[\d;]*m/g, "").trimEnd().split("\n");
  const columns = Math.max(...rows.map((row) => row.length));
  const margin = Array.from({ length: 4 }, () => false);
  const pixels = rows.flatMap((row) => {
    const cells = [...row.padEnd(columns)];
    return ["▀█", "▄█"].map((ink) => [
      ...margin,
      ...cells.map((cell) => ink.includes(cell)),
      ...margin,
    ]);
  });
  return picture(pixels, 6);
}

/** The picture that a viewer draws of an SVG of squares. */
export function draw(svg: string): Uint8Array {
  const side = Number(/viewBox="0 0 (\d+) \1"/.exec(svg)![1]);
  const squares = [...svg.matchAll(/M(\d+),(\d+)h(\d+)v\3h-\3z/g)];
  const size = Number(squares[0]![3]);
  const rows = Array.from(
    { length: side / size },
    () => Array(side / size).fill(false) as boolean[],
  );
  for (const [, x, y] of squares) {
    rows[Number(y) / size]![Number(x) / size] = true;
  }
  return picture(rows, 8);
}
