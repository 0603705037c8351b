/**
 * Errors for operators. Thrown for mistakes in the command line, in files and
 * in the setup of the machine; caught once, in `lib/commands/table.ts`, and
 * printed as `knock: error: …` and `knock: hint: …`. A hostile packet never
 * causes one: it is a refusal, a value.
 * @module
 */

/** Mistake or failure, in words for the person who can fix it. */
export class OperatorError extends Error {
  /** Next step, in the imperative, if there is a likely fix. */
  readonly hint: string | undefined;
  /** Exit status: 1 failed, 2 usage or configuration. */
  readonly status: 1 | 2 = 1;
  /** Facts found before the failure: members of the JSON object that `--json` prints. */
  facts: Readonly<Record<string, unknown>> = {};

  /** The message; of a file, every mistake, one line each, path first. */
  readonly lines: readonly string[];

  /** Creates an error with a message in lowercase, one line or several, and a hint. */
  constructor(message: string | readonly string[], hint?: string) {
    const lines = [message].flat();
    super(lines.join("\n"));
    this.lines = lines;
    this.hint = hint;
  }
}

/** The command failed: exit status 1. */
export class FailureError extends OperatorError {}

/** The command line is wrong: exit status 2. */
export class UsageError extends OperatorError {
  /** Exit status of a usage error. */
  override readonly status = 2;
}

/** A file of the operator is wrong: exit status 2. */
export class ConfigError extends OperatorError {
  override readonly status = 2;
}

/** Error of a system call. */
export class SystemError extends Error {
  /** Error name of the system: "ENOENT", "EACCES", "EADDRINUSE", … or "". */
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** The result of some work, now or later, or something else. */
type Or<T, U> = T extends Promise<infer V> ? Promise<V | U> : T | U;

/** The result of some work, or the answer to the system's refusal. */
export function ifRefused<T, U>(
  work: () => T,
  answer: (error: SystemError) => U,
): Or<T, U> {
  return caught(SystemError, work, answer);
}

/** The result of some work, or the answer to an error of one kind. */
export function caught<T, U, E extends Error>(
  kind: abstract new (...args: never[]) => E,
  work: () => T,
  answer: (error: E) => U,
): Or<T, U> {
  const handle = (error: unknown) => {
    if (!(error instanceof kind)) throw error;
    return answer(error);
  };
  try {
    const result = work();
    const settled = result instanceof Promise ? result.catch(handle) : result;
    return settled as Or<T, U>;
  } catch (error) {
    return handle(error) as Or<T, U>;
  }
}

/** The result of some work; null if the system refuses it. */
export function orNull<T>(work: () => T): Or<T, null> {
  return ifRefused(work, () => null);
}

/**
 * The result of some work. A refusal of the system becomes a FailureError
 * `WHAT: REASON` with a hint, or the error that `what` makes of it.
 */
export function failing<T>(
  what: string | ((error: SystemError) => Error),
  work: () => T,
  hint?: string,
): T {
  return ifRefused(work, (error) => {
    throw typeof what === "string"
      ? new FailureError(`${what}: ${error.message}`, hint)
      : what(error);
  }) as T;
}

/** The error in the words of a failed connection, whichever runtime's; null where they are not known. */
export function connectionFailure(words: string): SystemError | null {
  const known = CAUSES.find(([pattern]) => pattern.test(words));
  return known ? new SystemError(known[2] ?? "ECERT", known[1]) : null;
}

const CAUSES: readonly (readonly [RegExp, words: string, code?: string])[] = [
  [/refused/i, "connection refused", "ECONNREFUSED"],
  [
    /UnknownIssuer|unable to verify|self.signed|UNABLE_TO|CERT_SIGNATURE/i,
    "its certificate is not signed by the given CA",
  ],
  [/NotValidForName|ALTNAME/i, "its certificate is for another name"],
  [
    /certificate.*expired|expired.*cert|CERT_HAS_EXPIRED/i,
    "its certificate has expired",
  ],
  [/NotValidYet/i, "its certificate is not valid yet"],
  [
    /Certificate_?Required|certificate required|bad certificate|BadCertificate|UnknownCA|alert.*certificate/i,
    "it refuses our certificate",
  ],
];
