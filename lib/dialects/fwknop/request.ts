/** Conversion between fwknop's messages and requests. */

import { timingSafeEqual } from "node:crypto";
import { isIpv4, parseAddress, parseEndpoint } from "../../values/address.ts";
import { UsageError } from "../../values/errors.ts";
import {
  countPorts,
  onePort,
  type PortRange,
  type Protocol,
} from "../../values/ports.ts";
import { digestLength, type DigestType, hmac } from "../crypto/hash.ts";
import { type Forward, type Opened, refuse, type Request } from "../dialect.ts";
import { MAX_TIMEOUT_SECONDS, type Message, MESSAGE_TYPES } from "./message.ts";
import type { Split } from "./packet.ts";
import type { FwknopGpgKeys, FwknopKeys, FwknopSender } from "./keys.ts";

/** Contents of a message: a request without its sender. */
type FwknopAsked =
  & Pick<
    Request,
    "action" | "ports" | "command" | "seconds" | "timestampMs" | "address"
  >
  & { readonly forward: Forward | null; readonly user: string };

/** Request of a client, and the form of its message. */
export interface FwknopRequest {
  /** `close` and `ping` are not of fwknop's. */
  readonly action: "open" | "run";
  /** At least one for `open`. */
  readonly ports: readonly PortRange[];
  /** The command line, for `run`. */
  readonly command: string | null;
  /** Seconds asked for; 0 = the server's choice. */
  readonly seconds: number;
  /** IPv4; null = where the packet comes from. */
  readonly address: string | null;
  readonly forward: Forward | null;
  /** The name of the user, which a server may want. */
  readonly user: string;
  /** The checksum; both ends know every one. */
  readonly checksum: DigestType;
  /** Of the protocol; default: that of fwknop 2.6.10. */
  readonly version?: string;
}

/** "Where the packet came from." */
const ANY_ADDRESS = "0.0.0.0";
const VERSION = "3.0.0";
const COMMAND_TYPE = 0;

/** Reads a message; null if it asks for nothing that has a meaning. */
export function readRequest(message: Message): FwknopAsked | null {
  const comma = message.text.indexOf(",");
  const address = message.text.slice(0, comma);
  const wish = message.text.slice(comma + 1);
  if (comma < 0 || !isIpv4Text(address) || wish === "") return null;
  const asked = {
    seconds: message.timeout ?? 0,
    timestampMs: message.timestamp * 1000,
    address: address === ANY_ADDRESS ? null : address,
    user: message.user,
  };
  if (message.type === COMMAND_TYPE) {
    return { ...asked, action: "run", ports: [], command: wish, forward: null };
  }
  const ports = readPorts(wish);
  const { nat: kind } = MESSAGE_TYPES[message.type]!;
  const forward = kind && readForward(kind, message.nat!);
  if (!ports || kind && !forward) return null;
  // One target has one port.
  if (forward && ports.length > 1) return null;
  return { ...asked, action: "open", ports, command: null, forward };
}

/**
 * Writes a message, made at `nowMs`. Throws UsageError for a request that
 * fwknop cannot express.
 */
export function writeRequest(
  request: FwknopRequest,
  digits: string,
  nowMs: number,
): Message {
  const { forward, address } = request;
  if (address !== null && (!isIpv4Text(address) || address === ANY_ADDRESS)) {
    throw new UsageError(
      `fwknop knows only IPv4, got the address "${address}"`,
      "without an address, the packet's source is opened",
    );
  }
  const run = request.action === "run";
  const wish = run ? request.command ?? "" : writePorts(request);
  const timed = !run && request.seconds > 0;
  const kind = run ? null : forward?.kind ?? null;
  const type = run
    ? COMMAND_TYPE
    : MESSAGE_TYPES.findIndex((type, index) =>
      index > COMMAND_TYPE && type.nat === kind && type.timeout === timed
    );
  return {
    digits,
    user: request.user,
    timestamp: Math.floor(nowMs / 1000),
    version: request.version ?? VERSION,
    type,
    text: `${address ?? ANY_ADDRESS},${wish}`,
    nat: run || !forward ? null : `${forward.host},${forward.port}`,
    serverAuth: null,
    timeout: timed ? checkSeconds(request.seconds) : null,
    checksum: request.checksum,
  };
}

