/** What the scripts of all backends have in common. */

/**
 * The comment by which what is in the kernel is known as ours. nft needs 0.9.7
 * and Linux 5.10 for it; it must never change, or an older server's is refused.
 */
export const OWNER = "made by knock";

/** Lines, ended. */
export function lines(...all: readonly string[]): string {
  return all.map((line) => line + "\n").join("");
}
