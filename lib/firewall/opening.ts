/** What one grant opens: two of the same are one to a firewall. */

import { formatPortRange } from "../values/ports.ts";
import type { Grant } from "./firewall.ts";

/** Whose, and which ports. */
export type Opening = Pick<Grant, "address" | "ports">;

/** Tells one opening from another. */
export function openingKey({ address, ports }: Opening): string {
  return `${address} ${formatPortRange(ports)}`;
}
