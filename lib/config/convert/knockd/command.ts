/**
 * Commands of knockd.conf -> what they open on this machine, where that is
 * certain, and the program that they run besides.
 * @module
 */

import { knownPlaceholders } from "../../../firewall/command/programs.ts";
import { ConfigError } from "../../../values/errors.ts";
import {
  formatPortRange,
  parsePortRange,
  type PortRange,
} from "../../../values/ports.ts";
import type { KnockdConf } from "./conf.ts";
import { type FilterCommand, readFirewallCommand, type Tool } from "./rule.ts";
import { readParts, WHOLE, words } from "./shell.ts";

/** The ports that a command opens or closes for the source of the knock alone. */
export interface CommandOpening {
  readonly action: "open" | "close";
  readonly ports: readonly PortRange[];
  readonly tool: Tool;
  /** The families whose addresses the command can take. */
  readonly families: readonly (4 | 6)[];
  /** Each rule as the tool compares it when it deletes one. */
  readonly specs: readonly string[];
  /** The rule names no protocol, which iptables refuses. */
  readonly lacksProtocol: boolean;
  /** The rule goes behind others. */
  readonly appended: boolean;
  /** The one of the two iptables that it names; null: whichever the host has. */
  readonly variant: string | null;
  /** Seconds after which the command itself closes again; null: it does not. */
  readonly seconds: number | null;
}

/** The meaning of a whole command. */
interface CommandReading {
  readonly opening: CommandOpening | null;
  /** The command's other parts, as a shell line; "" where there are none. */
  readonly rest: string;
  /** Why a command of a firewall is not an opening of this machine; null: no such command. */
  readonly why: string | null;
}

/** The placeholder of the knocker's address: in knockd, and in ours. */
const THEIRS = /%IP%/g;
const ADDRESS = "{address}";

/** A command as a program and its arguments; a shell only where one is needed. */
export function commandArgv(command: string): string[] {
  const argv = splitCommand(command) ?? ["/bin/sh", "-c", command];
  return argv.map((word) => word.replace(THEIRS, ADDRESS));
}

/** The words of a command that needs no shell; null when it does. */
function splitCommand(command: string): string[] | null {
  const [part, ...others] = readParts(command, WHOLE) ?? [];
  if (!part || others.length > 0 || part.source !== command.trim()) return null;
  const argv = part.words;
  const [program = ""] = argv;
  if (argv.includes(null) || argv.includes("")) return null;
  if (part.redirects.length > 0 || command.includes("\\")) return null;
  return program === null || /[={}!]|^\W$/.test(program) ||
      KEYWORDS.has(program)
    ? null
    : argv as string[];
}

/** Words that change how a shell goes on: what stands beside them cannot be taken apart. */
const KEYWORDS = new Set(
  ("if then elif else fi for while until case esac do done { } ( ) ! [ [[ " +
    "test cd exit return export set unset trap wait sleep read eval . source " +
    "umask ulimit shift break continue local function alias exec")
    .split(" "),
);

/** Commands that only report a failure; our server reports failures by itself. */
const ON_FAILURE = /^(true|:|logger|echo|printf|exit)$/;

/** The programs whose commands change a packet filter. */
const FIREWALLS =
  /^(iptables|ip6tables)(-legacy|-nft)?$|^(ufw|firewall-cmd|nft|ipset|ebtables)$/;

