/** Ending connections that are established, by the conntrack program. */

import type { Runtime } from "../runtime/runtime.ts";
import { isIpv4, parseAddress } from "../values/address.ts";
import { failing, orNull } from "../values/errors.ts";
import { containsPorts, onePort, type PortRange } from "../values/ports.ts";
import { FirewallError, type Guarded, type Opening } from "./firewall.ts";
import { runSystem } from "./iptables/program.ts";

const HINT = "apt install conntrack, or take cut and kill out of the services";

/** Time that the program may take, milliseconds. */
const TIMEOUT_MS = 5000;

/** Reason why connections cannot be ended here as services say; null if they can, or none says so. */
export async function conntrackProblem(
  runtime: Runtime,
  services: readonly Ending[],
): Promise<FirewallError | null> {
  const [service] = services.filter(({ cut, kill }) => cut || kill);
  if (!service) return null;
  const ran = await orNull(() => conntrack(runtime, ["--version"]));
  return ran?.code === 0 ? null : new FirewallError(
    `services.${service.name}.${service.cut ? "cut" : "kill"} needs the ` +
      "program conntrack, which is not installed",
    HINT,
  );
}

/** Service whose connections may be ended. */
type Ending = Pick<Guarded, "name" | "cut"> & { readonly kill: boolean };

/** Throws FirewallError where connections are to end with their grant and cannot. */
export async function checkConntrack(
  runtime: Runtime,
  services: readonly Ending[],
): Promise<void> {
  const cut = services.filter(({ cut }) => cut);
  const problem = await conntrackProblem(runtime, cut);
  if (problem) throw problem;
}

/**
 * Has the kernel forget the connections that came by these openings, so that
 * their next packet is a new one, and dropped; but not those that another
 * grant still allows. Throws FirewallError.
 */
export async function endConnections(
  runtime: Runtime,
  ended: readonly Opening[],
  isAllowed: (source: string, port: PortRange) => boolean,
): Promise<void> {
  for (const { address, ports } of ended) {
    const { protocol, first, last } = ports;
    const family = isIpv4(address) ? "ipv4" : "ipv6";
    const which = ["-f", family, "-p", protocol];
    // Only a single port can be asked for.
    const asked = first === last ? ["--orig-port-dst", `${first}`] : [];
    const listed = await run(runtime, [
      "-L",
      ...which,
      "-s",
      address,
      ...asked,
    ]);
    for (const [, from, to, sport, dport] of listed.matchAll(FLOW)) {
      const source = parseAddress(from!);
      const target = parseAddress(to!);
      const port = onePort(protocol, Number(dport));
      if (source === null || target === null) continue;
      if (!containsPorts(ports, port) || isAllowed(source, port)) continue;
      // deno-fmt-ignore
      await run(runtime, [
        "-D", ...which, "-s", source, "-d", target,
        "--orig-port-src", sport!, "--orig-port-dst", dport!,
      ]);
    }
  }
}

/** The first packet's side of a connection of TCP or UDP, as `conntrack -L` prints it. */
const FLOW = /^\S.*? src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+) /gm;

async function run(runtime: Runtime, args: readonly string[]): Promise<string> {
  const failed = (why: string) =>
    new FirewallError(`cannot end connections: ${why}`, HINT);
  const { code, stdout, stderr } = await failing(
    ({ message }) => failed(message),
    () => conntrack(runtime, args),
  );
  // It exits with 1 when there was none, and says so.
  if (code === 0 || /\b0 flow entries have been/.test(stderr)) return stdout;
  throw failed(`conntrack: ${stderr.trim().split("\n").at(-1)}`);
}

function conntrack(runtime: Runtime, args: readonly string[]) {
  return runSystem(runtime, ["conntrack", ...args], { timeoutMs: TIMEOUT_MS });
}
