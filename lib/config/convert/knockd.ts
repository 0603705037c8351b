/** knockd.conf -> our configuration: sequences, services and commands. */

import { formatHit } from "../../sequences/sequence.ts";
import { formatDuration } from "../../values/duration.ts";
import { formatPortRange, type PortRange } from "../../values/ports.ts";
import { NAME } from "../server_schema.ts";
import { scalar } from "../write.ts";
import { commandArgv, type Opening, readOpening } from "./knockd_command.ts";
import {
  type Door,
  type DoorPort,
  type ReadFile,
  readKnockdConf,
} from "./knockd_conf.ts";

/** How long a door stays open that nothing but a closing sequence shuts, seconds. */
const OPEN_SECONDS = 8 * 3600;

/** Of knockd's timeout so much and less loses sequences, as it counts whole seconds. */
const TINY_TIMEOUT = 1;

/** What the kernel takes for the first packet of a connection, and more of the same. */
const SYN_FLAGS = ["syn", "!ack", "!rst", "!fin"];

/** Names of well-known ports, for services. */
const SERVICES: Readonly<Record<string, string>> = {
  "tcp/21": "ftp",
  "tcp/22": "ssh",
  "tcp/25": "smtp",
  "tcp/80": "http",
  "tcp/443": "https",
  "tcp/3389": "rdp",
  "tcp/5900": "vnc",
  "udp/1194": "openvpn",
  "udp/51820": "wireguard",
};

/** Our configuration, and what has to be known about it. */
export interface KnockdConversion {
  /** The text of `server.yaml`, without secrets but the sequences. */
  readonly text: string;
  /** What was not carried over, or wants a look; one line each. */
  readonly warnings: readonly string[];
}

/**
 * Converts a knockd.conf; `readFile` gives the files of one-time sequences.
 * Throws ConfigError, with the line, for what knockd refuses.
 */
export function convertKnockd(
  bytes: Uint8Array,
  file: string,
  readFile: ReadFile,
): KnockdConversion {
  const conf = readKnockdConf(bytes, file, readFile);
  const writer = new Writer();
  if (conf.interface !== null) {
    writer.warnings.push(
      `options: interface "${conf.interface}" is not carried over: ` +
        `sequences are heard on every interface`,
    );
  }
  if (conf.logFile !== null) {
    writer.warnings.push(
      `options: logfile "${conf.logFile}" is not carried over: ` +
        `"knock log" shows who opened what`,
    );
  }
  const doors = conf.doors.map((door): Entry => ({
    door,
    name: writer.nameOf(door.name),
    effect: effectOf(door),
    closer: null,
  }));
  const left = doors.filter((entry) => writer.isUsable(entry));
  for (const entry of pairDoors(left)) writer.add(entry);
  return { text: writer.text(file), warnings: writer.warnings };
}

/** What a door's commands come down to: a plain opening, or programs to run. */
interface Effect {
  readonly opening: Opening | null;
  /** Whether its own stop command closes again. */
  readonly closes: boolean;
}

interface Entry {
  readonly door: Door;
  readonly name: string;
  readonly effect: Effect;
  /** The door that closes what this one opens. */
  readonly closer: Door | null;
}

function effectOf(door: Door): Effect {
  const none = { opening: null, closes: false };
  const opening = door.start === null ? null : readOpening(door.start);
  if (!opening) return none;
  // The commands for IPv6 must do the same, or they are not carried over.
  const other = door.start6 === null ? opening : readOpening(door.start6);
  if (!other || !sameOpening(opening, other)) return none;
  if (!door.stop) return { opening, closes: false };
  const stop = readOpening(door.stop);
  const stop6 = door.stop6 === null ? stop : readOpening(door.stop6);
  const undoes = stop?.action === "close" && samePorts(stop, opening) &&
    stop6 !== null && sameOpening(stop, stop6);
  return undoes && opening.action === "open" ? { opening, closes: true } : none;
}

function sameOpening(a: Opening, b: Opening): boolean {
  return a.action === b.action && samePorts(a, b);
}

function samePorts(a: Opening, b: Opening): boolean {
  const key = ({ ports }: Opening) => ports.map(formatPortRange).sort().join();
  return key(a) === key(b);
}

