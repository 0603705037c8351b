/**
 * OpenSPA's server configuration and its folder of clients' keys -> ours. Its
 * server checks nothing but the signature: a client opens any port, for any
 * address, so the conversion allows that, and warns.
 * @module
 */

import {
  parseRsaPrivateKey,
  parseRsaPublicKey,
} from "../../dialects/crypto/rsa.ts";
import { parseAdkSecret } from "../../dialects/openspa/adk.ts";
import { OPENSPA_PORT } from "../../dialects/openspa/open.ts";
import { formatEndpoint, parseAddress } from "../../values/address.ts";
import { formatPortRange, onePort, withoutPorts } from "../../values/ports.ts";
import { formatJson } from "../../values/text.ts";
import {
  type Foreign,
  parsePort,
  readForeign,
  scalar,
} from "../../values/yaml.ts";
import { type Converted, formatServer, type Includes } from "./converted.ts";
import { goSeconds } from "./openme/read.ts";

/** The file that the converted configuration names for the server's key. */
const KEY_FILE = "openspa.pem";
/** The longest duration of OpenSPA, in seconds: 24 bits. */
const MAX_DURATION = 0xff_ffff;

interface Enrolled {
  readonly uuid: string;
  /** In PEM. */
  readonly key: string;
}

/**
 * Converts a server configuration; `folder` is where the clients' keys are now,
 * null: where it says. Throws ConfigError with every mistake.
 */
export function convertOpenspa(
  text: string,
  file: string,
  folder: string | null,
  sources: Includes,
): Converted {
  return readForeign(text, file, (root) => {
    const warnings: string[] = [];
    const server = root.section("server");
    const host = server.value("ip", "an address", parseAddress, {
      fallback: "::",
    });
    const port = server.value("port", "1 to 65535", parsePort, {
      fallback: OPENSPA_PORT,
    });
    const adkSecret = server.section("adk").value(
      "secret",
      "7 characters of base32",
      (text) => parseAdkSecret(text) ? text : null,
      { fallback: null, secret: true },
    );
    readFirewall(root.section("firewall"), warnings);
    const decided = readAuthorization(root.section("authorization"), warnings);
    const rsa = root.section("crypto").section("rsa");
    const privateKey = readServerKey(rsa.section("server"), file, sources);
    const clients = readClients(
      rsa.section("client"),
      file,
      folder,
      sources,
      warnings,
    );
    if (!host || !port || adkSecret === undefined) return undefined;
    if (!decided || !privateKey || !clients) return undefined;
    warn(server, clients, decided.any, warnings);
    const files = new Map([
      [KEY_FILE, privateKey],
      ...clients.map(({ uuid, key }) => [keyFileOf(uuid), key] as const),
    ]);
    const adk = adkSecret === null ? "" : `, adk_secret: "${adkSecret}"`;
    const written = formatServer({
      head:
        `# Converted from OpenSPA's configuration; "knock check" validates it.`,
      listen: host === "::"
        ? `${port}`
        : formatJson(formatEndpoint({ host, port })),
      settings: [`openspa: { key: ${KEY_FILE}${adk} }`],
      firewall: "backend: iptables\nmode: accept",
      services: decided.any ? [everyPort(port)] : [],
      seconds: decided.seconds,
      clients: clients.map(({ uuid }) =>
        `${scalar(uuid)}:
  openspa: { uuid: "${uuid}", key: ${keyFileOf(uuid)} }
  open: ${decided.any ? "[tcp/1-65535, udp/1-65535]" : "[]"}
  any_address: true
`
      ),
    });
    return { text: written, warnings, files };
  });
}

/** Duration of a grant; `any`: every signed request gets one. */
interface Decided {
  readonly seconds: number;
  readonly any: boolean;
}

function readFirewall(firewall: Foreign, warnings: string[]): void {
  const backend = firewall.raw("backend");
  if (backend !== "iptables") {
    const why = backend === "command"
      ? `is "command", whose programs read JSON on their standard input: ours ` +
        `get arguments, so write firewall.open and firewall.close by hand, ` +
        `with "iptables" here to convert the rest`
      : `must be "iptables", got ${formatJson(backend ?? null)}`;
    return firewall.wrong("backend", why);
  }
  const chain = firewall.section("iptables").raw("chain") ?? "OPENSPA-ALLOW";
  warnings.push(
    `grants are rules of the chain KNOCK, which INPUT asks first; the chain ` +
      `${formatJson(chain)} is used no more: take it and the rules that ` +
      `lead to it away`,
    `connections end with their grant (cut), as OpenSPA's did: this needs ` +
      `conntrack (apt install conntrack)`,
  );
}

function readAuthorization(
  authorization: Foreign,
  warnings: string[],
): Decided | undefined {
  const backend = authorization.value(
    "backend",
    `"simple", "command" or "none"`,
    (text) => ["simple", "command", "none"].includes(text) ? text : null,
  );
  switch (backend) {
    case "simple": {
      const seconds = authorization.section("simple").value(
        "duration",
        `a duration such as 1h, 1s to ${MAX_DURATION}s`,
        (text) => {
          const seconds = goSeconds(text);
          return seconds && seconds >= 1 && seconds <= MAX_DURATION
            ? seconds
            : null;
        },
      );
      if (seconds === undefined) return undefined;
      const whole = Math.floor(seconds);
      if (whole !== seconds) {
        warnings.push(`authorization.simple.duration is rounded to ${whole}s`);
      }
      return { seconds: whole, any: true };
    }
    case "command":
      warnings.push(
        `authorization.command decided on each request, and for how long; that ` +
          `program is not asked any more, so the clients may open nothing ` +
          `until their open and for say what it allowed`,
      );
      return { seconds: 30, any: false };
    case "none":
      // The seconds that OpenSPA gave then.
      return { seconds: 3, any: true };
    default:
      return undefined;
  }
}

