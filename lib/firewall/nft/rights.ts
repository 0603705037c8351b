/** Whether this process may change the kernel's packet filter. */

import type { Runtime } from "../../runtime/runtime.ts";

/** The bit of CAP_NET_ADMIN, from linux/capability.h. */
const CAP_NET_ADMIN = 12n;

/** Whether it has CAP_NET_ADMIN; null where the system does not tell. */
export function mayAdministerNetwork(runtime: Runtime): boolean | null {
  try {
    const status = runtime.files.readText("/proc/self/status");
    const [, hex] = /^CapEff:\s*([0-9a-f]+)$/m.exec(status) ?? [];
    return hex === undefined
      ? null
      : (BigInt(`0x${hex}`) >> CAP_NET_ADMIN & 1n) === 1n;
  } catch {
    return null;
  }
}