/** Puts a door that only closes to the one that opens the same. */
function pairDoors(entries: readonly Entry[]): Entry[] {
  const closers = new Map<Entry, Entry>();
  for (const entry of entries) {
    const { opening } = entry.effect;
    if (opening?.action !== "close" || entry.door.oneTime) continue;
    const opener = entries.find(({ door, effect }) =>
      effect.opening?.action === "open" && !door.oneTime &&
      samePorts(effect.opening, opening) && door.target === entry.door.target &&
      door.tcpFlags.join() === entry.door.tcpFlags.join()
    );
    if (opener && ![...closers.values()].includes(opener)) {
      closers.set(entry, opener);
    }
  }
  return entries.filter((entry) => !closers.has(entry)).map((entry) => {
    const [closer] = [...closers].find(([, opener]) => opener === entry) ?? [];
    return { ...entry, closer: closer?.door ?? null };
  });
}

class Writer {
  readonly warnings: string[] = [];
  readonly #names = new Set<string>();
  readonly #services = new Map<string, string>();
  readonly #commands = new Map<string, readonly string[]>();
  readonly #sequences: string[] = [];

  /** A name that ours may have, of its own. */
  nameOf(name: string): string {
    const clean = name.replace(/[^A-Za-z0-9._-]+/g, "-")
      .replace(/^[^A-Za-z0-9]+/, "").slice(0, 48) || "door";
    let found = clean;
    for (let i = 2; this.#names.has(found); i++) found = `${clean}-${i}`;
    this.#names.add(found);
    if (found !== name || !NAME.pattern.test(found)) {
      this.warnings.push(`[${name}]: is called "${found}" here`);
    }
    return found;
  }

  /** Whether a door can be knocked at all; a warning where it cannot. */
  isUsable({ name, door }: Entry): boolean {
    const all = door.oneTime ?? [door.ports];
    if (all.every((ports) => ports.every(({ port }) => port > 0))) return true;
    this.#warn(
      name,
      "has port 0, which knockd reads where there is no number, such as a " +
        "service's name or nothing behind a comma: it is left out",
    );
    return false;
  }

