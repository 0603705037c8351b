/** Runs iptables and ip6tables, and reads their errors. */

import type { Ran, RunOptions, Runtime } from "../../runtime/runtime.ts";
import { type Family, FirewallError, MissingError } from "../firewall.ts";
import { caught, failing, SystemError } from "../../values/errors.ts";

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
  return await run(program).catch((error) => {
    if (!isMissing(error)) throw error;
    return run(FOLDER + program);
  });
}

export class Iptables {
  readonly #runtime: Runtime;
  readonly #variant: Variant;

  constructor(runtime: Runtime, variant: Variant) {
    this.#runtime = runtime;
    this.#variant = variant;
  }

  /** "iptables 1.8.9 (nf_tables)". Throws FirewallError, as all of these. */
  async version(): Promise<string> {
    const said = await this.#run(programName(4, this.#variant), ["--version"]);
    return said.trim().replace(" v", " ");
  }

  /** The rules of a table, as `-S` lists them. */
  list(family: Family, table: string): Promise<string> {
    const args = ["-w", "-t", table, "-S"];
    return this.#run(programName(family, this.#variant), args);
  }

  /** All tables, as `iptables-save` prints them; null where it is not installed. */
  async save(family: Family): Promise<string | null> {
    const program = `${programName(family, this.#variant)}-save`;
    return await caught(MissingError, () => this.#run(program, []), () => null);
  }

  /** Runs a script of iptables-restore, all of it or nothing. */
  async restore(family: Family, script: string): Promise<void> {
    const program = `${programName(family, this.#variant)}-restore`;
    await this.#run(program, ["--noflush", "-w"], script);
  }

  async #run(
    program: string,
    args: readonly string[],
    stdin?: string,
  ): Promise<string> {
    const options = {
      timeoutMs: TIMEOUT_MS,
      ...(stdin !== undefined && { stdin }),
    };
    const cannotRun = (error: SystemError) =>
      isMissing(error)
        ? new MissingError(
          `${program} is not installed`,
          `apt install iptables, or choose another one under firewall.backend`,
        )
        : new FirewallError(`${program}: ${error.message}`);
    const argv = [program, ...args];
    const ran = await failing(
      cannotRun,
      () => runSystem(this.#runtime, argv, options),
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

function programName(family: Family, variant: Variant): string {
  return (family === 4 ? "iptables" : "ip6tables") + variant;
}

function isMissing(error: unknown): boolean {
  return error instanceof SystemError && error.code === "ENOENT";
}
