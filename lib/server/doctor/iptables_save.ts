/** Rules as iptables-save(8) prints them. */

import {
  type Action,
  both,
  type Chain,
  type Match,
  type Probe,
} from "./flow.ts";
import type { Rule } from "./flow.ts";

/** Where the kernel calls a built-in chain. */
const HOOKS: Readonly<Record<string, string>> = {
  INPUT: "input",
  PREROUTING: "prerouting",
  FORWARD: "forward",
  OUTPUT: "output",
  POSTROUTING: "postrouting",
};

/** Chains that are ours. */
const OWN = ["KNOCK"];

/** Targets that a packet comes back from. */
const PASSING =
  /^(LOG|NFLOG|ULOG|MARK|CONNMARK|TCPMSS|SET|NOTRACK|CT|TRACE|AUDIT|DSCP|TOS|CHECKSUM|SECMARK|CONNSECMARK)$/;

/** Options that match nothing by themselves. */
const IGNORED = /^(-m|--match|--comment)$/;

/** Reads the chains of all tables, of one family. */
export function parseIptablesSave(text: string, family: 4 | 6): Chain[] {
  const chains: (Chain & { rules: Rule[] })[] = [];
  let table = "";
  for (const line of text.split("\n")) {
    if (line.startsWith("*")) table = line.slice(1).trim();
    const [, name, policy] = /^:(\S+) (\S+)/.exec(line) ?? [];
    if (name !== undefined) {
      const at = policy === "-" ? undefined : HOOKS[name];
      chains.push({
        table: nameOf(table, family),
        name,
        families: [family],
        hook: at ? { kind: table === "nat" ? "nat" : "filter", at } : null,
        policy: policy === "DROP" ? "drop" : "accept",
        rules: [],
      });
    }
    const words = tokens(line);
    if (words[0] !== "-A") continue;
    const here = nameOf(table, family);
    const own = chains.filter((chain) => chain.table === here);
    const chain = own.find((chain) => chain.name === words[1]);
    chain?.rules.push(
      readRule(words.slice(2), own.map((chain) => chain.name)),
    );
  }
  return chains;
}

/** The table as nftables would call it, so that one can stand for the other. */
function nameOf(table: string, family: 4 | 6): string {
  return `${family === 4 ? "ip" : "ip6"} ${table}`;
}

function tokens(line: string): string[] {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)]
    .map(([, quoted, bare]) => quoted ?? bare!);
}

function readRule(words: readonly string[], chains: readonly string[]): Rule {
  const matches: ((probe: Probe) => Match)[] = [];
  let action: Action = { do: "pass" };
  let to = "somewhere";
  let target = "", how: "jump" | "goto" = "jump";
  for (let at = 0; at < words.length; at++) {
    const negated = words[at] === "!";
    if (negated) at++;
    const option = words[at] ?? "";
    if (!option.startsWith("-")) continue;
    const value = words[at + 1] ?? "";
    if (option === "-j" || option === "-g") {
      target = value;
      how = option === "-j" ? "jump" : "goto";
    } else if (option === "--to-destination") to = value;
    else if (target === "" && !IGNORED.test(option)) {
      matches.push((probe) => {
        const match = compare(option, value, probe);
        if (!negated || match === "maybe") return match;
        return match === "yes" ? "no" : "yes";
      });
    }
  }
  if (target === "ACCEPT") action = { do: "accept" };
  else if (target === "DROP" || target === "REJECT") action = { do: "drop" };
  else if (target === "RETURN") action = { do: "return" };
  else if (target === "DNAT") action = { do: "dnat", to };
  else if (OWN.includes(target)) action = { do: "pass" };
  else if (chains.includes(target)) action = { do: how, chain: target };
  else if (target !== "" && !PASSING.test(target)) action = { do: "unknown" };
  return {
    match: (probe) =>
      matches.reduce<Match>((so, match) => both(so, match(probe)), "yes"),
    action,
  };
}

function compare(option: string, value: string, probe: Probe): Match {
  switch (option) {
    case "-p":
      return yes(value === probe.protocol || value === "all");
    case "--dport":
    case "--dports":
      return yes(
        value.split(",").some((one) => {
          const [first, last = first] = one.split(":").map(Number);
          return first! <= probe.port && probe.port <= last!;
        }),
      );
    case "--ctstate":
    case "--state":
      return yes(value.split(",").includes("NEW"));
    case "--dst-type":
      return yes(value.split(",").includes("LOCAL"));
    case "-i":
      return value === "lo" ? "no" : "maybe";
    case "-f":
      return "no";
    case "-s":
    case "-d":
      return /\/0$/.test(value) ? "yes" : "maybe";
    default:
      return "maybe";
  }
}

function yes(is: boolean): Match {
  return is ? "yes" : "no";
}
