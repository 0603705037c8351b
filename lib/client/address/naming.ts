/**
 * The address that packets name, so that no attacker on the way can have them open
 * for another: the one that the server's last reply reported.
 * @module
 */

import type { Runtime } from "../../runtime/runtime.ts";
import { isIpv4, parseAddress } from "../../values/address.ts";
import { isMapping } from "../../values/schema.ts";
import { recall, remember } from "../memory.ts";
import type { Profile } from "../profile/profile.ts";

export type IpVersion = "IPv4" | "IPv6";

/** An address to name, by the family that the packet goes over; absent: none. */
export type Naming = Readonly<Partial<Record<IpVersion, string>>>;

const KIND = "address";

/**
 * Time for which an address counts after a reply to a packet that named none. A
 * client that may open for any address gets no refusal when it is wrong.
 */
const TRUST_MS = 3_600_000;

/** Age at which an unchanged memory is written again, milliseconds. */
const REFRESH_MS = 600_000;

const FAMILIES = ["IPv4", "IPv6"] as const;

/** The family of an address. */
export function familyOf(address: string): IpVersion {
  return isIpv4(address) ? "IPv4" : "IPv6";
}

/** The first of some addresses of each family, IPv4 before IPv6. */
export function firstOfEachFamily(addresses: readonly string[]): string[] {
  return FAMILIES.map((family) =>
    addresses.find((address) => familyOf(address) === family)
  ).filter((address) => address !== undefined);
}

/** The addresses that the server saw last from this network. */
export function rememberedNaming(runtime: Runtime, profile: Profile): Naming {
  return Object.fromEntries(
    entries(runtime, profile).map(([family, { address }]) => [family, address]),
  );
}

/** Remembers what a server said that it saw, in reply to a packet that named nothing. */
export function rememberNaming(
  runtime: Runtime,
  profile: Profile,
  seen: string,
): void {
  const address = parseAddress(seen);
  if (address === null) return;
  const known = Object.fromEntries(entries(runtime, profile));
  const family = familyOf(address);
  const old = known[family];
  const atMs = runtime.nowMs();
  if (old?.address === address && atMs - old.atMs < REFRESH_MS) return;
  remember(runtime, profile, KIND, { ...known, [family]: { address, atMs } });
}

interface Seen {
  readonly address: string;
  /** Unix milliseconds. */
  readonly atMs: number;
}

function entries(runtime: Runtime, profile: Profile): [IpVersion, Seen][] {
  const memory = recall(runtime, profile, KIND) ?? {};
  const nowMs = runtime.nowMs();
  return FAMILIES.flatMap((family): [IpVersion, Seen][] => {
    const seen = memory[family];
    if (!isMapping(seen) || typeof seen.atMs !== "number") return [];
    const { address: text, atMs } = seen;
    const address = typeof text === "string" ? parseAddress(text) : null;
    if (address === null || familyOf(address) !== family) return [];
    const ageMs = nowMs - atMs;
    return ageMs >= 0 && ageMs < TRUST_MS ? [[family, { address, atMs }]] : [];
  });
}