  /** Writes a door; with it the one that closes it. */
  add({ name, door, effect, closer }: Entry): void {
    const { opening, closes } = effect;
    const opens = opening?.action === "open";
    const within = Math.max(door.seqTimeout, closer?.seqTimeout ?? 0);
    const lines: string[] = [
      door.oneTime
        ? `one_time: [${door.oneTime.map(hitsText).join(", ")}]`
        : `knock: ${hitsText(door.ports)}`,
      `within: ${formatDuration(Math.max(1, within))}`,
    ];
    if (opens) {
      lines.push(`open: [${this.#serviceNames(opening.ports).join(", ")}]`);
      const seconds = closes ? door.cmdTimeout : OPEN_SECONDS;
      lines.push(`for: ${formatDuration(clampSeconds(seconds))}`);
    }
    if (closer) lines.push(`close: ${hitsText(closer.ports)}`);
    const runs = !opens && this.#addCommands(name, door, lines);
    const flags = ownFlags(door.tcpFlags);
    if (flags) {
      const texts = flags.map((flag) => JSON.stringify(flag));
      lines.push(`flags: [${texts.join(", ")}]`);
    }
    if (door.target !== null) {
      lines.push(`target: ${JSON.stringify(door.target)}`);
    }
    const kernel = opens && !flags && door.target === null && !door.oneTime;
    lines.push(`watch: ${kernel ? "kernel" : "sniff"}`);
    this.#sequences.push(
      `  ${scalar(name)}:\n` + lines.map((line) => `    ${line}\n`).join(""),
    );
    this.#warnAbout(name, { door, name, effect, closer }, runs);
  }

  text(file: string): string {
    const services = [...this.#services].map(([ports, name]) =>
      `  ${name}: ${ports}\n`
    );
    const commands = [...this.#commands].map(([name, argv]) =>
      `  ${scalar(name)}: [${argv.map(scalar).join(", ")}]\n`
    );
    return `# Converted from ${JSON.stringify(file)} of knockd.
# A port sequence goes in the clear: whoever listens can repeat it. Clients
# that are enrolled ("knock client add NAME") need none.

listen: [62201]
key: server.key

firewall:
  # nftables: the kernel drops what is not open. Rules of your own that drop
  # these ports must go, or let them through.
  backend: nft
  mode: guard

services:${services.length === 0 ? " {}" : ""}
${services.join("")}
sequences:${this.#sequences.length === 0 ? " {}" : ""}
${this.#sequences.join("")}${
      commands.length === 0 ? "" : `\ncommands:\n${commands.join("")}`
    }
clients: {}
`;
  }

  #serviceNames(ports: readonly PortRange[]): string[] {
    return ports.map((range) => {
      const text = formatPortRange(range);
      const name = this.#services.get(text) ?? SERVICES[text] ??
        text.replace("/", "-");
      this.#services.set(text, name);
      return name;
    });
  }

  /** Adds the programs that a door runs; whether there are any. */
  #addCommands(name: string, door: Door, lines: string[]): boolean {
    const add = (key: string, suffix: string, command: string | null) => {
      if (command === null) return false;
      // An empty one for IPv6 says that nothing is to be run.
      if (command === "") {
        if (suffix.endsWith("6")) lines.push(`${key}: false`);
        return false;
      }
      const own = `${name}-${suffix}`;
      this.#commands.set(own, commandArgv(command));
      lines.push(`${key}: ${scalar(own)}`);
      return true;
    };
    const starts = add("run", "start", door.start);
    const starts6 = add("run_ipv6", "start6", door.start6);
    if (!starts && !starts6) return false;
    const stops = add("run_after", "stop", door.stop);
    const stops6 = add("run_after_ipv6", "stop6", door.stop6);
    if (stops || stops6) {
      lines.push(`for: ${formatDuration(clampSeconds(door.cmdTimeout))}`);
    }
    return true;
  }

  #warn(name: string, words: string): void {
    this.warnings.push(`sequences.${name}: ${words}`);
  }

  #warnAbout(name: string, entry: Entry, runs: boolean): void {
    const { door, effect, closer } = entry;
    const { opening, closes } = effect;
    const warn = (words: string) => this.#warn(name, words);
    const all = [
      ...door.oneTime ?? [door.ports],
      ...closer ? [closer.ports] : [],
    ];
    if (all.some(isAscending)) {
      warn("its ports ascend: a scan of them in order is the sequence");
    }
    if (door.oneTime) {
      warn(
        "each one-time sequence is used once, in its order, and is noted " +
          "in the state file: the old file is not changed any more",
      );
    }
    if (door.seqTimeout <= 0) {
      warn(`seq_timeout ${door.seqTimeout} let nothing through: it is 1s here`);
    } else if (door.seqTimeout <= TINY_TIMEOUT) {
      warn("seq_timeout is tiny: one slow packet, and the sequence is lost");
    }
    if (door.tcpFlags.length === 0 && all.flat().some(isTcp)) {
      warn(
        "no tcpflags: knockd took every TCP packet for a knock, here it " +
          "is the first one of a connection (syn)",
      );
    }
    if (opening?.lacksProtocol) {
      warn(
        "its command names no protocol, which iptables refuses: it is tcp " +
          "here",
      );
    }
    if (opening?.action === "open" && !closes) {
      const end = formatDuration(OPEN_SECONDS);
      warn(
        closer
          ? `what is opened ends after ${end}, if it is not closed before`
          : `nothing closed what it opened: here it ends after ${end}`,
      );
    }
    if (closes && door.cmdTimeout <= 0) {
      warn(
        `cmd_timeout ${door.cmdTimeout} is ${
          formatDuration(clampSeconds(door.cmdTimeout))
        } here`,
      );
    }
    if (opening?.action === "open") return;
    if (!runs) warn("runs nothing: it is only noted in the history");
    const commands = [door.start, door.start6, door.stop, door.stop6];
    const argvs = commands.filter((text) => text).map((text) =>
      commandArgv(text!)
    );
    if (argvs.some(([program]) => program === "/bin/sh")) {
      warn("its command needs a shell: look at how it treats {address}");
    }
    if (runs && !door.stop && !door.stop6 && opening?.action !== "close") {
      warn("runs a command that nothing takes back");
    }
  }
}

function hitsText(ports: readonly DoorPort[]): string {
  return `[${ports.map(formatHit).join(", ")}]`;
}

function isTcp({ protocol }: DoorPort): boolean {
  return protocol === "tcp";
}

function isAscending(ports: readonly DoorPort[]): boolean {
  return ports.length > 1 &&
    ports.every(({ port }, index) =>
      index === 0 || port > ports[index - 1]!.port
    );
}

/** Flags that are not those of a first packet; null where they are, or are none. */
function ownFlags(flags: readonly string[]): string[] | null {
  const plain = flags.length === 0 ||
    flags.includes("syn") && flags.every((flag) => SYN_FLAGS.includes(flag));
  return plain ? null : [...new Set(flags)];
}

/** knockd slept as long as an unsigned number says. */
function clampSeconds(seconds: number): number {
  return seconds < 0 ? OPEN_SECONDS : Math.max(1, seconds);
}
