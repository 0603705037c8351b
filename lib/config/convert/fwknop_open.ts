/** What a stanza of access.conf opens, and what it passes on. */

import { formatEndpoint, parseEndpoint } from "../../values/address.ts";
import { formatPortRange, type PortRange } from "../../values/ports.ts";
import { scalar } from "../write.ts";
import { isYes, type Settings } from "./fwknop_lines.ts";
import { ALL_PORTS, convertPorts, withoutPorts } from "./fwknop_ports.ts";

/** What a client may open, as YAML, and the service that it needs for it. */
export function convertOpen(
  settings: Settings,
  name: string,
  warnings: string[],
): { open: string[]; service: string | null } {
  const listed = settings.get("OPEN_PORTS");
  const restricted = settings.get("RESTRICT_PORTS");
  const source = settings.get("SOURCE")!;
  if (!listed) {
    warnings.push(
      `${source.where}: "${name}" has no OPEN_PORTS and may open every port, ` +
        `as with fwknopd: name the ports that it needs`,
    );
  }
  const ports = withoutPorts(
    listed ? convertPorts(listed, warnings) : ALL_PORTS,
    restricted ? convertPorts(restricted, warnings) : [],
  );
  const service = convertNat(settings, name, ports, warnings);
  return service
    ? { open: [scalar(`${name}-nat`)], service }
    : { open: ports.map(formatPortRange), service };
}

function convertNat(
  settings: Settings,
  name: string,
  ports: readonly PortRange[],
  warnings: string[],
): string | null {
  const nat = settings.get("FORCE_NAT");
  if (!nat) return null;
  const [host, port] = nat.value.split(/\s+/);
  const target = parseEndpoint(`${host}:${port ?? ""}`);
  if (!target || !settings.has("OPEN_PORTS") || ports.length === 0) {
    const words = "needs an address, a port and OPEN_PORTS, left out";
    warnings.push(`${nat.where}: ${nat.keyword}: ${words}`);
    return null;
  }
  const listen = ports.map(formatPortRange).join(", ");
  const to = JSON.stringify(formatEndpoint(target));
  const masquerade = isYes(settings.get("FORCE_MASQUERADE"))
    ? ", masquerade: true"
    : "";
  return `${
    scalar(`${name}-nat`)
  }: { listen: [${listen}], to: ${to}${masquerade} }\n`;
}
