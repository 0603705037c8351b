/** Small charts as SVG. Pure. */

const WIDTH = 720;
const HEIGHT = 320;
const LEFT = 64;
const RIGHT = 210;
const TOP = 40;
const BOTTOM = 44;
const ROW = 28;
const LABELS = 250;
const COLOURS = ["#1b6ac9", "#c9571b", "#5b9e2d", "#8a4fc2", "#888888"];

/** A named line of [x, y] points. */
export interface Line {
  readonly name: string;
  readonly points: readonly (readonly number[])[];
}

/** A bar; this project's stand out from its peers'. */
export interface Bar {
  readonly name: string;
  readonly value: number;
  readonly own: boolean;
}

/** Bars on a logarithmic axis from a tenth of the least value on. */
export function drawBars(
  title: string,
  unit: string,
  bars: readonly Bar[],
): string {
  const values = bars.map(({ value }) => value);
  const low = Math.log10(Math.min(...values) / 2);
  const high = Math.log10(Math.max(...values));
  const room = WIDTH - LABELS - 90;
  const rows = bars.map(({ name, value, own }, index) => {
    const y = TOP + index * ROW;
    const length = (Math.log10(value) - low) / (high - low) * room;
    const middle = y + ROW / 2 + 1;
    return text(LABELS - 8, middle, name, "end") +
      `<rect x="${LABELS}" y="${y + 4}" width="${length.toFixed(1)}" ` +
      `height="${ROW - 8}" fill="${own ? COLOURS[0] : COLOURS[4]}"/>` +
      text(LABELS + length + 6, middle, `${value} ${unit}`, "start");
  });
  const height = TOP + bars.length * ROW + 24;
  return svg(height, title, [
    ...rows,
    text(LABELS, height - 8, "logarithmic scale", "start"),
  ]);
}

/** Lines over an axis that is logarithmic where `logX` says so. */
export function drawLines(
  title: string,
  { x, y, logX = false }: {
    readonly x: string;
    readonly y: string;
    readonly logX?: boolean;
  },
  lines: readonly Line[],
): string {
  const points = lines.flatMap((line) => line.points);
  const across = (value: number) => logX ? Math.log10(value) : value;
  const xs = points.map((point) => across(point[0]!));
  const top = niceTop(Math.max(...points.map((point) => point[1]!)));
  const [from, to] = [Math.min(...xs), Math.max(...xs)];
  const toX = (value: number) =>
    LEFT + (across(value) - from) / (to - from || 1) * (WIDTH - LEFT - RIGHT);
  const toY = (value: number) =>
    HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => share * top);
  const marks = [...new Set(points.map((point) => point[0]!))]
    .filter((value) => logX ? Number.isInteger(Math.log10(value)) : true)
    .filter((_, index, all) => index % Math.ceil(all.length / 6) === 0);
  const grid = ticks.map((tick) =>
    `<path d="M${LEFT} ${toY(tick)}H${WIDTH - RIGHT}" stroke="#ddd"/>` +
    text(LEFT - 8, toY(tick), tick.toLocaleString("en"), "end")
  );
  const drawn = lines.map(({ name, points }, index) => {
    const colour = COLOURS[index % COLOURS.length];
    const path = points.map((point) =>
      `${toX(point[0]!).toFixed(1)} ${toY(point[1]!).toFixed(1)}`
    );
    const dots = path.map((at) => {
      const [cx, cy] = at.split(" ");
      return `<circle cx="${cx}" cy="${cy}" r="3" fill="${colour}"/>`;
    });
    const legend = TOP + 16 + index * 20;
    return `<path d="M${path.join("L")}" fill="none" stroke="${colour}" ` +
      `stroke-width="2"/>${dots.join("")}` +
      `<path d="M${WIDTH - RIGHT + 12} ${legend}h16" stroke="${colour}" ` +
      `stroke-width="3"/>` + text(WIDTH - RIGHT + 34, legend, name, "start");
  });
  return svg(HEIGHT, title, [
    ...grid,
    ...drawn,
    ...marks.map((value) =>
      text(
        toX(value),
        HEIGHT - BOTTOM + 14,
        value.toLocaleString("en"),
        "middle",
      )
    ),
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x, "middle"),
    text(LEFT - 40, TOP - 10, y, "start"),
  ]);
}

function svg(height: number, title: string, parts: readonly string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" ` +
    `height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" ` +
    `font-family="sans-serif" font-size="12" fill="#333">\n` +
    `<title>${escape(title)}</title>\n` +
    `<rect width="100%" height="100%" fill="#fff"/>\n` +
    `<text x="16" y="20" font-size="14" font-weight="bold">${
      escape(title)
    }</text>\n${parts.join("\n")}\n</svg>\n`;
}

function text(
  x: number,
  y: number,
  words: string,
  anchor: "start" | "middle" | "end",
): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ` +
    `text-anchor="${anchor}" dominant-baseline="middle">${
      escape(words)
    }</text>`;
}

function escape(words: string): string {
  return words.replaceAll("&", "&amp;").replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;");
}

/** The next of 1, 2, 4, 6, 8 times a power of ten that is not below a value. */
function niceTop(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((step) => step * power)
    .find((step) => step >= value)!;
}