function readServerKey(
  server: Foreign,
  file: string,
  { read }: Includes,
): string | undefined {
  const path = server.value("privateKeyPath", "a file", (text) => text);
  if (path === undefined) return undefined;
  const [, key] = firstOf(placesOf(path, file), read) ?? [];
  if (key !== undefined && parseRsaPrivateKey(key)) return `${key.trim()}\n`;
  const why = key === undefined
    ? "cannot be read"
    : "must hold a private key in PEM, of RSA with 2048 to 4096 bits";
  server.wrong("privateKeyPath", `${formatJson(path)} ${why}`);
  return undefined;
}

/** The keys that OpenSPA finds: the first file for each UUID, by name. */
function readClients(
  client: Foreign,
  file: string,
  folder: string | null,
  { read, list }: Includes,
  warnings: string[],
): Enrolled[] | undefined {
  const path = folder ??
    client.value("publicKeyLookupDir", "a folder", (text) => text);
  if (path === undefined) return undefined;
  const found = firstOf(folder === null ? placesOf(path, file) : [path], list);
  if (!found) {
    client.wrong(
      "publicKeyLookupDir",
      `${formatJson(path)} cannot be read: name the folder behind FILE`,
    );
    return undefined;
  }
  const [at, names] = found;
  const place = at.replace(/\/+$/, "");
  const leaveOut = (name: string, why: string) =>
    void warnings.push(`${place}/${name} is left out: ${why}`);
  const clients = new Map<string, Enrolled | null>();
  for (const name of [...names].sort()) {
    const uuid = FILE_NAME.exec(name)?.[1];
    if (uuid === undefined || clients.has(uuid)) {
      leaveOut(
        name,
        "OpenSPA looks for UUID or UUID.EXT, lowercase, and takes the first",
      );
      continue;
    }
    const key = read(`${place}/${name}`);
    const good = key !== null && parseRsaPublicKey(key);
    clients.set(uuid, good ? { uuid, key: `${key.trim()}\n` } : null);
    if (!good) {
      leaveOut(
        name,
        "it holds no public key in PEM, of RSA with 2048 to 4096 bits",
      );
    }
  }
  warnings.push(
    `OpenSPA looks for a key with each request; here a client is added with ` +
      `\`knock client add --dialect openspa\` and taken away with ` +
      `\`knock client remove\`, not by the folder ${formatJson(place)}`,
  );
  return [...clients.values()].filter((one) => one !== null);
}

function warn(
  server: Foreign,
  clients: readonly Enrolled[],
  any: boolean,
  warnings: string[],
): void {
  if (clients.length === 0) warnings.push("there is no client");
  if (any && clients.length > 0) {
    warnings.push(
      `OpenSPA let every client open any port for any address, and so does ` +
        `the new file: narrow open, and take any_address away where clients ` +
        `name the address that they come from`,
    );
  }
  warnings.push(
    `a grant is for every address of this machine, not for the one that the ` +
      `request names; a service on another machine is refused: it becomes one ` +
      `of services, with to`,
    `ICMP is not opened`,
    `a time stamp more than two minutes off is refused (max_skew); OpenSPA ` +
      `looked at none`,
  );
  const http = server.section("http");
  if (/^(true|y|yes|on)$/i.test(String(http.raw("enable")))) {
    warnings.push(`server.http is not there: see metrics in the manual`);
  }
  if (server.section("adk").has("xdp")) {
    warnings.push(`server.adk.xdp has no counterpart`);
  }
}

/** A service of every port but the one of the knocks, which no service may have. */
function everyPort(knock: number): string {
  const udp = withoutPorts(
    { protocol: "udp", first: 1, last: 65535 },
    [onePort("udp", knock)],
  );
  const listen = ["tcp/1-65535", ...udp.map(formatPortRange)].join(", ");
  return `every-port: { listen: [${listen}], cut: true }\n`;
}

function keyFileOf(uuid: string): string {
  return `openspa/${uuid}.pem`;
}

/** The first of some paths at which something is, with that; null if there is none. */
function firstOf<T>(
  paths: readonly string[],
  look: (path: string) => T | null,
): [path: string, found: T] | null {
  for (const path of paths) {
    const found = look(path);
    if (found !== null) return [path, found];
  }
  return null;
}

/** A path of the configuration as it stands, and beside the configuration, at last under its last name. */
function placesOf(path: string, file: string): string[] {
  const beside = file.replace(/[^/]*$/, "");
  const last = path.replace(/\/+$/, "").replace(/^.*\//, "");
  return [path, `${beside}${path}`, `${beside}${last}`];
}

const FILE_NAME =
  /^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?:\.[^.]*)?$/;
