/**
 * What an operator is told. Thrown for mistakes in the command line, in files
 * and in the set-up of the machine; caught once, in `main.ts`, and printed as
 * `knock: error: …` and `knock: hint: …`. A hostile packet is never one of
 * these: it is a refusal, a value.
 * @module
 */

/** A mistake or a failure with words for the person who can mend it. */
export class OperatorError extends Error {
  /** What to do about it, where there is a likely cure. */
  readonly hint: string | undefined;
  /** The exit status: 1 it failed, 2 usage or configuration. */
  readonly status: 1 | 2 = 1;

  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

/** The command failed: exit status 1. */
export class FailureError extends OperatorError {}

/** The command line is wrong: exit status 2. */
export class UsageError extends OperatorError {
  override readonly status = 2;
}

/** A file of the operator is wrong: exit status 2. */
export class ConfigError extends OperatorError {
  override readonly status = 2;
  /** Every mistake of the file, one line each, path first. */
  readonly mistakes: readonly string[];

  constructor(mistakes: readonly string[], hint?: string) {
    super(mistakes.join("\n"), hint);
    this.mistakes = mistakes;
  }
}

/** What the system answered when it said no. */
export class SystemError extends Error {
  /** The system's name for it: "ENOENT", "EACCES", "EADDRINUSE", … or "". */
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}
