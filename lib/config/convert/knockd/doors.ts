/** Doors of knockd: what each comes down to, and which of them belong together. */

import { isAscending } from "../../../sequences/sequence.ts";
import { formatPortRange, overlapPorts } from "../../../values/ports.ts";
import { formatDuration } from "../../../values/time.ts";
import { MAX_WITHIN_SECONDS } from "../../shape.ts";
import { commandArgv, type CommandOpening, readCommand } from "./command.ts";
import { commandsOf, type DoorPort, type KnockdDoor } from "./conf.ts";
import type { Tool } from "./rule.ts";

/** Effect of a door's commands: a plain opening, or programs to run. */
interface Effect {
  readonly opening: CommandOpening | null;
  /** The only family that the opening is for; null: both. */
  readonly family: 4 | 6 | null;
  /** Seconds until its own commands close again; null: they do not. */
  readonly seconds: number | null;
  /** Commands run beside opening and closing, as shell lines; "" for none. */
  readonly run: string;
  readonly runAfter: string;
  /** Notes about the door, a line each. */
  readonly notes: readonly string[];
}

/** A door, and what becomes of it. */
export interface ConvertedEntry {
  readonly door: KnockdDoor;
  readonly name: string;
  readonly effect: Effect;
  /** The door that closes what this one opens. */
  readonly closer: KnockdDoor | null;
}

/** The sequences of a door, the one that closes it last. */
export function ordersOf(
  { door, closer }: ConvertedEntry,
): readonly (readonly DoorPort[])[] {
  return [...door.oneTime ?? [door.ports], ...closer ? [closer.ports] : []];
}

/** A door whose commands stay commands, and why. */
export function asCommands(...notes: readonly string[]): Effect {
  const nothing = { opening: null, family: null, seconds: null };
  return { ...nothing, run: "", runAfter: "", notes };
}

/** Reads the effect of a door's commands. */
export function effectOf(door: KnockdDoor): Effect {
  const start = readCommand(door.start ?? "");
  const start6 = door.start6 === null ? start : readCommand(door.start6);
  const why = start.why ?? start6.why;
  if (why !== null) return asCommands(`stays a command: ${why}`);
  const { opening } = start;
  if (!opening) {
    return start6.opening
      ? asCommands("stays a command: it opens for IPv6 alone")
      : asCommands();
  }
  // The commands for IPv6 must do the same, or they are not carried over.
  const opening6 = start6.opening;
  if (
    !opening6 || opening.action !== opening6.action ||
    opening.tool !== opening6.tool || opening.seconds !== opening6.seconds ||
    !samePorts(opening, opening6) || start.rest !== start6.rest
  ) {
    return asCommands("stays a command: another one runs for IPv6");
  }
  const variant = opening.variant ?? opening6.variant;
  const ipv4 = opening.families.includes(4);
  const ipv6 = opening6.families.includes(6);
  if (!ipv4 && !ipv6) {
    return asCommands("stays a command: it opens for no address");
  }
  const notes = opening.action === "close" ? [] : [
    ...(opening.appended || opening6.appended)
      ? [
        "its rule was appended behind others (-A, or a position), which may " +
        "drop the port first; here it comes first",
      ]
      : [],
    ...variant === null ? [] : [
      `its rule was made by ${variant}, and here by iptables: if ` +
      `"iptables -V" shows the other kind, the port stays closed`,
    ],
  ];
  const lacksProtocol = opening.lacksProtocol || opening6.lacksProtocol;
  const common = {
    opening: { ...opening, lacksProtocol },
    family: ipv4 === ipv6 ? null : ipv4 ? 4 as const : 6 as const,
    run: start.rest,
  };
  if (!door.stop && !door.stop6) {
    return { ...common, seconds: opening.seconds, runAfter: "", notes };
  }
  if (opening.action === "close") return asCommands();
  const stop = readCommand(door.stop ?? "");
  const stop6 = door.stop6 === null ? stop : readCommand(door.stop6);
  const undoes = opening.seconds === null &&
    [stop, stop6].every(({ opening: closed }) =>
      closed?.action === "close" && samePorts(closed, opening)
    ) && stop.rest === stop6.rest;
  if (!undoes) {
    return asCommands(
      "its stop command does not undo its start command, so what that did " +
        "stays, as before",
    );
  }
  const exact = isExact(stop.opening!, opening) &&
    isExact(stop6.opening!, opening6);
  return {
    ...common,
    seconds: door.cmdTimeout,
    runAfter: stop.rest,
    notes: exact ? notes : [...notes, `its stop command ${INEXACT}`],
  };
}

