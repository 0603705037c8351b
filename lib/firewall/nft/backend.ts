/** The nft backend at work: each call of the interface, as changes of the kernel. */

import type { Runtime } from "../../runtime/runtime.ts";
import type { Sequence } from "../../sequences/sequence.ts";
import { caught } from "../../values/errors.ts";
import { readFacing } from "../host/interfaces.ts";
import {
  type Facing,
  familyOf,
  type Firewall,
  FirewallError,
  type Grant,
  type Guarded,
  type KernelExtras,
  openAmong,
  type Opening,
  openingKey,
  type Prefilter,
  type PrefilterChoice,
  type PrefilterState,
  type Sniffed,
} from "../firewall.ts";
import {
  checkGrant,
  fillText,
  isOddRange,
  refillText,
  singlesText,
  usedUpText,
} from "./grants/contents.ts";
import { kindOf, networkBits } from "./grants/elements.ts";
import { NftRanges, segmentsByAddress } from "./grants/ranges.ts";
import { NftTargets } from "./grants/targets.ts";
import { InstalledRules } from "./kernel.ts";
import type { Nft } from "./library.ts";
import type { NftListing } from "./listing.ts";
import { checkTarget, resolveForwards } from "./rules/forwards.ts";
import { readCounters } from "./rules/prefilter.ts";
import {
  allPlaces,
  type Plan,
  portsOf,
  type Setting,
  UNFILTERED,
} from "./rules/plan.ts";
import { hostTable, ONCE_KINDS, TABLE } from "./rules/sets.ts";
import { Xdp } from "../xdp/xdp.ts";

/** Grants from which on guarding does not wait for them. */
const MANY_GRANTS = 1000;

/** Grants as elements of nftables sets, ended by the kernel. */
export class NftFirewall implements Firewall, KernelExtras {
  readonly name: string;
  readonly endsGrants = true;
  readonly tables: readonly string[];
  readonly kernel: KernelExtras = this;
  readonly #runtime: Runtime;
  readonly #rules: InstalledRules;
  readonly #ranges = new NftRanges();
  readonly #targets: NftTargets;
  readonly #choice: PrefilterChoice;
  readonly #xdp: Xdp | null;
  /** True if the kernel has a hook at the interfaces; null = not tried yet. */
  #hasIngress: boolean | null = null;

  constructor(
    runtime: Runtime,
    name: string,
    nft: Nft,
    place: Setting,
    choice: PrefilterChoice,
  ) {
    this.#choice = choice;
    this.#xdp = choice === "xdp" ? new Xdp(runtime) : null;
    this.#runtime = runtime;
    this.name = name;
    this.tables = place.host ? [TABLE, hostTable(place.host)] : [TABLE];
    this.#rules = new InstalledRules(nft, place);
    this.#targets = new NftTargets(runtime);
  }

