/** The nft backend: grants as elements of nftables sets, ended by the kernel. */

import type { Runtime } from "../runtime/runtime.ts";
import { isIpv4 } from "../values/address.ts";
import { formatPortRange } from "../values/ports.ts";
import {
  type Firewall,
  FirewallError,
  type Grant,
  type Guarded,
  type KernelGate,
  type SequenceRules,
} from "./firewall.ts";
import { openNft } from "./libnftables.ts";
import { DEFAULT_CHAIN, type HostChain, parseHostChain } from "./nft_chain.ts";
import {
  addElements,
  changeSegments,
  kindOf,
  latestEnds,
  leadText,
  replaceElements,
  segmentElements,
  segmentsByAddress,
} from "./nft_elements.ts";
import type { Forward } from "./nft_forwards.ts";
import { readCounters } from "./nft_gate.ts";
import { type Found, NftKernel, textOf } from "./nft_kernel.ts";
import { NftLeads } from "./nft_leads.ts";
import { placesOf, type Plan, rulesetText } from "./nft_ruleset.ts";
import {
  FAMILIES,
  mapName,
  ONCE_KINDS,
  type Place,
  setName,
  TABLE,
} from "./nft_sets.ts";
import { checkTarget, resolveForwards } from "./nft_targets.ts";
import type { Segment } from "./segments.ts";

/** How the backend is to work. */
export interface NftOptions {
  readonly mode: "guard" | "accept";
  /** Where mode accept puts its rules, "FAMILY TABLE CHAIN"; null = the default. */
  readonly chain: string | null;
}

/** Opens the nft backend; throws FirewallError when nftables cannot be used. */
export async function nftFirewall(
  runtime: Runtime,
  options: NftOptions = { mode: "guard", chain: null },
): Promise<Firewall> {
  const host = hostChainOf(options);
  const nft = await openNft(runtime);
  const name = `nft (${nft.name}${host ? ", accept" : ""})`;
  return new NftFirewall(runtime, name, new NftKernel(nft, host), host);
}

/** The host's chain of mode accept; null in mode guard. Throws FirewallError. */
export function hostChainOf({ mode, chain }: NftOptions): HostChain | null {
  if (mode === "guard") return null;
  const host = parseHostChain(chain ?? DEFAULT_CHAIN);
  if (host) return host;
  throw new FirewallError(
    `firewall.chain: must be FAMILY TABLE CHAIN, got "${chain}"`,
    `chain: ${DEFAULT_CHAIN}`,
  );
}

/**
 * The ruleset that guards these services, without grants, for the machine to
 * load at boot. Throws FirewallError.
 */
export async function nftRules(
  runtime: Runtime,
  options: NftOptions,
  services: readonly Guarded[],
): Promise<string> {
  return rulesetText({
    host: hostChainOf(options),
    guarded: services.flatMap(({ ports }) => ports),
    forwards: await resolveForwards(runtime, services),
    hasTargets: false,
    gate: null,
  });
}

/** From how many addresses with ranges on the dead ones are swept out. */
const SWEEP_FROM = 1024;

/** Sets that hold no ranges, as the kernel's own clock ends their elements. */
const isSingles = (kind: string) => kind !== "range";

