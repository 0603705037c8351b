/** The two versions of IP, which a firewall keeps apart. */

import { isIpv4 } from "../values/address.ts";

/** 4 for IPv4, 6 for IPv6. */
export type Family = 4 | 6;

/** Both. */
export const FAMILIES: readonly Family[] = [4, 6];

/** Which family a canonical address is of. */
export function familyOf(address: string): Family {
  return isIpv4(address) ? 4 : 6;
}
