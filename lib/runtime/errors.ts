import { SystemError } from "../values/errors.ts";

/** Calls, and turns what is thrown into a {@linkcode SystemError}. */
export function translating<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw systemError(error);
  }
}

/** As {@linkcode translating}, for what is awaited. */
export async function translatingAsync<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw systemError(error);
  }
}

/** As {@linkcode translating}, for a call of node's that calls back when it is done. */
export function calling(
  call: (done: (error?: Error | null) => void) => void,
): Promise<void> {
  return translatingAsync(() =>
    new Promise((resolve, reject) =>
      call((error) => error ? reject(error) : resolve())
    )
  );
}

/** The system's name and words for an error. */
export function systemError(error: unknown): SystemError {
  if (error instanceof SystemError) return error;
  const { code, message, name } = error as {
    code?: unknown;
    message?: unknown;
    name?: unknown;
  };
  const known = typeof code === "string"
    ? code
    : DENO_CODES[String(name)] ?? "";
  // Node's words begin with the code and end with the call: "ENOENT: no such file or directory, open 'x'".
  const words = String(message ?? error)
    .replace(/^[A-Z0-9]+: /, "")
    .replace(/, [a-z_]+( '.*)?$/s, "")
    // Deno's of a program that is not installed; the caller names it already.
    .replace(/^Failed to spawn '[^']*': /, "")
    .replace(/^entity not found$/, "no such file or directory")
    .replace(/ \(os error \d+\)/, "");
  const lower = words.charAt(0).toLowerCase() + words.slice(1);
  return new SystemError(known, LOOKUP_WORDS[known] ?? lower);
}

/** Words for the errors of getaddrinfo(3). */
const LOOKUP_WORDS: Readonly<Record<string, string>> = {
  EAI_AGAIN: "no name server answers",
  EAI_NODATA: "the name has no address",
  ENOTFOUND: "there is no such name",
};

const DENO_CODES: Readonly<Record<string, string>> = {
  NotFound: "ENOENT",
  PermissionDenied: "EACCES",
  NotCapable: "EACCES",
  AlreadyExists: "EEXIST",
  BrokenPipe: "EPIPE",
  AddrInUse: "EADDRINUSE",
  AddrNotAvailable: "EADDRNOTAVAIL",
  ConnectionRefused: "ECONNREFUSED",
  NetworkUnreachable: "ENETUNREACH",
  WouldBlock: "EAGAIN",
};
