/** Files that the real knockd accepts and refuses, beside our reader of them. */

import { assertEquals } from "@std/assert";
import { join } from "node:path";
import { readKnockdConf } from "../../lib/config/convert/knockd/conf.ts";
import { ConfigError } from "../../lib/values/errors.ts";
import { KNOCKD_PROBES } from "../config/knockd_probes.ts";
import { runtime } from "../fakes/runtime.ts";
import { netnsTest } from "./netns.ts";

/** A file that knockd takes keeps it running: so long it may look at one. */
const SECONDS = "0.2";

netnsTest("readKnockdConf() takes what knockd takes", async (pair) => {
  const folder = runtime.files.makeTemporaryFolder();
  try {
    for (const { name, text } of KNOCKD_PROBES) {
      const file = join(folder, "knockd.conf");
      runtime.files.replace(file, text, 0o600);
      const { code } = await pair.exec(pair.server, [
        "timeout",
        SECONDS,
        ...["knockd", "-i", "eth0", "-c", file, "-p", join(folder, "pid")],
      ]);
      let ours = "takes";
      try {
        readKnockdConf(text, file, () => null);
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        ours = "refuses";
      }
      assertEquals(
        `${name}: ${ours}`,
        `${name}: ${code === 1 ? "refuses" : "takes"}`,
      );
    }
  } finally {
    runtime.files.removeFolder(folder);
  }
}, ["knockd", "timeout"]);
