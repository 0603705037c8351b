/** Says which of its standard streams are terminals. A tool of terminal_test.ts. */

import { runtime } from "../fakes/runtime.ts";

const streams = ["in", "out", "err"] as const;
const found = streams.filter((stream) => runtime.isTerminal(stream));
runtime.err(`terminals: ${found.join(" ") || "none"}\n`);
