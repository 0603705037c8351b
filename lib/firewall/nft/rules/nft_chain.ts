/** The host's own chain that mode accept puts its rules into, by its name. */

/** A chain of the host, as its own rules name it. */
export interface HostChain {
  readonly family: "inet" | "ip" | "ip6";
  readonly table: string;
  readonly chain: string;
}

/** Where mode accept puts its rules unless the configuration says so. */
export const DEFAULT_CHAIN = "inet filter knock";

/** Longest name of a table or chain: those of our sets begin with it. */
const MAX_NAME = 64;

const NAME = /^[A-Za-z_][A-Za-z0-9_-]*$/;

/** Reads "FAMILY TABLE CHAIN"; null if it is none, or would be in our own table. */
export function parseHostChain(text: string): HostChain | null {
  const [family, table, chain, ...rest] = text.trim().split(/\s+/);
  if (family !== "inet" && family !== "ip" && family !== "ip6") return null;
  if (!table || !chain || rest.length > 0) return null;
  if (![table, chain].every((name) => NAME.test(name))) return null;
  if (table.length > MAX_NAME || chain.length > MAX_NAME) return null;
  if (family === "inet" && table === "knock") return null;
  return { family, table, chain };
}

/** Writes what {@linkcode parseHostChain} reads. */
export function formatHostChain({ family, table, chain }: HostChain): string {
  return `${family} ${table} ${chain}`;
}

/** The table of a chain, as nft names it. */
export function hostTable({ family, table }: HostChain): string {
  return `${family} ${table}`;
}
