/**
 * Links that enrol a browser: the address of the page, "#", and an enrolment
 * with what is the page's own, `https://…/#knock://…&auto=1&then=…#NAME`.
 * @module
 */

import type { Runtime } from "../../runtime/runtime.ts";
import {
  isHostAddress,
  isLinkLocal,
  isLoopback,
  parseAddress,
} from "../../values/address.ts";
import { orNull, UsageError } from "../../values/errors.ts";
import { firstOfEachFamily } from "../address/naming.ts";
import { type Enrolment, formatEnrolment } from "./enrolment.ts";
import { ASK_CODE } from "./profile.ts";

/** The page, and its own part of an enrolment. */
interface WebEnrolment {
  /** The page's address, without "#". */
  readonly page: string;
  /** Addresses of the server, canonical, for a browser, which cannot ask for a name's. */
  readonly at: readonly string[];
  /** A resolver for DNS over HTTPS that the page asks first; null: none. */
  readonly doh: string | null;
  /** Where the page leads once it is open; null: nowhere. */
  readonly then: string | null;
  /** True if the page knocks as it opens. */
  readonly auto: boolean;
  /** Time that the page asks for, seconds; null: as the server decides. */
  readonly seconds: number | null;
}

/**
 * Writes the link, without a newline at its end. The secret of one-time codes
 * stays out of it: the page asks for each code.
 */
export function formatWebLink(
  enrolment: Enrolment,
  { page, at, doh, then, auto, seconds }: WebEnrolment,
): string {
  const { code, ...rest } = enrolment;
  const line = formatEnrolment(
    code === undefined ? rest : { ...rest, code: ASK_CODE },
  );
  const own = [
    ...at.length > 0 ? [`&at=${at.join(",")}`] : [],
    ...doh === null ? [] : [`&doh=${encodeURIComponent(doh)}`],
    ...then === null ? [] : [`&then=${encodeURIComponent(then)}`],
    ...auto ? ["&auto=1"] : [],
    ...seconds === null ? [] : [`&for=${seconds}`],
  ].join("");
  const name = line.indexOf("#");
  return `${page}#${line.slice(0, name)}${own}${line.slice(name)}`;
}

/** Options about a browser, as an operator wrote them. */
interface WebWords {
  readonly web: string | undefined;
  readonly then: string | undefined;
  readonly doh: string | undefined;
  readonly auto: boolean;
}

/** Reads the options of a browser; null: the client is none. Throws UsageError. */
export function readWebWords(
  { web, then, doh, auto }: WebWords,
): Omit<WebEnrolment, "at" | "seconds"> | null {
  if (web !== undefined) {
    return {
      page: readPageUrl(web),
      then: readUrl("--then", then, ["https:", "http:"]),
      doh: readUrl("--doh", doh, ["https:"]),
      auto,
    };
  }
  const alone = Object.entries({ then, doh, auto })
    .find(([, value]) => value !== undefined && value !== false)?.[0];
  if (alone === undefined) return null;
  throw new UsageError(
    `--${alone} is for a browser`,
    "name the page that it opens with --web URL",
  );
}

/**
 * Finds the server's addresses for a browser, which looks up no name: the first
 * of each family that another machine can use. An address that was named is
 * meant alone.
 */
export async function addressesFor(
  runtime: Runtime,
  host: string,
  isNamed: boolean,
): Promise<readonly string[]> {
  const own = parseAddress(host);
  if (own !== null && isNamed) return [];
  const all = own === null
    ? await orNull(() => runtime.resolve(host)) ?? []
    : [own, ...runtime.ownAddresses()];
  const usable = all.filter((one) =>
    isHostAddress(one) && !isLoopback(one) && !isLinkLocal(one)
  );
  return firstOfEachFamily(usable);
}

/** Hosts that browsers give keys to without TLS. */
const OWN_HOST = /^(localhost|.+\.localhost|127(\.\d+){3}|\[::1\])$/;

/** Reads the address of the page; throws UsageError. */
function readPageUrl(words: string): string {
  const url = URL.canParse(words) ? new URL(words) : null;
  const wanted = "--web must be the page's address, such as " +
    "https://door.example.org/";
  if (!url || !["https:", "http:", "file:"].includes(url.protocol)) {
    throw new UsageError(`${wanted}, got "${words}"`);
  }
  if (words.includes("#")) {
    throw new UsageError(`${wanted}, without "#", got "${words}"`);
  }
  if (url.protocol === "http:" && !OWN_HOST.test(url.hostname)) {
    throw new UsageError(
      `--web must be https, got "${words}"`,
      "browsers give keys to no page that came without TLS; or open the " +
        "page from a file",
    );
  }
  return url.href;
}

/** Reads where a page leads, or its resolver; null: there is none. Throws UsageError. */
function readUrl(
  option: string,
  words: string | undefined,
  schemes: readonly string[],
): string | null {
  if (words === undefined) return null;
  const url = URL.canParse(words) ? new URL(words) : null;
  if (url && schemes.includes(url.protocol)) return url.href;
  const wanted = schemes.map((scheme) => `${scheme}//`).join(" or ");
  throw new UsageError(
    `${option} must be an address that begins with ${wanted}, got "${words}"`,
  );
}
