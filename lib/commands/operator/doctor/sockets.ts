/** Which ports of this machine are listened on, from Linux's /proc/net. */

import { type Runtime, SystemError } from "../../../runtime/runtime.ts";
import { ADDRESS_SIZE, addressFromBytes } from "../../../values/address.ts";
import type { PortRange, Protocol } from "../../../values/ports.ts";

/** A socket that waits for somebody. */
export interface Socket {
  readonly protocol: Protocol;
  readonly family: 4 | 6;
  /** Canonical; "0.0.0.0" and "::" are every address. */
  readonly address: string;
  readonly port: number;
}

const FILES: readonly [name: string, protocol: Protocol, family: 4 | 6][] = [
  ["tcp", "tcp", 4],
  ["tcp6", "tcp", 6],
  ["udp", "udp", 4],
  ["udp6", "udp", 6],
];

/** States of include/net/tcp_states.h: LISTEN, and CLOSE for unconnected UDP. */
const WAITING: Readonly<Record<Protocol, string>> = { tcp: "0A", udp: "07" };

/** The machine's listening sockets; null where they cannot be seen. */
export function readSockets(runtime: Runtime): readonly Socket[] | null {
  if (runtime.platform !== "linux") return null;
  let seen = false;
  const sockets = FILES.flatMap(([name, protocol, family]) => {
    try {
      const text = runtime.files.readText(`/proc/net/${name}`);
      seen = true;
      return parseSockets(text, protocol, family);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      return []; // a kernel without IPv6 has no tcp6
    }
  });
  return seen ? sockets : null;
}

/** Reads one of the tables of proc(5). */
export function parseSockets(
  text: string,
  protocol: Protocol,
  family: 4 | 6,
): Socket[] {
  return text.split("\n").flatMap((line) => {
    const [, local, , state] = line.trim().split(/\s+/);
    const match = /^([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/.exec(
      local ?? "",
    );
    if (!match || state !== WAITING[protocol]) return [];
    const address = readAddress(match[1]!);
    return [{ protocol, family, address, port: parseInt(match[2]!, 16) }];
  });
}

/** Whether a socket takes connections to one of these ports. */
export function listensIn(socket: Socket, ports: PortRange): boolean {
  return socket.protocol === ports.protocol && ports.first <= socket.port &&
    socket.port <= ports.last;
}

export function isEverywhere(address: string): boolean {
  return address === "::" || address === "0.0.0.0";
}

/** Words of 32 bits, each in the byte order of the machine: little-endian on all that we run on. */
function readAddress(hex: string): string {
  const words = Uint8Array.fromHex(hex);
  for (let at = 0; at < words.length; at += 4) {
    words.subarray(at, at + 4).reverse();
  }
  if (words.length === ADDRESS_SIZE) return addressFromBytes(words);
  return words.join(".");
}
