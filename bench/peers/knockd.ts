/** The real knockd on a stage, behind iptables, and its knocks. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pass } from "../../tests/netns/netns.ts";
import { SEQUENCE_HITS, sequenceKnocks } from "../guarded.ts";
import type { Trigger } from "../prober/orders.ts";
import { SERVICE_PORT, type Stage } from "../stage.ts";
import { guardByIptables } from "./iptables.ts";

/** It says nothing when it is ready. */
const START_MS = 500;

/** A running knockd. */
export interface Knockd {
  readonly pid: number;
  /** The knocks that open the service for who makes them. */
  readonly knocks: readonly Trigger[];
}

/**
 * Starts knockd as its example configuration has it, but for the protocol of
 * the knocks; it ends with the stage.
 */
export async function startKnockd(
  stage: Stage,
  folder: string,
  protocol: "tcp" | "udp" = "tcp",
): Promise<Knockd> {
  const config = join(folder, `knockd-${crypto.randomUUID()}.conf`);
  writeFileSync(
    config,
    [
      "[options]",
      `  logfile = ${config}.log`,
      "[openSSH]",
      `  sequence    = ${
        SEQUENCE_HITS.map((port) => `${port}:${protocol}`).join(",")
      }`,
      "  seq_timeout = 5",
      "  command     = /usr/sbin/iptables -I INPUT -s %IP% -p tcp " +
      `--dport ${SERVICE_PORT} -j ACCEPT`,
      protocol === "tcp" ? "  tcpflags    = syn" : "",
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
  const knocks = sequenceKnocks(protocol);
  return { pid: child.pid!, knocks };
}
