/**
 * openme's server configuration -> ours: the schema of 0.7.0 and later, with
 * `ports`, and that of 0.4.0 and before, with `defaults`.
 * @module
 */

import { publicKeyOf } from "../../../dialects/crypto/curve25519.ts";
import { parseOpenmeKey } from "../../../dialects/openme/keys.ts";
import { OPENME_PORT } from "../../../dialects/openme/open.ts";
import { formatBase64 } from "../../../values/bytes.ts";
import {
  containsPorts,
  formatPortRange,
  onePort,
  type PortRange,
  withoutPorts,
} from "../../../values/ports.ts";
import { NAME } from "../../../values/schema.ts";
import { formatJson } from "../../../values/text.ts";
import { formatDuration } from "../../../values/time.ts";
import {
  type Foreign,
  parsePort,
  readForeign,
  scalar,
} from "../../../values/yaml.ts";
import { type Converted, formatServer } from "../converted.ts";
import {
  DURATION,
  type Enrolled,
  goSeconds,
  type Groups,
  inlineOf,
  KEY,
  parseGoDuration,
  readClients,
  readGroups,
  readTruth,
} from "./read.ts";

const DEFAULT_TIMEOUT = 30;
const DEFAULT_WINDOW = 60;

/** The file that the converted configuration names for the server's key. */
const KEY_FILE = "openme.key";
/** Longest `max_skew` that our configuration takes, in seconds. */
const MAX_SKEW = 86400;

/** A client of openme's. */
interface ConvertedClient {
  readonly name: string;
  readonly key: Uint8Array;
  readonly open: readonly string[];
  /** As it was written. */
  readonly expires: string | null;
}

/** Settings of the file besides its clients; durations are seconds. */
interface Basics {
  readonly port: number;
  readonly seconds: number;
  readonly window: number;
  readonly backend: string;
  /** True if openme closed the ports itself. */
  readonly drops: boolean;
}

/** Converts a server configuration. Throws ConfigError with every mistake. */
export function convertOpenme(text: string, file: string): Converted {
  return readForeign(text, file, (root) => {
    const warnings: string[] = [];
    const server = root.section("server");
    const port = server.value("udp_port", "1 to 65535", parsePort, {
      fallback: OPENME_PORT,
    });
    const seconds = server.value("knock_timeout", DURATION, parseGoDuration, {
      fallback: DEFAULT_TIMEOUT,
    });
    const window = server.value("replay_window", DURATION, parseGoDuration, {
      fallback: DEFAULT_WINDOW,
    });
    const backend = server.value(
      "firewall",
      `"nft" or "iptables"`,
      (text) => text === "nft" || text === "iptables" ? text : null,
      { fallback: "nft" },
    );
    const key = server.value("private_key", KEY, parseOpenmeKey, {
      secret: true,
    });
    const drops = readTruth(server, "drop_ports", false);
    const opensKnock = readTruth(server, "open_knock_port", true);
    const groups = readGroups(root);
    const enrolled = readClients(root, groups, warnings);
    const clients = withoutTwins(enrolled, warnings);
    if (!port || !seconds || !window || !backend || !key) return undefined;
    const basics = { port, seconds, window, backend, drops };
    const services = nameServices(
      groups,
      drops ? inlineOf(root) : [],
      port,
      warnings,
    );
    warn(server, key, basics, opensKnock, warnings);
    const written = write(
      basics,
      services,
      nameClients(clients, services, warnings),
    );
    const files = new Map([[KEY_FILE, `${formatBase64(key)}\n`]]);
    return { text: written, warnings, files };
  });
}

function write(
  { port, seconds, window, backend, drops }: Basics,
  groups: Groups,
  clients: readonly ConvertedClient[],
): string {
  return formatServer({
    head:
      `# Converted from openme's configuration; "knock check" validates it.`,
    listen: `${port}`,
    settings: [
      `max_skew: ${formatDuration(Math.min(window, MAX_SKEW))}`,
      `openme: { key: ${KEY_FILE} }`,
    ],
    firewall: `backend: ${backend}\nmode: ${drops ? "guard" : "accept"}`,
    services: [...groups].filter(([, ports]) => ports.length > 0)
      .map(([name, ports]) =>
        `${scalar(name)}: { listen: [${
          ports.map(formatPortRange).join(", ")
        }], cut: true }\n`
      ),
    seconds,
    clients: clients.map(({ name, key, open, expires }) =>
      `${scalar(name)}:
  openme: { key: ${formatJson(formatBase64(key))} }
  open: [${open.map(scalar).join(", ")}]
` + (expires === null ? "" : `  expires: ${expires}\n`)
    ),
  });
}

/** Of clients with one key the first stays. */
function withoutTwins(
  clients: readonly Enrolled[],
  warnings: string[],
): Enrolled[] {
  return clients.filter((client, index) => {
    const key = formatBase64(client.key);
    const first = clients.find((other) => formatBase64(other.key) === key)!;
    if (first === client || clients.indexOf(first) >= index) return true;
    warnings.push(
      `clients.${client.name} is left out: it has the key of ` +
        `clients.${first.name}, and openme took either of the two by chance`,
    );
    return false;
  });
}

