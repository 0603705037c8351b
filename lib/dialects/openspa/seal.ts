import {
  addressToBytes,
  isIpv4,
  isLoopback,
  isPrivate,
} from "../../values/address.ts";
import { FailureError, UsageError } from "../../values/errors.ts";
import type { PortRange } from "../../values/ports.ts";
import type { OpenspaProfileKeys } from "./keys.ts";
import { sealOpenspa } from "./open.ts";
import { checkOnlyOpens, type NewRequest, type Sealer } from "../dialect.ts";

const RANDOM_SIZE = 32;

/** Seals OpenSPA's requests with a profile's keys. */
export function openspaSealer(profile: OpenspaProfileKeys): Sealer {
  return {
    dialect: "openspa",
    answers: true,
    seal(ask, circumstances) {
      const ports = checkRequest(ask);
      const { nowMs, random, server: target, own } = circumstances;
      const address = ask.address ?? findOwn(own(), target);
      const keys = { ...profile, random: random(RANDOM_SIZE) };
      return sealOpenspa(keys, { ports, address, target }, nowMs);
    },
  };
}

function checkRequest(ask: NewRequest): PortRange {
  checkOnlyOpens("OpenSPA", ask);
  const { ports } = ask;
  const [only, ...more] = ports;
  if (only && more.length === 0) return only;
  throw new UsageError(
    `OpenSPA must name one port or range, got ${ports.length}`,
    "name it with --open tcp/22, or in the profile: open: tcp/22",
  );
}

/** The address to name where none was: what the server sees, if nothing translates it. */
function findOwn(own: readonly string[], server: string): string {
  const found = nearestAddress(own, server);
  if (found === null) {
    throw new FailureError(`this machine has no address there: ${NAME_IT}`);
  }
  if (isPrivate(found) && !isPrivate(server)) {
    throw new FailureError(
      `OpenSPA names the address to open for, and the server does not see ` +
        `this machine as ${found}: ${NAME_IT}`,
    );
  }
  return found;
}

const NAME_IT = "name the address that it sees with --from ADDRESS";

// The own address that a server most likely sees. Pure.

/**
 * The own address with the most bits in common with a server's (RFC 6724 §5,
 * rule 8), of the same family; null where there is none. A server on this very
 * machine sees its own address.
 */
export function nearestAddress(
  own: readonly string[],
  server: string,
): string | null {
  if (own.includes(server) || isLoopback(server)) return server;
  const [best] = own
    .filter((address) => isIpv4(address) === isIpv4(server))
    .toSorted((a, b) => commonBits(b, server) - commonBits(a, server));
  return best ?? null;
}

function commonBits(a: string, b: string): number {
  const left = addressToBytes(a)!;
  const right = addressToBytes(b)!;
  const at = left.findIndex((byte, index) => byte !== right[index]);
  if (at < 0) return left.length * 8;
  return at * 8 + Math.clz32(left[at]! ^ right[at]!) - 24;
}
