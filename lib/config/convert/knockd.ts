/** knockd.conf -> our configuration: sequences and services. */

import { formatHit } from "../../sequences/sequence.ts";
import { formatDuration } from "../../values/duration.ts";
import { formatPortRange, type PortRange } from "../../values/ports.ts";
import { NAME } from "../shapes.ts";
import { scalar } from "../write.ts";
import { commandArgv } from "./knockd_command.ts";
import {
  type Door,
  type DoorPort,
  type ReadFile,
  readKnockdConf,
} from "./knockd_conf.ts";
import { effectOf, type Entry, pairDoors } from "./knockd_doors.ts";
import { clampSeconds, doorWarnings, OPEN_SECONDS } from "./knockd_warnings.ts";

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

class Writer {
  readonly warnings: string[] = [];
  readonly #names = new Set<string>();
  readonly #services = new Map<string, string>();
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
    const runs = !opens && addPrograms(door, lines);
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
    for (const words of doorWarnings({ door, name, effect, closer }, runs)) {
      this.#warn(name, words);
    }
  }

  text(file: string): string {
    const services = [...this.#services].map(([ports, name]) =>
      `  ${name}: ${ports}\n`
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
${this.#sequences.join("")}
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

  #warn(name: string, words: string): void {
    this.warnings.push(`sequences.${name}: ${words}`);
  }
}

/** Writes the programs that a door runs; whether there are any. */
function addPrograms(door: Door, lines: string[]): boolean {
  const add = (key: string, command: string | null) => {
    if (command === null) return false;
    // An empty one for IPv6 says that nothing is to be run.
    if (command === "") {
      if (key.endsWith("6")) lines.push(`${key}: false`);
      return false;
    }
    lines.push(`${key}: [${commandArgv(command).map(scalar).join(", ")}]`);
    return true;
  };
  const starts = add("run", door.start);
  const starts6 = add("run_ipv6", door.start6);
  if (!starts && !starts6) return false;
  const stops = add("run_after", door.stop);
  const stops6 = add("run_after_ipv6", door.stop6);
  if (stops || stops6) {
    lines.push(`for: ${formatDuration(clampSeconds(door.cmdTimeout))}`);
  }
  return true;
}

function hitsText(ports: readonly DoorPort[]): string {
  return `[${ports.map(formatHit).join(", ")}]`;
}

/** Flags that are not those of a first packet; null where they are, or are none. */
function ownFlags(flags: readonly string[]): string[] | null {
  const plain = flags.length === 0 ||
    flags.includes("syn") && flags.every((flag) => SYN_FLAGS.includes(flag));
  return plain ? null : [...new Set(flags)];
}