/** A difference to knockd that closes more than it did. */
const INEXACT =
  "deletes another rule than the one that opens: knockd left the port " +
  "open, here the grant ends";

function isExact(a: CommandOpening, b: CommandOpening): boolean {
  return a.specs.join() === b.specs.join();
}

function samePorts(a: CommandOpening, b: CommandOpening): boolean {
  const key = ({ ports }: CommandOpening) =>
    ports.map(formatPortRange).sort().join();
  return key(a) === key(b);
}

/** The firewall whose rules most of the doors change: one server has one. */
export function commonTool(entries: readonly ConvertedEntry[]): Tool | null {
  const tools = entries.flatMap(({ effect: { opening } }) =>
    opening?.action === "open" ? [opening.tool] : []
  );
  return tools.includes("iptables") ? "iptables" : tools[0] ?? null;
}

/**
 * Puts a door that only closes to the one that opens the same. One that
 * closes what it can not be put to stays a command, and so must whatever
 * opens its ports: it would find no rule to take away.
 */
export function pairDoors(
  entries: readonly ConvertedEntry[],
): ConvertedEntry[] {
  const closers = new Map<ConvertedEntry, ConvertedEntry>();
  const left: ConvertedEntry[] = [];
  for (const entry of entries) {
    const { opening } = entry.effect;
    if (opening?.action !== "close") continue;
    const taken = [...closers.values()];
    const opener = entries.find((other) =>
      !taken.includes(other) && isPair(other, entry, opening)
    );
    if (opener) closers.set(entry, opener);
    else left.push(entry);
  }
  const closed = left.flatMap(({ effect }) => effect.opening!.ports);
  const loose = entries.filter(({ effect: { opening } }) =>
    opening?.action === "open" &&
    opening.ports.some((port) => closed.some((one) => overlapPorts(port, one)))
  );
  const other =
    "stays a command: another sequence closes what it opens, by a " +
    "command that is not a plain close";
  return entries.flatMap((entry): ConvertedEntry[] => {
    const opener = closers.get(entry);
    if (opener && !loose.includes(opener)) return [];
    if (opener || loose.includes(entry) || left.includes(entry)) {
      const notes = loose.includes(entry) ? [other] : [];
      return [{ ...entry, effect: asCommands(...notes) }];
    }
    const [closer] = [...closers].find(([, opener]) => opener === entry) ?? [];
    if (!closer) return [entry];
    const { effect } = entry;
    const notes = [
      ...effect.notes,
      ...isExact(closer.effect.opening!, effect.opening!)
        ? []
        : [`the command of "${closer.door.name}" ${INEXACT}`],
      ...closer.effect.run
        ? [`the other commands of "${closer.door.name}" are not converted`]
        : [],
    ];
    return [{ ...entry, effect: { ...effect, notes }, closer: closer.door }];
  });
}

function isPair(
  { door, effect }: ConvertedEntry,
  { door: closer }: ConvertedEntry,
  opening: CommandOpening,
): boolean {
  const order = ({ ports }: KnockdDoor) =>
    ports.map(({ protocol, port }) => `${protocol}/${port}`).join();
  return effect.opening?.action === "open" && !door.oneTime &&
    !closer.oneTime && samePorts(effect.opening, opening) &&
    effect.opening.tool === opening.tool && door.target === closer.target &&
    door.tcpFlags.join() === closer.tcpFlags.join() &&
    order(door) !== order(closer);
}