/** Dotted, without leading zeros. */
function isIpv4Text(text: string): boolean {
  return isIpv4(text) && parseAddress(text) === text;
}

function readPorts(text: string): PortRange[] | null {
  const ports: PortRange[] = [];
  for (const item of text.split(",")) {
    const match = /^(tcp|udp)\/(\d{1,5})$/.exec(item);
    const port = Number(match?.[2]);
    if (!match || port < 1 || port > 65535) return null;
    ports.push(onePort(match[1] as Protocol, port));
  }
  return ports;
}

function readForward(kind: Forward["kind"], nat: string): Forward | null {
  const match = /^([^,:[\]]+),(\d{1,5})$/.exec(nat);
  const target = match && parseEndpoint(`${match[1]}:${match[2]}`);
  return target && target.port > 0 ? { kind, ...target } : null;
}

function writePorts({ ports, forward }: FwknopRequest): string {
  if (ports.length === 0) {
    throw new UsageError(
      "fwknop must name the ports to open",
      "name them with --open tcp/22",
    );
  }
  if (countPorts(ports) > MAX_PORTS) {
    throw new UsageError(`fwknop names at most ${MAX_PORTS} ports at once`);
  }
  const items: string[] = [];
  for (const { protocol, first, last } of ports) {
    for (let port = first; port <= last; port++) {
      items.push(`${protocol}/${port}`);
    }
  }
  if (forward && items.length > 1) {
    throw new UsageError("fwknop forwards one port at a time");
  }
  return items.join(",");
}

/** 192 bytes hold no more of the shortest, "tcp/1,". */
const MAX_PORTS = 32;

function checkSeconds(seconds: number): number {
  if (Number.isInteger(seconds) && seconds <= MAX_TIMEOUT_SECONDS) {
    return seconds;
  }
  throw new UsageError(
    `fwknop asks for at most ${MAX_TIMEOUT_SECONDS} whole seconds, ` +
      `got "${seconds}"`,
  );
}

// fwknop's clients as the server knows them, and what their packets become.

/** A client as the dialect knows it. */
export interface FwknopClient extends FwknopKeys, FwknopSender {
  readonly name: string;
}

/** A client that seals by OpenPGP. */
export interface FwknopGpgClient extends FwknopGpgKeys, FwknopSender {
  readonly name: string;
}

/** An enrolled client; what depends on its HMAC key alone is computed once. */
export interface FwknopEnrolled<Keys = FwknopKeys & FwknopSender> {
  readonly name: string;
  readonly keys: Keys;
  readonly mac: ((covered: Uint8Array) => Uint8Array) | null;
  readonly proves: (split: Split) => boolean;
}

/** Computes what depends on a client alone. */
export function enrol<Keys extends FwknopClient | FwknopGpgClient>(
  client: Keys,
): FwknopEnrolled<Keys> {
  const mac = client.hmac && hmac(client.hmac.type, client.hmac.key);
  return {
    name: client.name,
    keys: client,
    mac,
    proves: mac
      ? ({ covered, mac: sent }) => timingSafeEqual(mac(covered), sent)
      : () => true,
  };
}

/** Number of base64 characters of a client's HMAC; 0 = none. */
export function macLengthOf({ hmac }: Pick<FwknopKeys, "hmac">): number {
  return hmac ? digestLength(hmac.type) : 0;
}

/**
 * Reads the request of an opened message, with the identity that marks its
 * replay. `proved` is the client, where more than its keys say so.
 */
export function readOpened(
  name: string,
  { requireUsername }: FwknopSender,
  message: Message,
  identity: Uint8Array,
  proved: string | undefined,
): Opened {
  const asked = readRequest(message);
  if (!asked) return refuse("payload", proved);
  const { forward, ...rest } = asked;
  if (typeof requireUsername === "string" && asked.user !== requireUsername) {
    return refuse("unknown client", proved);
  }
  return {
    ok: true,
    request: {
      dialect: "fwknop",
      client: name,
      ...rest,
      ...forward && { forward },
      code: null,
      identity,
      wantsReply: false,
    },
    seal: () => new Uint8Array(),
  };
}
