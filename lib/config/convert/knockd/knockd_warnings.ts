/** What has to be known about a door of knockd when it is converted. */

import { formatDuration } from "../../../values/duration.ts";
import { MAX_WITHIN_SECONDS } from "../../door_schema.ts";
import { commandArgv } from "./command.ts";
import type { DoorPort } from "./conf.ts";
import type { Entry } from "./doors.ts";

/** How long a door stays open that nothing but a closing sequence shuts, seconds. */
export const OPEN_SECONDS = 8 * 3600;

/** Where knockd ran its commands as root, for as long as they took. */
const AS_SERVER =
  "as the server's user (the packaged service's is no root), for 60s at most";

/** Of knockd's timeout so much and less loses sequences, as it counts whole seconds. */
const TINY_TIMEOUT = 1;

/** What has to be known about a door; `runs` is whether it runs programs of its own. */
export function doorWarnings(
  { door, effect, closer }: Entry,
  runs: boolean,
): string[] {
  const found = [...effect.notes];
  const { opening, seconds } = effect;
  const warn = (words: string) => void found.push(words);
  const all = [
    ...door.oneTime ?? [door.ports],
    ...closer ? [closer.ports] : [],
  ];
  if (all.some(isAscending)) {
    warn("its ports ascend: a scan of them in order is the sequence");
  }
  for (const odd of [...door.oddPorts, ...closer?.oddPorts ?? []]) {
    warn(`knockd reads ${odd}, and so does this: it knows no ranges`);
  }
  if (closer && closer.seqTimeout !== door.seqTimeout) {
    warn("its closing sequence has another seq_timeout: the longer one counts");
  }
  const longest = Math.max(door.seqTimeout, closer?.seqTimeout ?? 0);
  if (longest > MAX_WITHIN_SECONDS) {
    warn(
      `seq_timeout ${longest} is longer than a sequence may take: it is ` +
        `${formatDuration(MAX_WITHIN_SECONDS)} here`,
    );
  }
  if (door.oneTime) {
    warn(
      "each one-time sequence is used once, in its order, and is noted " +
        "in the state file: the old file is not changed any more",
    );
  }
  if (door.seqTimeout <= 0) {
    warn(`seq_timeout ${door.seqTimeout} let nothing through: it is 1s here`);
  } else if (door.seqTimeout <= TINY_TIMEOUT) {
    warn("seq_timeout is tiny: one slow packet, and the sequence is lost");
  }
  if (door.tcpFlags.length === 0 && all.flat().some(isTcp)) {
    warn(
      "no tcpflags: knockd took every TCP packet for a knock, here it " +
        "is the first one of a connection (syn)",
    );
  }
  if (opening?.lacksProtocol) {
    warn(
      "its command names no protocol, which iptables refuses: it is tcp " +
        "here",
    );
  }
  if (opening?.action === "open" && seconds === null) {
    const end = formatDuration(OPEN_SECONDS);
    warn(
      closer
        ? `what is opened ends after ${end}, if it is not closed before`
        : `nothing closed what it opened: here it ends after ${end}`,
    );
  }
  if (seconds !== null && seconds <= 0) {
    const most = formatDuration(clampSeconds(seconds));
    warn(`cmd_timeout ${seconds} is ${most} here`);
  }
  if (opening?.action === "open" && effect.run + effect.runAfter !== "") {
    warn(`what it runs besides is run ${AS_SERVER}`);
  }
  if (opening?.action === "open") return found;
  if (!runs) warn("runs nothing: it is only noted in the history");
  const commands = [door.start, door.start6, door.stop, door.stop6];
  const argvs = commands.filter((text) => text).map((text) =>
    commandArgv(text!)
  );
  if (argvs.some(([program]) => program === "/bin/sh")) {
    warn("its command needs a shell: look at how it treats {address}");
  }
  if (runs) warn(`its command is run ${AS_SERVER}`);
  if (runs && (door.stop || door.stop6)) {
    warn(
      "its stop command waits for the server where that was killed: it is run " +
        "when it starts again",
    );
  }
  if (runs && !door.stop && !door.stop6 && opening?.action !== "close") {
    warn("runs a command that nothing takes back");
  }
  return found;
}

/** knockd slept as long as an unsigned number says. */
export function clampSeconds(seconds: number): number {
  return seconds < 0 ? OPEN_SECONDS : Math.max(1, seconds);
}

function isTcp({ protocol }: DoorPort): boolean {
  return protocol === "tcp";
}

function isAscending(ports: readonly DoorPort[]): boolean {
  return ports.length > 1 &&
    ports.every(({ port }, index) =>
      index === 0 || port > ports[index - 1]!.port
    );
}
