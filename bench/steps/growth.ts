/**
 * The same with many open grants, each opened by a valid knock; and memory.
 * Beside it, in turns, a server that has none: what else the machine does
 * hits both alike.
 */

import { pass } from "../../tests/netns/netns.ts";
import { GuardedServer } from "../guarded.ts";
import { expectAll, Stage } from "../stage.ts";
import { spreadOf } from "../statistics.ts";
import { connectGuarded } from "./connections.ts";
import type { Step } from "../step.ts";

const ROUNDS = 100;
const QUICK_ROUNDS = 25;
/** So many rounds with the one server, then with the other. */
const TURN = 25;
const FEW = 1_000;
const SOME = 5_000;
const MANY = 100_000;
const QUICK_MANY = 10_000;
/** Memory is noted after every so many grants. */
const STRIDE = 10_000;
/** Then what a load leaves is collected. */
const SETTLED_MS = 1000;

export const growth: Step = {
  name: "growth",
  measures: [
    "server_rss_mb",
    "spa_open_ms_median_1k",
    "spa_open_ms_median_beside_1k",
    "spa_open_ratio_1k",
    "spa_open_ms_median_5k",
    "spa_open_ms_median_beside_5k",
    "spa_open_ratio_5k",
    "spa_open_ms_median_100k",
    "spa_open_ms_median_beside_100k",
    "spa_open_ratio_100k",
    "server_rss_mb_100k",
    "server_rss_mb_fill",
    "fill_knocks_per_s",
    "connections_per_s_100k",
  ],
  peers: [],
  programs: ["ip", "nft"],
  inNamespaces: true,

  run: ({ results, quick, say }) =>
    withTwo(async (filled, empty) => {
      const { stage, server } = filled;
      const rounds = quick ? QUICK_ROUNDS : ROUNDS;
      const many = quick ? QUICK_MANY : MANY;
      const time = async (grants: "1k" | "5k" | "100k") => {
        const own: number[] = [];
        const beside: number[] = [];
        for (let done = 0; done < rounds; done += TURN) {
          own.push(...await openings(filled));
          beside.push(...await openings(empty));
        }
        const name = `spa_open_ms_median_${grants}`;
        results.timings("measures", name, own);
        const other = `spa_open_ms_median_beside_${grants}`;
        results.timings("measures", other, beside);
        const ratio = spreadOf(own)!.median / spreadOf(beside)!.median;
        results.measure(`spa_open_ratio_${grants}`, ratio);
      };
      const note = (grants: number) =>
        results.point("server_rss_mb", grants, server.residentMb());
      for (let done = 0; done < rounds; done += TURN) await openings(filled);
      results.measure("server_rss_mb", server.residentMb());
      note(0);
      await server.fill(FEW);
      await time("1k");
      await server.fill(SOME);
      note(SOME);
      await time("5k");
      let ms = 0;
      let most = 0;
      for (let total = STRIDE; total <= many; total += STRIDE) {
        const { ms: took } = await server.fill(total);
        ms += took;
        most = Math.max(most, server.residentMb());
        note(total);
        say(`growth: ${total} grants, ${Math.round(took)} ms`);
      }
      const open = await server.countGrants();
      if (open < many) throw new Error(`${open} of ${many} grants are open`);
      if (quick) return;
      results.measure("fill_knocks_per_s", (many - SOME) / ms * 1000);
      results.measure("server_rss_mb_fill", most);
      await pass(SETTLED_MS);
      results.measure("server_rss_mb_100k", server.residentMb());
      await time("100k");
      results.timings(
        "measures",
        "connections_per_s_100k",
        await connectGuarded(stage, server),
      );
    }),
};

interface Served {
  readonly stage: Stage;
  readonly server: GuardedServer;
}

/** Has two servers, each on a stage of its own. */
function withTwo(
  work: (one: Served, other: Served) => Promise<void>,
): Promise<void> {
  const serve = (then: (served: Served) => Promise<void>) =>
    Stage.with((stage) =>
      GuardedServer.with(stage, (server) => then({ stage, server }))
    );
  return serve((one) => serve((other) => work(one, other)));
}

async function openings({ stage, server }: Served): Promise<number[]> {
  const timed = await stage.timeOpenings(
    TURN,
    (source) => [server.knock(source)],
  );
  expectAll(timed, TURN);
  return timed.ms;
}
