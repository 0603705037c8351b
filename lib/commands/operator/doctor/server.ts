/** Looks at the server: is it running, and which process has the knock port. */

import {
  type Config,
  hasSequencesAlone,
  type Listen,
} from "../../../config/config.ts";
import type { PrefilterState } from "../../../firewall/firewall.ts";
import { listing } from "../../../firewall/host/read.ts";
import type { Runtime } from "../../../runtime/runtime.ts";
import type { SniffFact } from "../../../server/packet/entrances.ts";
import type { SequenceFact } from "../../../server/sequences/sequences.ts";
import { formatEndpoint } from "../../../values/address.ts";
import { counted } from "../../../values/text.ts";
import type { ServerState } from "./files.ts";
import { bad, type Finding, ok, unknown, warn } from "./finding.ts";
import {
  describePrefilter,
  describeServer,
  type Page,
} from "../status/text.ts";
import { isEverywhere, type Socket } from "./services.ts";
import { orNull } from "../../../values/errors.ts";

/** Compares the state, the sockets and the configuration. */
export function checkServer(
  config: Config,
  { server, counters, sniff, prefilter }: ServerState,
  sockets: readonly Socket[] | null,
  page: Pick<Page, "isTerminal"> & { readonly nowMs: number } = {
    isTerminal: false,
    nowMs: 0,
  },
): Finding[] {
  const { listen, sniffed, maxSkewMs } = config;
  const findings: Finding[] = [
    server
      ? ok("server_running", describeServer(server, page.nowMs, page))
      : bad(
        "server_running",
        "server not running: nothing can be opened",
        "systemctl start knock, or: knock serve",
      ),
  ];
  // Without clients nothing is sent there.
  if (hasSequencesAlone(config)) return findings;
  const isRunning = server !== null;
  findings.push(
    ...listen.map((at) => checkPort(at, isRunning, sockets)),
    ...sniffed.map((at) => checkSniffed(at, isRunning, sniff ?? null, sockets)),
  );
  if (server) {
    findings.push(...checkPrefilter(prefilter ?? null));
    findings.push(...checkCounters(counters, maxSkewMs));
  }
  return findings;
}

function checkPrefilter(prefilter: PrefilterState | null): Finding[] {
  if (prefilter?.problem) {
    return [warn(
      "prefilter",
      `prefilter: ${prefilter.problem}`,
      prefilter.problem.includes("CAP_BPF")
        ? "copy xdp.conf into the unit's drop-ins (docs/firewalls.md), or set firewall.prefilter to auto"
        : "set firewall.prefilter to auto to do without",
    )];
  }
  const filtered = describePrefilter(prefilter);
  return filtered
    ? [ok("prefilter", `the kernel drops junk: prefilter ${filtered}`)]
    : [];
}

function checkSniffed(
  at: Listen,
  running: boolean,
  fact: SniffFact | null,
  sockets: readonly Socket[] | null,
): Finding {
  const place = formatEndpoint(at);
  const name = `udp ${place} (sniff)`;
  const answers = sockets?.some(({ protocol, port }) =>
    protocol === "udp" && port === at.port
  );
  if (answers) {
    return warn(
      "server_port",
      `${name}: a program listens on this port, so it differs from unused ones`,
      `choose another port; ss -ulpn 'sport = :${at.port}' shows the program`,
    );
  }
  if (!running) return ok("server_port", `${name}: no socket needed`);
  const isHeard = fact?.places.includes(place) ?? false;
  if (isHeard && fact?.trouble === null) {
    return ok("server_port", `${name}: heard`);
  }
  return bad(
    "server_port",
    `${name}: not heard: ${
      isHeard ? fact?.trouble : "the server runs with another configuration"
    }`,
    isHeard
      ? "apt install tcpdump; it needs CAP_NET_RAW and CAP_NET_ADMIN"
      : "systemctl reload knock",
  );
}

function checkPort(
  at: Listen,
  running: boolean,
  sockets: readonly Socket[] | null,
): Finding {
  const name = `udp ${formatEndpoint(at)}`;
  if (!sockets) {
    return unknown("server_port", `${name}: cannot see who listens there`);
  }
  const taken = sockets.some(({ protocol, port, address }) =>
    protocol === "udp" && port === at.port &&
    (address === at.host || isEverywhere(address) || isEverywhere(at.host))
  );
  if (running) {
    return taken ? ok("server_port", `${name}: the server listens`) : bad(
      "server_port",
      `${name}: nobody listens there; the server runs with another ` +
        "configuration, or in another network namespace",
      "systemctl reload knock",
    );
  }
  return taken
    ? bad(
      "server_port",
      `${name}: another program has this port`,
      `ss -ulpn 'sport = :${at.port}' names it; or choose another under listen`,
    )
    : ok("server_port", `${name}: free`);
}

