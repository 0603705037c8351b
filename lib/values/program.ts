/** The commands, whose names no profile may bear, and the version. */

/** Every command and its line of `knock help`, in that order. */
export const SUMMARIES = {
  serve: "run the server in the foreground",
  init: "write a new configuration and its key",
  check: "validate a configuration",
  client: "enrol, change, list, show and remove clients",
  page: "write the web page that knocks from a browser",
  status: "show open ports, for whom, and the time left",
  log: "show what was opened, and what was refused",
  doctor: "check this machine's setup and suggest fixes",
  convert: "convert another tool's configuration",
  rules: "print the ruleset for boot, or remove all rules",
  fleet: "several gateways on one engine: set up, status",
  import: "store what `client add` printed",
  send: "knock: open ports for a limited time",
  close: "close what this client opened",
  ping: "check that the server answers",
  run: "have the server run one of its commands",
  seq: "send a port sequence",
  exec: "knock, wait until open, run a command",
  proxy: "knock and connect, for ssh's ProxyCommand",
  profiles: "list this user's profiles",
  decode: "explain a packet, and why it would be refused",
  keygen: "make a private key",
  pubkey: "print the public key of a private one",
  demo: "show the whole job with real parts",
  completion: "print a completion script for your shell",
  version: "print the version",
  help: "explain a command",
} as const;

/** The name of a command. */
export type CommandName = keyof typeof SUMMARIES;

/** Every command, in the order of `knock help`. */
export const COMMAND_NAMES: readonly string[] = Object.keys(SUMMARIES);

/** The version of this program, as in deno.json and package.json (a test compares them). */
export const VERSION = "0.1.0";
