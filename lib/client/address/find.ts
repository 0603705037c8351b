/** Finding out this client's own address, by the services that the profile names. */

import type { Runtime } from "../../runtime/runtime.ts";
import {
  type Endpoint,
  formatEndpoint,
  parseAddress,
} from "../../values/address.ts";
import {
  FailureError,
  ifRefused,
  SystemError,
  UsageError,
} from "../../values/errors.ts";
import type { Profile } from "../profile/profile.ts";
import {
  familyOf,
  firstOfEachFamily,
  type IpVersion,
  type Naming,
} from "./naming.ts";
import { readStunAnswer, stunRequest, TRANSACTION_SIZE } from "./stun.ts";

/** When requests are sent again, and when no more is waited. RFC 8489 §6.2.1. */
const STUN_RETRIES_MS = [0, 500, 1500];
const STUN_WAIT_MS = 3000;

const HTTPS_WAIT_MS = 5000;
const DNS_WAIT_MS = 2000;
/** Bytes of a page that is an address. */
const MAX_PAGE = 256;

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
  const { stun, https, dns } = profile.resolve ?? {};
  const ways: [place: string, ask: () => Promise<string[]>][] = [];
  if (stun) {
    ways.push([`stun ${formatEndpoint(stun)}`, () => askStun(runtime, stun)]);
  }
  if (https) {
    const { host } = new URL(https);
    ways.push([`https ${host}`, () => askHttps(runtime, https)]);
  }
  if (dns) {
    const { name, server } = dns;
    const ask = () => askDns(runtime, name, server);
    ways.push([`dns ${formatEndpoint(server)}`, ask]);
  }
  if (ways.length === 0) {
    throw new UsageError(
      `profile "${profile.name}" does not say who tells this client its address`,
      "write under resolve in profiles.yaml, for all profiles or for this one: " +
        "stun: HOST, https: URL or dns: { name, server }",
    );
  }
  const failures: string[] = [];
  for (const [place, ask] of ways) {
    let why = "no answer";
    const found = await ifRefused(ask, ({ message }) => {
      why = message;
      return [];
    });
    if (found.length > 0) {
      return Object.fromEntries(found.map((at) => [familyOf(at), at]));
    }
    failures.push(`${place}: ${why}`);
  }
  throw new FailureError(
    `cannot find out this client's address: ${failures.join("; ")}`,
    "name it with --from ADDRESS, or let the server see it with --from source",
  );
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

async function askHttps(runtime: Runtime, url: string): Promise<string[]> {
  const options = { timeoutMs: HTTPS_WAIT_MS, limit: MAX_PAGE };
  const page = await runtime.fetchText(url, options);
  const address = parseAddress(page.trim());
  if (address !== null) return [address];
  throw new SystemError("", "the page is no address");
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
