/** Which services tell this client its own address; `resolve:` of profiles.yaml. Pure. */

import { object, optional, required, text } from "../../values/schema.ts";
import {
  type Endpoint,
  parseAddress,
  parseEndpoint,
} from "../../values/address.ts";
import { STUN_PORT } from "../address/stun.ts";

/** What is asked, in this order; null: not that. */
export interface Resolving {
  readonly stun: Endpoint | null;
  /** A page that is the bare address. */
  readonly https: string | null;
  /** A name that the server answers with the asker's address. */
  readonly dns: { readonly name: string; readonly server: Endpoint } | null;
}

const DNS_PORT = 53;

/** The key of profiles.yaml that is no profile. */
export const RESOLVE_KEY = "resolve";

export const resolving = object({
  stun: optional(
    text("HOST or HOST:PORT", (words) => parseServer(words, STUN_PORT)),
    null,
  ),
  https: optional(text("a URL that starts with https://", parseUrl), null),
  dns: optional(
    object({
      name: required(
        text(
          "a name",
          (words) => /^[A-Za-z0-9._-]{1,253}$/.test(words) ? words : null,
        ),
      ),
      server: required(
        text("HOST or HOST:PORT", (words) => parseServer(words, DNS_PORT)),
      ),
    }),
    null,
  ),
});

function parseServer(words: string, port: number): Endpoint | null {
  const address = parseAddress(words);
  if (address !== null) return { host: address, port };
  const endpoint = parseEndpoint(words, port);
  return endpoint && endpoint.port > 0 ? endpoint : null;
}

function parseUrl(words: string): string | null {
  return /^https:\/\/[^\s/]/.test(words) && URL.canParse(words) ? words : null;
}
