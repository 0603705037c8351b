/** A page from one of docs/*.md: headings, paragraphs, tables, code, lists. */

import {
  formatLiteral,
  formatPage,
  formatParagraph,
  formatTags,
  quote,
} from "./mdoc.ts";

/** Writes the page; its first heading is the name's. */
export function formatMarkdownPage(
  name: string,
  section: number,
  date: string,
  about: string,
  markdown: string,
  seeAlso: readonly string[],
): string {
  const blocks = markdown.replace(/^# .*\n+/, "").split(/\n{2,}/);
  return formatPage(name, section, date, about, [
    ".Sh DESCRIPTION",
    ...joinCode(blocks).flatMap(formatBlock),
    ".Sh SEE ALSO",
    ...seeAlso,
  ]);
}

/** Code may hold empty lines: its parts are one block again. */
function joinCode(blocks: readonly string[]): string[] {
  const whole: string[] = [];
  let inside = false;
  for (const block of blocks) {
    if (inside) whole.push(`${whole.pop()}\n\n${block}`);
    else whole.push(block);
    const fences = block.match(/^```/gm)?.length ?? 0;
    if (fences % 2 === 1) inside = !inside;
  }
  return whole;
}

function formatBlock(block: string): string[] {
  const lines = block.trim().split("\n");
  const [, hashes, title] = /^(#{2,4}) (.*)$/.exec(lines[0]!) ?? [];
  if (hashes === "##") return [`.Sh ${quote(title!.toUpperCase())}`];
  if (hashes !== undefined) return [`.Ss ${quote(title!)}`];
  if (lines[0]!.startsWith("```")) {
    return [formatLiteral(lines.slice(1, -1).join("\n"))];
  }
  if (lines[0]!.startsWith("|")) return [formatTable(lines)];
  if (lines[0]!.startsWith("- ")) return formatList(block);
  return [".Pp", formatParagraph(block)];
}

function formatTable(lines: readonly string[]): string {
  const [head, , ...rows] = lines.map((line) =>
    line.split("|").slice(1, -1).map((cell) => cell.trim())
  );
  return formatTags(rows.map((cells) => {
    const [tag, ...texts] = cells;
    const told = texts.map((text, index) => {
      const title = head![index + 1]!;
      if (title.startsWith("what")) return capital(text);
      return text && `${capital(title)}: ${text}.`;
    });
    return [tag!.replaceAll("`", ""), told.filter(Boolean).join(" ")] as const;
  }));
}

function formatList(block: string): string[] {
  const items = block.trim().split(/^- /m).filter(Boolean);
  return [
    ".Bl -bullet",
    ...items.flatMap((item) => [".It", formatParagraph(item)]),
    ".El",
  ];
}

function capital(text: string): string {
  return /^[a-z]\w*:/.test(text)
    ? text
    : text.charAt(0).toUpperCase() + text.slice(1);
}