// Warnings about a door of knockd that is converted.

/** Time for which a door stays open that only a closing sequence shuts, seconds. */
export const OPEN_SECONDS = 8 * 3600;

/** Where knockd ran its commands as root, for as long as they took. */
const AS_SERVER =
  "as the server's user (not root, in the packaged service), for 60s at most";

/** Warnings about a door; `runs`: it runs programs of its own. */
export function doorWarnings(
  entry: ConvertedEntry,
  runs: boolean,
): string[] {
  const { door, effect, closer } = entry;
  const found = [...effect.notes];
  const { opening, seconds } = effect;
  const opens = opening?.action === "open";
  const warn = (words: string) => void found.push(words);
  const all = ordersOf(entry);
  if (all.some(isAscending)) {
    warn("its ports ascend: a scan in ascending order completes it");
  }
  for (const odd of [...door.oddPorts, ...closer?.oddPorts ?? []]) {
    warn(`knockd reads ${odd} (it has no ranges), and so does knock`);
  }
  if (closer && closer.seqTimeout !== door.seqTimeout) {
    warn(
      "its closing sequence has another seq_timeout: the longer one is used",
    );
  }
  const longest = Math.max(door.seqTimeout, closer?.seqTimeout ?? 0);
  if (longest > MAX_WITHIN_SECONDS) {
    warn(
      `seq_timeout ${longest} is above the maximum: it is ` +
        `${formatDuration(MAX_WITHIN_SECONDS)} here`,
    );
  }
  if (door.oneTime) {
    warn(
      "each one-time sequence is used once, in order, and recorded in the " +
        "state file; the old file is no longer changed",
    );
  }
  if (door.seqTimeout <= 0) {
    warn(`seq_timeout ${door.seqTimeout} never opened: it is 1s here`);
  } else if (door.seqTimeout <= 1) {
    // knockd counts whole seconds.
    warn("seq_timeout is very short: one slow packet breaks the sequence");
  }
  const isTcp = all.flat().some(({ protocol }) => protocol === "tcp");
  if (isTcp && door.tcpFlags.length === 0) {
    warn(
      "no tcpflags: knockd counted every TCP packet; here only the first " +
        "packet of a connection (syn) counts",
    );
  }
  if (opening?.lacksProtocol) {
    warn(
      "its command names no protocol, which iptables rejects: tcp is used " +
        "here",
    );
  }
  if (opens && seconds === null) {
    const end = formatDuration(OPEN_SECONDS);
    warn(
      closer
        ? `the grant ends after ${end}, unless it is closed before`
        : `knockd never closed what it opened; here the grant ends after ${end}`,
    );
  }
  if (seconds !== null && seconds <= 0) {
    const end = formatDuration(clampSeconds(seconds));
    warn(`cmd_timeout ${seconds} is ${end} here`);
  }
  if (opens && effect.run + effect.runAfter !== "") {
    warn(`its other commands run ${AS_SERVER}`);
  }
  if (opens) return found;
  if (!runs) warn("runs nothing: it is only recorded in the history");
  if (
    commandsOf(door).some((text) => text && commandArgv(text)[0] === "/bin/sh")
  ) {
    warn("its command needs a shell: check how it quotes {address}");
  }
  if (runs) warn(`its command runs ${AS_SERVER}`);
  if (runs && (door.stop || door.stop6)) {
    warn("if the server is killed, its stop command runs at the next start");
  } else if (runs && opening?.action !== "close") {
    warn("nothing undoes its command");
  }
  return found;
}

/** knockd reads its times as unsigned numbers. */
export function clampSeconds(seconds: number): number {
  return seconds < 0 ? OPEN_SECONDS : Math.max(1, seconds);
}
