/** Where grants with a target of their own lead, and what the kernel knows of it. */

import type { Runtime } from "../runtime/runtime.ts";
import { formatEndpoint, isIpv4 } from "../values/address.ts";
import { FirewallError, type Grant } from "./firewall.ts";
import { leadText, type Led } from "./nft_elements.ts";
import { portsKey } from "./nft_sets.ts";
import { checkTarget, resolveTarget } from "./nft_targets.ts";

/** From how many on the dead ones are swept out. */
const SWEEP_FROM = 1024;

export class NftLeads {
  readonly #runtime: Runtime;
  /** What the kernel was told, by address and ports. */
  #known = new Map<string, Led>();
  #sweepAt = SWEEP_FROM;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /**
   * Where these grants lead, each address and ports once: the latest of all
   * live grants decides. Throws FirewallError where one leads nowhere.
   */
  async resolve(
    grants: readonly Grant[],
    live: readonly Grant[],
  ): Promise<Led[]> {
    const latest = new Map<string, Grant>();
    const asked = new Set(grants.filter(({ to }) => to).map(keyOf));
    for (const grant of live) {
      if (!grant.to || !asked.has(keyOf(grant))) continue;
      const other = latest.get(keyOf(grant));
      if (!other || other.untilMs < grant.untilMs) {
        latest.set(keyOf(grant), grant);
      }
    }
    const leading: Led[] = [];
    for (const grant of latest.values()) leading.push(await this.#lead(grant));
    return leading;
  }

  /** As {@linkcode resolve}, of all grants there are; without those that lead nowhere any more. */
  async resolveAll(grants: readonly Grant[]): Promise<Led[]> {
    const leading: Led[] = [];
    for (const grant of grants.filter(({ to }) => to)) {
      try {
        leading.push(...await this.resolve([grant], grants));
      } catch (error) {
        if (!(error instanceof FirewallError)) throw error;
      }
    }
    return [...new Map(leading.map((led) => [keyOf(led), led])).values()];
  }

  /** Tells the kernel where a grant leads. */
  text(led: Led, nowMs: number): string {
    return leadText(led, this.#known.get(keyOf(led)) ?? null, nowMs);
  }

  /** Takes what was told as known. */
  note(leading: readonly Led[], nowMs: number): void {
    for (const led of leading) this.#known.set(keyOf(led), led);
    if (this.#known.size < this.#sweepAt) return;
    for (const [key, { untilMs }] of this.#known) {
      // Twice the slack that a target outlives its grant by.
      if (untilMs + 2000 <= nowMs) this.#known.delete(key);
    }
    this.#sweepAt = Math.max(SWEEP_FROM, this.#known.size * 2);
  }

  /** Takes what was told as all that is known. */
  adopt(leading: readonly Led[]): void {
    this.#known = new Map(leading.map((led) => [keyOf(led), led]));
  }

  async #lead({ address, ports, to, untilMs }: Grant): Promise<Led> {
    const family = isIpv4(address) ? 4 : 6;
    const targets = await resolveTarget(this.#runtime, to!);
    const target = targets.find((one) => one.family === family);
    if (!target) {
      throw new FirewallError(
        `cannot lead ${address} to "${formatEndpoint(to!)}": ` +
          "that is an address of the other IP version",
      );
    }
    checkTarget(this.#runtime, target);
    return { address, ports, target, untilMs };
  }
}

function keyOf({ address, ports }: Pick<Led, "address" | "ports">): string {
  return `${address} ${portsKey(ports)}`;
}
