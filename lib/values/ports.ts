/** Ports and ranges of ports, as `tcp/22` or `udp/8000-8010`. */

export type Protocol = "tcp" | "udp";

/** One port (first = last) or a range of ports of one protocol. */
export interface PortRange {
  readonly protocol: Protocol;
  /** 1 to 65535. */
  readonly first: number;
  /** first to 65535. */
  readonly last: number;
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

/** Writes what {@linkcode parsePortRange} reads. */
export function formatPortRange(range: PortRange): string {
  const { protocol, first, last } = range;
  return first === last
    ? `${protocol}/${first}`
    : `${protocol}/${first}-${last}`;
}

/** Whether every port of `inner` is in `outer`. */
export function containsPorts(outer: PortRange, inner: PortRange): boolean {
  return outer.protocol === inner.protocol && outer.first <= inner.first &&
    inner.last <= outer.last;
}

/** Whether the two ranges share a port. */
export function overlapPorts(a: PortRange, b: PortRange): boolean {
  return a.protocol === b.protocol && a.first <= b.last && b.first <= a.last;
}

/** What is left of a range without some others, in order. */
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
