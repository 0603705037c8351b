/** The server with no more rights than it needs: an ordinary user with CAP_NET_ADMIN. */

import { assert, assertEquals } from "@std/assert";
import { chmodSync, chownSync, mkdirSync, readdirSync } from "node:fs";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { CLIENTS, netnsTest, scriptCommand } from "./netns.ts";
import { Program } from "./program.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const [HERE, NEIGHBOUR] = CLIENTS[4];
const NOBODY = 65534;

/** The argv of `deno task serve`, which may write to the test's folder instead. */
function serveTask(folder: string, config: string): string[] {
  const { tasks } = JSON.parse(readFileSync(join(ROOT, "deno.json"), "utf8"));
  const words = (tasks.serve.command as string).split(" ");
  assertEquals(words.slice(0, 2), ["deno", "run"]);
  return [
    process.execPath,
    ...words.slice(1).map((word) =>
      word.startsWith("--allow-write=")
        ? `--allow-write=${folder}`
        : word === "main.ts"
        ? join(ROOT, word)
        : word
    ),
    "--config",
    config,
  ];
}

netnsTest(
  "an ordinary user with CAP_NET_ADMIN alone serves, by Deno's permission list",
  async (pair) => {
    const program = new Program(pair);
    try {
      program.configure("services: { ssh: tcp/22 }", [
        { name: "alice", policy: ["open: [ssh]", "for: 10m"] },
      ]);
      const cache = join(program.folder, "cache");
      mkdirSync(cache);
      for (const name of ["", "cache", ...readdirSync(program.folder)]) {
        chownSync(join(program.folder, name), NOBODY, NOBODY);
      }
      chmodSync(program.folder, 0o700);
      await pair.serve("tcp", 22);
      await program.serveBy([
        "setpriv",
        `--reuid=${NOBODY}`,
        `--regid=${NOBODY}`,
        "--clear-groups",
        "--inh-caps=-all,+net_admin",
        "--ambient-caps=-all,+net_admin",
        "--bounding-set=-all,+net_admin",
        "--no-new-privs",
        "env",
        "-i",
        `PATH=${process.env["PATH"]}`,
        `HOME=${cache}`,
        `DENO_DIR=${cache}`,
        ...("Deno" in globalThis
          ? serveTask(program.folder, program.config)
          : scriptCommand(
            "../../main.ts",
            "serve",
            "--config",
            program.config,
          )),
      ]);
      await program.enrol("alice");
      assert(!await pair.canReach(HERE, 22));
      assertEquals((await program.client(["alice"])).stderr, "");
      assert(await pair.canReach(HERE, 22));
      assert(!await pair.canReach(NEIGHBOUR, 22));
      assertEquals((await program.client(["close", "alice"])).code, 0);
      assert(!await pair.canReach(HERE, 22));
      assertEquals(await program.signal("SIGTERM"), 0);
    } finally {
      program.remove();
    }
  },
  ["setpriv"],
);
