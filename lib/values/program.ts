/** The names of the commands, which no profile may bear. */

/** Every command, in the order of `knock help`. */
export const COMMAND_NAMES: readonly string[] = [
  "serve",
  "init",
  "check",
  "client",
  "page",
  "status",
  "log",
  "doctor",
  "convert",
  "rules",
  "import",
  "send",
  "close",
  "ping",
  "run",
  "exec",
  "proxy",
  "profiles",
  "seq",
  "decode",
  "keygen",
  "pubkey",
  "demo",
  "completion",
  "version",
  "help",
];

/** The version of this program, as in deno.json and package.json (a test compares them). */
export const VERSION = "0.1.0";
