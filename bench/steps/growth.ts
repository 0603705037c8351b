/** The same with many open grants, each opened by a valid knock; and memory. */

import { GuardedServer } from "../guarded.ts";
import { expectAll, Stage } from "../stage.ts";
import { connectGuarded } from "./connections.ts";
import type { Step } from "../step.ts";

const ROUNDS = 100;
const QUICK_ROUNDS = 25;
const SOME = 5_000;
const MANY = 100_000;
const QUICK_MANY = 10_000;
/** Memory is noted after every so many grants. */
const STRIDE = 10_000;

export const growth: Step = {
  name: "growth",
  measures: [
    "server_rss_mb",
    "spa_open_ms_median_5k",
    "spa_open_ms_median_100k",
    "server_rss_mb_100k",
    "fill_knocks_per_s",
    "connections_per_s_100k",
  ],
  peers: [],
  programs: ["ip", "nft"],
  inNamespaces: true,

  run: ({ results, quick, say }) =>
    Stage.with((stage) =>
      GuardedServer.with(stage, async (server) => {
        const rounds = quick ? QUICK_ROUNDS : ROUNDS;
        const many = quick ? QUICK_MANY : MANY;
        const time = async (name: string) => {
          const openings = await stage.timeOpenings(
            rounds,
            (source) => [server.knock(source)],
          );
          expectAll(openings, rounds);
          results.timings("measures", name, openings.ms);
        };
        const note = (grants: number) =>
          results.point("server_rss_mb", grants, server.residentMb());
        await stage.timeOpenings(rounds, (source) => [server.knock(source)]);
        results.measure("server_rss_mb", server.residentMb());
        note(0);
        await server.fill(SOME);
        note(SOME);
        await time("spa_open_ms_median_5k");
        let ms = 0;
        for (let total = STRIDE; total <= many; total += STRIDE) {
          const filled = await server.fill(total);
          ms += filled.ms;
          note(total);
          say(
            `growth: ${total} grants, ${Math.round(filled.ms)} ms`,
          );
        }
        const open = await server.countGrants();
        if (open < many) throw new Error(`${open} of ${many} grants are open`);
        if (quick) return;
        results.measure("fill_knocks_per_s", (many - SOME) / ms * 1000);
        results.measure("server_rss_mb_100k", server.residentMb());
        await time("spa_open_ms_median_100k");
        results.timings(
          "measures",
          "connections_per_s_100k",
          await connectGuarded(stage, server),
        );
      })
    ),
};
