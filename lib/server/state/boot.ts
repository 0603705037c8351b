/** Which start of the machine this is. */

import type { Runtime } from "../../runtime/runtime.ts";
import type { Store } from "./store.ts";

/** Where Linux tells; other systems do not. */
const BOOT_ID = "/proc/sys/kernel/random/boot_id";

/** Notes which start of the machine this is; whether it is another than before. Throws SystemError. */
export function noteBoot(runtime: Runtime, store: Store): boolean {
  let boot = "unknown";
  try {
    boot = runtime.files.readText(BOOT_ID).trim();
  } catch {
    // Only Linux tells.
  }
  const before = store.fact("boot");
  if (before !== boot) store.setFact("boot", boot);
  return before !== undefined && before !== boot;
}
