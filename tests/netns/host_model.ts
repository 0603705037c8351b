/** Answers what the model of the host's rules says of probes: JSON orders on stdin, one a line. */

import { createInterface } from "node:readline";
import process from "node:process";
import { formatCause, judgePassing } from "../../lib/firewall/host/flow.ts";
import type { Probe } from "../../lib/firewall/host/model.ts";
import { HostReader } from "../../lib/firewall/host/read.ts";
import { runtime } from "../fakes/runtime.ts";

/** Reads the host's rules again, and judges each probe. */
export interface Ask {
  readonly probes: readonly Probe[];
}

/** Answers of the model; null where the rules cannot be read. */
export interface Judged {
  readonly answers:
    | (readonly { passes: "yes" | "no" | "maybe"; by: string | null }[])
    | null;
}

const reader = new HostReader(runtime);

for await (const line of createInterface({ input: process.stdin })) {
  const { id, probes } = JSON.parse(line) as Ask & { id: number };
  const rules = await reader.read();
  const answers = rules && probes.map((probe) => {
    const own = { chain: null, accepts: false };
    const { passes, cause } = judgePassing(rules, probe, own);
    return { passes, by: cause && formatCause(cause) };
  });
  process.stdout.write(JSON.stringify({ id, answers }) + "\n");
}
