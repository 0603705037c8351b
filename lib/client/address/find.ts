/** Finding out this client's own address, by the services that the profile names. */

import type { Runtime } from "../../runtime/runtime.ts";
import {
  type Endpoint,
  formatEndpoint,
  parseAddress,
} from "../../values/address.ts";
import {
  failing,
  FailureError,
  ifRefused,
  SystemError,
  UsageError,
} from "../../values/errors.ts";
import type { Profile, Resolving } from "../profile/profile.ts";
import { familyOf, type IpVersion, type Naming } from "./naming.ts";
import { readStunAnswer, stunRequest, TRANSACTION_SIZE } from "./stun.ts";

/** When requests are sent again, and when no more is waited. RFC 8489 §6.2.1. */
const STUN_RETRIES_MS = [0, 500, 1500];
const STUN_WAIT_MS = 3000;

const HTTPS_WAIT_MS = 5000;
const DNS_WAIT_MS = 2000;
/** Bytes of a page that is an address. */
const MAX_PAGE = 256;

const FAMILIES = ["IPv4", "IPv6"] as const;

/**
 * Finds this client's addresses as the Internet sees them, one of each family
 * at most: by STUN, then HTTPS, then DNS, whichever is configured and answers
 * first. Throws UsageError when none is configured, FailureError when none
 * answers.
 */
export async function findOwnAddress(
  runtime: Runtime,
  profile: Profile,
): Promise<Naming> {
  const { resolve } = profile;
  if (!resolve || !(resolve.stun || resolve.https || resolve.dns)) {
    throw new UsageError(
      `profile "${profile.name}" does not say who tells this client its address`,
      "write under resolve in profiles.yaml, for all profiles or for this one: " +
        "stun: HOST, https: URL or dns: { name, server }",
    );
  }
  const failures: string[] = [];
  for (const ask of ways(runtime, resolve)) {
    const found = await ifRefused(ask, ({ message }) => {
      failures.push(message);
      return [];
    });
    if (found.length > 0) {
      return Object.fromEntries(found.map((at) => [familyOf(at), at]));
    }
  }
  throw new FailureError(
    `cannot find out this client's address: ${failures.join("; ")}`,
    "name it with --from ADDRESS, or let the server see it with --from source",
  );
}

type Way = () => Promise<string[]>;

function ways(runtime: Runtime, { stun, https, dns }: Resolving): Way[] {
  return [
    ...stun ? [() => named("stun", stun, () => askStun(runtime, stun))] : [],
    ...https ? [() => askHttps(runtime, https)] : [],
    ...dns
      ? [
        () =>
          named("dns", dns.server, () => askDns(runtime, dns.name, dns.server)),
      ]
      : [],
  ];
}

function named(kind: string, at: Endpoint, way: Way): Promise<string[]> {
  return fromPlace(`${kind} ${formatEndpoint(at)}`, async () => {
    const found = await way();
    if (found.length > 0) return found;
    throw new SystemError("ETIMEDOUT", "no answer");
  });
}

/** Adds its source to a refusal. */
function fromPlace(where: string, way: Way): Promise<string[]> {
  const told = ({ code, message }: SystemError) =>
    new SystemError(code, `${where}: ${message}`);
  return failing(told, way);
}

async function askStun(runtime: Runtime, at: Endpoint): Promise<string[]> {
  const servers = firstOfEachFamily(await runtime.resolve(at.host));
  const found = new Map<IpVersion, string>();
  const open = new Map(servers.map((host) => [
    familyOf(host),
    { host, transaction: runtime.random(TRANSACTION_SIZE) },
  ]));
  const over = new AbortController();
  const socket = await runtime.listenDatagram(
    { host: "::", port: 0 },
    (bytes, source) => {
      const family = familyOf(source.host);
      const asked = open.get(family);
      if (asked?.host !== source.host || source.port !== at.port) return;
      const address = readStunAnswer(bytes, asked.transaction);
      if (address === null || familyOf(address) !== family) return;
      found.set(family, address);
      open.delete(family);
      if (open.size === 0) over.abort();
    },
  );
  try {
    const startMs = runtime.monotonicMs();
    const until = (ms: number) => {
      const leftMs = startMs + ms - runtime.monotonicMs();
      return runtime.sleep(Math.max(leftMs, 0), over.signal);
    };
    for (const retryMs of STUN_RETRIES_MS) {
      await until(retryMs);
      if (found.size > 0) break; // the other family is not waited for
      for (const [family, { host, transaction }] of open) {
        const request = stunRequest(transaction);
        await ifRefused(
          () => socket.send(request, { host, port: at.port }),
          () => open.delete(family), // a family that this machine does not have
        );
      }
      if (open.size === 0) break;
    }
    if (open.size > 0 && found.size === 0) await until(STUN_WAIT_MS);
  } finally {
    await socket.close();
  }
  return [...found.values()];
}

function askHttps(runtime: Runtime, url: string): Promise<string[]> {
  return fromPlace(`https ${new URL(url).host}`, async () => {
    const options = { timeoutMs: HTTPS_WAIT_MS, limit: MAX_PAGE };
    const page = await runtime.fetchText(url, options);
    const address = parseAddress(page.trim());
    if (address !== null) return [address];
    throw new SystemError("", "the page is no address");
  });
}

async function askDns(
  runtime: Runtime,
  name: string,
  { host, port }: Endpoint,
): Promise<string[]> {
  const servers = firstOfEachFamily(await runtime.resolve(host));
  const asked = await Promise.allSettled(servers.map(async (server) => {
    const family = familyOf(server);
    const options = { server, port, family, timeoutMs: DNS_WAIT_MS };
    const [first] = await runtime.lookUp(name, options);
    return first === undefined || familyOf(first) !== family ? [] : [first];
  }));
  const found = asked.flatMap((one) =>
    one.status === "fulfilled" ? one.value : []
  );
  const failed = asked.find((one) => one.status === "rejected");
  if (found.length === 0 && failed) throw failed.reason;
  return found;
}

function firstOfEachFamily(addresses: readonly string[]): string[] {
  return FAMILIES.map((family) =>
    addresses.find((address) => familyOf(address) === family)
  ).filter((address) => address !== undefined);
}
