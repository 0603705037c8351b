/** Looks behind the guarded ports: is something listening, and can it be reached. */

import {
  type Config,
  datagramPlaces,
  type Service,
} from "../../../config/config.ts";
import type { Runtime } from "../../../runtime/runtime.ts";
import {
  addressFromBytes,
  type Endpoint,
  formatEndpoint,
  isLoopback,
} from "../../../values/address.ts";
import {
  formatPortRange,
  onePort,
  type PortRange,
  type Protocol,
} from "../../../values/ports.ts";
import { type Finding, ok, unknown, warn } from "./finding.ts";
import { orNull } from "../../../values/errors.ts";

/** Looks at every port of every service. */
export function checkServices(
  config: Config,
  sockets: readonly Socket[] | null,
): Finding[] {
  const { services, firewall, clients } = config;
  if (services.length === 0) {
    const isOpened = clients.some(({ open }) => open.length > 0);
    const text = "no service is guarded" +
      (isOpened ? ": what clients open is open anyhow" : "");
    return [warn("services_none", text, "services: { ssh: tcp/22 }")];
  }
  if (!sockets) {
    return [
      unknown("service_listening", "cannot see which ports are listened on"),
    ];
  }
  return services.flatMap((service) => {
    if (firewall.backend === "gate") return checkGated(service, sockets);
    // Of another host: the doctor walks the way there.
    if (service.at) return [];
    if (service.to !== null) return [passedOn(service.name, service.to)];
    return service.ports.map((ports) =>
      checkPorts(service.name, ports, sockets, config)
    );
  });
}

function checkPorts(
  name: string,
  ports: PortRange,
  sockets: readonly Socket[],
  config: Config,
): Finding {
  const listen = datagramPlaces(config);
  const shown = `${name} ${formatPortRange(ports)}`;
  const own = sockets.filter((socket) => listensIn(socket, ports));
  if (own.length === 0) {
    return warn(
      "service_listening",
      `${shown}: nothing listens there`,
      "start the service, or take it out of the configuration",
    );
  }
  if (own.every(({ address }) => isLoopback(address))) {
    return warn(
      "service_listening",
      `${shown}: listens on the loopback alone: nobody comes there from outside`,
      "have the service listen on 0.0.0.0 and [::]; knock keeps it shut",
    );
  }
  const knocks6 = listen.some(({ host }) => host.includes(":"));
  const served6 = own.some(({ family, address }) =>
    family === 6 && !isLoopback(address)
  );
  if (served6 && !knocks6) {
    return warn(
      "service_families",
      `${shown}: listens on IPv6 too, where no knock can come to`,
      `listen: [${listen[0]?.port ?? ""}] takes knocks on both`,
    );
  }
  const where = [...new Set(own.map(({ address }) => address))].join(", ");
  return ok("service_listening", `${shown}: listens on ${where}`);
}

function passedOn(name: string, to: Endpoint): Finding {
  return ok("service_target", `${name}: passed on to ${formatEndpoint(to)}`);
}

/** With the gate, the port is ours, and the service is where it leads. */
function checkGated(
  { name, ports, to }: Service,
  sockets: readonly Socket[],
): Finding[] {
  if (!to) return [];
  if (!isLoopback(to.host) && to.host !== "localhost") {
    return [passedOn(name, to)];
  }
  const target = onePort("tcp", to.port);
  const own = sockets.filter((socket) => listensIn(socket, target));
  const shown = `${name} ${ports.map(formatPortRange).join(", ")} to ${
    formatEndpoint(to)
  }`;
  if (own.length === 0) {
    return [warn(
      "service_target",
      `${shown}: nothing listens there`,
      "start the service",
    )];
  }
  const bare = own.find(({ address }) => !isLoopback(address));
  if (!bare) {
    return [ok("service_target", `${shown}: reached through the gate alone`)];
  }
  const at = isEverywhere(bare.address) ? "every address" : bare.address;
  return [warn(
    "service_bypass",
    `${shown}: the service listens on ${at} itself, so the gate hides nothing`,
    "have the service listen on 127.0.0.1 alone, or use the nft backend",
  )];
}

// Listening ports of this machine, from Linux' /proc/net.

/** A listening socket. */
export interface Socket {
  readonly protocol: Protocol;
  readonly family: 4 | 6;
  /** Canonical; "0.0.0.0" and "::" are every address. */
  readonly address: string;
  readonly port: number;
}

/** States of include/net/tcp_states.h: LISTEN, and CLOSE for unconnected UDP. */
const WAITING: Readonly<Record<Protocol, string>> = { tcp: "0A", udp: "07" };

/** The machine's listening sockets; null where they cannot be seen. */
export function readSockets(runtime: Runtime): readonly Socket[] | null {
  if (runtime.platform !== "linux") return null;
  let seen = false;
  const sockets = (["tcp", "udp"] as const).flatMap((protocol) =>
    ([4, 6] as const).flatMap((family) => {
      const file = `/proc/net/${protocol}${family === 6 ? "6" : ""}`;
      const text = orNull(() => runtime.files.readText(file));
      if (text === null) return []; // a kernel without IPv6 has no tcp6
      seen = true;
      return parseSockets(text, protocol, family);
    })
  );
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

/** True if a socket accepts connections to one of these ports. */
function listensIn(socket: Socket, ports: PortRange): boolean {
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
  return words.length === 4 ? words.join(".") : addressFromBytes(words);
}
