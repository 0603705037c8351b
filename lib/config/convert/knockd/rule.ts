/** One command of a packet filter -> the ports that it opens or closes for who knocked. */

import { parsePortRange, type PortRange } from "../../../values/ports.ts";

/** Which firewall's rules a command changes: of nft, those of one table. */
export type Tool = "iptables" | "firewalld" | `nft ${string}`;

/** One rule for who knocked, in a chain of packets to this machine. */
export interface FilterCommand {
  readonly action: "open" | "close" | "check";
  readonly ports: readonly PortRange[];
  readonly tool: Tool;
  readonly families: readonly (4 | 6)[];
  /** The rule as the tool compares it when it deletes one. */
  readonly spec: string;
  readonly lacksProtocol: boolean;
  /** The rule goes behind others. */
  readonly appended: boolean;
  /** The program, where it names one of the two iptables: the host has another by default, maybe. */
  readonly variant: string | null;
  /** Seconds after which the firewall itself ends it; null: never. */
  readonly seconds: number | null;
  /** Count of the pauses of its command before it. */
  readonly after: number;
}

/**
 * Reads a command; null for a program that is no packet filter, or a rule that
 * is none of an opening. A text says why it is not one of this machine.
 */
export function readFirewallCommand(
  program: string,
  args: readonly string[],
): FilterCommand | string | null {
  const [name, variant] = program.split(/-(?=legacy|nft)/);
  const named = variant === undefined ? null : program;
  switch (name) {
    case "iptables":
      return readIptables(args, 4, named);
    case "ip6tables":
      return readIptables(args, 6, named);
    case "ufw":
      return readUfw(args);
    case "firewall-cmd":
      return readFirewalld(args);
    case "nft":
      return readNft(args);
    default:
      return null;
  }
}

const BOTH = [4, 6] as const;
const NOT_ALONE = "its rule is not for the knocking address alone";
const THEIRS4 = /^%IP%(\/(32|255\.255\.255\.255))?$/;
const THEIRS = /^%IP%(\/(32|128|255\.255\.255\.255))?$/;

/** Chains of the packets to this machine: built in, and ufw's. */
const OWN_CHAIN = /^(INPUT|ufw6?-(before|user|after)-input)$/;

/** Options of iptables with a value, by their long names. */
const VALUED: Readonly<Record<string, string>> = {
  "-I": "insert",
  "-A": "append",
  "-D": "delete",
  "-C": "check",
  "-s": "source",
  "--src": "source",
  "-p": "protocol",
  "--proto": "protocol",
  "--destination-port": "dport",
  "--destination-ports": "dport",
  "--dports": "dport",
  "-j": "jump",
  "-t": "table",
  "-m": "match",
  "--ctstate": "state",
};

/** Options of iptables that change nothing here. */
const IDLE = /^(-w\d*|--wait|-W|--wait-interval|-v|--verbose|-n|-4|-6|--syn)$/;

/** Matches that an opening may name. */
const MATCHES = /^(tcp|udp|multiport|state|conntrack|comment)$/;

