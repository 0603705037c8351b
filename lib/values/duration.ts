/** Durations as people write them: `90`, `30s`, `5m`, `8h`, `1d`. */

const SECONDS = { s: 1, m: 60, h: 3600, d: 86400 } as const;

/** The longest duration, in seconds: what 32 bits hold in a knock/1 payload. */
export const MAX_SECONDS = 0xffff_ffff;

/** Reads a duration and returns whole seconds; null if it is none. */
export function parseDuration(text: string): number | null {
  const match = /^(\d{1,10})([smhd]?)$/.exec(text);
  if (!match) return null;
  const unit = (match[2] || "s") as keyof typeof SECONDS;
  const seconds = Number(match[1]) * SECONDS[unit];
  return seconds <= MAX_SECONDS ? seconds : null;
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
