/** knockd.conf -> our configuration: sequences and services. */

import { MAX_OPENED_PORTS } from "../../../firewall/nft/sequences/rules.ts";
import { formatHit } from "../../../sequences/sequence.ts";
import {
  countPorts,
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
  const warnings = [
    conf.interface === null
      ? "options: knockd listens on one interface (eth0 unless -i names " +
        "another); knock listens on all of them"
      : `options: interface "${conf.interface}" is not converted: ` +
        `knock listens on every interface`,
  ];
  if (conf.logFile !== null) {
    warnings.push(
      `options: logfile "${conf.logFile}" is not converted: ` +
        `"knock log" shows what happened`,
    );
  }
  const names = new Set<string>();
  const doors = conf.doors.map((door): ConvertedEntry => ({
    door,
    name: nameOf(door.name, names, warnings),
    effect: effectOf(door),
    closer: null,
  }));
  const left = doors.filter(({ name, door }) => {
    const why = whyUnusable(door);
    if (why) warnings.push(`sequences.${name}: ${why}: it is left out`);
    return why === null;
  });
  const most = commonTool(left);
  const entries = pairDoors(left.map((entry) => {
    const other = entry.effect.opening?.tool;
    return other === undefined || other === most || most === null ? entry : {
      ...entry,
      effect: asCommands(
        `stays a command: it changes the rules of ${other}, and other sequences ` +
          `those of ${most}`,
      ),
    };
  }));
  // Where nothing is opened any more, no firewall is needed.
  const tool = commonTool(entries);
  const opened = entries.flatMap(({ effect: { opening } }) =>
    opening?.action === "open" ? opening.ports : []
  );
  const hits = entries.flatMap((entry) => ordersOf(entry).flat());
  const listen = chooseListen(hits.map(rangeOf), opened);
  if (listen !== LISTEN_PORT) {
    warnings.push(
      `listen: is ${listen}, as udp/${LISTEN_PORT} is knocked at or opened here`,
    );
  }
  const services = new Map<string, string>();
  const sequences = entries.map((entry) =>
    writeDoor(entry, { tool, opened, listen, services, warnings })
  );
  const text = formatServer({
    head: `# Converted from ${formatJson(file)} of knockd.
# A port sequence goes in the clear: whoever listens can repeat it. Clients
# that are enrolled ("knock client add NAME") need none.`,
    listen: `${listen}`,
    firewall: writeFirewall(tool, [...services.keys()], warnings),
    services: [...services].map(([ports, name]) => `${name}: ${ports}\n`),
    sequences,
    clients: [],
  });
  return { text, warnings, files: new Map() };
}

/** A name that ours may have, of its own. */
function nameOf(name: string, names: Set<string>, warnings: string[]): string {
  const clean = name.replace(/[^A-Za-z0-9._-]+/g, "-")
    .replace(/^[^A-Za-z0-9]+/, "").slice(0, 48) || "door";
  let found = clean;
  for (let i = 2; names.has(found); i++) found = `${clean}-${i}`;
  names.add(found);
  if (found !== name || !NAME.pattern.test(found)) {
    warnings.push(`[${name}]: is called "${found}" here`);
  }
  return found;
}