function readIptables(
  args: readonly string[],
  family: 4 | 6,
  variant: string | null,
): FilterCommand | string | null {
  const given = new Map<string, string>();
  const spec: string[] = [];
  const more = (why: string) => `${why} of iptables is more than an opening`;
  for (let at = 0; at < args.length; at++) {
    const [, option, attached] = /^(--[\w-]+)=(.*)$/.exec(args[at]!) ??
      /^(-[IADCspjtm])(.+)$/.exec(args[at]!) ?? [null, args[at]!, undefined];
    if (IDLE.test(option!)) {
      if (option === "--syn") spec.push("syn");
      if (/^-[wW]$|^--wait/.test(option!) && /^\d+$/.test(args[at + 1] ?? "")) {
        at++;
      }
      continue;
    }
    const name = VALUED[option!] ?? option!.replace(/^--/, "");
    const isKnown =
      /^(insert|append|delete|check|source|protocol|dport|jump|table|match|state|comment)$/
        .test(name);
    if (!isKnown || (option!.startsWith("-") === false)) {
      return more(`"${option}"`);
    }
    const value = attached ?? args[++at] ?? "";
    if (/^(insert|append|delete|check)$/.test(name)) {
      if (given.has("action")) return more("a second action");
      given.set("action", name);
      given.set("chain", value);
      if (/^\d+$/.test(args[at + 1] ?? "")) {
        if (name !== "insert" && name !== "append") {
          return "it deletes a rule by its number, whichever that is";
        }
        at++;
        if (Number(args[at]) > 1) given.set("behind", args[at]!);
      }
    } else if (name === "match") {
      if (!MATCHES.test(value)) return more(`"-m ${value}"`);
    } else {
      given.set(name, value);
      if (!/^(jump|table)$/.test(name)) spec.push(`${name} ${value}`);
    }
  }
  const get = (name: string) => given.get(name);
  const chain = get("chain");
  if (chain === undefined) return more("a command");
  const table = get("table") ?? "filter";
  if (table !== "filter" || !OWN_CHAIN.test(chain)) {
    const of = table === "filter" ? "" : ` of table ${table}`;
    return `its rule is in the chain ${chain}${of}, which does not filter ` +
      "packets to this machine";
  }
  if (get("jump") !== "ACCEPT") return more(`a target but ACCEPT`);
  const source = get("source");
  if (!(family === 4 ? THEIRS4 : THEIRS).test(source ?? "")) return NOT_ALONE;
  const state = get("state");
  if (state !== undefined && !state.split(",").includes("NEW")) {
    return more(`"--state ${state}"`);
  }
  const protocol = get("protocol")?.toLowerCase();
  const ports = get("dport");
  if (ports === undefined) return "its rule names no port";
  const named = { 6: "tcp", 17: "udp" }[protocol ?? ""] ?? protocol;
  const action = get("action")!;
  return rule([named ?? "tcp"], ports, {
    action: ({ delete: "close", check: "check" } as const)[action] ?? "open",
    tool: "iptables",
    families: [family],
    spec: [chain, ...spec.sort()].join(" "),
    lacksProtocol: protocol === undefined,
    appended: action === "append" || given.has("behind"),
    variant,
  });
}

function readUfw(args: readonly string[]): FilterCommand | string | null {
  const text = args.join(" ").replace(/^(--force |--dry-run )*/, "")
    .replace(/ comment .*$/, "");
  if (/^(delete )?route /.test(text)) {
    return "its rule is for forwarded packets (ufw route), not for packets to " +
      "this machine";
  }
  const match =
    /^(delete )?((?:insert \d+|prepend) )?allow (?:in )?(?:log(?:-all)? )?(?:proto (tcp|udp) )?from (\S+) to any (?:port ([\w,:-]+)(?: proto (tcp|udp))?|proto (tcp|udp) port ([\w,:-]+)|app "?'?(OpenSSH)'?"?)$/
      .exec(text);
  if (!match) return `"ufw ${text}" is more than an opening of ports`;
  const [, gone, placed, before, from, port, behind, within, other, app] =
    match;
  if (!THEIRS.test(from!)) return NOT_ALONE;
  const protocol = app ? "tcp" : before ?? behind ?? within;
  const ports = app ? "22" : port ?? other!;
  return rule(protocol === undefined ? ["tcp", "udp"] : [protocol], ports, {
    action: gone === undefined ? "open" : "close",
    tool: "iptables",
    families: BOTH,
    spec: `ufw ${protocol ?? "any"} ${ports}`,
    appended: gone === undefined &&
      (placed === undefined || Number(/\d+/.exec(placed) ?? 1) > 1),
  });
}

