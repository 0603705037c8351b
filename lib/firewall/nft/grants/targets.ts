/** Where grants with a target of their own lead, and what the kernel knows of it. */

import type { Runtime } from "../../../runtime/runtime.ts";
import { formatEndpoint, parseAddress } from "../../../values/address.ts";
import { caught } from "../../../values/errors.ts";
import type { PortRange } from "../../../values/ports.ts";
import {
  familyOf,
  FirewallError,
  type Grant,
  latestEnds,
  lines,
  openingKey,
} from "../../firewall.ts";
import {
  checkTarget,
  type ForwardTarget,
  resolveTarget,
} from "../rules/forwards.ts";
import { mapName, TABLE } from "../rules/sets.ts";
import { elementText, formatTimeout } from "./elements.ts";

/** Target of a grant with a target of its own, as the kernel has it. */
export interface GrantTarget {
  readonly address: string;
  readonly ports: PortRange;
  readonly target: ForwardTarget;
  /** Unix milliseconds. */
  readonly untilMs: number;
}

/**
 * Time that a target outlives its grant: the set of grants decides alone, and
 * must never find one without its target.
 */
const TARGET_SLACK_MS = 1000;

/** From how many on the dead ones are swept out. */
const SWEEP_FROM = 1024;

/** The targets that are in the kernel. */
export class NftTargets {
  readonly #runtime: Runtime;
  /** Targets that are in the kernel, by address and ports. */
  #known = new Map<string, GrantTarget>();
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
  ): Promise<GrantTarget[]> {
    const asked = new Set(grants.filter(({ to }) => to).map(openingKey));
    const led = live.filter((grant) =>
      grant.to && asked.has(openingKey(grant))
    );
    const found: GrantTarget[] = [];
    for (const { address, ports, to, untilMs } of latestEnds(led).values()) {
      const family = familyOf(address);
      const targets = await resolveTarget(this.#runtime, to!);
      const target = targets.find((one) => one.family === family);
      if (!target) {
        throw new FirewallError(
          `cannot lead ${address} to "${formatEndpoint(to!)}": ` +
            "that is an address of the other IP version",
        );
      }
      checkTarget(this.#runtime, target);
      found.push({ address, ports, target, untilMs });
    }
    return found;
  }

  /** As {@linkcode resolve}, of all grants there are; without those that lead nowhere any more. */
  async resolveAll(grants: readonly Grant[]): Promise<GrantTarget[]> {
    const targets: GrantTarget[] = [];
    for (const grant of grants.filter(({ to }) => to)) {
      const resolve = () => this.resolve([grant], grants);
      targets.push(...await caught(FirewallError, resolve, () => []));
    }
    return [
      ...new Map(targets.map((found) => [openingKey(found), found])).values(),
    ];
  }

  /** Tells the kernel where a grant leads. */
  text(found: GrantTarget, nowMs: number): string {
    return targetText(found, this.#known.get(openingKey(found)) ?? null, nowMs);
  }

  /** Adds targets that are in the kernel now. */
  note(targets: readonly GrantTarget[], nowMs: number): void {
    for (const found of targets) this.#known.set(openingKey(found), found);
    if (this.#known.size < this.#sweepAt) return;
    for (const [key, { untilMs }] of this.#known) {
      if (untilMs + 2 * TARGET_SLACK_MS <= nowMs) this.#known.delete(key);
    }
    this.#sweepAt = Math.max(SWEEP_FROM, this.#known.size * 2);
  }

  /** Replaces all that is known by what is in the kernel now. */
  adopt(targets: readonly GrantTarget[]): void {
    this.#known = new Map(targets.map((found) => [openingKey(found), found]));
  }
}

/** Writes where a grant leads in place of `before`; null = it is not known to lead elsewhere. */
export function targetText(
  found: GrantTarget,
  before: GrantTarget | null,
  nowMs: number,
): string {
  const { address, ports, target, untilMs } = found;
  const map = `${TABLE} ${mapName(familyOf(address))}`;
  const key = elementText({ address, ports, untilMs: null }, nowMs);
  const end = (target: ForwardTarget) => {
    if (parseAddress(target.address) !== target.address) {
      throw new FirewallError(`not an address: "${target.address}"`);
    }
    return `${target.address} . ${target.port}`;
  };
  const old = end((before ?? found).target);
  const timeout = formatTimeout(untilMs + TARGET_SLACK_MS - nowMs);
  // As in replaceElements(); what is added over another target is refused.
  return lines(
    `add element ${map} { ${key} : ${old} }`,
    `delete element ${map} { ${key} : ${old} }`,
    `add element ${map} { ${key} timeout ${timeout} : ${end(target)} }`,
  );
}