/** Reads what a command opens, whatever stands around it. */
export function readCommand(command: string): CommandReading {
  const unread: CommandReading = { opening: null, rest: command, why: null };
  const parts = readParts(command);
  if (!parts) {
    return /\b(ip6?tables|ufw|firewall-cmd|nft)\b/.test(command)
      ? { ...unread, why: "its shell line cannot be taken apart" }
      : unread;
  }
  const rules: FilterCommand[] = [];
  const rest: string[] = [];
  const waits: number[] = [];
  // Whether the part before cannot fail, or only asks for the same rule.
  let harmless = true, checked = false;
  for (const [index, part] of parts.entries()) {
    const argv = words(part);
    const program = argv?.[0]?.replace(/^.*\//, "") ?? "";
    const rule = argv && readFirewallCommand(program, argv.slice(1));
    if (typeof rule === "string") return { ...unread, why: rule };
    if (rule?.action === "check") {
      const next = parts[index + 1];
      if (next?.before !== "||" && next?.before !== "&&") return unread;
      checked = true;
      continue;
    } else if (rule) {
      if (part.before === "&&" && !harmless) {
        return { ...unread, why: "another command decides whether it opens" };
      }
      if (part.before === "||" && !checked) return unread;
      rules.push({ ...rule, after: waits.length });
    } else if (program === "sleep" && /^\d+s?$/.test(argv![1] ?? "")) {
      waits.push(parseInt(argv![1]!));
    } else if (FIREWALLS.test(program)) {
      return { ...unread, why: `"${part.source}" is more than an opening` };
    } else if (part.before === "||") {
      if (!ON_FAILURE.test(program)) return unread;
    } else if (KEYWORDS.has(program) || part.before === "|") {
      return unread;
    } else {
      rest.push(part.source);
    }
    harmless = rule !== null || ON_FAILURE.test(program);
    checked = false;
  }
  const opening = waits.length > 0 && rest.length > 0
    ? null
    : merge(rules, waits);
  if (opening) return { opening, rest: rest.join("; "), why: null };
  return rules.length === 0
    ? unread
    : { ...unread, why: "its rules do not come down to ports that it opens" };
}

/** Brings several rules down to one opening: all open, all close, or open for a while. */
function merge(
  rules: readonly FilterCommand[],
  waits: readonly number[],
): CommandOpening | null {
  const opens = rules.filter(({ action }) => action === "open");
  const closes = rules.filter(({ action }) => action === "close");
  const main = opens.length > 0 ? opens : closes;
  const [first] = main;
  if (!first || main.some(({ tool }) => tool !== first.tool)) return null;
  let seconds = first.seconds;
  if (main.some((rule) => rule.seconds !== seconds || rule.after !== 0)) {
    return null;
  }
  if (opens.length > 0 && closes.length > 0) {
    const others = portsOf(closes).map(formatPortRange);
    const own = portsOf(opens).map(formatPortRange);
    if (!others.every((port) => own.includes(port))) return null;
    const before = rules.indexOf(closes.at(-1)!) < rules.indexOf(first);
    if (waits.length === 1 && closes.every(({ after }) => after === 1)) {
      if (others.length !== own.length || seconds !== null) return null;
      seconds = waits[0]!;
    } else if (!before || waits.length > 0) return null;
  } else if (waits.length > 0) return null;
  return {
    action: first.action as CommandOpening["action"],
    ports: portsOf(main),
    tool: first.tool,
    families: [4, 6].filter((family) =>
      main.some(({ families }) => families.includes(family as 4 | 6))
    ) as (4 | 6)[],
    specs: [...new Set(main.map(({ spec }) => spec))].sort(),
    lacksProtocol: main.some(({ lacksProtocol }) => lacksProtocol),
    appended: main.some(({ appended }) => appended),
    variant: main.find(({ variant }) => variant !== null)?.variant ?? null,
    seconds,
  };
}

function portsOf(rules: readonly FilterCommand[]): PortRange[] {
  const all = rules.flatMap(({ ports }) => ports.map(formatPortRange));
  return [...new Set(all)].map((text) => parsePortRange(text)!);
}

/** Throws ConfigError for commands that no configuration of ours can hold. */
export function refuseCommands({ doors }: KnockdConf, file: string): void {
  const found: string[] = [];
  for (const { name, line, notUtf8, start, start6, stop, stop6 } of doors) {
    for (const number of notUtf8) {
      found.push(
        `${file}: line ${number}: has bytes that are not UTF-8, which name ` +
          "another file here",
      );
    }
    const [braces] = knownPlaceholders(
      [start, start6, stop, stop6].filter((text) => text !== null),
    );
    if (braces !== undefined) {
      found.push(
        `${file}: line ${line}: section "${name}" has "${braces}" in a ` +
          "command, which is a placeholder here",
      );
    }
  }
  if (found.length === 0) return;
  throw new ConfigError(
    found,
    "put the command into a script, and name that in its place",
  );
}
