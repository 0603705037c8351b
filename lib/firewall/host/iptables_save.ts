/** Rules as iptables-save(8) prints them. */

import { PROTOCOL_NUMBERS } from "../../values/ports.ts";
import type { Family } from "../firewall.ts";
import {
  addressWithin,
  any,
  both,
  type FilterChain,
  type HostRule,
  type Match,
  not,
  portWithin,
  type Probe,
  type RuleAction,
  sure,
} from "./model.ts";
import { ELSEWHERE } from "./nft/json.ts";

/** Where the kernel calls a built-in chain. */
const HOOKS: Readonly<Record<string, string>> = {
  INPUT: "input",
  PREROUTING: "prerouting",
  FORWARD: "forward",
  OUTPUT: "output",
  POSTROUTING: "postrouting",
};

/** Targets that a packet comes back from. */
const PASSING =
  /^(LOG|NFLOG|ULOG|MARK|CONNMARK|TCPMSS|SET|NOTRACK|CT|TRACE|AUDIT|DSCP|TOS|CHECKSUM|SECMARK|CONNSECMARK)$/;

/** Modules that match nothing by themselves: their options do. */
const MODULES =
  /^(tcp|udp|multiport|conntrack|state|comment|addrtype|pkttype|icmp6?|rpfilter|limit|set|recent|hashlimit|connlimit|statistic|time|mark|connmark|mac|owner|iprange|hl|ttl|length|string|physdev|dscp|tos|helper|u32|bpf|geoip|policy)$/;

/** Headers of IPv6 and IPsec that no first packet of TCP or UDP has, by their modules. */
const ABSENT = /^(rt|frag|hbh|dst|mh|ipv6header|ah|esp|sctp|dccp)$/;

/** Options that modify others, and match nothing themselves. */
const IGNORED = /^(--comment|--loose|--validmark|--accept-local|--invert)$/;

/** Reads the chains of all tables, of one family; the rules of a chain to skip are left out. */
export function parseIptablesSave(
  text: string,
  family: Family,
  skip: string | null = null,
): FilterChain[] {
  const named = new Map<string, Map<string, Built>>();
  let table = "";
  for (const line of text.split("\n")) {
    if (line.startsWith("*")) table = line.slice(1).trim();
    const [, name, policy] = /^:(\S+) (\S+)/.exec(line) ?? [];
    if (name !== undefined) {
      const at = policy === "-" ? undefined : HOOKS[name];
      const chain = {
        table: nameOf(table, family),
        name,
        families: [family],
        hook: at ? { kind: table === "nat" ? "nat" : "filter", at } : null,
        policy: policy === "DROP" ? "drop" : "accept",
        rules: [],
      } as const;
      const known = named.get(chain.table) ?? new Map<string, Built>();
      named.set(chain.table, known.set(name, { ...chain, rules: [] }));
    }
    if (!line.startsWith("-A ") || isOfChain(line, skip)) continue;
    const [, chain, ...rest] = tokens(line);
    const here = named.get(nameOf(table, family));
    here?.get(chain?.text ?? "")?.rules.push(
      readRule(rest, here, line),
    );
  }
  return [...named.values()].flatMap((chains) => [...chains.values()]);
}

export function isOfChain(line: string, chain: string | null): boolean {
  return chain !== null && line.startsWith(`-A ${chain} `);
}

type Built = FilterChain & { readonly rules: HostRule[] };

/** The table as nftables would call it, so that one can stand for the other. */
function nameOf(table: string, family: Family): string {
  return `${family === 4 ? "ip" : "ip6"} ${table}`;
}

interface Token {
  readonly text: string;
  /** A quoted word is never an option, whatever it begins with. */
  readonly quoted: boolean;
}

function tokens(line: string): Token[] {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map((
    [, quoted, bare],
  ) => ({ text: quoted ?? bare!, quoted: quoted !== undefined }));
}

