/**
 * knockd.conf as knockd 0.8 reads it, to the letter: what it takes is taken,
 * and means the same; what it refuses is refused, with the line.
 * @module
 */

import { MAX_HITS } from "../../../sequences/sequence.ts";
import { parseAddress } from "../../../values/address.ts";
import { caught, ConfigError } from "../../../values/errors.ts";
import type { Protocol } from "../../../values/ports.ts";

/** A port as it stands in a file: 0 is possible, and never right. */
export interface DoorPort {
  readonly protocol: Protocol;
  /** 0 to 65535. */
  readonly port: number;
}

/** A section of the file but `[options]`. */
export interface KnockdDoor {
  /** Cut to 127 bytes as knockd does; not always of its own. */
  readonly name: string;
  /** The line of the section's head, from 1 on. */
  readonly line: number;
  readonly ports: readonly DoorPort[];
  /** The unused lines of a file of one-time sequences; null where there is none. */
  readonly oneTime: readonly (readonly DoorPort[])[] | null;
  /** Seconds, as they are written: 0 and less are possible. */
  readonly seqTimeout: number;
  readonly cmdTimeout: number;
  /** Names as in `FLAG`, "!" before those that must be clear. */
  readonly tcpFlags: readonly string[];
  /** Canonical; null = every address. */
  readonly target: string | null;
  /** Null = none; an empty one does nothing. */
  readonly start: string | null;
  readonly start6: string | null;
  readonly stop: string | null;
  readonly stop6: string | null;
  /** Items of its sequences that are no plain ports, and what knockd reads there. */
  readonly oddPorts: readonly string[];
  /** The lines of commands and paths with bytes that are not UTF-8. */
  readonly notUtf8: readonly number[];
}

/** The commands of a door that are there. */
export function commandsOf(door: KnockdDoor): string[] {
  return [door.start, door.start6, door.stop, door.stop6]
    .filter((text) => text !== null);
}

export interface KnockdConf {
  readonly doors: readonly KnockdDoor[];
  readonly interface: string | null;
  readonly logFile: string | null;
}

/** Reads a file by its path; null when it cannot. */
export type ReadFile = (path: string) => Uint8Array | null;

/** Bytes that knockd reads of a line; the rest is a line of its own. */
const LINE_SIZE = 4095;

type Draft = { -readonly [K in keyof KnockdDoor]: KnockdDoor[K] };

/** Reads a knockd.conf. Throws ConfigError with the first mistake, as knockd stops at it. */
export function readKnockdConf(
  bytes: Uint8Array,
  file: string,
  readFile: ReadFile,
): KnockdConf {
  const doors: Draft[] = [];
  const options = {
    interface: null as string | null,
    logFile: null as string | null,
  };
  let section = "";
  for (const [index, { text: raw, isUtf8 }] of cutLines(bytes).entries()) {
    const number = index + 1;
    const line = trim(raw);
    const refuse = (words: string, hint?: string): never => {
      throw new ConfigError([`${file}: line ${number}: ${words}`], hint);
    };
    if (index === 0 && raw.startsWith("\ufeff")) {
      refuse(
        "begins with a byte order mark, which knockd takes for a part of it",
        `take it out: sed -i '1s/^\\xef\\xbb\\xbf//' ${file}`,
      );
    }
    if (line === "" || line.startsWith("#")) continue;
    if (line.startsWith("[") && line.endsWith("]")) {
      section = line.slice(1, -1);
      if (section === "") refuse("a section must have a name");
      if (section === "options") continue;
      doors.push({
        name: section.slice(0, 127),
        line: number,
        ports: [],
        oneTime: null,
        seqTimeout: 25,
        cmdTimeout: 10,
        tcpFlags: [],
        target: null,
        start: null,
        start6: null,
        stop: null,
        stop6: null,
        oddPorts: [],
        notUtf8: [],
      });
      continue;
    }
    if (section === "") refuse("must be in a section such as [openSSH]");
    const [key, value] = splitDirective(line);
    if (value === null) {
      if (key !== "USESYSLOG") refuse(`must be KEY = VALUE, got "${line}"`);
    } else if (section === "options") {
      if (key === "LOGFILE") options.logFile = value;
      else if (key === "INTERFACE") options.interface = value;
      else if (key !== "PIDFILE") refuse(`unknown option "${key}"`);
    } else {
      const door = doors.at(-1)!;
      if (!isUtf8 && /COMMAND|ONE_TIME/.test(key)) {
        door.notUtf8 = [...door.notUtf8, number];
      }
      readDirective(door, key, value, readFile, refuse);
    }
  }
  const empty = doors.find(({ ports }) => ports.length === 0);
  if (empty) {
    const words = `section "${empty.name}" has no sequence`;
    throw new ConfigError([`${file}: line ${empty.line}: ${words}`]);
  }
  return { doors, ...options };
}