  async apply(
    services: readonly Guarded[],
    grants: readonly Grant[],
    nowMs: number,
  ): Promise<void> {
    const known = new NftTargets(this.#runtime);
    const targets = await known.resolveAll(grants);
    const forwards = await resolveForwards(this.#runtime, services);
    for (const target of forwards.flatMap(({ targets }) => targets)) {
      checkTarget(this.#runtime, target);
    }
    const before = this.#rules.plan;
    const plan: Plan = {
      ...before,
      ...portsOf(services),
      forwards,
      hasTargets: grants.some(({ to }) => to),
      networks: networksOf(grants, []),
      ingress: await this.#followInterfaces(before),
    };
    let found = await this.#rules.look();
    if (found.own === null && grants.length > MANY_GRANTS) {
      // Closed first: so many elements take the kernel a while.
      await this.#rules.apply(plan, found, "");
      found = await this.#rules.look();
    }
    const ranges = segmentsByAddress(grants);
    const script = fillText(plan, grants, ranges, nowMs) +
      targets.map((target) => known.text(target, nowMs)).join("") +
      await this.#usedUpText(plan, grants, found);
    await this.#rules.apply(plan, found, script);
    this.#ranges.adopt(ranges);
    this.#targets.adopt(targets);
    await this.#rules.adopt();
  }

  async change(
    touched: readonly Grant[],
    live: readonly Grant[],
    nowMs: number,
  ): Promise<void> {
    const before = this.#rules.plan;
    const open = openAmong(touched, live);
    for (const grant of open) checkGrant(this.#runtime, before, grant);
    if (open.length > 0) await this.#rules.checkJump(nowMs);
    this.#rules.checkSetUp();
    const grants = touched.filter((grant) => !isOddRange(grant));
    const targets = await this.#targets.resolve(grants, live);
    const plan: Plan = {
      ...before,
      hasTargets: before.hasTargets || targets.length > 0,
      networks: networksOf(open, before.networks),
    };
    const singles = singlesText(plan, grants, live, nowMs) +
      targets.map((target) => this.#targets.text(target, nowMs)).join("");
    const changed = this.#ranges.changed(grants, live);
    const pieces = this.#ranges.changeText(allPlaces(plan), changed, nowMs);
    if (singles + pieces === "") return;
    if (
      plan.hasTargets !== before.hasTargets ||
      plan.networks.length !== before.networks.length
    ) {
      await this.#rules.change(plan);
    }
    try {
      await this.#rules.run(singles + pieces);
    } catch {
      const ranges = this.#ranges.with(changed);
      await this.#rules.mend(
        refillText(this.#rules.plan, ranges, nowMs) + singles,
      );
    }
    this.#ranges.note(changed, nowMs);
    this.#targets.note(targets, nowMs);
  }

  async unused(grants: readonly Grant[]): Promise<readonly Grant[]> {
    const found = await this.#rules.look();
    const used = new Set<string>();
    const keyOf = (kind: string, one: Opening) => `${kind} ${openingKey(one)}`;
    for (const kind of ONCE_KINDS) {
      const wanted = grants.filter((grant) => kindOf(grant) === kind);
      if (wanted.length === 0) continue;
      for (const place of allPlaces(this.#rules.plan)) {
        if (!place.kinds.includes(kind)) continue;
        const there = new Set(
          (await this.#rules.elements(place, kind, found)).map(openingKey),
        );
        // It was in each place, and is gone from the one where it was used.
        for (const grant of wanted) {
          if (!place.families.includes(familyOf(grant.address))) continue;
          if (!there.has(openingKey(grant))) used.add(keyOf(kind, grant));
        }
      }
    }
    return grants.filter((one) => !used.has(keyOf(kindOf(one), one)));
  }

  async intact(): Promise<boolean> {
    const { plan } = this.#rules;
    if (plan.prefilter && this.#xdp?.fits(this.#facing(plan)) === false) {
      return false;
    }
    const ingress = await this.#ingressOf(plan);
    return JSON.stringify(ingress) === JSON.stringify(plan.ingress) &&
      await this.#rules.isIntact();
  }

  async jumpProblem(): Promise<string | null> {
    const problem = await this.#rules.jump.problem(this.#runtime.nowMs());
    return problem && `${problem.text} (${problem.hint})`;
  }

  setSequences(sequences: readonly Sequence[]): void {
    this.#rules.sequences.set(sequences);
  }

  async setPrefilter(
    prefilter: Prefilter | null,
    sniffed: Sniffed | null = null,
  ): Promise<void> {
    this.#rules.checkSetUp();
    const wanted = prefilter && prefilter.ports.length > 0 ? prefilter : null;
    const { plan } = this.#rules;
    const next = { ...plan, prefilter: wanted, sniffed };
    const ingress = await this.#followInterfaces(next);
    await this.#rules.change({ ...next, ingress });
  }

  get prefilter(): PrefilterState {
    const { prefilter, ingress } = this.#rules.plan;
    if (!prefilter) return { kind: "off", interfaces: [], problem: null };
    const interfaces = this.#xdp?.interfaces ?? [];
    const problem = this.#xdp?.problem ?? null;
    if (interfaces.length > 0) return { kind: "xdp", interfaces, problem };
    return {
      kind: ingress ? "ingress" : "nft",
      interfaces: ingress?.devices ?? [],
      problem,
    };
  }

  /** Has XDP drop junk at the interfaces of now; those at which nft does. */
  async #followInterfaces(plan: Plan): Promise<Facing | null> {
    if (!plan.prefilter) this.#xdp?.close();
    else await this.#xdp?.set(plan.prefilter, this.#facing(plan));
    return await this.#ingressOf(plan);
  }

  /** The interfaces at which nft drops junk; null = in prerouting alone. */
  async #ingressOf(plan: Plan): Promise<Facing | null> {
    const { prefilter, refuse } = plan;
    // What is dropped at the interfaces gets no answer.
    if (!prefilter || this.#choice === "nft" || refuse === "reject") {
      return null;
    }
    if (this.#xdp && this.#xdp.interfaces.length > 0) return null;
    this.#hasIngress ??= await this.#rules.hasIngress();
    return this.#hasIngress ? this.#facing(plan) : null;
  }

  #facing({ interfaces }: Plan): Facing | null {
    return readFacing(this.#runtime, interfaces);
  }

  async counters(): Promise<Record<string, number>> {
    const { prefilter, sniffed } = this.#rules.plan;
    if (!prefilter && !sniffed) return {};
    return readCounters(await this.#rules.counts(), this.#xdp?.counts());
  }

  async stop(): Promise<void> {
    const { plan } = this.#rules;
    this.#xdp?.close();
    try {
      // Its tags are this server's: another program may listen next.
      if (plan.prefilter || plan.sniffed) {
        const change = () => this.#rules.change({ ...plan, ...UNFILTERED });
        await caught(FirewallError, change, () => {});
      }
    } finally {
      this.#rules.close();
    }
  }

  async remove(): Promise<void> {
    this.#xdp?.close();
    await this.#rules.remove();
    this.#ranges.adopt(new Map());
    this.#targets.adopt([]);
  }

  /** Deletes what is open for a single use and is granted no more. */
  async #usedUpText(
    plan: Plan,
    grants: readonly Grant[],
    found: NftListing,
  ): Promise<string> {
    let script = "";
    for (const kind of ONCE_KINDS) {
      for (const place of allPlaces(plan)) {
        if (!place.kinds.includes(kind)) continue;
        const there = await this.#rules.elements(place, kind, found);
        script += usedUpText(place, kind, there, grants);
      }
    }
    return script;
  }
}

/** Lengths of the networks that grants are for, and those that are known. */
function networksOf(
  grants: readonly Grant[],
  known: readonly number[],
): readonly number[] {
  const found = grants.flatMap((grant) => networkBits(grant) ?? []);
  return found.every((bits) => known.includes(bits))
    ? known
    : [...new Set([...known, ...found])].sort((a, b) => a - b);
}
