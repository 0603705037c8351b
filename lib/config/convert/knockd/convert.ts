/** knockd.conf -> our configuration: sequences and services. */

import { MAX_OPENED_PORTS } from "../../../firewall/nft/sequences/rules.ts";
import { formatHit } from "../../../sequences/sequence.ts";
import {
  formatPortRange,
  onePort,
  overlapPorts,
  type PortRange,
} from "../../../values/ports.ts";
import { NAME } from "../../../values/schema.ts";
import { formatJson } from "../../../values/text.ts";
import { formatDuration } from "../../../values/time.ts";
import { scalar } from "../../../values/yaml.ts";
import { MAX_WITHIN_SECONDS } from "../../shape.ts";
import { type Converted, formatServer } from "../converted.ts";
import { commandArgv, refuseCommands } from "./command.ts";
import {
  type DoorPort,
  type KnockdDoor,
  type ReadFile,
  readKnockdConf,
} from "./conf.ts";
import {
  asCommands,
  clampSeconds,
  commonTool,
  type ConvertedEntry,
  doorWarnings,
  effectOf,
  OPEN_SECONDS,
  ordersOf,
  pairDoors,
} from "./doors.ts";
import type { Tool } from "./rule.ts";

/** Flags by which the kernel knows the first packet of a connection, and more of the same. */
const SYN_FLAGS = ["syn", "!ack", "!rst", "!fin"];

/** The port of our own knocks, unless the file has it for something else. */
const LISTEN_PORT = 62201;

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

/**
 * Converts a knockd.conf; `readFile` gives the files of one-time sequences.
 * Throws ConfigError, with the line, for what knockd refuses.
 */
export function convertKnockd(
  bytes: Uint8Array,
  file: string,
  readFile: ReadFile,
): Converted {
  const conf = readKnockdConf(bytes, file, readFile);
  refuseCommands(conf, file);
  const writer = new Writer();
  writer.warnings.push(
    conf.interface === null
      ? "options: knockd listens on one interface (eth0 unless -i names " +
        "another); knock listens on all of them"
      : `options: interface "${conf.interface}" is not converted: ` +
        `knock listens on every interface`,
  );
  if (conf.logFile !== null) {
    writer.warnings.push(
      `options: logfile "${conf.logFile}" is not converted: ` +
        `"knock log" shows what happened`,
    );
  }
  const doors = conf.doors.map((door): ConvertedEntry => ({
    door,
    name: writer.nameOf(door.name),
    effect: effectOf(door),
    closer: null,
  }));
  const left = doors.filter((entry) => writer.isUsable(entry));
  const tool = commonTool(left);
  const entries = pairDoors(left.map((entry) => {
    const other = entry.effect.opening?.tool;
    return other === undefined || other === tool || tool === null ? entry : {
      ...entry,
      effect: asCommands(
        `stays a command: it changes the rules of ${other}, and other sequences ` +
          `those of ${tool}`,
      ),
    };
  }));
  // Where nothing is opened any more, no firewall is needed.
  writer.tool = commonTool(entries);
  for (const entry of entries) writer.note(entry);
  writer.chooseListen();
  for (const entry of entries) writer.add(entry);
  const { warnings } = writer;
  return { text: writer.text(file), warnings, files: new Map() };
}

class Writer {
  readonly warnings: string[] = [];
  readonly #names = new Set<string>();
  readonly #services = new Map<string, string>();
  readonly #sequences: string[] = [];
  readonly #hits: DoorPort[] = [];
  #listen = LISTEN_PORT;
  readonly #opened: PortRange[] = [];

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

  /** The firewall whose rules the doors change; null: none. */
  tool: Tool | null = null;

  /** True if a door can be knocked at all; warns where it cannot. */
  isUsable({ name, door }: ConvertedEntry): boolean {
    const why = whyUnusable(door);
    if (why !== null) this.#warn(name, `${why}: it is left out`);
    return why === null;
  }

