/** Whether the server runs, and who has the knock port. */

import type { Config, Listen } from "../../../config/config.ts";
import { formatEndpoint } from "../../../values/address.ts";
import { counted } from "../../../values/counted.ts";
import type { DoorFact } from "../../../server/doors/doors.ts";
import type { ServerFact } from "../../../server/report/reports.ts";
import { hasSequencesAlone } from "./check_clients.ts";
import { bad, type Finding, ok, unknown, warn } from "./finding.ts";
import { isEverywhere, type Socket } from "./sockets.ts";

/** What the state says of a server. */
export interface ServerState {
  /** The server that runs; null: none. */
  readonly server: ServerFact | null;
  /** What was counted since it started. */
  readonly counters: Readonly<Record<string, number>>;
  /** What it says of port sequences; absent: nothing. */
  readonly doors?: readonly DoorFact[];
}

/** Compares what the state, the sockets and the configuration say. */
export function checkServer(
  config: Config,
  { server, counters }: ServerState,
  sockets: readonly Socket[] | null,
): Finding[] {
  const { listen, maxSkewMs } = config;
  const findings: Finding[] = [];
  if (server) {
    const since = new Date(server.sinceMs).toISOString();
    findings.push(ok(`the server runs since ${since} (${server.backend})`));
  } else {
    findings.push(bad(
      "the server does not run: nothing can be opened",
      "systemctl start knock, or: knock serve",
    ));
  }
  // Without clients nobody sends anything there.
  if (hasSequencesAlone(config)) return findings;
  for (const at of listen) {
    findings.push(checkPort(at, server !== null, sockets));
  }
  if (server) findings.push(...checkCounters(counters, maxSkewMs));
  return findings;
}

function checkPort(
  at: Listen,
  running: boolean,
  sockets: readonly Socket[] | null,
): Finding {
  const name = `udp ${formatEndpoint(at)}`;
  if (!sockets) return unknown(`${name}: cannot see who listens there`);
  const taken = sockets.some(({ protocol, port, address }) =>
    protocol === "udp" && port === at.port &&
    (address === at.host || isEverywhere(address) || isEverywhere(at.host))
  );
  if (running) {
    return taken ? ok(`${name}: the server listens`) : bad(
      `${name}: nobody listens there; the server runs with another ` +
        "configuration, or in another network namespace",
      "systemctl reload knock",
    );
  }
  return taken
    ? bad(
      `${name}: another program has this port`,
      `ss -ulpn 'sport = :${at.port}' names it; or choose another under listen`,
    )
    : ok(`${name}: free`);
}

/** What came in tells of clocks and keys. */
function checkCounters(
  counters: ServerState["counters"],
  maxSkewMs: number,
): Finding[] {
  const count = (name: string) => counters[name] ?? 0;
  const findings: Finding[] = [];
  if (count("received") === 0) {
    findings.push(warn(
      "no packet has come in since the server started",
      "knock at it; if none comes: tcpdump -ni any udp and the port, and the provider's firewall",
    ));
  }
  const late = count("refused: time");
  if (late > 0) {
    findings.push(warn(
      `${counted(late, "authentic packet")} refused for the time stamp ` +
        `(max_skew ${maxSkewMs / 1000} s)`,
      "set the clocks of the clients, or look at this one: knock log",
    ));
  }
  const strangers = count("refused: unknown client") + count("refused: noise");
  if (strangers > 0) {
    findings.push(warn(
      `${counted(strangers, "packet")} by keys that no client here has`,
      "knock decode tells whose; knock client add enrols them again",
    ));
  }
  const failed = count("failed: firewall") + count("failed: state");
  if (failed > 0) {
    findings.push(bad(
      `${counted(failed, "knock")} granted that could not be carried out`,
      "knock log",
    ));
  }
  return findings;
}
