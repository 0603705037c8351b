/** Ending connections that are established, by the conntrack program. */

import type { Runtime } from "../runtime/runtime.ts";
import { isIpv4, parseAddress } from "../values/address.ts";
import { failing, orNull } from "../values/errors.ts";
import type { Protocol } from "../values/ports.ts";
import { FirewallError, type Opening } from "./firewall.ts";

/** A connection as the kernel tracks it: the addresses and ports of its first packet. */
interface Flow {
  readonly source: string;
  readonly target: string;
  readonly sourcePort: number;
  readonly targetPort: number;
}

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
  const ran = await orNull(() => runtime.run(["conntrack", "--version"]));
  return ran?.code === 0 ? null : new FirewallError(
    `services.${service.name}.${service.cut ? "cut" : "kill"} needs the ` +
      "program conntrack, which is not installed",
    HINT,
  );
}

/** Service whose connections may be ended. */
interface Ending {
  readonly name: string;
  readonly cut?: boolean;
  readonly kill: boolean;
}

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
  isAllowed: (flow: Flow, protocol: Protocol) => boolean,
): Promise<void> {
  for (const { address, ports: { protocol, first, last } } of ended) {
    const family = isIpv4(address) ? "ipv4" : "ipv6";
    const which = ["-f", family, "-p", protocol];
    // Only a single port can be asked for.
    const port = first === last ? ["--orig-port-dst", `${first}`] : [];
    const listed = await run(runtime, ["-L", ...which, "-s", address, ...port]);
    for (const flow of parseFlows(listed)) {
      const { source, target, sourcePort, targetPort } = flow;
      if (targetPort < first || targetPort > last) continue;
      if (isAllowed(flow, protocol)) continue;
      // deno-fmt-ignore
      await run(runtime, [
        "-D", ...which, "-s", source, "-d", target,
        "--orig-port-src", `${sourcePort}`, "--orig-port-dst", `${targetPort}`,
      ]);
    }
  }
}

/** Reads what `conntrack -L` prints of TCP and UDP. */
export function parseFlows(text: string): Flow[] {
  const found = text.matchAll(
    /^\S.*? src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+) /gm,
  );
  return [...found].flatMap(([, from, to, sport, dport]) => {
    const source = parseAddress(from!);
    const target = parseAddress(to!);
    if (source === null || target === null) return [];
    const sourcePort = Number(sport);
    return [{ source, target, sourcePort, targetPort: Number(dport) }];
  });
}

async function run(runtime: Runtime, args: readonly string[]): Promise<string> {
  const failed = (why: string) =>
    new FirewallError(`cannot end connections: ${why}`, HINT);
  const { code, stdout, stderr } = await failing(
    ({ message }) => failed(message),
    () => runtime.run(["conntrack", ...args], { timeoutMs: TIMEOUT_MS }),
  );
  // It exits with 1 when there was none, and says so.
  if (code === 0 || /\b0 flow entries have been/.test(stderr)) return stdout;
  throw failed(`conntrack: ${stderr.trim().split("\n").at(-1)}`);
}
