/** Where packets come in: sockets for datagrams and for connections, and captures of ports without a socket. */

import type { Config, Listen, StreamListen } from "../../config/config.ts";
import { kernelForms } from "../../dialects/table.ts";
import { SNIFF_GROUP } from "../../firewall/nft/rules/prefilter.ts";
import type { Datagrams } from "../../runtime/runtime.ts";
import type { Captured } from "../../sequences/pcap.ts";
import {
  KNOCK_SIZE,
  logCommand,
  sniffedKnocks,
} from "../../sequences/tcpdump.ts";
import { formatEndpoint, isIpv4 } from "../../values/address.ts";
import { FailureError, SystemError } from "../../values/errors.ts";
import { attempt } from "../report/log.ts";
import { ownAddresses, startCapture } from "../sequences/watch.ts";
import type { Server } from "../state/server.ts";
import type { Receiver } from "./receiver.ts";
import { Streams } from "./streams.ts";

interface Entrance {
  /** Such as "[::]:62201", or "http/[::]:8080". */
  readonly words: readonly string[];
  close(): Promise<void>;
}

/** Facts about sniffed ports that `doctor` reads. */
export interface SniffFact {
  /** Such as "[::]:62201". */
  readonly places: readonly string[];
  /** Why they are not heard; null when they are. */
  readonly trouble: string | null;
}

/** The sockets of a server, as the configuration has them. */
export class Entrances {
  readonly #server: Server;
  readonly #receiver: Receiver;
  readonly #streams: Streams;
  readonly #open = new Map<string, Entrance>();

