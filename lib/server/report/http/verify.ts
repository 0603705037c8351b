/**
 * A reverse proxy's question whether a client's address has a grant: its
 * "forward auth". GET /, with `?service=NAME` for one service: 204 with the
 * client's name, or 403.
 * @module
 */

import type { Config } from "../../../config/config.ts";
import type { Listener, Runtime } from "../../../runtime/runtime.ts";
import {
  parseAddress,
  parseEndpoint,
  type Prefix,
  prefixContains,
} from "../../../values/address.ts";
import { overlapPorts } from "../../../values/ports.ts";
import type { LedgerEntry } from "../../state/ledger.ts";
import { type HttpAnswer, type HttpRequest, serveHttp } from "./http.ts";

/** Proxies hand on the heads of requests, with cookies. */
const LIMITS = { key: "verify", head: 65_536, connections: 256 };

const QUESTION =
  /^GET \/(?:\?service=([A-Za-z0-9][A-Za-z0-9._-]{0,63}))? HTTP\/1\.[01]$/;

export interface VerifyFacts {
  readonly config: Pick<Config, "services">;
  /** Grants that are open for an address, canonical. */
  readonly grants: (address: string) => readonly LedgerEntry[];
}

/** Answers proxies at the configured address. Throws FailureError when it cannot listen there. */
export function serveVerify(
  runtime: Runtime,
  { listen, trust }: NonNullable<Config["verify"]>,
  facts: () => VerifyFacts,
): Promise<Listener> {
  const admits = (address: string) => isTrusted(address, trust);
  return serveHttp(
    runtime,
    listen,
    { ...LIMITS, admits },
    (request) => verify(request, trust, facts()),
  );
}

export function verify(
  { line, header }: HttpRequest,
  trust: readonly Prefix[],
  { config, grants }: VerifyFacts,
): HttpAnswer {
  const question = QUESTION.exec(line);
  if (!question) return { status: "404 Not Found" };
  const address = clientOf(header("x-forwarded-for"), trust);
  if (address === null) return FORBIDDEN;
  // A grant for one connection is not for all requests of a site.
  const open = grants(address).filter(({ once }) => !once);
  const name = question[1];
  const service = config.services.find((one) => one.name === name);
  const found = open.find(({ ports }) =>
    name === undefined ||
    service?.ports.some((own) => overlapPorts(ports, own))
  );
  return found
    ? { status: "204 No Content", headers: { "Knock-Client": found.client } }
    : FORBIDDEN;
}

const FORBIDDEN = { status: "403 Forbidden" } as const;

/**
 * Finds the client's address: the last hop that is not one of ours. Whatever
 * stands before it, the client may have written itself. Null: there is none.
 */
export function clientOf(
  values: readonly string[],
  trust: readonly Prefix[],
): string | null {
  const hops = values.join(",").split(",");
  for (const hop of hops.reverse()) {
    const address = addressOf(hop.trim());
    if (address === null) return null;
    if (!isTrusted(address, trust)) return address;
  }
  return null;
}

/** An address, as proxies write it: alone, in brackets, or with its port. */
function addressOf(hop: string): string | null {
  const bare = parseAddress(hop.replace(/^\[(.*)\]$/, "$1"));
  return bare ?? parseAddress(parseEndpoint(hop)?.host ?? "");
}

function isTrusted(address: string, trust: readonly Prefix[]): boolean {
  return trust.some((prefix) => prefixContains(prefix, address));
}
