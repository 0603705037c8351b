/** Valid knocks under the junk that costs most to refuse: openme's and OpenSPA's. */

import {
  JUNK_CLIENT_FILES,
  JUNK_CLIENTS,
  startDialectJunk,
} from "../../tests/netns/dialect_junk.ts";
import { GuardedServer } from "../guarded.ts";
import { Stage } from "../stage.ts";
import type { Step } from "../step.ts";
import { knockThrice } from "./flood.ts";

/** Addresses that the junk comes from. */
const SOURCES = 2000;

export const dialectJunk: Step = {
  name: "dialect-junk",
  measures: ["dialect_junk_pps", "dialect_junk_opened_of_20"],
  peers: [],
  programs: [],
  inNamespaces: true,

  run: ({ results }) =>
    Stage.with((stage) =>
      GuardedServer.with(stage, async (server) => {
        const junk = await startDialectJunk(
          stage.pair,
          server.folder,
          SOURCES,
        );
        const opened = await knockThrice(stage, server);
        results.measure("dialect_junk_pps", await junk.end());
        results.measure("dialect_junk_opened_of_20", opened.length);
      }, { others: { clients: JUNK_CLIENTS, files: JUNK_CLIENT_FILES } })
    ),
};
