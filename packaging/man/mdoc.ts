/** The macros of manual pages, mdoc(7), as far as ours need them. */

/** Text as it stands in a line that is no macro. */
export function escapeText(text: string): string {
  return text.replaceAll("\\", "\\e").replace(/^(?=[.'])/gm, "\\&");
}

/** Text whose dashes are typed on a command line. */
export function escapeLiteral(text: string): string {
  return dashes(escapeText(text)).replaceAll("`", "\\(ga")
    .replaceAll("~", "\\(ti").replaceAll("^", "\\(ha");
}

/** Words as one argument of a macro. */
export function quote(text: string): string {
  return `"${escapeLiteral(text).replaceAll('"', "\\(dq")}"`;
}

/** A paragraph with `code`, **strong** words and [links](elsewhere). */
export function formatParagraph(markdown: string): string {
  const text = markdown.replace(/\s+/g, " ").trim()
    .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    // mdoc(7): each sentence starts a line.
    .replace(/(?<=[\w)`"][.!?]) (?=\S)/g, "\n");
  return escapeText(text)
    .replace(/\*\*([^*]+)\*\*/g, "\\fB$1\\fR")
    .replace(/`([^`]+)`/g, (_, code) => `\\fB${dashes(code)}\\fR`)
    .replace(/(?<![\w\\-])--?(?=\w)/g, dashes);
}

/** Lines as they are. */
export function formatLiteral(text: string): string {
  return `.Bd -literal -offset indent\n${escapeLiteral(text)}\n.Ed`;
}

/** A list of words and what they mean. */
export function formatTags(
  items: readonly (readonly [tag: string, text: string])[],
): string {
  return [
    ".Bl -tag -width Ds",
    ...items.map(([tag, text]) =>
      `.It Sy ${quote(tag)}\n${formatParagraph(text)}`
    ),
    ".El",
  ].join("\n");
}

/** A whole page. The date is `YYYY-MM-DD`. */
export function formatPage(
  name: string,
  section: number,
  date: string,
  about: string,
  body: readonly string[],
): string {
  const [year, month, day] = date.split("-").map(Number);
  return [
    `.Dd ${MONTHS[month! - 1]} ${day}, ${year}`,
    `.Dt ${name.toUpperCase()} ${section}`,
    ".Os",
    ".Sh NAME",
    `.Nm ${name}`,
    `.Nd ${about}`,
    ...body,
  ].join("\n").replace(/^(\.S[hs] .*)\n\.Pp$/gm, "$1") + "\n";
}

const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];

function dashes(text: string): string {
  return text.replaceAll("-", "\\-");
}
