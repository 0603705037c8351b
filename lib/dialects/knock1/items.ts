/**
 * Items of a knock of knock/1: the last 60 bytes of its payload
 * (docs/protocol.md §5), or 32 in the web form: ports of 4 bytes each, or a
 * command's name.
 * @module
 */

import { UsageError } from "../../values/errors.ts";
import {
  countPorts,
  onePort,
  type PortRange,
  PROTOCOL_NUMBERS,
  protocolOf,
} from "../../values/ports.ts";
import type { Action } from "../dialect.ts";

/** Most ports that a knock names; 8 in the web form. */
export const MAX_PORTS = 15;
/** Longest name of a command, in bytes of UTF-8; 32 in the web form. */
export const MAX_COMMAND_SIZE = 60;

const PORT_ITEM_SIZE = 4;

/** Ports or command that a knock asks for. */
export interface Items {
  readonly ports: readonly PortRange[];
  readonly command: string | null;
}

/** Reads the items of an action; null if they are not exactly those of one meaning. */
export function readItems(
  action: Action,
  count: number,
  bytes: Uint8Array,
): Items | null {
  switch (action) {
    case "run":
      return readCommand(count, bytes);
    case "ping":
      return count === 0 && isZero(bytes) ? { ports: [], command: null } : null;
    default:
      return readPorts(count, bytes);
  }
}

function readPorts(count: number, bytes: Uint8Array): Items | null {
  const end = count * PORT_ITEM_SIZE;
  if (end > bytes.length || !isZero(bytes.subarray(end))) return null;
  const ports: PortRange[] = [];
  for (let at = 0; at < end; at += PORT_ITEM_SIZE) {
    const protocol = protocolOf(bytes[at]);
    const port = bytes[at + 2]! << 8 | bytes[at + 3]!;
    if (!protocol || bytes[at + 1] !== 0 || port === 0) return null;
    ports.push(onePort(protocol, port));
  }
  return { ports, command: null };
}

function readCommand(size: number, bytes: Uint8Array): Items | null {
  if (size < 1 || size > bytes.length) return null;
  if (!isZero(bytes.subarray(size))) return null;
  try {
    // A byte order mark is part of the name, or two forms would be one name.
    const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    return { ports: [], command: utf8.decode(bytes.subarray(0, size)) };
  } catch {
    return null;
  }
}

/**
 * Writes the items of an action, and returns how many there are: ports, or
 * bytes of a name. Throws UsageError for what does not fit.
 */
export function writeItems(
  bytes: Uint8Array,
  action: Action,
  items: Items,
): number {
  switch (action) {
    case "run":
      return writeCommand(bytes, items.command ?? "");
    case "ping":
      return 0;
    default:
      return writePorts(bytes, items.ports);
  }
}

function writePorts(bytes: Uint8Array, ranges: readonly PortRange[]): number {
  const count = countPorts(ranges);
  const most = Math.floor(bytes.length / PORT_ITEM_SIZE);
  if (count > most) {
    throw new UsageError(
      `a knock names at most ${most} ports, got "${count}"`,
      "leave the ports out to open all that the server allows you",
    );
  }
  let at = 0;
  for (const { protocol, first, last } of ranges) {
    for (let port = first; port <= last; port++) {
      bytes[at] = PROTOCOL_NUMBERS[protocol];
      bytes[at + 2] = port >> 8;
      bytes[at + 3] = port & 0xff;
      at += PORT_ITEM_SIZE;
    }
  }
  return count;
}

function writeCommand(bytes: Uint8Array, command: string): number {
  const name = new TextEncoder().encode(command);
  const most = bytes.length;
  if (name.length < 1 || name.length > most || !command.isWellFormed()) {
    throw new UsageError(
      `a command's name must have 1 to ${most} bytes, got "${command}"`,
    );
  }
  bytes.set(name);
  return name.length;
}

/** True if all bytes are zero, as unused ones must be. */
export function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}