function readRule(
  tokens: readonly Token[],
  chains: ReadonlyMap<string, unknown>,
  text: string,
): HostRule {
  const words = tokens.map(({ text }) => text);
  const matches: ((probe: Probe) => Match)[] = [];
  let to = ELSEWHERE, port: number | null = null;
  let target = "", how: "jump" | "goto" = "jump";
  for (let at = 0; at < words.length; at++) {
    const negated = words[at] === "!";
    if (negated) at++;
    const option = words[at] ?? "";
    if (tokens[at]?.quoted || !option.startsWith("-")) continue;
    const value = words[at + 1] ?? "";
    if (option === "-j" || option === "-g") {
      target = value;
      how = option === "-j" ? "jump" : "goto";
    } else if (option === "--to-destination") to = value;
    else if (option === "--to-ports") {
      port = Number(value.split("-")[0]) || null;
    } else if (option === "-m") matches.push(() => meetsModule(value, words));
    else if (target === "" && !IGNORED.test(option)) {
      const second = words[at + 2] ?? "";
      matches.push((probe) => {
        const match = compare(option, value, second, probe);
        return negated ? not(match) : match;
      });
    }
  }
  return {
    match: (probe) =>
      matches.reduce<Match>((so, match) => both(so, match(probe)), "yes"),
    action: readTarget(target, how, chains, { to, port }),
    text,
  };
}

function readTarget(
  target: string,
  how: "jump" | "goto",
  chains: ReadonlyMap<string, unknown>,
  { to, port }: { to: string; port: number | null },
): RuleAction {
  switch (target) {
    case "ACCEPT":
      return { do: "accept" };
    case "DROP":
    case "REJECT":
      return { do: "drop" };
    case "RETURN":
      return { do: "return" };
    case "DNAT":
      return { do: "dnat", to };
    case "REDIRECT":
      return { do: "redirect", port };
  }
  if (chains.has(target)) return { do: how, chain: target };
  return { do: target === "" || PASSING.test(target) ? "pass" : "unknown" };
}

/** Matches a module, whatever its options say. */
function meetsModule(name: string, words: readonly string[]): Match {
  if (ABSENT.test(name)) return "no";
  // The way back to a sender whom an answer can reach.
  if (name === "rpfilter") return sure(!words.includes("--invert"));
  return MODULES.test(name) ? "yes" : "maybe";
}

function compare(
  option: string,
  value: string,
  second: string,
  { family, protocol, port, source, forwardedTo, routed }: Probe,
): Match {
  const values = value.split(",");
  switch (option) {
    case "-p":
      return sure(
        ["all", "0", protocol, `${PROTOCOL_NUMBERS[protocol]}`].includes(value),
      );
    case "--dport":
    case "--dports":
      return any(values.map((one) => meetsPort(one, port)));
    case "--ports":
      return any(["maybe", ...values.map((one) => meetsPort(one, port))]);
    case "--ctstate":
    case "--state":
      return sure(
        values.includes("NEW") ||
          forwardedTo !== undefined && !routed && values.includes("DNAT"),
      );
    case "--ctdir":
      return sure(value === "ORIGINAL");
    case "--tcp-flags": {
      const asked = value === "ALL" || values.includes("SYN");
      return sure(second === (asked ? "SYN" : "NONE"));
    }
    case "--syn":
      return "yes";
    case "--dst-type":
      return sure(
        values.includes(forwardedTo === undefined ? "LOCAL" : "UNICAST"),
      );
    case "--src-type":
      return values.includes("UNICAST") ? "yes" : "maybe";
    case "--pkt-type":
      return sure(value === "unicast");
    case "--icmp-type":
    case "--icmpv6-type":
      return "no";
    case "-i":
      return value === "lo" ? "no" : value === "+" ? "yes" : "maybe";
    case "-f":
      return "no";
    case "-s":
      return addressWithin(source ?? null, mask(value, family));
    case "-d":
      return addressWithin(forwardedTo ?? null, mask(value, family));
    default:
      return "maybe";
  }
}

function meetsPort(range: string, port: number | null): Match {
  const [first, last = first] = range.split(":").map(Number);
  return portWithin(port, first!, last!);
}

/** An address with a mask as a number of bits: "10.0.0.0/255.0.0.0" is 10.0.0.0/8. */
function mask(text: string, family: Family): string {
  const [address, bits] = text.split("/");
  if (family !== 4 || !bits?.includes(".")) return text;
  const ones = bits.split(".").map((byte) => Number(byte).toString(2)).join("")
    .replaceAll("0", "").length;
  return `${address}/${ones}`;
}
