/**
 * knockd's commands -> what they open, where that is plain to see, or a
 * program and its arguments.
 * @module
 */

import { parsePortRange, type PortRange } from "../../values/ports.ts";

/** What a command does to a firewall for who knocked, and to nobody else. */
export interface Opening {
  readonly action: "open" | "close";
  readonly ports: readonly PortRange[];
  /** The rule names no protocol, which iptables refuses. */
  readonly lacksProtocol: boolean;
}

/** What stands for the address of who knocked: in knockd, and in ours. */
const THEIRS = /%IP%/g;
const ADDRESS = "{address}";

/** The words of a command that needs no shell; null when it does. */
export function splitCommand(command: string): string[] | null {
  const words: string[] = [];
  const pattern =
    /\s*((?:[\w%@+:,.\/=!^-]+|"[^"$`\\]*"|'[^']*'|[{}](?=\s|$))+)/y;
  const text = command.trim();
  while (pattern.lastIndex < text.length) {
    const before = pattern.lastIndex;
    const match = pattern.exec(text);
    if (!match) return null;
    // Words are apart from each other; what is not is for a shell.
    if (before > 0 && !/^\s/.test(match[0])) return null;
    words.push(
      match[1]!.replace(/"([^"]*)"|'([^']*)'/g, (_, a, b) => a ?? b)
        .replace(THEIRS, ADDRESS),
    );
  }
  const [program] = words;
  if (program === undefined || /[={}!]/.test(program)) return null;
  return words;
}

/** A command as a program and its arguments; a shell only where one is needed. */
export function commandArgv(command: string): string[] {
  return splitCommand(command) ??
    ["/bin/sh", "-c", command.replace(THEIRS, ADDRESS)];
}

/** What a plain firewall command opens or closes; null for all others. */
export function readOpening(command: string): Opening | null {
  const words = splitCommand(command);
  if (!words) return null;
  const [program, ...rest] = words;
  switch (program!.replace(/^.*\//, "")) {
    case "iptables":
    case "ip6tables":
      return readIptables(rest);
    case "ufw":
      return readUfw(rest);
    case "firewall-cmd":
      return readFirewalld(rest);
    case "nft":
      return readNft(rest);
    default:
      return null;
  }
}

/** Chains of packets that are not for this machine. */
const FOREIGN_CHAINS = ["FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING"];

/** Options of iptables with one value that change nothing here. */
const IDLE = ["-m", "--match", "--comment"];

function readIptables(words: readonly string[]): Opening | null {
  let action: Opening["action"] | null = null;
  let protocol: string | null = null;
  let ports: string | null = null;
  let ours = false, accepts = false;
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    const next = () => words[++i] ?? "";
    if (/^(-[IAD]|--(insert|append|delete))$/.test(word)) {
      action = /^(-D|--delete)$/.test(word) ? "close" : "open";
      const chain = next();
      if (FOREIGN_CHAINS.includes(chain)) return null;
      if (/^\d+$/.test(words[i + 1] ?? "")) {
        if (action === "close") return null;
        i++;
      }
    } else if (word === "-s" || word === "--source" || word === "--src") {
      if (!/^\{address\}(\/(32|128))?$/.test(next())) return null;
      ours = true;
    } else if (word === "-p" || word === "--protocol") protocol = next();
    else if (/^--(dports?|destination-ports?)$/.test(word)) ports = next();
    else if (word === "-j" || word === "--jump") accepts = next() === "ACCEPT";
    else if (word === "-t" || word === "--table") {
      if (next() !== "filter") return null;
    } else if (word === "--state" || word === "--ctstate") {
      if (!next().split(",").includes("NEW")) return null;
    } else if (IDLE.includes(word)) i++;
    else if (word !== "-w" && word !== "--wait") return null;
  }
  if (!action || !ours || !accepts || ports === null) return null;
  return opening(action, protocol ?? "tcp", ports, protocol === null);
}

function readUfw(words: readonly string[]): Opening | null {
  const text = words.join(" ").replace(/^--force /, "")
    .replace(/ comment .*$/, "");
  const match =
    /^(delete )?(?:(?:insert \d+|prepend) )?allow (?:in )?(?:proto (tcp|udp) )?from \{address\} to any (?:port ([\d,:]+)(?: proto (tcp|udp))?|proto (tcp|udp) port ([\d,:]+))$/
      .exec(text);
  if (!match) return null;
  const [, gone, before, port, behind, within, other] = match;
  const protocol = before ?? behind ?? within;
  const action = gone === undefined ? "open" : "close";
  if (protocol !== undefined) return opening(action, protocol, port ?? other!);
  const tcp = opening(action, "tcp", port!);
  const udp = opening(action, "udp", port!);
  return tcp && udp && { ...tcp, ports: [...tcp.ports, ...udp.ports] };
}

function readFirewalld(words: readonly string[]): Opening | null {
  const rest = words.filter((word) => !/^--zone=|^-q$|^--quiet$/.test(word));
  const match =
    /^--(add|remove)-rich-rule(?:=| )rule (?:family="?ipv[46]"? )?source address="?\{address\}(?:\/32|\/128)?"? port (?:port="?([\d-]+)"? protocol="?(tcp|udp)"?|protocol="?(tcp|udp)"? port="?([\d-]+)"?) accept$/
      .exec(rest.join(" "));
  if (!match) return null;
  const action = match[1] === "add" ? "open" : "close";
  const port = (match[2] ?? match[5])!.replace("-", ":");
  return opening(action, (match[3] ?? match[4])!, port);
}

function readNft(words: readonly string[]): Opening | null {
  const match =
    /^(?:add|insert) rule (?:(?:inet|ip|ip6) )?\S+ \S+ (?:position \d+ )?ip6? saddr \{address\} (tcp|udp) dport ([\d-]+) (?:counter )?accept$/
      .exec(words.join(" "));
  return match && opening("open", match[1]!, match[2]!.replace("-", ":"));
}

/** Ports as iptables writes them: `22`, `8000:8010`, `80,443`. */
function opening(
  action: Opening["action"],
  protocol: string,
  text: string,
  lacksProtocol = false,
): Opening | null {
  const ports = text.split(",").map((port) =>
    parsePortRange(`${protocol}/${port.replace(":", "-")}`)
  );
  if (ports.includes(null)) return null;
  return { action, ports: ports as PortRange[], lacksProtocol };
}
