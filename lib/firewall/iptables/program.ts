/** Runs iptables and ip6tables, and reads their errors. */

import type { Ran, RunOptions, Runtime } from "../../runtime/runtime.ts";
import { type Family, FirewallError, MissingError } from "../firewall.ts";
import {
  caught,
  failing,
  ifRefused,
  type SystemError,
} from "../../values/errors.ts";

/** Which of the programs: the system's choice, or one by name. */
export type Variant = "" | "-nft" | "-legacy";

/** Longest run, including the wait for other programs' changes. */
const TIMEOUT_MS = 30_000;

/** Folder of programs that are not in the PATH. */
const FOLDER = "/usr/sbin/";

/** Runs a program by the PATH, or in the system's folder. Throws SystemError. */
export async function runSystem(
  runtime: Runtime,
  [program = "", ...args]: readonly string[],
  options: RunOptions,
): Promise<Ran> {
  const run = (path: string) => runtime.run([path, ...args], options);
  return await ifRefused(() => run(program), (error) => {
    if (error.code !== "ENOENT") throw error;
    // Where there is none either, the error names what was asked for.
    return ifRefused(() => run(FOLDER + program), () => {
      throw error;
    });
  });
}

/** iptables or ip6tables, with its -save and its -restore. Its methods throw FirewallError. */
export class Iptables {
  readonly family: Family;
  readonly #runtime: Runtime;
  readonly #program: string;

  constructor(runtime: Runtime, family: Family, variant: Variant) {
    this.#runtime = runtime;
    this.family = family;
    this.#program = (family === 4 ? "iptables" : "ip6tables") + variant;
  }

  /** "iptables 1.8.9 (nf_tables)". */
  async version(): Promise<string> {
    const said = await this.#run("", ["--version"]);
    return said.trim().replace(" v", " ");
  }

  /** The rules of a table, as `-S` lists them. */
  list(table: string): Promise<string> {
    return this.#run("", ["-w", "-t", table, "-S"]);
  }

  /** All tables, as `iptables-save` prints them; null where it is not installed. */
  save(): Promise<string | null> {
    return caught(MissingError, () => this.#run("-save", []), () => null);
  }

  /** Runs a script of iptables-restore, all of it or nothing. */
  async restore(script: string): Promise<void> {
    await this.#run("-restore", ["--noflush", "-w"], { stdin: script });
  }

  async #run(
    suffix: "" | "-save" | "-restore",
    args: readonly string[],
    input: Pick<RunOptions, "stdin"> = {},
  ): Promise<string> {
    const program = this.#program + suffix;
    const options = { timeoutMs: TIMEOUT_MS, ...input };
    const cannotRun = (error: SystemError) =>
      error.code === "ENOENT"
        ? new MissingError(
          `${program} is not installed`,
          `apt install iptables, or choose another one under firewall.backend`,
        )
        : new FirewallError(`${program}: ${error.message}`);
    const ran = await failing(
      cannotRun,
      () => runSystem(this.#runtime, [program, ...args], options),
    );
    if (ran.code === 0) return ran.stdout;
    throw ran.code === null
      ? new FirewallError(
        `${program}: no end within ${TIMEOUT_MS / 1000} s`,
        "does another program hold the lock /run/xtables.lock?",
      )
      : iptablesError(program, ran.stderr);
  }
}

/** Turns a program's words into one error. */
export function iptablesError(program: string, stderr: string): FirewallError {
  // "iptables-restore v1.8.9 (nf_tables): " and a line, or the lines after it.
  const said = stderr.replace(/^\S+ v[\d.]+ \([^)]*\): ?/, "").split("\n");
  const words = said.map((line) => line.trim()).find(Boolean) ??
    "failed without a word";
  if (/permission denied|must be root|not permitted/i.test(stderr)) {
    return new FirewallError(
      `${program}: permission denied`,
      "run as root or with CAP_NET_ADMIN, or use firewall.backend: gate",
    );
  }
  return new FirewallError(
    `${program}: ${words.charAt(0).toLowerCase()}${words.slice(1)}`,
  );
}
