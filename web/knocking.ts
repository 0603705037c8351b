/// <reference lib="dom" />
/** Knocking at a server: where it is, a knock for each family, again until it answers. */

import { dnsQuestion, readDnsAnswer, RECORDS } from "./dns.ts";
import { type Outcome, sendKnock } from "./ice.ts";
import { isAddress } from "./profile.ts";
import { generateKeys, seal } from "./seal.ts";
import type { Profile } from "./store.ts";

/** Knocks at one address without an answer before it is given up; each is a fresh packet. */
const TRIES = 3;
/** Longest wait for a resolver, milliseconds. */
const RESOLVER_MS = 3000;

/** Finds the server's addresses: by its name where a resolver is named, else as enrolled. */
export async function addressesOf(
  { host, at, doh }: Profile,
): Promise<readonly string[]> {
  const known = isAddress(host) && at.length === 0 ? [host] : at;
  if (isAddress(host) || doh === null) return known;
  const signal = AbortSignal.timeout(RESOLVER_MS);
  const ask = async (type: number) => {
    const url = dnsQuestion(doh, host, type);
    if (url === null) return [];
    const headers = { accept: "application/dns-message" };
    const options = { headers, signal, referrerPolicy: "no-referrer" } as const;
    const response = await fetch(url, options);
    return response.ok
      ? readDnsAnswer(new Uint8Array(await response.arrayBuffer()))
      : [];
  };
  try {
    const found = await Promise.all(Object.values(RECORDS).map(ask));
    return found.flat().length > 0 ? found.flat() : known;
  } catch {
    return known;
  }
}

/**
 * Knocks at the first address of each family, since each knock opens for its
 * own; tells every outcome as it comes. A code is good once, so with one only
 * the first address gets it.
 */
export async function knockAt(
  profile: Profile,
  addresses: readonly string[],
  code: number | null,
  tell: (outcome: Outcome, address: string) => void,
): Promise<void> {
  const isSix = (one: string) => one.includes(":");
  const first = [
    addresses.find((one) => !isSix(one)),
    addresses.find(isSix),
  ].filter((one) => one !== undefined);
  await Promise.all(
    first.slice(0, code === null ? 2 : 1).map(async (address) =>
      tell(await knockOne(profile, address, code), address)
    ),
  );
}

async function knockOne(
  profile: Profile,
  address: string,
  code: number | null,
): Promise<Outcome> {
  const { seconds, port } = profile;
  for (let tried = 1;; tried++) {
    const ask = { ports: [], seconds, code };
    const sealed = await seal(profile, await generateKeys(), ask, Date.now());
    const outcome = await sendKnock(sealed, address, port);
    // The server may have used a code that got no answer.
    const mayTryAgain = outcome.state === "unsent" ||
      outcome.state === "silent" && code === null;
    if (!mayTryAgain || tried === TRIES) return outcome;
  }
}
