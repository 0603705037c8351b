/** Junk of other dialects, as costly as it can be made, does not keep knocks out. */

import { assert } from "@std/assert";
import {
  JUNK_CLIENT_FILES,
  JUNK_CLIENTS,
  startDialectJunk,
} from "./dialect_junk.ts";
import { CLIENTS, netnsTest } from "./netns.ts";
import { Program } from "./program.ts";

const KNOCKS = 10;
const TEST_MS = 600_000;

for (const [words, sources] of [["few", 4], ["many", 2000]] as const) {
  netnsTest(
    `knocks open under junk of other dialects from ${words} sources`,
    async (pair) => {
      const program = new Program(pair);
      try {
        program.configure(
          "listen: [62201]\nservices: { ssh: tcp/22 }\ndefaults: { for: 1m }",
          [{ name: "alice", policy: ["open: [ssh]"] }, ...JUNK_CLIENTS],
        );
        for (const [name, text] of Object.entries(JUNK_CLIENT_FILES)) {
          program.write(name, text);
        }
        // deno-fmt-ignore
        await pair.exec(pair.client, [
          "ip", "route", "add", "local", "10.98.0.0/16", "dev", "lo",
        ]);
        // deno-fmt-ignore
        await pair.onServer([
          "ip", "route", "add", "10.98.0.0/16", "via", CLIENTS[4][0],
        ]);
        await program.serve();
        await program.enrol("alice");
        const junk = await startDialectJunk(pair, program.folder, sources);
        // How many are lost at which rate is for the bench: here the machine
        // may do other work. A server that junk starves opens none at all.
        for (let knock = 0; knock < KNOCKS; knock++) {
          while ((await program.client(["alice", "--tries", "3"])).code !== 0);
        }
        assert(await junk.end() > 0);
        // Some of it came as far as it can: to what costs most.
        const { stdout } = await program.admin("status", "--json");
        const { counters } = JSON.parse(stdout);
        assert(counters.refused_unknown_client > 0, stdout);
      } finally {
        program.remove();
      }
    },
    [],
    TEST_MS,
  );
}
