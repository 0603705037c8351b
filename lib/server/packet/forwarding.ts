/**
 * Forwards and commands: the parts of the policy that need other parts of the
 * configuration.
 * @module
 */

import type { Policy, Service } from "../../config/config.ts";
import type { Forward, Request } from "../../dialects/dialect.ts";
import {
  addressFromBytes,
  broadcastOf,
  type Endpoint,
  isIpv4,
  isLoopback,
  parsePrefix,
} from "../../values/address.ts";
import {
  containsPorts,
  overlapPorts,
  type PortRange,
} from "../../values/ports.ts";

/** Facts about the server's machine and configuration that the judge needs besides the policy. */
export interface Machine {
  /** Services whose ports may be forwarded. */
  readonly services: readonly Service[];
  /** Commands that clients may run, by name: the program and its arguments. */
  readonly commands: ReadonlyMap<string, readonly string[]>;
  /** Addresses of this machine's interfaces, canonical. */
  readonly ownAddresses: readonly string[];
  /** Addresses that cannot be a client's: this machine's own, and broadcast addresses. */
  readonly taken: ReadonlySet<string>;
}

/** Machine without services, commands or addresses. */
export const NO_MACHINE: Machine = {
  services: [],
  commands: new Map(),
  ownAddresses: [],
  taken: new Set(),
};

/** Addresses that no client has, from the system's interfaces. */
export function takenAddresses(networks: readonly string[]): Set<string> {
  const taken = new Set<string>();
  for (const network of networks) {
    const prefix = parsePrefix(network);
    if (!prefix) continue;
    const address = addressFromBytes(prefix.bytes);
    // A client on this machine comes from loopback.
    if (!isLoopback(address)) taken.add(address);
    const broadcast = broadcastOf(prefix);
    if (broadcast !== null) taken.add(broadcast);
  }
  return taken;
}

/** Ports below are known by their numbers, and stay what they are. */
const FIRST_FREE_PORT = 1024;

/** Returns true if a policy opens these ports. */
export function mayOpen({ open }: Policy, wanted: PortRange): boolean {
  return open.some((range) => containsPorts(range, wanted));
}

/**
 * Finds where the grant leads by which a client may have the asked port forwarded. To
 * another machine: by a service that it may open, whose `to` is that target.
 * Within this one: to a port that it may open, through one from 1024 on that is
 * no service's. `to` null: where the service leads anyway. Null: it may not.
 */
export function chooseForward(
  forward: Forward,
  asked: PortRange,
  client: Policy,
  { services, ownAddresses }: Machine,
): { readonly to: Endpoint | null } | null {
  const owner = services.find(({ ports, at }) =>
    !at && ports.some((range) => overlapPorts(range, asked))
  );
  if (forward.kind === "nat") {
    const { to } = owner ?? {};
    const same = to && to.host === forward.host && to.port === forward.port;
    return same && mayOpen(client, asked) ? { to: null } : null;
  }
  const target = { ...asked, first: forward.port, last: forward.port };
  const leads = services.some(({ ports, to }) =>
    to && ports.some((range) => overlapPorts(range, target))
  );
  const host = ownAddresses.find((address) => address === forward.host) ??
    ownAddresses.find(isIpv4);
  if (leads || host === undefined || !mayOpen(client, target)) return null;
  if (asked.first === forward.port) return { to: null };
  if (owner || asked.first < FIRST_FREE_PORT) return null;
  return { to: { host, port: forward.port } };
}

/**
 * The name of the command that a request means, if the client may run it. In
 * fwknop's dialect it may also be written out: its program and arguments,
 * joined by single blanks, to the letter. Null: it may run none such.
 */
export function chooseCommand(
  { command, dialect }: Request,
  client: Policy,
  { commands }: Machine,
): string | null {
  return client.run.find((name) =>
    name === command ||
    (dialect === "fwknop" && commands.get(name)?.join(" ") === command)
  ) ?? null;
}
