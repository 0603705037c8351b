/** Durations, moments and hours of the week, as people write them. */

const SECONDS = { s: 1, m: 60, h: 3600, d: 86400 } as const;

/** The longest duration, in seconds: what 32 bits hold in a knock/1 payload. */
export const MAX_SECONDS = 0xffff_ffff;

/** Reads `90`, `30s`, `5m`, `8h` or `1d` and returns whole seconds; null if it is none. */
export function parseDuration(text: string): number | null {
  const match = /^(\d{1,10})([smhd]?)$/.exec(text);
  if (!match) return null;
  const unit = (match[2] || "s") as keyof typeof SECONDS;
  const seconds = Number(match[1]) * SECONDS[unit];
  return seconds <= MAX_SECONDS ? seconds : null;
}

/** Most characters that a hint is sought for. */
const MAX_HINTED = 40;

/** A hint for a duration written in another way: `1h30m`, `2 h`, `5 minutes`, `1.5h`, `-5`. */
export function durationHint(text: string): string {
  const part =
    /\s*(\d+(?:\.\d+)?)\s*(s|sec|second|m|min|minute|h|hr|hour|d|day)s?(?![a-z])/gi;
  let seconds = 0;
  let end = 0;
  for (const match of text.slice(0, MAX_HINTED).matchAll(part)) {
    if (match.index !== end) break;
    const unit = match[2]!.charAt(0).toLowerCase();
    seconds += Number(match[1]) * SECONDS[unit as keyof typeof SECONDS];
    end += match[0].length;
  }
  const written = formatDuration(seconds);
  return end === text.length && seconds > 0 && parseDuration(written) !== null
    ? `write ${written}`
    : "a whole number, then s, m, h or d";
}

/** Writes seconds in the largest unit that holds them whole. */
export function formatDuration(seconds: number): string {
  for (const unit of ["d", "h", "m"] as const) {
    if (seconds > 0 && seconds % SECONDS[unit] === 0) {
      return `${seconds / SECONDS[unit]}${unit}`;
    }
  }
  return `${seconds}s`;
}

/** Time left, in two units at most, rounded down: `27s`, `4m10s`, `1h59m`, `2d3h`. */
export function formatLeft(seconds: number): string {
  const whole = Math.max(Math.floor(seconds), 0);
  const units = Object.entries(SECONDS).reverse();
  const first = units.findIndex(([, size]) => whole >= size);
  if (first < 0) return "0s";
  let rest = whole;
  return units.slice(first, first + 2).map(([unit, size]) => {
    const count = Math.floor(rest / size);
    rest -= count * size;
    return count > 0 ? `${count}${unit}` : "";
  }).join("");
}

/** Time since a moment: `12 s`, `4 min`, `3 h`, `2 days`. */
export function formatSince(ms: number): string {
  const seconds = Math.max(Math.floor(ms / 1000), 0);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 2 * 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}

/** Local time of day as `14:05:10`, after the date if that is not the day of `nowMs`. */
export function formatLocal(ms: number, nowMs: number): string {
  const date = new Date(ms);
  const pad = (value: number) => String(value).padStart(2, "0");
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()]
    .map(pad).join(":");
  if (date.toDateString() === new Date(nowMs).toDateString()) return time;
  const day = [date.getFullYear(), date.getMonth() + 1, date.getDate()];
  return `${day.map(pad).join("-")} ${time}`;
}

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

const MINUTE_MS = 60_000;
/** Minutes of a day. */
const DAY = 24 * 60;

const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] as const;

/** Days and minutes of the day, in the server's local time. */
export interface Hours {
  /** Text that the hours were read from. */
  readonly text: string;
  /** Spans of time; one of them must contain a moment. */
  readonly spans: readonly HoursSpan[];
}

/** One span of {@linkcode Hours}. */
export interface HoursSpan {
  /** One entry per day of the week, 0 = Sunday. */
  readonly days: readonly boolean[];
  /** Minutes since midnight; if larger than `to`, the span crosses midnight. */
  readonly from: number;
  /** Minutes since midnight, exclusive. */
  readonly to: number;
}

/**
 * Reads `DAYS FROM-TO`, several separated by ";": days are `mon`, `mon-fri`,
 * `sat,sun` or `daily`; times are 24-hour `HH:MM`, up to `24:00`. Null if it
 * is none.
 */
export function parseHours(text: string): Hours | null {
  const spans: HoursSpan[] = [];
  for (const part of text.toLowerCase().split(";")) {
    const match = /^\s*(?:([a-z,-]+)\s+)?(\d{2}):(\d{2})-(\d{2}):(\d{2})\s*$/
      .exec(part);
    if (!match) return null;
    const days = parseDays(match[1] ?? "daily");
    const from = minutes(match[2]!, match[3]!);
    const to = minutes(match[4]!, match[5]!);
    if (!days || from === null || to === null || from === to) return null;
    spans.push({ days, from, to });
  }
  return { text, spans };
}

/** True if a moment is within the hours. `date` is read in local time. */
export function withinHours(hours: Hours, date: Date): boolean {
  const minute = date.getHours() * 60 + date.getMinutes();
  const today = date.getDay();
  const yesterday = (today + 6) % 7;
  return hours.spans.some(({ days, from, to }) =>
    from < to
      ? days[today]! && minute >= from && minute < to
      : days[today]! && minute >= from || days[yesterday]! && minute < to
  );
}

/**
 * When the hours around a moment end, Unix milliseconds; `nowMs` where it is
 * outside them, and `limitMs` where they go on until then. Goes by
 * {@linkcode withinHours}, so that days of 23 and 25 hours come out right.
 */
export function hoursEnd(
  hours: Hours,
  nowMs: number,
  limitMs: number,
): number {
  let endMs = nowMs;
  while (endMs < limitMs && withinHours(hours, new Date(endMs))) {
    const date = new Date(endMs);
    const minute = date.getHours() * 60 + date.getMinutes();
    const left = hours.spans.map(({ to }) =>
      to > minute ? to - minute : to + DAY - minute
    );
    const thisMinute = Math.floor(endMs / MINUTE_MS) * MINUTE_MS;
    const nextMs = thisMinute + Math.min(...left) * MINUTE_MS;
    // Where the clock is set in between, minute by minute.
    const isEven =
      new Date(nextMs).getTimezoneOffset() === date.getTimezoneOffset();
    endMs = isEven ? nextMs : thisMinute + MINUTE_MS;
  }
  return Math.min(endMs, limitMs);
}

function parseDays(text: string): boolean[] | null {
  const days = DAYS.map(() => text === "daily");
  if (text === "daily") return days;
  for (const part of text.split(",")) {
    const [first, last = first, ...rest] = part.split("-").map((name) =>
      (DAYS as readonly string[]).indexOf(name)
    );
    if (rest.length > 0 || first! < 0 || last! < 0) return null;
    for (let day = first!;; day = (day + 1) % 7) {
      days[day] = true;
      if (day === last) break;
    }
  }
  return days;
}

function minutes(hour: string, minute: string): number | null {
  const value = Number(hour) * 60 + Number(minute);
  return Number(minute) < 60 && value <= 24 * 60 ? value : null;
}