/** Reads faults of clocks and keys from the counters. */
function checkCounters(
  counters: ServerState["counters"],
  maxSkewMs: number,
): Finding[] {
  const count = (...names: readonly string[]) =>
    names.reduce((sum, name) => sum + (counters[name] ?? 0), 0);
  const findings: Finding[] = [];
  if (count("received") === 0) {
    findings.push(warn(
      "packets_received",
      "no packet has come in since the server started",
      "knock at it; if none comes: tcpdump -ni any udp and the port, and the provider's firewall",
    ));
  }
  const late = count("refused: time");
  if (late > 0) {
    findings.push(warn(
      "packets_late",
      `${counted(late, "authentic packet")} refused for the time stamp ` +
        `(max_skew ${maxSkewMs / 1000} s)`,
      "set the clocks of the clients, or look at this one: knock log",
    ));
  }
  const strangers = count("refused: unknown client", "refused: noise");
  if (strangers > 0) {
    findings.push(warn(
      "packets_unknown_keys",
      `${counted(strangers, "packet")} by keys that no client here has`,
      "knock decode tells whose; knock client add enrols them again",
    ));
  }
  const failed = count("failed: firewall", "failed: state");
  if (failed > 0) {
    findings.push(bad(
      "knocks_failed",
      `${counted(failed, "knock")} granted that could not be carried out`,
      "knock log",
    ));
  }
  return findings;
}

// Synchronisation of this machine's clock: packets are judged by it.

/** Made by systemd-timesyncd when it has set the clock. */
const TIMESYNC = "/run/systemd/timesync/synchronized";
/** There where systemd runs. */
const SYSTEMD = "/run/systemd/system";

const TIMEDATECTL = "timedatectl show -p NTPSynchronized --value".split(" ");
const CHRONYC = ["chronyc", "-n", "tracking"];
const TIMEOUT_MS = 3000;
const CURE = "timedatectl set-ntp true, or: apt install chrony";

/** Asks who keeps the clock: a file, systemd, chrony. */
export async function checkClock(
  runtime: Runtime,
  maxSkewMs: number,
): Promise<Finding> {
  const within = `packets must be within ${maxSkewMs / 1000} s of it`;
  const now = new Date(runtime.nowMs()).toISOString();
  const synchronised = ok(
    "clock",
    `the clock is synchronised (${now}); ${within}`,
  );
  const exists = (path: string) =>
    orNull(() => runtime.files.stat(path)) !== null;
  if (exists(TIMESYNC)) return synchronised;
  const said = exists(SYSTEMD)
    ? await listing(runtime, TIMEDATECTL, TIMEOUT_MS)
    : null;
  const chrony = said === null
    ? await listing(runtime, CHRONYC, TIMEOUT_MS)
    : null;
  if (said === null && chrony === null) {
    return unknown(
      "clock",
      `no time synchronisation found; the clock may be wrong: ${now}; ${within}`,
    );
  }
  return said?.trim() === "yes" || /Leap status\s*: Normal/.test(chrony ?? "")
    ? synchronised
    : warn("clock", `the clock is not synchronised: ${now}; ${within}`, CURE);
}

// Port sequences: heard or not, and one-time ones that are left.

/** Compares the configuration with a running server's reports; null: no server is running. */
export function checkSequences(
  { sequences }: Config,
  facts: readonly SequenceFact[] | null,
): Finding[] {
  return sequences.flatMap(({ name, watch }): Finding[] => {
    const what = `sequence ${name} (watch: ${watch})`;
    const fact = facts?.find((one) => one.name === name);
    if (!facts) return [ok("sequence", `${what}: configured`)];
    if (!fact) {
      const text = `${what}: the server has not read of it yet`;
      return [warn("sequence", text, "systemctl reload knock")];
    }
    const { left, trouble } = fact;
    const findings: Finding[] = [];
    if (trouble !== null) {
      const text = watch === "kernel"
        ? `${what}: opens, but nobody hears of it: ${trouble}`
        : `${what}: is not heard: ${trouble}`;
      const cure = watch === "socket"
        ? "another port, or whoever has it must let it go"
        : "apt install tcpdump; it needs CAP_NET_RAW and CAP_NET_ADMIN";
      const tell = watch === "kernel" ? warn : bad;
      findings.push(tell("sequence", text, cure));
    }
    if (left === 0) {
      findings.push(bad(
        "sequence_used_up",
        `${what}: all one-time sequences are used, it stays shut`,
        `add new ones to sequences.${name}.one_time`,
      ));
    }
    if (findings.length > 0) return findings;
    const rest = left === null
      ? ""
      : `, ${counted(left, "one-time sequence")} left`;
    return [ok("sequence", `${what}: is heard${rest}`)];
  });
}