/** Services by the names that our configuration takes, and of openme's groups. */
interface Services extends Groups {
  /** The service that a group became; undefined for one without ports. */
  readonly of: (group: string) => string | undefined;
}

function nameServices(
  groups: Groups,
  inline: readonly PortRange[],
  port: number,
  warnings: string[],
): Services {
  const names = new Names(warnings);
  const services = new Map<string, readonly PortRange[]>();
  const own = new Map<string, string>();
  const knock: PortRange = onePort("udp", port);
  const add = (name: string, ranges: readonly PortRange[]) => {
    const left = ranges.flatMap((range) => withoutPorts(range, [knock]));
    if (left.length > 0) services.set(name, left);
    return left.length > 0;
  };
  for (const [group, ranges] of groups) {
    const name = names.of(`ports.${group}`, group);
    if (add(name, ranges)) own.set(group, name);
  }
  const taken = [...groups.values()].flat();
  for (const range of inline) {
    if (taken.some((other) => containsPorts(other, range))) continue;
    taken.push(range);
    const text = formatPortRange(range).replace("/", "-");
    add(names.of(text, `port-${text}`, false), [range]);
  }
  return Object.assign(services, { of: (group: string) => own.get(group) });
}

function nameClients(
  clients: readonly Enrolled[],
  services: Services,
  warnings: string[],
): ConvertedClient[] {
  const names = new Names(warnings);
  return clients.map(({ name, key, groups, ports, expires }) => ({
    name: names.of(`clients.${name}`, name),
    key,
    open: [
      ...groups.flatMap((group) => services.of(group) ?? []),
      ...ports.map(formatPortRange),
    ],
    expires,
  }));
}

function warn(
  server: Foreign,
  key: Uint8Array,
  { port, backend, drops, window, seconds }: Basics,
  opensKnock: boolean,
  warnings: string[],
): void {
  const publicKey = server.raw("public_key");
  if (publicKey !== undefined && publicKey !== formatBase64(publicKeyOf(key))) {
    warnings.push("server.public_key does not belong to server.private_key");
  }
  const insert = backend === "nft"
    ? "nft insert rule inet filter input"
    : "iptables -I INPUT";
  if (drops) {
    warnings.push(
      `server.drop_ports was on, so firewall.mode is guard, which closes the ` +
        `ports and opens none that the host's own rules drop: on a host with ` +
        `INPUT DROP, set it to accept`,
      `mode guard also closes the ports that containers publish: openme's ` +
        `rules were in INPUT, which their packets do not pass`,
    );
  } else {
    warnings.push(
      `server.drop_ports was off, so firewall.mode is accept: other rules ` +
        `close the ports, as before; where none do, they are open to all` +
        (backend === "nft"
          ? `. Have the host's chain lead to ours, which openme did: nft add ` +
            `chain inet filter knock; ${insert} jump knock`
          : ""),
    );
  }
  warnings.push(
    `connections end with their grant (cut), as openme's did where no rule ` +
      `before let established ones pass: this needs conntrack ` +
      `(apt install conntrack)`,
  );
  if (opensKnock) {
    const rule = backend === "nft"
      ? `udp dport ${port} accept`
      : `-p udp --dport ${port} -j ACCEPT (and ip6tables)`;
    warnings.push(
      `openme let udp/${port} in through the host's firewall; this server ` +
        `does not: where the host's rules drop it, ${insert} ${rule}`,
    );
  }
  if (window > MAX_SKEW) {
    warnings.push(
      `server.replay_window is longer than a day: max_skew is 1d, and packets ` +
        `with an older time stamp are refused`,
    );
  }
  for (const name of ["knock_timeout", "replay_window"] as const) {
    const written = server.raw(name);
    const whole = name === "knock_timeout" ? seconds : window;
    if (written !== undefined && goSeconds(String(written)) !== whole) {
      warnings.push(`server.${name} is rounded to ${whole}s`);
    }
  }
  warnings.push(
    `the health port is not opened: \`openme status\` finds it closed`,
    `a knock that names another address than its source is refused: a client ` +
      `that does it (openme knock --ip) needs any_address: true`,
  );
  if (server.has("interface")) {
    warnings.push(
      `server.interface has no counterpart: ports are closed and opened on ` +
        `every interface but lo`,
    );
  }
  if (server.has("default_profile")) {
    warnings.push("server.default_profile has no counterpart");
  }
}

/** Names as our configuration takes them, each once. */
class Names {
  readonly #warnings: string[];
  readonly #taken = new Set<string>();

  constructor(warnings: string[]) {
    this.#warnings = warnings;
  }

  /** The name that something gets; a warning where it is another. */
  of(path: string, name: string, tell = true): string {
    const plain = NAME.pattern.test(name)
      ? name
      : `x${name.replace(/[^A-Za-z0-9._-]/g, "-")}`.slice(0, MAX_NAME);
    let own = plain;
    for (let nth = 2; this.#taken.has(own); nth++) own = `${plain}-${nth}`;
    this.#taken.add(own);
    if (own !== name && tell) {
      this.#warnings.push(`${path} is called "${own}" now`);
    }
    return own;
  }
}

/** Leaves room for a number behind. */
const MAX_NAME = 60;