class NftFirewall implements Firewall {
  readonly name: string;
  readonly endsGrants = true;
  readonly #runtime: Runtime;
  readonly #kernel: NftKernel;
  readonly #leads: NftLeads;
  #plan: Plan;
  #isSetUp = false;
  /** The pieces of ranges in the kernel's sets, by address. */
  #ranges = new Map<string, readonly Segment[]>();
  #sweepAt = SWEEP_FROM;
  /** The listing after the last change of rules; null when apply() must be called again. */
  #listing: string | null = null;
  /** One change at a time: what is known of the ranges must stay true. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    runtime: Runtime,
    name: string,
    kernel: NftKernel,
    host: HostChain | null,
  ) {
    this.#runtime = runtime;
    this.name = name;
    this.#kernel = kernel;
    this.#leads = new NftLeads(runtime);
    this.#plan = {
      host,
      guarded: [],
      forwards: [],
      hasTargets: false,
      gate: null,
    };
  }

  apply(
    services: readonly Guarded[],
    grants: readonly Grant[],
    nowMs: number,
  ): Promise<void> {
    return this.#inTurn(async () => {
      const leads = new NftLeads(this.#runtime);
      const leading = await leads.resolveAll(grants);
      const plan: Plan = {
        ...this.#plan,
        guarded: services.flatMap(({ ports }) => ports),
        forwards: await this.#forwardsOf(services),
        hasTargets: grants.some(({ to }) => to),
      };
      const found = await this.#kernel.look();
      const ranges = segmentsByAddress(grants);
      const places = allPlaces(plan);
      const flush = [
        ...setsOf(places, "allow", "range", "sent", "landed"),
        ...(plan.hasTargets
          ? FAMILIES.map((family) => `map ${TABLE} ${mapName(family)}`)
          : []),
      ];
      const script = flush.map((set) => `flush ${set}\n`).join("") +
        places.map((place) =>
          place.kinds.filter((kind) =>
            isSingles(kind) && !ONCE_KINDS.includes(kind)
          ).map((kind) =>
            addElements(place, kind, latestEnds(kind, grants, grants), nowMs)
          ).join("") + rangesText(place, ranges, nowMs)
        ).join("") +
        leading.map((led) => leadText(led, null, nowMs)).join("");
      const unwanted = await this.#oldOnce(places, grants, found);
      await this.#kernel.replace(plan, found, script + unwanted);
      this.#plan = plan;
      this.#isSetUp = true;
      this.#ranges = ranges;
      this.#leads.adopt(leading);
      this.#listing = await this.#kernel.listing();
    });
  }

  open(
    grants: readonly Grant[],
    all: readonly Grant[],
    nowMs: number,
  ): Promise<void> {
    return this.#inTurn(async () => {
      for (const grant of grants) this.#checkGrant(grant);
      await this.#checkJump(nowMs);
      await this.#change(grants, [...grants, ...all], nowMs);
    });
  }

  close(
    grants: readonly Grant[],
    all: readonly Grant[],
    nowMs: number,
  ): Promise<void> {
    const opened = grants.filter((grant) => !isOddRange(grant));
    return this.#inTurn(() => this.#change(opened, all, nowMs));
  }

  intact(): Promise<boolean> {
    return this.#inTurn(async () => {
      if (this.#listing === null) return false;
      return await this.#kernel.listing() === this.#listing;
    });
  }

  jumpProblem(): Promise<string | null> {
    return this.#inTurn(async () => {
      const problem = await this.#kernel.jumpProblem(this.#runtime.nowMs());
      return problem && `${problem.text} (${problem.hint})`;
    });
  }

  setSequences(rules: SequenceRules): void {
    this.#kernel.setSequences(rules);
  }

  setGate(gate: KernelGate | null): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#isSetUp) throw new FirewallError("nft: not set up yet");
      const wanted = gate && gate.ports.length + gate.otherPorts.length > 0
        ? gate
        : null;
      const plan = { ...this.#plan, gate: wanted };
      await this.#replaceRules(plan);
      this.#plan = plan;
    });
  }

  counters(): Promise<Record<string, number>> {
    return this.#inTurn(async () =>
      this.#plan.gate ? readCounters(await this.#kernel.counts()) : {}
    );
  }

  stop(): Promise<void> {
    return this.#inTurn(async () => {
      try {
        // Its tags are this server's: another program may listen next.
        if (this.#isSetUp && this.#plan.gate) {
          await this.#replaceRules({ ...this.#plan, gate: null });
        }
      } catch (error) {
        if (!(error instanceof FirewallError)) throw error;
      } finally {
        this.#kernel.close();
      }
    });
  }

  remove(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#kernel.remove();
      this.#isSetUp = false;
      this.#plan = { ...this.#plan, gate: null };
      this.#listing = null;
      this.#ranges.clear();
      this.#leads.adopt([]);
    });
  }

  async #forwardsOf(services: readonly Guarded[]): Promise<Forward[]> {
    const forwards = await resolveForwards(this.#runtime, services);
    for (const { targets } of forwards) {
      for (const target of targets) checkTarget(this.#runtime, target);
    }
    return forwards;
  }

  /** Throws where a grant cannot be kept as it is. */
  #checkGrant(grant: Grant): void {
    const { address, ports, to } = grant;
    if (isOddRange(grant)) throw rangeError(grant);
    const family = isIpv4(address) ? 4 : 6;
    const { host } = placesOf(this.#plan);
    if (host && !host.families.includes(family)) {
      throw new FirewallError(
        `cannot open for ${address}: firewall.chain is of table ${host.table}`,
        "a chain of family inet is for IPv4 and IPv6",
      );
    }
    if (to || ports.first !== ports.last) return;
    const forward = this.#plan.forwards.find((one) => leadsOn(one, grant));
    if (!forward) return;
    const target = forward.targets.find((one) => one.family === family);
    if (target) return checkTarget(this.#runtime, target);
    throw new FirewallError(
      `cannot open ${formatPortRange(ports)} for ${address}: service ` +
        `"${forward.name}" leads to an address of the other IP version`,
    );
  }

  /** Throws in mode accept where the host's rules do not come to ours. */
  async #checkJump(nowMs: number): Promise<void> {
    if (!this.#isSetUp || await this.#kernel.leadsStill(nowMs)) return;
    // Whoever loaded the host's rules again may have left our chain empty.
    if (await this.#kernel.listing() !== this.#listing) {
      await this.#replaceRules(this.#plan);
      this.#listing = null;
    }
    const problem = await this.#kernel.jumpProblem(nowMs);
    if (problem) throw new FirewallError(problem.text, problem.hint);
  }

  /** Changes the rules, and leaves all grants as they are. */
  async #replaceRules(plan: Plan): Promise<void> {
    const before = this.#listing;
    const found = await this.#kernel.look();
    // Each minute brings new tags: nobody's knocks are to be forgotten by that.
    const isIntact = before !== null && textOf(found) === before;
    await this.#kernel.replace(plan, found, "", isIntact);
    // What was not in place is not now: its grants are to be applied again.
    this.#listing = before === null ? null : await this.#kernel.listing();
  }

