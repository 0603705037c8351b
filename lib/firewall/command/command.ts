/**
 * The command backend: a program of the operator's opens and closes, one run
 * for each grant. The server ends grants by `close`, those that were over
 * while it was down included.
 * @module
 */

import type { Runtime } from "../../runtime/runtime.ts";
import { formatPortRange } from "../../values/ports.ts";
import {
  type Firewall,
  FirewallError,
  type Grant,
  type Guarded,
  latestEnds,
  openAmong,
  openingKey,
} from "../firewall.ts";
import { runForGrant } from "./programs.ts";

/** The two programs with their arguments, placeholders among them. */
type OpenAndClose = Readonly<Record<"open" | "close", readonly string[]>>;

/** Longest run of a program; the changes after it wait that long. */
const LIMIT_MS = 10_000;

export class CommandFirewall implements Firewall {
  readonly name: string;
  readonly endsGrants = false;
  readonly #runtime: Runtime;
  readonly #commands: OpenAndClose;
  /** Grants that this process has opened and not closed, by address and ports. */
  readonly #held = new Map<string, Grant>();

  constructor(runtime: Runtime, commands: OpenAndClose) {
    this.#runtime = runtime;
    this.#commands = commands;
    this.name = `command (${commands.open[0]})`;
  }

  /**
   * Opens again what another process opened: the machine may have started
   * anew, and its firewall with it. What must be closed, the server closes.
   */
  async apply(
    _services: readonly Guarded[],
    grants: readonly Grant[],
    nowMs: number,
  ): Promise<void> {
    for (const grant of grants) {
      if (this.#held.has(openingKey(grant)) || trouble(grant)) continue;
      await this.#run("open", grant, nowMs);
    }
  }

  async change(
    touched: readonly Grant[],
    live: readonly Grant[],
    nowMs: number,
  ): Promise<void> {
    const wanted = openAmong(touched, live);
    for (const grant of wanted) {
      const error = trouble(grant);
      if (error) throw error;
    }
    const open = latestEnds(wanted);
    let failure: unknown = null;
    for (const grant of touched) {
      if (open.has(openingKey(grant)) || trouble(grant)) continue;
      await this.#run("close", grant, nowMs).catch((error) => {
        failure ??= error;
      });
    }
    await this.#openAll([...open.values()], nowMs);
    if (failure) throw failure;
  }

  /** Opens all of them, or leaves none open that was not. */
  async #openAll(grants: readonly Grant[], nowMs: number): Promise<void> {
    const fresh: Grant[] = [];
    try {
      for (const grant of grants) {
        const isFresh = !this.#held.has(openingKey(grant));
        await this.#run("open", grant, nowMs);
        if (isFresh) fresh.push(grant);
      }
    } catch (error) {
      for (const grant of fresh) {
        // The first failure is the one to report.
        await this.#run("close", grant, nowMs).catch(() => {});
      }
      throw error;
    }
  }

  /** True: only the program itself can know. */
  intact(): Promise<boolean> {
    return Promise.resolve(true);
  }

  async stop(): Promise<void> {}

  /** Closes what this process has opened. */
  remove(): Promise<void> {
    const nowMs = this.#runtime.nowMs();
    return this.change([...this.#held.values()], [], nowMs);
  }

  async #run(
    what: "open" | "close",
    grant: Grant,
    nowMs: number,
  ): Promise<void> {
    const argv = this.#commands[what];
    const { failure } = await runForGrant(
      this.#runtime,
      argv,
      grant,
      nowMs,
      LIMIT_MS,
    );
    if (failure !== null) {
      throw new FirewallError(
        `firewall.${what}: ${argv[0]}: ${failure}`,
        "the program must end with 0, also when it is asked to do again what it did",
      );
    }
    if (what === "open") this.#held.set(openingKey(grant), grant);
    else this.#held.delete(openingKey(grant));
  }
}

/** Why a grant cannot be had with commands; null when it can. */
function trouble({ ports, once, to }: Grant): FirewallError | null {
  if (!once && !to) return null;
  const words = once ? "end a grant with its first connection" : "forward";
  return new FirewallError(
    `the command backend cannot ${words}, got "${formatPortRange(ports)}"`,
    `${once ? "once" : "a service's to"} is for firewall.backend nft or gate`,
  );
}
