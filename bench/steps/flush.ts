/** Openness of a guarded port when another program flushes the rules: once a second for a minute. */

import { GuardedServer, KNOCK_HOST } from "../guarded.ts";
import type { Openness } from "../prober/orders.ts";
import { SERVICE_PORT, Stage } from "../stage.ts";
import type { Step } from "../step.ts";
import { pass } from "../../tests/netns/netns.ts";

const RELOADS = 60;
const QUICK_RELOADS = 5;
const EVERY_MS = 1000;

/** As `systemctl reload nftables` loads it. */
const HOST_RULES = `flush ruleset
table inet filter {
  chain input {
    type filter hook input priority filter; policy accept;
  }
}
`;

/** As a script that sets up a host's own rules does. */
const IPTABLES = [
  "sh",
  "-c",
  "for t in filter mangle; do iptables -w -t $t -F; ip6tables -w -t $t -F; done",
];

export const flush: Step = {
  name: "flush",
  measures: ["flush_open_ms_max", "flush_open_ms_max_iptables"],
  peers: [],
  programs: ["nft", "iptables"],
  inNamespaces: true,

  async run({ results, quick }) {
    const count = quick ? QUICK_RELOADS : RELOADS;
    for (
      const [backend, measure] of [
        ["nft", "flush_open_ms_max"],
        ["iptables", "flush_open_ms_max_iptables"],
      ] as const
    ) {
      await Stage.with((stage) =>
        GuardedServer.with(stage, async () => {
          const reload = async () => {
            if (backend === "iptables") {
              await stage.pair.onServer(IPTABLES);
            } else {
              await stage.pair.onServer(["nft", "-f", "-"], HOST_RULES);
            }
          };
          const open = await watchOpenness(stage, count, reload);
          results.measure(measure, Math.max(...open));
        }, { backend })
      );
    }
  },
};

/** Time of openness after each change, milliseconds. */
async function watchOpenness(
  stage: Stage,
  count: number,
  change: () => Promise<void>,
): Promise<readonly number[]> {
  const watched = stage.ask<Openness>({
    do: "watch",
    source: stage.freshAddress(),
    target: KNOCK_HOST,
    port: SERVICE_PORT,
    forMs: (count + 2) * EVERY_MS,
  });
  for (let done = 0; done < count; done++) {
    await pass(EVERY_MS);
    await change();
  }
  const { openMs, attempts } = await watched;
  if (openMs.length === 0) throw new Error("it was never seen open");
  if (attempts < count * 100) throw new Error(`only ${attempts} attempts`);
  return openMs;
}
