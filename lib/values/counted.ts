/** Numbers of things, in words. */

/** "1 packet", "2 packets": for nouns that take an s. */
export function counted(count: number, noun: string): string {
  return count === 1 ? `1 ${noun}` : `${count} ${noun}s`;
}
