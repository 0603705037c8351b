/** Ending connections that are established, by the conntrack program. */

import type { Runtime } from "../runtime/runtime.ts";
import { isIpv4 } from "../values/address.ts";
import { FirewallError, type Grant } from "./firewall.ts";
import { failing } from "../values/errors.ts";

/** Ports of a range that are ended one by one; conntrack takes no ranges. */
const MAX_PORTS = 256;

/**
 * Makes the kernel forget the connections that came through these grants, so
 * that their next packet is a new one, and dropped. Throws FirewallError.
 */
export async function endConnections(
  runtime: Runtime,
  grants: readonly Grant[],
): Promise<void> {
  for (const { address, ports: { protocol, first, last } } of grants) {
    const family = isIpv4(address) ? "ipv4" : "ipv6";
    const from = ["-D", "-f", family, "-s", address, "-p", protocol];
    if (last - first >= MAX_PORTS) {
      await run(runtime, from);
      continue;
    }
    for (let port = first; port <= last; port++) {
      await run(runtime, [...from, "--orig-port-dst", `${port}`]);
    }
  }
}

async function run(runtime: Runtime, args: readonly string[]): Promise<void> {
  const hint = "apt install conntrack, or take kill: true out of the service";
  const failed = (why: string) =>
    new FirewallError(`cannot end connections: ${why}`, hint);
  const { code, stderr } = await failing(
    ({ message }) => failed(message),
    () => runtime.run(["conntrack", ...args], { timeoutMs: 5000 }),
  );
  // It exits with 1 when there was none, and prints that.
  if (code === 0 || /0 flow entries have been deleted/.test(stderr)) return;
  throw failed(`conntrack: ${stderr.trim().split("\n").at(-1)}`);
}