function readFirewalld(args: readonly string[]): FilterCommand | string | null {
  const rest = args.filter((word) => !/^--zone=|^-q$|^--quiet$/.test(word));
  const text = rest.join(" ").replace(/"/g, "").replace(/--zone \S+ ?/, "");
  const match =
    /^(?:--timeout[= ](\d+)([smh]?) )?--(add|remove)-rich-rule[= ]rule (?:family=ipv([46]) )?source address=(\S+) (?:port (?:port=([\d-]+) protocol=(tcp|udp)|protocol=(tcp|udp) port=([\d-]+))|service name=([\w-]+)) accept(?: --timeout[= ](\d+)([smh]?))?$/
      .exec(text);
  if (!match) return `"firewall-cmd ${text}" is more than an opening of ports`;
  const [, t, unit, action, family, from, ...which] = match;
  const [port, p1, p2, port2, service, t2, u2] = which;
  if (!THEIRS.test(from!)) return NOT_ALONE;
  const time = t ?? t2;
  const scale = { s: 1, m: 60, h: 3600 }[unit || u2 || "s"]!;
  const ports = service ?? (port ?? port2)!.replace("-", ":");
  return rule([p1 ?? p2 ?? "tcp"], ports, {
    action: action === "add" ? "open" : "close",
    tool: "firewalld",
    families: family === undefined ? BOTH : [Number(family) as 4 | 6],
    spec: `${p1 ?? p2} ${ports}`,
    seconds: time === undefined ? null : Number(time) * scale,
  });
}

function readNft(args: readonly string[]): FilterCommand | string | null {
  // One argument may hold the whole command, as may several.
  const text = args.join(" ").trim().replace(/\s+/g, " ").replace(/^-\w+ /, "")
    .replace(/;$/, "").trim();
  const match =
    /^(add|insert|create) rule (?:(inet|ip6?|arp|bridge|netdev) )?(\S+) (\S+) (?:(?:position|handle|index) \d+ )?(.*)$/
      .exec(text);
  if (!match) {
    return /^(list|-)/.test(text)
      ? null
      : `"nft ${
        text.slice(0, 80)
      }" is no rule of an opening: what it opens is ` +
        "in the rules of the host";
  }
  const [, how, family = "ip", table, chain, body] = match;
  if (!/^input$/i.test(chain!) || /^(nat|mangle|raw)$/.test(table!)) {
    return `its rule is in the chain ${chain} of table ${family} ${table}, ` +
      "which does not filter packets to this machine";
  }
  const spec = body!.replace(/ comment .*$/, "").replace(/"/g, "")
    .replace(/\b(counter|meta l4proto (tcp|udp)|meta nfproto ipv[46]) /g, "")
    .replace(
      /ct state (\{ ?)?[\w, ]*new[\w, ]*( ?\})? (?=ip|tcp|udp|accept)/,
      "",
    );
  const [, six, from, protocol, ports] =
    /^ip(6?) saddr (?:\{ ?)?(%IP%\S*)(?: ?\})? (tcp|udp) dport (\{ ?[\w, -]+ ?\}|[\w-]+) accept$/
      .exec(spec) ?? [];
  if (
    ports === undefined || !THEIRS.test(from!) || !/^(inet|ip6?)$/.test(family)
  ) {
    return `"nft ${text.slice(0, 80)}" is more than an opening of ports for ` +
      "who knocked";
  }
  const list = ports.replace(/[{} ]/g, "").split(",")
    .map((one) => one.replace(/(?<=\d)-(?=\d)/, ":"));
  return rule([protocol!], list.join(","), {
    action: "open",
    tool: `nft ${family} ${table}`,
    families: [six ? 6 : 4],
    spec: text,
    appended: how === "add" || / (position|handle|index) /.test(text),
  });
}

/** Names of services that firewalls take in the place of a port. */
const NAMED: Readonly<Record<string, number>> = {
  ftp: 21,
  ssh: 22,
  telnet: 23,
  smtp: 25,
  domain: 53,
  dns: 53,
  http: 80,
  pop3: 110,
  imap: 143,
  https: 443,
  submission: 587,
  imaps: 993,
  pop3s: 995,
  openvpn: 1194,
  mysql: 3306,
  "ms-wbt-server": 3389,
  postgresql: 5432,
  "vnc-server": 5900,
};

/** Ports as iptables writes them: `22`, `ssh`, `8000:8010`, `:1024`, `80,443`. */
function rule(
  protocols: readonly string[],
  text: string,
  more:
    & Pick<FilterCommand, "action" | "tool" | "families" | "spec">
    & Partial<FilterCommand>,
): FilterCommand | string {
  const other = protocols.find((name) => name !== "tcp" && name !== "udp");
  if (other !== undefined) return `its rule is for the protocol ${other}`;
  const parse = (protocol: string) =>
    text.split(",").map((port) => {
      const [first, last = first] = port.split(":");
      const low = Object.hasOwn(NAMED, first!) ? NAMED[first!] : first || "1";
      const high = Object.hasOwn(NAMED, last!) ? NAMED[last!] : last || "65535";
      return parsePortRange(`${protocol}/${low}-${high}`);
    });
  const ports = protocols.flatMap(parse);
  if (ports.includes(null)) return `its rule is for the ports "${text}"`;
  return {
    lacksProtocol: false,
    appended: false,
    variant: null,
    seconds: null,
    after: 0,
    ...more,
    ports: ports as PortRange[],
  };
}
