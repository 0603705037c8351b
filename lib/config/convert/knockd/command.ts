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
import { commandsOf, type KnockdConf } from "./conf.ts";
import { type FilterCommand, readFirewallCommand } from "./rule.ts";
import { MAX_DEPTH, readParts, words } from "./shell.ts";

/** The ports that the rules of a command open or close for the source of the knock alone. */
export interface CommandOpening extends Omit<FilterCommand, "spec" | "after"> {
  /** Each rule as the tool compares it when it deletes one. */
  readonly specs: readonly string[];
}

/** The meaning of a whole command. */
interface CommandReading {
  readonly opening: CommandOpening | null;
  /** The command's other parts, as a shell line; "" where there are none. */
  readonly rest: string;
  /** Why a command of a firewall is not an opening of this machine; null: no such command. */
  readonly why: string | null;
}

/** A command as a program and its arguments; a shell only where one is needed. */
export function commandArgv(command: string): string[] {
  const argv = splitCommand(command) ?? ["/bin/sh", "-c", command];
  return argv.map((word) => word.replaceAll("%IP%", "{address}"));
}

/** The words of a command that needs no shell; null when it does. */
function splitCommand(command: string): string[] | null {
  const [part, ...others] = readParts(command, MAX_DEPTH) ?? [];
  if (!part || others.length > 0 || part.source !== command.trim()) return null;
  const argv = part.words;
  if (argv.includes(null) || argv.includes("")) return null;
  if (part.redirects.length > 0 || command.includes("\\")) return null;
  const program = argv[0]!;
  return /[={}!]|^\W$/.test(program) || KEYWORDS.has(program)
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
    ...first,
    ports: portsOf(main),
    families: [4, 6].filter((family) =>
      main.some(({ families }) => families.includes(family as 4 | 6))
    ) as (4 | 6)[],
    specs: [...new Set(main.map(({ spec }) => spec))].sort(),
    lacksProtocol: main.some(({ lacksProtocol }) => lacksProtocol),
    appended: main.some(({ appended }) => appended),
    variant: main.find(({ variant }) => variant)?.variant ?? null,
    seconds,
  };
}

function portsOf(rules: readonly FilterCommand[]): PortRange[] {
  const all = rules.flatMap(({ ports }) => ports.map(formatPortRange));
  return [...new Set(all)].map((text) => parsePortRange(text)!);
}

/** Throws ConfigError for commands that no configuration of ours can hold. */
export function refuseCommands({ doors }: KnockdConf, file: string): void {
  const found = doors.flatMap((door) => [
    ...door.notUtf8.map((number) =>
      `${file}: line ${number}: has bytes that are not UTF-8, which name ` +
      "another file here"
    ),
    ...knownPlaceholders(commandsOf(door)).slice(0, 1).map((braces) =>
      `${file}: line ${door.line}: section "${door.name}" has "${braces}" in ` +
      "a command, which is a placeholder here"
    ),
  ]);
  if (found.length === 0) return;
  throw new ConfigError(
    found,
    "put the command into a script, and name that in its place",
  );
}
