/**
 * openme's server configuration -> ours: the schema of 0.7.0 and later, with
 * `ports`, and that of 0.4.0 and before, with `defaults`.
 * @module
 */

import { publicKeyOf } from "../../../dialects/crypto/curve25519.ts";
import { parseOpenmeKey } from "../../../dialects/openme/keys.ts";
import { OPENME_PORT } from "../../../dialects/openme/open.ts";
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

/** The file that the converted configuration names for the server's key. */
const KEY_FILE = "openme.key";
/** Longest `max_skew` that our configuration takes, in seconds. */
const MAX_SKEW = 86400;

/** Settings of the file besides its clients; durations are seconds. */
interface Basics {
  readonly port: number;
  readonly seconds: number;
  readonly window: number;
  readonly backend: string;
  /** True if openme closed the ports itself. */
  readonly drops: boolean;
  /** True if openme let its knocks in. */
  readonly opensKnock: boolean;
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
      fallback: 30,
    });
    const window = server.value("replay_window", DURATION, parseGoDuration, {
      fallback: 60,
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
    const services = nameServices(
      groups,
      drops ? inlineOf(root) : [],
      port,
      warnings,
    );
    const basics = { port, seconds, window, backend, drops, opensKnock };
    warn(server, key, basics, warnings);
    const nameOf = namer(warnings);
    const written = formatServer({
      head:
        `# Converted from openme's configuration; "knock check" validates it.`,
      listen: `${port}`,
      settings: [
        `max_skew: ${formatDuration(Math.min(window, MAX_SKEW))}`,
        `openme: { key: ${KEY_FILE} }`,
      ],
      firewall: `backend: ${backend}\nmode: ${drops ? "guard" : "accept"}`,
      services: services.map(({ name, ports }) => {
        const listen = ports.map(formatPortRange).join(", ");
        return `${scalar(name)}: { listen: [${listen}], cut: true }\n`;
      }),
      seconds,
      clients: clients.map(({ name, key, groups, ports, expires }) => {
        const open = [
          ...groups.flatMap((group) =>
            services.find((service) => service.group === group)?.name ?? []
          ),
          ...ports.map(formatPortRange),
        ];
        return `${scalar(nameOf(`clients.${name}`, name))}:
  openme: { key: ${formatJson(key.toBase64())} }
  open: [${open.map(scalar).join(", ")}]
` + (expires === null ? "" : `  expires: ${expires}\n`);
      }),
    });
    const files = new Map([[KEY_FILE, `${key.toBase64()}\n`]]);
    return { text: written, warnings, files };
  });
}

/** Of clients with one key the first stays. */
function withoutTwins(
  clients: readonly Enrolled[],
  warnings: string[],
): Enrolled[] {
  return clients.filter((client) => {
    const key = client.key.toBase64();
    const first = clients.find((other) => other.key.toBase64() === key)!;
    if (first === client) return true;
    warnings.push(
      `clients.${client.name} is left out: it has the key of ` +
        `clients.${first.name}, and openme took either of the two by chance`,
    );
    return false;
  });
}

/** A service by the name that our configuration takes. */
interface Service {
  readonly name: string;
  /** Null: ports that a client names itself. */
  readonly group: string | null;
  readonly ports: readonly PortRange[];
}

/** Services without the port of the knocks; none for a group without other ports. */
function nameServices(
  groups: Groups,
  inline: readonly PortRange[],
  port: number,
  warnings: string[],
): Service[] {
  const nameOf = namer(warnings);
  const taken = [...groups.values()].flat();
  const others = inline.filter((range) => {
    const isNew = !taken.some((other) => containsPorts(other, range));
    if (isNew) taken.push(range);
    return isNew;
  });
  const named = [
    ...[...groups].map(([group, ports]) => ({
      name: nameOf(`ports.${group}`, group),
      group,
      ports,
    })),
    ...others.map((range) => {
      const text = formatPortRange(range).replace("/", "-");
      const name = nameOf(text, `port-${text}`, false);
      return { name, group: null, ports: [range] };
    }),
  ];
  const knock = [onePort("udp", port)];
  return named.map((service) => ({
    ...service,
    ports: service.ports.flatMap((range) => withoutPorts(range, knock)),
  })).filter(({ ports }) => ports.length > 0);
}

function warn(
  server: Foreign,
  key: Uint8Array,
  { port, backend, drops, opensKnock, window, seconds }: Basics,
  warnings: string[],
): void {
  const publicKey = server.raw("public_key");
  if (publicKey !== undefined && publicKey !== publicKeyOf(key).toBase64()) {
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

/** Gives names as our configuration takes them, each once; a warning where one is another. */
function namer(warnings: string[]) {
  const taken = new Set<string>();
  return (path: string, name: string, tell = true): string => {
    const plain = NAME.pattern.test(name)
      ? name
      : `x${name.replace(/[^A-Za-z0-9._-]/g, "-")}`.slice(0, MAX_NAME);
    let own = plain;
    for (let nth = 2; taken.has(own); nth++) own = `${plain}-${nth}`;
    taken.add(own);
    if (own !== name && tell) warnings.push(`${path} is called "${own}" now`);
    return own;
  };
}

/** Leaves room for a number behind. */
const MAX_NAME = 60;
