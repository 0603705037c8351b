/** Findings of the doctor: a line each, and the command that mends it. */

/** `unknown`: it could not be looked at, with these rights or on this system. */
export type FindingLevel = "ok" | "warn" | "bad" | "unknown";

export interface Finding {
  readonly level: FindingLevel;
  /** One line, lowercase, without secrets. */
  readonly text: string;
  /** A command to type, or a step to take; absent: none. */
  readonly cure?: string;
}

export const ok = (text: string): Finding => ({ level: "ok", text });

export const warn = (text: string, cure?: string): Finding =>
  make("warn", text, cure);

export const bad = (text: string, cure?: string): Finding =>
  make("bad", text, cure);

export const unknown = (text: string, cure?: string): Finding =>
  make("unknown", text, cure);

function make(level: FindingLevel, text: string, cure?: string): Finding {
  return cure === undefined ? { level, text } : { level, text, cure };
}
