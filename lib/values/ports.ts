/** Ports and ranges of ports, as `tcp/22` or `udp/8000-8010`. */

/** Transport protocol of a port. */
export type Protocol = "tcp" | "udp";

/** Protocol numbers of IANA. */
export const PROTOCOL_NUMBERS = { tcp: 6, udp: 17 } as const;

/** The protocol of a number of IANA's; null for any other. */
export function protocolOf(number: number | undefined): Protocol | null {
  return number === PROTOCOL_NUMBERS.tcp
    ? "tcp"
    : number === PROTOCOL_NUMBERS.udp
    ? "udp"
    : null;
}

/** One port (first = last) or a range of ports of one protocol. */
export interface PortRange {
  /** Transport protocol. */
  readonly protocol: Protocol;
  /** 1 to 65535. */
  readonly first: number;
  /** first to 65535. */
  readonly last: number;
}

/** The range of a single port. */
export function onePort(protocol: Protocol, port: number): PortRange {
  return { protocol, first: port, last: port };
}

/** Reads `tcp/22`, `udp/53` or `tcp/8000-8010`; null if it is none. */
export function parsePortRange(text: string): PortRange | null {
  const match = /^(tcp|udp)\/(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (!match) return null;
  const first = Number(match[2]);
  const last = match[3] === undefined ? first : Number(match[3]);
  if (first < 1 || last > 65535 || last < first) return null;
  return { protocol: match[1] as Protocol, first, last };
}

/** A hint for ports written in another way: `22`, `22/tcp`, `tcp:22`; undefined if it is none. */
export function portHint(text: string): string | undefined {
  const [, before, ports, after] =
    /^(?:(tcp|udp)[/: ]?)?(\d{1,5}(?:[-:]\d{1,5})?)(?:[/: ]?(tcp|udp))?$/i
      .exec(text) ?? [];
  if (ports === undefined || (before && after)) return undefined;
  const protocol = (before ?? after ?? "tcp").toLowerCase();
  const range = `${protocol}/${ports.replace(":", "-")}`;
  return parsePortRange(range) ? `write ${range}` : undefined;
}

/** Writes what {@linkcode parsePortRange} reads. */
export function formatPortRange(range: PortRange): string {
  return `${range.protocol}/${portText(range)}`;
}

/** The ports alone: `22`, or `8000-8010` with "-" between the ends. */
export function portText(
  { first, last }: Pick<PortRange, "first" | "last">,
  between = "-",
): string {
  return first === last ? `${first}` : `${first}${between}${last}`;
}

/** Number of ports in some ranges. */
export function countPorts(ranges: readonly PortRange[]): number {
  return ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0);
}

/** True if every port of `inner` is in `outer`. */
export function containsPorts(outer: PortRange, inner: PortRange): boolean {
  return outer.protocol === inner.protocol && outer.first <= inner.first &&
    inner.last <= outer.last;
}

/** True if the two ranges share a port. */
export function overlapPorts(a: PortRange, b: PortRange): boolean {
  return a.protocol === b.protocol && a.first <= b.last && b.first <= a.last;
}

/** Ports that two ranges share; null if there are none. */
export function sharedPorts(a: PortRange, b: PortRange): PortRange | null {
  if (!overlapPorts(a, b)) return null;
  const { protocol } = a;
  const first = Math.max(a.first, b.first);
  return { protocol, first, last: Math.min(a.last, b.last) };
}

/** Rest of a range without some others, in order. */
export function withoutPorts(
  range: PortRange,
  others: readonly PortRange[],
): PortRange[] {
  let left = [range];
  for (const other of others) {
    left = left.flatMap((piece) =>
      overlapPorts(piece, other)
        ? [
          { ...piece, last: other.first - 1 },
          { ...piece, first: other.last + 1 },
        ].filter(({ first, last }) => first <= last)
        : [piece]
    );
  }
  return left;
}

/** A range of ports, open until a moment. */
export interface Segment extends PortRange {
  /** Unix milliseconds. */
  readonly untilMs: number;
}

/**
 * Cuts ranges so that no port is in two pieces, as a set of intervals needs it,
 * and each port keeps the latest end of all ranges that held it; neighbours of
 * the same end are one piece.
 * In order of protocol and port.
 */
export function cutSegments(ranges: readonly Segment[]): Segment[] {
  const pieces: Segment[] = [];
  for (const protocol of ["tcp", "udp"] as const) {
    const own = ranges.filter((range) => range.protocol === protocol);
    const edges = [
      ...new Set(own.flatMap(({ first, last }) => [first, last + 1])),
    ]
      .sort((a, b) => a - b);
    for (const [index, first] of edges.entries()) {
      const last = (edges[index + 1] ?? first) - 1;
      const over = own.filter((range) =>
        range.first <= first && last <= range.last
      );
      if (last < first || over.length === 0) continue;
      const untilMs = Math.max(...over.map((range) => range.untilMs));
      const before = pieces.at(-1);
      if (
        before?.protocol === protocol && before.last + 1 === first &&
        before.untilMs === untilMs
      ) {
        pieces[pieces.length - 1] = { ...before, last };
      } else {
        pieces.push({ protocol, first, last, untilMs });
      }
    }
  }
  return pieces;
}

/** True if two pieces have the same ports and the same end. */
export function sameSegment(a: Segment, b: Segment): boolean {
  return a.protocol === b.protocol && a.first === b.first &&
    a.last === b.last && a.untilMs === b.untilMs;
}

/** Merges ranges that overlap or touch; in order of protocol and port. */
export function mergePorts(ports: readonly PortRange[]): PortRange[] {
  const sorted = [...ports].sort((a, b) =>
    PROTOCOL_NUMBERS[a.protocol] - PROTOCOL_NUMBERS[b.protocol] ||
    a.first - b.first
  );
  const merged: PortRange[] = [];
  for (const range of sorted) {
    const before = merged.at(-1);
    if (
      before?.protocol === range.protocol && range.first <= before.last + 1
    ) {
      const last = Math.max(before.last, range.last);
      merged[merged.length - 1] = { ...before, last };
    } else {
      merged.push(range);
    }
  }
  return merged;
}

/** The first single TCP port of these; null where there is none. */
export function firstTcpPort(ports: readonly PortRange[]): number | null {
  return ports.find(({ protocol }) => protocol === "tcp")?.first ?? null;
}
