/** Clients who can knock and get nothing. */

import type { Config } from "../../../config/config.ts";
import { bad, type Finding, ok, warn } from "./finding.ts";

const DAY_MS = 86_400_000;
/** How long before its end a client is told of. */
const SOON_DAYS = 14;

/** Whether nobody can send a packet here: no client is there, and sequences are. */
export function hasSequencesAlone({ clients, doors }: Config): boolean {
  return clients.length === 0 && doors.length > 0;
}

/** Looks at every client's policy. */
export function checkClients(config: Config, nowMs: number): Finding[] {
  const { clients } = config;
  if (hasSequencesAlone(config)) {
    return [ok("none is enrolled: port sequences alone open here")];
  }
  if (clients.length === 0) {
    return [bad("no client is enrolled", "knock client add NAME")];
  }
  const findings = clients.flatMap(({ name, open, run, expiresMs }) => {
    const found: Finding[] = [];
    if (open.length === 0 && run.length === 0) {
      found.push(warn(
        `client "${name}" may open nothing`,
        `clients: { ${name}: { open: [SERVICE] } }`,
      ));
    }
    if (expiresMs === null) return found;
    const when = new Date(expiresMs).toISOString();
    if (expiresMs <= nowMs) {
      found.push(warn(
        `client "${name}" has expired (${when})`,
        `a later "expires", or: knock client remove ${name}`,
      ));
    } else if (expiresMs - nowMs < SOON_DAYS * DAY_MS) {
      found.push(warn(`client "${name}" expires soon (${when})`));
    }
    return found;
  });
  const all = names(clients.map(({ name }) => name));
  return [ok(`${clients.length} enrolled: ${all}`), ...findings];
}

/** Most names on one line. */
const MAX_NAMES = 8;

function names(all: readonly string[]): string {
  const shown = all.slice(0, MAX_NAMES).join(", ");
  return all.length > MAX_NAMES
    ? `${shown} and ${all.length - MAX_NAMES} more`
    : shown;
}
