/** Looks at the server: is it running, and which process has the knock port. */

import {
  type Config,
  hasSequencesAlone,
  type Listen,
} from "../../../config/config.ts";
import type { PrefilterState } from "../../../firewall/firewall.ts";
import { listing } from "../../../firewall/host/read.ts";
import type { Runtime } from "../../../runtime/runtime.ts";
import type { Status } from "../../../server/report/status.ts";
import type { SequenceFact } from "../../../server/sequences/sequences.ts";
import { formatEndpoint } from "../../../values/address.ts";
import { counted } from "../../../values/text.ts";
import { bad, type Finding, findingsOf, ok, unknown, warn } from "./finding.ts";
import { describePrefilter, describeServer } from "../status/text.ts";
import { isEverywhere, type Socket } from "./services.ts";
import { orNull } from "../../../values/errors.ts";

const NEEDS_TCPDUMP =
  "apt install tcpdump; it needs CAP_NET_RAW and CAP_NET_ADMIN";

/** Compares the state, the sockets and the configuration. */
export function checkServer(
  config: Config,
  status: Status,
  sockets: readonly Socket[] | null,
  isTerminal: boolean,
): Finding[] {
  const { server, nowMs, counters, prefilter } = status;
  const isRunning = server !== null;
  const running = server
    ? ok("server_running", describeServer(server, nowMs, isTerminal))
    : bad(
      "server_running",
      "server not running: nothing can be opened",
      "systemctl start knock, or: knock serve",
    );
  // Without clients nothing is sent there.
  if (hasSequencesAlone(config)) return [running];
  return [
    running,
    ...config.listen.map((at) => checkPort(at, isRunning, sockets)),
    ...config.sniffed.map((at) => checkSniffed(at, status, sockets)),
    ...isRunning ? checkPrefilter(prefilter) : [],
    ...isRunning ? checkCounters(counters, config.maxSkewMs) : [],
  ];
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
  { server, sniff }: Status,
  sockets: readonly Socket[] | null,
): Finding {
  const id = "server_port";
  const place = formatEndpoint(at);
  const name = `udp ${place} (sniff)`;
  const answers = sockets?.some(({ protocol, port }) =>
    protocol === "udp" && port === at.port
  );
  if (answers) {
    return warn(
      id,
      `${name}: a program listens on this port, so it differs from unused ones`,
      `choose another port; ss -ulpn 'sport = :${at.port}' shows the program`,
    );
  }
  if (!server) return ok(id, `${name}: no socket needed`);
  if (!sniff?.places.includes(place)) {
    return bad(
      id,
      `${name}: not heard: the server runs with another configuration`,
      "systemctl reload knock",
    );
  }
  return sniff.trouble === null ? ok(id, `${name}: heard`) : bad(
    id,
    `${name}: not heard: ${sniff.trouble}`,
    NEEDS_TCPDUMP,
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
  counters: Status["counters"],
  maxSkewMs: number,
): Finding[] {
  const count = (...names: readonly string[]) =>
    names.reduce((sum, name) => sum + (counters[name] ?? 0), 0);
  const late = count("refused: time");
  const strangers = count("refused: unknown client", "refused: noise");
  const failed = count("failed: firewall", "failed: state");
  return findingsOf(
    count("received") === 0 && warn(
      "packets_received",
      "no packet has come in since the server started",
      "knock at it; if none comes: tcpdump -ni any udp and the port, and the provider's firewall",
    ),
    late > 0 && warn(
      "packets_late",
      `${counted(late, "authentic packet")} refused for the time stamp ` +
        `(max_skew ${maxSkewMs / 1000} s)`,
      "set the clocks of the clients, or look at this one: knock log",
    ),
    strangers > 0 && warn(
      "packets_unknown_keys",
      `${counted(strangers, "packet")} by keys that no client here has`,
      "knock decode tells whose; knock client add enrols them again",
    ),
    failed > 0 && bad(
      "knocks_failed",
      `${counted(failed, "knock")} granted that could not be carried out`,
      "knock log",
    ),
  );
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
  const synchronised = `the clock is synchronised (${now}); ${within}`;
  const exists = (path: string) =>
    orNull(() => runtime.files.stat(path)) !== null;
  if (exists(TIMESYNC)) return ok("clock", synchronised);
  const said = exists(SYSTEMD)
    ? await listing(runtime, TIMEDATECTL, TIMEOUT_MS)
    : null;
  const words = said ?? await listing(runtime, CHRONYC, TIMEOUT_MS);
  if (words === null) {
    return unknown(
      "clock",
      `no time synchronisation found; the clock may be wrong: ${now}; ${within}`,
    );
  }
  return /^\s*yes\s*$|Leap status\s*: Normal/.test(words)
    ? ok("clock", synchronised)
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
    const rest = left === null
      ? ""
      : `, ${counted(left, "one-time sequence")} left`;
    const [tell, fault] = watch === "kernel"
      ? [warn, "opens, but nobody hears of it"] as const
      : [bad, "is not heard"] as const;
    return findingsOf(
      trouble !== null && tell(
        "sequence",
        `${what}: ${fault}: ${trouble}`,
        watch === "socket"
          ? "another port, or whoever has it must let it go"
          : NEEDS_TCPDUMP,
      ),
      left === 0 && bad(
        "sequence_used_up",
        `${what}: all one-time sequences are used, it stays shut`,
        `add new ones to sequences.${name}.one_time`,
      ),
      trouble === null && left !== 0 &&
        ok("sequence", `${what}: is heard${rest}`),
    );
  });
}
