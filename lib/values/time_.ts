/** Moments as people write them in files: RFC 3339. */

/**
 * Reads `2027-01-01T00:00:00Z` (RFC 3339 §5.6) or a bare date, which is its
 * first moment in UTC; Unix milliseconds. Null if it is none, as the 30th of
 * February.
 */
export function parseTime(text: string): number | null {
  const match =
    /^(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2}:\d{2})(\.\d+)?([Zz]|[+-]\d{2}:\d{2}))?$/
      .exec(text);
  if (!match) return null;
  const [, date, time = "00:00:00", fraction = "", zone = "Z"] = match;
  const utc = Date.parse(`${date}T${time}Z`);
  // Some engines carry a day too many into the next month.
  if (
    Number.isNaN(utc) ||
    new Date(utc).toISOString().slice(0, 19) !== `${date}T${time}`
  ) return null;
  const ms = Date.parse(
    `${date}T${time}${fraction.slice(0, 4)}${zone.toUpperCase()}`,
  );
  return Number.isNaN(ms) ? null : ms;
}
