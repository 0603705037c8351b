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
  latestEnds,
  openAmong,
  openingKey,
} from "../firewall.ts";
import { runForGrant } from "./programs.ts";

/** The two programs with their arguments, placeholders among them. */
type OpenAndClose = Readonly<Record<"open" | "close", readonly string[]>>;

/** Longest run of a program; the changes after it wait that long. */
const LIMIT_MS = 10_000;

/** Makes the command backend. It runs nothing yet. */
export function commandFirewall(
  runtime: Runtime,
  commands: OpenAndClose,
): Firewall {
  /** Grants that this process has opened and not closed, by address and ports. */
  const held = new Map<string, Grant>();

  async function run(what: "open" | "close", grant: Grant, nowMs: number) {
    const argv = commands[what];
    const { failure } = await runForGrant(
      runtime,
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
    if (what === "open") held.set(openingKey(grant), grant);
    else held.delete(openingKey(grant));
  }

  /** Opens all of them, or leaves none open that was not. */
  async function openAll(grants: Iterable<Grant>, nowMs: number) {
    const fresh: Grant[] = [];
    try {
      for (const grant of grants) {
        const isFresh = !held.has(openingKey(grant));
        await run("open", grant, nowMs);
        if (isFresh) fresh.push(grant);
      }
    } catch (error) {
      for (const grant of fresh) {
        // The first failure is the one to report.
        await run("close", grant, nowMs).catch(() => {});
      }
      throw error;
    }
  }

  return {
    name: `command (${commands.open[0]})`,
    endsGrants: false,

    /**
     * Opens again what another process opened: the machine may have started
     * anew, and its firewall with it. What must be closed, the server closes.
     */
    async apply(_services, grants, nowMs) {
      for (const grant of grants) {
        if (held.has(openingKey(grant)) || trouble(grant)) continue;
        await run("open", grant, nowMs);
      }
    },

    async change(touched, live, nowMs) {
      const wanted = openAmong(touched, live);
      for (const grant of wanted) {
        const error = trouble(grant);
        if (error) throw error;
      }
      const open = latestEnds(wanted);
      let failure: unknown = null;
      for (const grant of touched) {
        if (open.has(openingKey(grant)) || trouble(grant)) continue;
        await run("close", grant, nowMs).catch((error) => {
          failure ??= error;
        });
      }
      await openAll(open.values(), nowMs);
      if (failure) throw failure;
    },

    /** True: only the program itself can know. */
    intact: () => Promise.resolve(true),

    async stop() {},

    /** Closes what this process has opened. */
    remove() {
      return this.change([...held.values()], [], runtime.nowMs());
    },
  };
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