function readDirective(
  door: Draft,
  key: string,
  value: string,
  readFile: ReadFile,
  refuse: (words: string) => never,
): void {
  const command = COMMANDS[key];
  if (command) {
    door[command] = value;
    return;
  }
  switch (key) {
    case "SEQUENCE":
      door.ports = readPorts(value, refuse);
      door.oddPorts = oddPorts(value);
      return;
    case "ONE_TIME_SEQUENCES": {
      const bytes = readFile(value);
      if (bytes === null) return refuse(`cannot read "${value}"`);
      door.oneTime = readOneTime(bytes);
      if (door.oneTime.length === 0) refuse(`"${value}" has no sequence left`);
      door.ports = door.oneTime[0]!;
      return;
    }
    case "SEQ_TIMEOUT":
    case "TIMEOUT":
      door.seqTimeout = atoi(value);
      return;
    case "CMD_TIMEOUT":
      door.cmdTimeout = atoi(value);
      return;
    case "TARGET":
      door.target = parseAddress(value) ??
        refuse(`target must be an address, got "${value}"`);
      return;
    case "TCPFLAGS": {
      const flags = value.toLowerCase().split(",");
      const odd = flags.find((flag) =>
        !/^!?(fin|syn|rst|psh|ack|urg)$/.test(flag)
      );
      if (odd !== undefined) {
        refuse(`tcpflags are fin, syn, rst, psh, ack, urg, got "${odd}"`);
      }
      door.tcpFlags = [...door.tcpFlags, ...flags];
      return;
    }
    default:
      refuse(`unknown key "${key}"`);
  }
}

const COMMANDS: Readonly<
  Record<string, "start" | "start6" | "stop" | "stop6" | undefined>
> = {
  START_COMMAND: "start",
  COMMAND: "start",
  START_COMMAND_6: "start6",
  COMMAND_6: "start6",
  STOP_COMMAND: "stop",
  STOP_COMMAND_6: "stop6",
};

function readPorts(
  text: string,
  refuse: (words: string) => never,
): DoorPort[] {
  const items = text.split(",");
  if (items.length > MAX_HITS) {
    refuse(`a sequence has at most ${MAX_HITS} ports, got ${items.length}`);
  }
  return items.map((item) => {
    const [number, name] = item.split(":");
    const port = atoi(number!);
    if (port > 65535) refuse(`a port is at most 65535, got "${number}"`);
    const protocol = name === undefined ? "tcp" : trim(name).toLowerCase();
    if (protocol !== "tcp" && protocol !== "udp") {
      return refuse(`a protocol is tcp or udp, got "${protocol}"`);
    }
    return { protocol, port: port & 0xffff };
  });
}

/** Items that are no plain ports, as `"7000-7002" as 7000`. */
function oddPorts(text: string): string[] {
  return text.split(",").flatMap((item) => {
    const [number = "", , more] = item.split(":");
    const port = atoi(number) & 0xffff;
    const isPlain = more === undefined && /^\s*\+?\d{1,5}\s*$/.test(number);
    return isPlain || port === 0 ? [] : [`"${trim(item)}" as ${port}`];
  });
}

function readOneTime(bytes: Uint8Array): DoorPort[][] {
  const refuse = (words: string): never => {
    throw new RangeError(words);
  };
  return cutLines(bytes).map(({ text }) => trim(text))
    .filter((line) => line !== "" && !line.startsWith("#"))
    // knockd passes over a line that it cannot read.
    .flatMap((line) =>
      caught(RangeError, () => [readPorts(line, refuse)], () => [])
    );
}

function splitDirective(line: string): [key: string, value: string | null] {
  const at = line.indexOf("=");
  const key = (at < 0 ? line : line.slice(0, at)).replace(
    /[a-z]/g,
    (letter) => letter.toUpperCase(),
  );
  return [trim(key), at < 0 ? null : trim(line.slice(at + 1))];
}

/** Lines as fgets(3) cuts them, each up to a NUL. */
function cutLines(bytes: Uint8Array): { text: string; isUtf8: boolean }[] {
  const lines: { text: string; isUtf8: boolean }[] = [];
  for (let at = 0; at < bytes.length;) {
    const newline = bytes.indexOf(10, at);
    const end = Math.min(
      newline < 0 ? bytes.length : newline + 1,
      at + LINE_SIZE,
    );
    const line = bytes.subarray(at, end);
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(line);
    const back = new TextEncoder().encode(text);
    lines.push({
      text: text.replace(/\0.*/s, ""),
      isUtf8: back.length === line.length &&
        back.every((b, i) => b === line[i]),
    });
    at = end;
  }
  return lines;
}

/** Trims the characters of isspace(3) at both ends. */
function trim(text: string): string {
  return text.replace(/^[ \t\n\v\f\r]+|[ \t\n\v\f\r]+$/g, "");
}

/** A number as atoi(3) reads it: 0 where there is none. */
function atoi(text: string): number {
  const digits = /^[ \t\n\v\f\r]*([+-]?\d+)/.exec(text)?.[1] ?? "0";
  const most = 2n ** 63n;
  const value = BigInt(digits.replace("+", ""));
  const clamped = value >= most ? most - 1n : value < -most ? -most : value;
  return Number(BigInt.asIntN(32, clamped));
}
