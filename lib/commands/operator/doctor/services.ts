/** Whether there is something behind the guarded ports, and whether it can be reached. */

import type { Config, Service } from "../../../config/config.ts";
import { formatEndpoint, isLoopback } from "../../../values/address.ts";
import { formatPortRange, type PortRange } from "../../../values/ports.ts";
import { type Finding, ok, unknown, warn } from "./finding.ts";
import { isEverywhere, listensIn, type Socket } from "./sockets.ts";

/** Looks at every port of every service. */
export function checkServices(
  config: Config,
  sockets: readonly Socket[] | null,
): Finding[] {
  const { services, firewall, clients } = config;
  if (services.length === 0) {
    const direct = clients.some(({ open }) => open.length > 0);
    const cure = `services: { ssh: tcp/22 }`;
    return direct
      ? [warn("no service is guarded: what clients open is open anyhow", cure)]
      : [warn("no service is guarded", cure)];
  }
  if (!sockets) {
    return [unknown("cannot see which ports are listened on")];
  }
  return services.flatMap((service) => {
    if (firewall.backend === "gate") return checkGated(service, sockets);
    if (service.to !== null) {
      return [
        ok(`${service.name}: passed on to ${formatEndpoint(service.to)}`),
      ];
    }
    return service.ports.flatMap((ports) =>
      checkPorts(service.name, ports, sockets, config)
    );
  });
}

function checkPorts(
  name: string,
  ports: PortRange,
  sockets: readonly Socket[],
  { listen }: Config,
): Finding[] {
  const shown = `${name} ${formatPortRange(ports)}`;
  const own = sockets.filter((socket) => listensIn(socket, ports));
  if (own.length === 0) {
    return [warn(
      `${shown}: nothing listens there`,
      "start the service, or take it out of the configuration",
    )];
  }
  if (own.every(({ address }) => isLoopback(address))) {
    return [warn(
      `${shown}: listens on the loopback alone: nobody comes there from outside`,
      "have the service listen on 0.0.0.0 and [::]; knock keeps it shut",
    )];
  }
  const knocks6 = listen.some(({ host }) => host.includes(":"));
  const served6 = own.some(({ family, address }) =>
    family === 6 && !isLoopback(address)
  );
  if (served6 && !knocks6) {
    return [warn(
      `${shown}: listens on IPv6 too, where no knock can come to`,
      `listen: [${listen[0]?.port ?? ""}] takes knocks on both`,
    )];
  }
  const where = [...new Set(own.map(({ address }) => address))].join(", ");
  return [ok(`${shown}: listens on ${where}`)];
}

/** With the gate, the port is ours, and the service is where it leads. */
function checkGated(
  { name, ports, to }: Service,
  sockets: readonly Socket[],
): Finding[] {
  if (!to || !(isLoopback(to.host) || to.host === "localhost")) {
    return to ? [ok(`${name}: passed on to ${formatEndpoint(to)}`)] : [];
  }
  const target: PortRange = { protocol: "tcp", first: to.port, last: to.port };
  const own = sockets.filter((socket) => listensIn(socket, target));
  const shown = `${name} ${ports.map(formatPortRange).join(", ")} to ${
    formatEndpoint(to)
  }`;
  if (own.length === 0) {
    return [warn(`${shown}: nothing listens there`, "start the service")];
  }
  const bare = own.find(({ address }) => !isLoopback(address));
  if (!bare) return [ok(`${shown}: reached through the gate alone`)];
  const at = isEverywhere(bare.address) ? "every address" : bare.address;
  return [warn(
    `${shown}: the service listens on ${at} itself, so the gate hides nothing`,
    "have the service listen on 127.0.0.1 alone, or use the nft backend",
  )];
}
