/** Whether this machine's clock is kept: packets are judged by it. */

import { listing } from "../../../firewall/host/read.ts";
import { type Runtime, SystemError } from "../../../runtime/runtime.ts";
import { type Finding, ok, unknown, warn } from "./finding.ts";

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
  if (exists(runtime, TIMESYNC)) {
    return ok(`the clock is synchronised (${now}); ${within}`);
  }
  const said = exists(runtime, SYSTEMD)
    ? await listing(runtime, TIMEDATECTL, TIMEOUT_MS)
    : null;
  const chrony = said === null
    ? await listing(runtime, CHRONYC, TIMEOUT_MS)
    : null;
  const kept = said === null
    ? chrony === null ? null : /Leap status\s*: Normal/.test(chrony)
    : said.trim() === "yes";
  if (kept === null) {
    return unknown(
      `nobody says whether the clock is right: ${now}; ${within}`,
    );
  }
  return kept
    ? ok(`the clock is synchronised (${now}); ${within}`)
    : warn(`the clock is not synchronised: ${now}; ${within}`, CURE);
}

function exists(runtime: Runtime, path: string): boolean {
  try {
    return runtime.files.stat(path) !== null;
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return false;
  }
}
