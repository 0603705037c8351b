/** Cost of guarding for those who are let in: new connections a second. */

import { GuardedServer, KNOCK_HOST } from "../guarded.ts";
import { restore } from "../peers/iptables.ts";
import {
  clientAddress,
  type Connections,
  type Opened,
} from "../prober/orders.ts";
import { SERVICE_PORT, Stage } from "../stage.ts";
import type { Step } from "../step.ts";

const MEASURE_MS = 1500;
const QUICK_MS = 300;
const RUNS = 3;
const RULES = 5000;
const FILLED_FROM = 0x40000;

export const connections: Step = {
  name: "connections",
  measures: ["connections_per_s_unguarded", "connections_per_s"],
  peers: ["iptables_connections_per_s_5k"],
  programs: ["iptables-restore"],
  inNamespaces: true,

  async run({ results, quick }) {
    const forMs = quick ? QUICK_MS : MEASURE_MS;
    await Stage.with(async (stage) => {
      const source = stage.freshAddress();
      const bare = await connectOften(stage, source, forMs);
      results.timings("measures", "connections_per_s_unguarded", bare);
      await restore(stage, [
        "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        ...Array.from(
          { length: RULES },
          (_, index) =>
            `-A INPUT -s ${clientAddress(FILLED_FROM + index)} -p tcp ` +
            `--dport ${SERVICE_PORT} -j ACCEPT`,
        ),
        `-A INPUT -s ${source} -p tcp --dport ${SERVICE_PORT} -j ACCEPT`,
        `-A INPUT -p tcp --dport ${SERVICE_PORT} -j DROP`,
      ]);
      const ruled = await connectOften(stage, source, forMs);
      results.timings("peers", "iptables_connections_per_s_5k", ruled);
    });
    await Stage.with((stage) =>
      GuardedServer.with(stage, async (server) => {
        const guarded = await connectGuarded(stage, server, forMs);
        results.timings("measures", "connections_per_s", guarded);
      })
    );
  },
};

/** Connections a second through the guarded port, after a knock. */
export async function connectGuarded(
  stage: Stage,
  server: GuardedServer,
  forMs = MEASURE_MS,
): Promise<number[]> {
  const source = stage.freshAddress();
  const opened = await stage.ask<Opened>({
    do: "reply",
    source,
    target: KNOCK_HOST,
    port: SERVICE_PORT,
    trigger: server.knock(source, true),
  });
  if (opened.ms === null) throw new Error("the knock did not open");
  return await connectOften(stage, source, forMs);
}

async function connectOften(
  stage: Stage,
  source: string,
  forMs: number,
): Promise<number[]> {
  const found: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    const { perSecond } = await stage.ask<Connections>({
      do: "connect",
      source,
      target: KNOCK_HOST,
      port: SERVICE_PORT,
      forMs,
    });
    found.push(perSecond);
  }
  return found;
}