  constructor(server: Server, receiver: Receiver) {
    this.#server = server;
    this.#receiver = receiver;
    this.#streams = new Streams(
      server.runtime,
      server.counters,
      (readings, source) => receiver.receive(readings, source, null),
    );
  }

  /** Where they are, in words. */
  get words(): string[] {
    return [...this.#open.values()].flatMap(({ words }) => words);
  }

  /** Opens what is not open yet; the keys of that. Throws FailureError, with none of them open. */
  async open(config: Config): Promise<string[]> {
    const opened: string[] = [];
    try {
      for (const at of socketsOf(config)) {
        const key = keyOf(at);
        if (this.#open.has(key)) continue;
        this.#open.set(key, await this.#bind(at));
        opened.push(key);
      }
      const argv = captureOf(config);
      const key = argv.join(" ");
      if (argv.length > 0 && !this.#open.has(key)) {
        this.#open.set(key, await this.#sniff(argv, config));
        opened.push(key);
      }
    } catch (error) {
      await this.close(opened);
      throw error;
    }
    return opened;
  }

  /** Closes these, or all. */
  async close(keys: readonly string[] = [...this.#open.keys()]): Promise<void> {
    const closing = keys.map((key) => this.#open.get(key));
    for (const key of keys) this.#open.delete(key);
    if (this.#open.size === 0) this.#streams.close();
    await Promise.all(closing.map((entrance) => entrance?.close()));
  }

  /** Closes all that a configuration does not name. */
  async closeOthers(config: Config): Promise<void> {
    const wanted = new Set(socketsOf(config).map(keyOf));
    wanted.add(captureOf(config).join(" "));
    await this.close([...this.#open.keys()].filter((key) => !wanted.has(key)));
  }

  async #bind(at: Listen | StreamListen): Promise<Entrance> {
    try {
      if ("transport" in at) {
        const listener = await this.#streams.listen(at);
        const words = [`${at.transport}/${formatEndpoint(listener.at)}`];
        return { words, close: () => listener.close() };
      }
      const socket: Datagrams = await this.#server.runtime.listenDatagram(
        at,
        (bytes, source) => this.#receiver.receive([bytes], source, socket),
        { apart: true, batched: true },
      );
      const words = [formatEndpoint(socket.at)];
      return { words, close: () => socket.close() };
    } catch (error) {
      throw cannotListen(at, error);
    }
  }

  /** Hears the sniffed ports. What a reload changes of them counts at once. */
  async #sniff(
    argv: readonly string[],
    { sniffed }: Config,
  ): Promise<Entrance> {
    const { runtime, store, log } = this.#server;
    const places = sniffed.map(formatEndpoint);
    const isOwn = ownAddresses(runtime);
    let trouble: string | null = "no word of it yet";
    let isOpen = false;
    const note = () => {
      const fact: SniffFact = { places, trouble };
      attempt(log, () => store.setFact("sniff", fact));
    };
    const tell = (why: string | null) => {
      const isNew = why !== trouble;
      trouble = why;
      if (!isOpen || !isNew) return;
      const words = `knocks at sniff/${places.join(", sniff/")}`;
      if (why === null) log("info", `${words} are heard again`);
      else log("error", `${words} are not heard: ${why}`);
      note();
    };
    const hear = (captured: Captured) => this.#hear(captured, isOwn);
    const world = { runtime, store, hear, changed: tell };
    const capture = await startCapture("knocks", argv, world);
    if (trouble !== null) {
      await capture.stop();
      throw new FailureError(
        `cannot sniff udp ${places.join(", ")}: ${trouble}`,
        "install tcpdump, and run as root or with CAP_NET_RAW and CAP_NET_ADMIN",
      );
    }
    isOpen = true;
    note();
    return {
      words: places.map((place) => `sniff/${place}`),
      close: () => capture.stop(),
    };
  }

  #hear({ packet }: Captured, isOwn: (address: string) => boolean): void {
    if (!packet?.payload) return;
    const { target, port, source: host, sourcePort, payload } = packet;
    const isMeant = this.#server.active.config.sniffed.some((at) =>
      at.port === port && accepts(at.host, target)
    );
    if (!isMeant || !isOwn(target)) return;
    this.#receiver.receive([payload], { host, port: sourcePort }, null);
  }
}

/** True if a place's host is or includes an address: "::" every one, "0.0.0.0" every IPv4 one. */
function accepts(host: string, address: string): boolean {
  return host === "::" || host === address ||
    host === "0.0.0.0" && isIpv4(address);
}

function socketsOf({ listen, streams }: Config): (Listen | StreamListen)[] {
  return [...listen, ...streams];
}

/** The capture of the sniffed ports; empty: there are none. */
function captureOf({ sniffed, firewall, clients }: Config): readonly string[] {
  if (sniffed.length === 0 || clients.length === 0) return [];
  // With nft, the kernel has sorted out what is logged.
  if (firewall.backend === "nft") return logCommand(SNIFF_GROUP, KNOCK_SIZE);
  const ports = sniffed.map(({ port }) => port);
  const checks = clients.some(({ web }) => web) ? [BROWSER_CHECK] : [];
  return sniffedKnocks(ports, [...kernelForms(clients), ...checks]);
}

/** A browser's check as a kernel sees it: STUN, which begins with a zero. */
const BROWSER_CHECK = { least: 28, most: 1200, first: [0] };

function keyOf(at: Listen | StreamListen): string {
  const prefix = "transport" in at ? `${at.transport}/` : "";
  return prefix + formatEndpoint(at);
}

function cannotListen(at: Listen | StreamListen, error: unknown): unknown {
  if (!(error instanceof SystemError)) return error;
  const protocol = "transport" in at ? "tcp" : "udp";
  const what = `cannot listen on ${protocol} ${formatEndpoint(at)}`;
  const family = at.host.includes(":") ? 6 : 4;
  const reasons: Readonly<Record<string, [why: string, hint: string]>> = {
    EADDRINUSE: [
      "the port is in use",
      "`knock status` tells whether a server runs already; another port goes under listen",
    ],
    EADDRNOTAVAIL: [
      "this machine has no such address",
      `for one that comes later: sysctl net.ipv${family}.ip_nonlocal_bind=1`,
    ],
    EACCES: [
      "not allowed",
      "a port below 1024 needs root; another port goes under listen",
    ],
  };
  const [why, hint] = reasons[error.code] ?? [error.message];
  return new FailureError(`${what}: ${why}`, hint);
}
