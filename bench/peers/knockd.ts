/** The real knockd on a stage, behind iptables, and its knocks. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pass } from "../../tests/netns/netns.ts";
import type { Trigger } from "../prober.ts";
import { SERVICE_PORT, type Stage } from "../stage.ts";
import { guardByIptables } from "./iptables.ts";

/** It says nothing when it is ready. */
const START_MS = 500;

/** The knocks that open the service for who makes them. */
export const KNOCKS: readonly Trigger[] = [
  { tcp: 7000 },
  { tcp: 8000 },
  { tcp: 9000 },
];

/** Starts knockd as its example configuration has it; it ends with the stage. */
export async function startKnockd(
  stage: Stage,
  folder: string,
): Promise<{ readonly pid: number }> {
  const config = join(folder, `knockd-${crypto.randomUUID()}.conf`);
  writeFileSync(
    config,
    [
      "[options]",
      `  logfile = ${config}.log`,
      "[openSSH]",
      "  sequence    = 7000,8000,9000",
      "  seq_timeout = 5",
      "  command     = /usr/sbin/iptables -I INPUT -s %IP% -p tcp " +
      `--dport ${SERVICE_PORT} -j ACCEPT`,
      "  tcpflags    = syn",
      "",
    ].join("\n"),
  );
  await guardByIptables(stage);
  const child = stage.pair.spawn(
    stage.pair.server,
    ["knockd", "-i", "eth0", "-c", config],
    "pipe",
  );
  await pass(START_MS);
  if (child.exitCode !== null) throw new Error("knockd did not start");
  return { pid: child.pid! };
}