  /** Makes the ports of `grants` as open as `live` says. */
  async #change(
    grants: readonly Grant[],
    live: readonly Grant[],
    nowMs: number,
  ): Promise<void> {
    if (!this.#isSetUp) throw new FirewallError("nft: not set up yet");
    const leading = await this.#leads.resolve(grants, live);
    const plan = leading.length > 0
      ? { ...this.#plan, hasTargets: true }
      : this.#plan;
    const places = allPlaces(plan);
    const singles =
      places.map((place) =>
        place.kinds.filter(isSingles).map((kind) =>
          replaceElements(place, kind, latestEnds(kind, grants, live), nowMs)
        ).join("")
      ).join("") + leading.map((led) => this.#leads.text(led, nowMs)).join("");
    const wanted = segmentsByAddress(live);
    const changed = new Map<string, readonly Segment[]>();
    let pieces = "";
    for (const grant of grants) {
      const { address } = grant;
      if (kindOf(grant) !== "range" || changed.has(address)) continue;
      const before = this.#ranges.get(address) ?? [];
      const after = wanted.get(address) ?? [];
      for (const place of placesWith(places, "range")) {
        pieces += changeSegments(place, address, before, after, nowMs);
      }
      changed.set(address, after);
    }
    if (singles + pieces === "") return;
    if (plan.hasTargets !== this.#plan.hasTargets) {
      await this.#replaceRules(plan);
      this.#plan = plan;
    }
    try {
      await this.#kernel.run(singles + pieces);
    } catch {
      await this.#mend(new Map([...this.#ranges, ...changed]), singles, nowMs);
    }
    for (const [address, after] of changed) this.#ranges.set(address, after);
    this.#leads.note(leading, nowMs);
    this.#sweep(nowMs);
  }

  /**
   * Sets up again what somebody flushed or changed under us, with the change
   * in hand. Grants of others may be lost by that flush, so intact() is false
   * from here on, until apply() brings them back.
   */
  async #mend(
    ranges: ReadonlyMap<string, readonly Segment[]>,
    singles: string,
    nowMs: number,
  ): Promise<void> {
    const found = await this.#kernel.look();
    const places = allPlaces(this.#plan);
    const script =
      setsOf(places, "range").map((set) => `flush ${set}\n`).join("") +
      places.map((place) => rangesText(place, ranges, nowMs)).join("") +
      singles;
    this.#listing = null;
    await this.#kernel.replace(this.#plan, found, script);
  }

  /** Deletes what is open for a single use and is granted no more. */
  async #oldOnce(
    places: readonly Place[],
    grants: readonly Grant[],
    found: Found,
  ): Promise<string> {
    const key = ({ address, ports }: Pick<Grant, "address" | "ports">) =>
      `${address} ${formatPortRange(ports)}`;
    let script = "";
    for (const kind of ONCE_KINDS) {
      const kept = new Set(
        grants.filter((grant) => kindOf(grant) === kind).map(key),
      );
      for (const place of placesWith(places, kind)) {
        // Those granted still are left as they are, and none is added: only
        // the kernel knows which were used.
        const there = await this.#kernel.elements([place], kind, found);
        const old = there.filter((element) => !kept.has(key(element)));
        script += replaceElements(place, kind, old, 0);
      }
    }
    return script;
  }

  /** Forgets pieces whose time is over, now and then. */
  #sweep(nowMs: number): void {
    if (this.#ranges.size < this.#sweepAt) return;
    for (const [address, pieces] of this.#ranges) {
      if (pieces.every(({ untilMs }) => untilMs <= nowMs)) {
        this.#ranges.delete(address);
      }
    }
    this.#sweepAt = Math.max(SWEEP_FROM, this.#ranges.size * 2);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }
}

function allPlaces(plan: Plan): Place[] {
  const { own, host } = placesOf(plan);
  return host ? [own, host] : [own];
}

function placesWith(places: readonly Place[], kind: Place["kinds"][number]) {
  return places.filter(({ kinds }) => kinds.includes(kind));
}

/** The sets of some kinds, as nft names them. */
function setsOf(
  places: readonly Place[],
  ...kinds: Place["kinds"]
): string[] {
  return kinds.flatMap((kind) =>
    placesWith(places, kind).flatMap(({ table, prefix, families }) =>
      families.map((family) => `set ${table} ${setName(kind, family, prefix)}`)
    )
  );
}

function leadsOn({ ports }: Forward, grant: Grant): boolean {
  const { protocol, first } = grant.ports;
  return ports.some((range) =>
    range.protocol === protocol && range.first <= first && first <= range.last
  );
}

function rangesText(
  place: Place,
  ranges: ReadonlyMap<string, readonly Segment[]>,
  nowMs: number,
): string {
  if (!place.kinds.includes("range")) return "";
  const elements = [...ranges].flatMap(([address, pieces]) =>
    segmentElements(address, pieces)
  );
  return addElements(place, "range", elements, nowMs);
}

// A rule cannot delete from a set of intervals, and a range has no single target.
function isOddRange({ once, to, ports }: Grant): boolean {
  return (once || to !== null) && ports.first !== ports.last;
}

function rangeError({ once, ports }: Grant): FirewallError {
  const shown = `got "${formatPortRange(ports)}"`;
  return once
    ? new FirewallError(
      `a range of ports cannot be opened for a single use, ${shown}`,
      "list the ports one by one where once is true",
    )
    : new FirewallError(`a range of ports cannot lead to one port, ${shown}`);
}
