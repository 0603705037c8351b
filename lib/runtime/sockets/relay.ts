/** Carries bytes between two TCP connections, until both sides are done. */

import type { Stream } from "../runtime.ts";

/**
 * Carries both ways. When one side ends its half, the other half goes on; a
 * failure of either connection ends both. Closes both and never throws.
 */
export async function relay(a: Stream, b: Stream): Promise<void> {
  try {
    await Promise.all([carry(a, b), carry(b, a)]);
  } catch {
    // One of them broke: only the other is left to be closed.
  } finally {
    a.close();
    b.close();
  }
}

async function carry(from: Stream, to: Stream): Promise<void> {
  while (true) {
    const bytes = await from.read();
    if (bytes === null) break;
    await to.write(bytes);
  }
  await to.finish();
}
