/** From the packet until the connection: this project's server. */

import { GuardedServer } from "../guarded.ts";
import { expectAll, Stage } from "../stage.ts";
import type { Step } from "../step.ts";

const ROUNDS = 150;
const QUICK_ROUNDS = 25;

export const open: Step = {
  name: "open",
  measures: [
    "spa_open_ms_median",
    "spa_reply_ms_median",
    "spa_reply_connect_ms_median",
    "fwknop_dialect_open_ms_median",
  ],
  peers: [],
  programs: ["ip", "nft"],
  inNamespaces: true,

  async run({ results, quick }) {
    const rounds = quick ? QUICK_ROUNDS : ROUNDS;
    await Stage.with((stage) =>
      GuardedServer.with(stage, async (server) => {
        const openings = await stage.timeOpenings(
          rounds,
          (source) => [server.knock(source)],
        );
        expectAll(openings, rounds);
        results.timings("measures", "spa_open_ms_median", openings.ms);
        const replies = await stage.timeReplies(
          rounds,
          (source) => server.knock(source, true),
        );
        expectAll(replies, rounds);
        results.timings("measures", "spa_reply_ms_median", replies.replyMs);
        results.timings(
          "measures",
          "spa_reply_connect_ms_median",
          replies.ms,
        );
      })
    );
    await Stage.with((stage) =>
      GuardedServer.with(stage, async (server) => {
        const openings = await stage.timeOpenings(
          rounds,
          (source) => [server.knockInFwknop(source)],
        );
        expectAll(openings, rounds);
        const name = "fwknop_dialect_open_ms_median";
        results.timings("measures", name, openings.ms);
      }, { secondDialect: true })
    );
  },
};
