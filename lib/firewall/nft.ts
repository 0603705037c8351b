/** The nft backend: grants as elements of nftables sets, ended by the kernel. */

import type { Runtime } from "../runtime/runtime.ts";
import { formatPortRange } from "../values/ports.ts";
import {
  type Firewall,
  FirewallError,
  type Grant,
  type Guarded,
} from "./firewall.ts";
import { type Nft, openNft } from "./libnftables.ts";
import {
  addElements,
  changeSegments,
  kindOf,
  latestEnds,
  parseElements,
  replaceElements,
  segmentElements,
  segmentsByAddress,
} from "./nft_elements.ts";
import {
  FAMILIES,
  flushText,
  OWNER,
  removeText,
  renewText,
  rulesetText,
  setName,
  TABLE,
} from "./nft_ruleset.ts";
import type { Segment } from "./segments.ts";

/** Opens the nft backend; throws FirewallError when nftables cannot be used. */
export async function nftFirewall(runtime: Runtime): Promise<Firewall> {
  return new NftFirewall(await openNft(runtime));
}

/** From how many addresses with ranges on the dead ones are swept out. */
const SWEEP_FROM = 1024;

class NftFirewall implements Firewall {
  readonly name: string;
  readonly endsGrants = true;
  readonly #nft: Nft;
  /** The last applied; null before. */
  #services: readonly Guarded[] | null = null;
  /** The pieces of ranges in the kernel's sets, by address. */
  #ranges = new Map<string, readonly Segment[]>();
  #sweepAt = SWEEP_FROM;
  /** The listing after the last apply(); null when it must be called again. */
  #listing: string | null = null;
  /** One change at a time: what is known of the ranges must stay true. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(nft: Nft) {
    this.#nft = nft;
    this.name = `nft (${nft.name})`;
  }

  apply(
    services: readonly Guarded[],
    grants: readonly Grant[],
    nowMs: number,
  ): Promise<void> {
    return this.#inTurn(async () => {
      const found = await this.#ownTable();
      const ranges = segmentsByAddress(grants);
      const script = rulesetText(services) + flushText() +
        addElements("allow", latestEnds("allow", grants, grants), nowMs) +
        rangesText(ranges, nowMs);
      try {
        const unwanted = found === null ? "" : await this.#oldOnce(grants);
        await this.#nft.run(script + unwanted);
      } catch (error) {
        if (found === null) throw error;
        // A set or the chain is not as it was made: it cannot be mended.
        await this.#nft.run(renewText() + script);
      }
      this.#services = services;
      this.#ranges = ranges;
      this.#listing = await this.#ownTable();
    });
  }

  open(
    grants: readonly Grant[],
    all: readonly Grant[],
    nowMs: number,
  ): Promise<void> {
    const range = grants.find(isOnceRange);
    if (range) return Promise.reject(onceRangeError(range));
    return this.#change(grants, [...grants, ...all], nowMs);
  }

  close(
    grants: readonly Grant[],
    all: readonly Grant[],
    nowMs: number,
  ): Promise<void> {
    const opened = grants.filter((grant) => !isOnceRange(grant));
    return this.#change(opened, all, nowMs);
  }

  intact(): Promise<boolean> {
    return this.#inTurn(async () => {
      if (this.#listing === null) return false;
      return await this.#list() === this.#listing;
    });
  }

  stop(): Promise<void> {
    return this.#inTurn(() => Promise.resolve(this.#nft.close()));
  }

  remove(): Promise<void> {
    return this.#inTurn(async () => {
      const listing = await this.#list();
      if (listing !== null && isOurs(listing)) {
        await this.#nft.run(removeText());
      }
      this.#services = this.#listing = null;
      this.#ranges.clear();
    });
  }

  /** Makes the ports of `grants` as open as `live` says. */
  #change(
    grants: readonly Grant[],
    live: readonly Grant[],
    nowMs: number,
  ): Promise<void> {
    return this.#inTurn(async () => {
      const services = this.#services;
      if (!services) throw new FirewallError("nft: not set up yet");
      const singles = (["allow", "once"] as const).map((kind) =>
        replaceElements(kind, latestEnds(kind, grants, live), nowMs)
      ).join("");
      const wanted = segmentsByAddress(live);
      const changed = new Map<string, readonly Segment[]>();
      let pieces = "";
      for (const grant of grants) {
        const { address } = grant;
        if (kindOf(grant) !== "range" || changed.has(address)) continue;
        const before = this.#ranges.get(address) ?? [];
        const after = wanted.get(address) ?? [];
        pieces += changeSegments(address, before, after, nowMs);
        changed.set(address, after);
      }
      if (singles + pieces === "") return;
      try {
        await this.#nft.run(singles + pieces);
      } catch {
        await this.#mend(services, new Map([...this.#ranges, ...changed]), {
          singles,
          nowMs,
        });
      }
      for (const [address, after] of changed) this.#ranges.set(address, after);
      this.#sweep(nowMs);
    });
  }

  /**
   * Sets up again what somebody flushed or changed under us, with the change
   * in hand. Grants of others may be lost by that flush, so intact() is false
   * from here on, until apply() brings them back.
   */
  async #mend(
    services: readonly Guarded[],
    ranges: ReadonlyMap<string, readonly Segment[]>,
    { singles, nowMs }: { singles: string; nowMs: number },
  ): Promise<void> {
    const found = await this.#ownTable();
    const flush = FAMILIES.map((family) =>
      `flush set ${TABLE} ${setName("range", family)}\n`
    ).join("");
    const script = rulesetText(services) + flush + rangesText(ranges, nowMs) +
      singles;
    this.#listing = null;
    try {
      await this.#nft.run(script);
    } catch (error) {
      if (found === null) throw error;
      await this.#nft.run(renewText() + script);
    }
  }

  /** Deletes what is open for a single use and is granted no more. */
  async #oldOnce(grants: readonly Grant[]): Promise<string> {
    let listings = "";
    for (const family of FAMILIES) {
      const list = `list set ${TABLE} ${setName("once", family)}\n`;
      listings += await this.#nft.run(list, "elements");
    }
    const kept = new Set(
      grants.filter((grant) => kindOf(grant) === "once")
        .map(({ address, ports }) => `${address} ${formatPortRange(ports)}`),
    );
    // Those granted still are left as they are, and none is added: only the
    // kernel knows which were used.
    const old = parseElements(listings).filter(({ address, ports }) =>
      !kept.has(`${address} ${formatPortRange(ports)}`)
    );
    return replaceElements("once", old, 0);
  }

  /** The listing of our table, null when there is none; throws when it is another's. */
  async #ownTable(): Promise<string | null> {
    const listing = await this.#list();
    if (listing === null || isOurs(listing)) return listing;
    throw new FirewallError(
      `table ${TABLE} is there already and was not made by this program`,
      `if nobody needs it: nft delete table ${TABLE}`,
    );
  }

  /** The listing of a table of our name; null when there is none. */
  async #list(): Promise<string | null> {
    // "list table" fetches the elements of the sets even if it does not show
    // them, a second for a hundred thousand; "list ruleset" does not.
    const listing = await this.#nft.run("list ruleset inet\n");
    const start = `\n${listing}`.indexOf(`\ntable ${TABLE} {\n`);
    if (start < 0) return null;
    return listing.slice(start, listing.indexOf("\n}\n", start) + 3);
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

function isOurs(listing: string): boolean {
  return listing.split("\n")[1]?.trim() === `comment "${OWNER}"`;
}

function rangesText(
  ranges: ReadonlyMap<string, readonly Segment[]>,
  nowMs: number,
): string {
  const elements = [...ranges].flatMap(([address, pieces]) =>
    segmentElements(address, pieces)
  );
  return addElements("range", elements, nowMs);
}

// A rule cannot delete from a set of intervals.
function isOnceRange({ once, ports }: Grant): boolean {
  return once && ports.first !== ports.last;
}

function onceRangeError({ ports }: Grant): FirewallError {
  return new FirewallError(
    `a range of ports cannot be opened for a single use, got "${
      formatPortRange(ports)
    }"`,
    "list the ports one by one where once is true",
  );
}