/** Writes a door; with it the one that closes it. Notes the services that it opens. */
function writeDoor(
  entry: ConvertedEntry,
  { tool, opened, listen, services, warnings }: {
    /** The firewall whose rules the doors change; null: none. */
    readonly tool: Tool | null;
    /** The ports that all doors open. */
    readonly opened: readonly PortRange[];
    /** The port of our own knocks. */
    readonly listen: number;
    /** Names by their ports. */
    readonly services: Map<string, string>;
    readonly warnings: string[];
  },
): string {
  const { name, door, effect, closer } = entry;
  const { opening, seconds, family, run, runAfter } = effect;
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
    const own = rangeOf({ protocol: "udp", port: listen });
    const names = opening.ports.map((range) => {
      const text = formatPortRange(range);
      // No service may have the port of the knocks.
      if (overlapPorts(range, own)) return text;
      const name = SERVICES[text] ?? text.replace("/", "-");
      services.set(text, name);
      return name;
    });
    lines.push(`open: [${names.join(", ")}]`);
    if (family) lines.push(`from: "${family === 4 ? "0.0.0.0/0" : "::/0"}"`);
    lines.push(
      `for: ${formatDuration(clampSeconds(seconds ?? OPEN_SECONDS))}`,
    );
    if (run) lines.push(program("run", run));
    if (runAfter) lines.push(program("run_after", runAfter));
  }
  if (closer) lines.push(`close: ${hitsText(closer.ports)}`);
  const runs = !opens && addPrograms(door, lines);
  const hits = ordersOf(entry).flat();
  const flags = hits.some(({ protocol }) => protocol === "tcp")
    ? ownFlags(door.tcpFlags)
    : null;
  if (flags) {
    lines.push(`flags: [${flags.map((flag) => formatJson(flag)).join(", ")}]`);
  }
  if (door.target !== null) lines.push(`target: ${formatJson(door.target)}`);
  const served = hits.filter((hit) =>
    opened.some((range) => overlapPorts(range, rangeOf(hit)))
  );
  const kernel = opens && tool === "firewalld" && family === null && !flags &&
    door.target === null && !door.oneTime && served.length === 0 &&
    run + runAfter === "" && countPorts(opening.ports) <= MAX_OPENED_PORTS;
  lines.push(`watch: ${kernel ? "kernel" : "sniff"}`);
  const words = doorWarnings(entry, runs);
  if (served.length > 0) {
    const ports = [...new Set(served.map(formatHit))].join(", ");
    words.unshift(
      `its sequence uses ${ports}, which it also opens: every new ` +
        "connection there counts as a knock, so the kernel cannot match it " +
        "(watch: sniff)",
    );
  }
  warnings.push(...words.map((text) => `sequences.${name}: ${text}`));
  return `${scalar(name)}:\n` + lines.map((line) => `  ${line}\n`).join("");
}

/** Chooses the port of our own knocks: the first from 62201 on that is neither knocked at nor opened. */
function chooseListen(
  hits: readonly PortRange[],
  opened: readonly PortRange[],
): number {
  const isIn = (ranges: readonly PortRange[], port: number) =>
    ranges.some((range) => overlapPorts(range, onePort("udp", port)));
  const all = Array.from({ length: 64_000 }, (_, index) => {
    const port = LISTEN_PORT + index;
    return port > 65535 ? port - 65535 + 1023 : port;
  });
  const free = all.filter((port) => !isIn(hits, port));
  return free.find((port) => !isIn(opened, port)) ?? free[0]!;
}

/** Writes the section `firewall`; `ports`: those of the services. */
function writeFirewall(
  tool: Tool | null,
  ports: readonly string[],
  warnings: string[],
): string {
  if (tool === null) {
    return `# Nothing is opened, so no firewall is touched. With services of your own:
# backend: nft.
backend: gate`;
  }
  if (tool === "iptables") {
    return `# As knockd did, this only lets through what is opened, by rules of our own
# chain at the top of INPUT, and closes nothing: your own rules go on
# dropping these ports. "mode: guard" closes them without such rules.
backend: iptables
mode: accept`;
  }
  if (tool === "firewalld") {
    const adds = ports.map((range) => {
      const [protocol, port] = range.split("/");
      return `--add-port=${port}/${protocol}`;
    });
    warnings.push(
      `firewall: firewalld rejects what it does not allow, and no rule ` +
        `outside of it can change that, so firewall.mode is guard: until ` +
        `firewalld allows ${ports.join(", ")}, knocks open nothing. Once the ` +
        `server runs: firewall-cmd --permanent ${adds.join(" ")} && ` +
        "firewall-cmd --reload",
    );
    return `# Our own table drops what is not open. firewalld must allow these ports:
# no rule outside of firewalld can allow what it rejects.
backend: nft
mode: guard`;
  }
  const chain = tool.replace("nft ", "");
  warnings.push(
    `firewall: nothing opens until the host's chain jumps to ours: ` +
      `nft add chain ${chain} knock && nft insert rule ${chain} input jump ` +
      "knock, and the same in /etc/nftables.conf",
  );
  return `# As knockd did, this only lets through what is opened, and closes nothing:
# your own rules go on dropping these ports. Your input chain must jump to
# ours: "jump knock" before whatever drops.
backend: nft
mode: accept
chain: ${chain} knock`;
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