  /** Notes the ports that a door opens and knocks at. */
  note(entry: ConvertedEntry): void {
    const { opening } = entry.effect;
    this.#hits.push(...ordersOf(entry).flat());
    if (opening?.action === "open") this.#opened.push(...opening.ports);
  }

  /** Writes a door; with it the one that closes it. */
  add(entry: ConvertedEntry): void {
    const { name, door, effect, closer } = entry;
    const { opening, seconds } = effect;
    const opens = opening?.action === "open";
    const longest = Math.max(door.seqTimeout, closer?.seqTimeout ?? 0, 1);
    const within = Math.min(MAX_WITHIN_SECONDS, longest);
    const lines: string[] = [
      door.oneTime
        ? `one_time: [${door.oneTime.map(hitsText).join(", ")}]`
        : `knock: ${hitsText(door.ports)}`,
      `within: ${formatDuration(within)}`,
    ];
    if (opens) {
      lines.push(`open: [${this.#serviceNames(opening.ports).join(", ")}]`);
      if (effect.family !== null) {
        lines.push(`from: "${effect.family === 4 ? "0.0.0.0/0" : "::/0"}"`);
      }
      lines.push(
        `for: ${formatDuration(clampSeconds(seconds ?? OPEN_SECONDS))}`,
      );
      if (effect.run) lines.push(program("run", effect.run));
      if (effect.runAfter) lines.push(program("run_after", effect.runAfter));
    }
    if (closer) lines.push(`close: ${hitsText(closer.ports)}`);
    const runs = !opens && addPrograms(door, lines);
    const hits = ordersOf(entry).flat();
    const flags = hits.some(({ protocol }) => protocol === "tcp")
      ? ownFlags(door.tcpFlags)
      : null;
    if (flags) {
      const texts = flags.map((flag) => formatJson(flag));
      lines.push(`flags: [${texts.join(", ")}]`);
    }
    if (door.target !== null) {
      lines.push(`target: ${formatJson(door.target)}`);
    }
    const served = hits.filter((hit) =>
      this.#opened.some((range) => overlapPorts(range, rangeOf(hit)))
    );
    const isPlain = opens && effect.family === null && !flags &&
      door.target === null && !door.oneTime &&
      served.length === 0 && effect.run + effect.runAfter === "";
    const opened = (opening?.ports ?? [])
      .reduce((sum, { first, last }) => sum + last - first + 1, 0);
    const kernel = isPlain && this.tool === "firewalld" &&
      opened <= MAX_OPENED_PORTS;
    lines.push(`watch: ${kernel ? "kernel" : "sniff"}`);
    this.#sequences.push(
      `${scalar(name)}:\n` + lines.map((line) => `  ${line}\n`).join(""),
    );
    if (served.length > 0) {
      const ports = [...new Set(served.map(formatHit))].join(", ");
      this.#warn(
        name,
        `its sequence uses ${ports}, which it also opens: every new ` +
          "connection there counts as a knock, so the kernel cannot match it " +
          "(watch: sniff)",
      );
    }
    for (const words of doorWarnings(entry, runs)) this.#warn(name, words);
  }

  text(file: string): string {
    return formatServer({
      head: `# Converted from ${formatJson(file)} of knockd.
# A port sequence goes in the clear: whoever listens can repeat it. Clients
# that are enrolled ("knock client add NAME") need none.`,
      listen: `${this.#listen}`,
      firewall: this.#firewall(),
      services: [...this.#services].map(([ports, name]) =>
        `${name}: ${ports}\n`
      ),
      sequences: this.#sequences,
      clients: [],
    });
  }

  /** Chooses the port of our own knocks: the first from 62201 on that is neither knocked at nor opened. */
  chooseListen(): void {
    const range = (port: number) => rangeOf({ protocol: "udp", port });
    const isKnocked = (port: number) =>
      this.#hits.some((hit) => overlapPorts(rangeOf(hit), range(port)));
    const isOpened = (port: number) =>
      this.#opened.some((other) => overlapPorts(other, range(port)));
    const all = Array.from({ length: 64_000 }, (_, index) => {
      const port = LISTEN_PORT + index;
      return port > 65535 ? port - 65535 + 1023 : port;
    });
    const free = all.filter((port) => !isKnocked(port));
    this.#listen = free.find((port) => !isOpened(port)) ?? free[0]!;
    if (this.#listen === LISTEN_PORT) return;
    this.warnings.push(
      `listen: is ${this.#listen}, as udp/${LISTEN_PORT} is knocked at or ` +
        "opened here",
    );
  }

  #firewall(): string {
    const ports = [...this.#services.keys()].join(", ");
    if (this.tool === null) {
      return `# Nothing is opened, so no firewall is touched. With services of your own:
# backend: nft.
backend: gate`;
    }
    if (this.tool === "iptables") {
      return `# As knockd did, this only lets through what is opened, by rules of our own
# chain at the top of INPUT, and closes nothing: your own rules go on
# dropping these ports. "mode: guard" closes them without such rules.
backend: iptables
mode: accept`;
    }
    if (this.tool === "firewalld") {
      const adds = [...this.#services.keys()].map((range) => {
        const [protocol, port] = range.split("/");
        return `--add-port=${port}/${protocol}`;
      });
      this.warnings.push(
        `firewall: firewalld rejects what it does not allow, and no rule ` +
          `outside of it can change that, so firewall.mode is guard: until ` +
          `firewalld allows ${ports}, knocks open nothing. Once the server ` +
          `runs: firewall-cmd --permanent ${adds.join(" ")} && firewall-cmd ` +
          "--reload",
      );
      return `# Our own table drops what is not open. firewalld must allow these ports:
# no rule outside of firewalld can allow what it rejects.
backend: nft
mode: guard`;
    }
    const [family, table] = this.tool.replace("nft ", "").split(" ");
    this.warnings.push(
      `firewall: nothing opens until the host's chain jumps to ours: ` +
        `nft add chain ${family} ${table} knock && ` +
        `nft insert rule ${family} ${table} input jump knock, and the same ` +
        "in /etc/nftables.conf",
    );
    return `# As knockd did, this only lets through what is opened, and closes nothing:
# your own rules go on dropping these ports. Your input chain must jump to
# ours: "jump knock" before whatever drops.
backend: nft
mode: accept
chain: ${family} ${table} knock`;
  }

  #serviceNames(ports: readonly PortRange[]): string[] {
    return ports.map((range) => {
      const text = formatPortRange(range);
      const listen = rangeOf({ protocol: "udp", port: this.#listen });
      // No service may have the port of the knocks.
      if (overlapPorts(range, listen)) return text;
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

/** Writes the programs that a door runs; true if there are any. */
function addPrograms(door: KnockdDoor, lines: string[]): boolean {
  const add = (key: string, command: string | null) => {
    if (command) lines.push(program(key, command));
    // An empty one for IPv6 means that nothing is run.
    else if (command === "" && key.endsWith("6")) lines.push(`${key}: false`);
    return Boolean(command);
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

function program(key: string, command: string): string {
  return `${key}: [${commandArgv(command).map(scalar).join(", ")}]`;
}

/** Why a door cannot be knocked at; null if it can. */
function whyUnusable({ oneTime, ports, tcpFlags }: KnockdDoor): string | null {
  const all = (oneTime ?? [ports]).flat();
  if (all.some(({ port }) => port === 0)) {
    return "has port 0, which knockd reads where there is no number, such as " +
      "a service's name or nothing behind a comma";
  }
  const isBoth = tcpFlags.some((flag) => tcpFlags.includes(`!${flag}`));
  return isBoth && all.some(({ protocol }) => protocol === "tcp")
    ? "wants a flag to be both set and clear, which no packet is"
    : null;
}

function rangeOf({ protocol, port }: DoorPort): PortRange {
  return onePort(protocol, port);
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
