/** The server with no more rights than it needs: an ordinary user with CAP_NET_ADMIN. */

import { assert, assertEquals } from "@std/assert";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { CLIENTS, netnsTest } from "./netns.ts";
import { Program } from "./program.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const [HERE, NEIGHBOUR] = CLIENTS[4];
const NOBODY = 65534;

/** Parts of the source that a server needs. */
const SOURCE = [
  "main.ts",
  "lib",
  "deno.json",
  "deno.lock",
  "package.json",
  "tsconfig.json",
  "node_modules",
];

/** Runs what follows with files shown at other places, until "--": its user may not see the folders that they are in. */
const SHOWN = `while [ "$1" != -- ]; do
  if [ -d "$1" ]; then mkdir -p "$2"; else mkdir -p "\${2%/*}" && : > "$2"; fi
  mount --bind "$1" "$2" && shift 2 || exit
done
shift && cd / && exec "$@"`;

/** The words of `deno task serve`, which may write to the test's folder instead. */
function serveTask(folder: string, source: string): string[] {
  const { tasks } = JSON.parse(readFileSync(join(ROOT, "deno.json"), "utf8"));
  const words = (tasks.serve.command as string).split(" ");
  assertEquals(words.slice(0, 2), ["deno", "run"]);
  return words.slice(1).map((word) =>
    word.startsWith("--allow-write=")
      ? `--allow-write=${folder}`
      : word === "main.ts"
      ? join(source, word)
      : word
  );
}

netnsTest(
  "an ordinary user with CAP_NET_ADMIN alone serves, by Deno's permission list",
  async (pair) => {
    const program = new Program(pair);
    try {
      const { folder, config } = program;
      program.configure("services: { ssh: tcp/22 }", [
        { name: "alice", policy: ["open: [ssh]", "for: 10m"] },
      ]);
      const cache = join(folder, "cache");
      const source = join(folder, "source");
      const executable = realpathSync(process.execPath);
      const runtime = join(source, basename(process.execPath));
      mkdirSync(cache);
      mkdirSync(source);
      for (const name of ["", ...readdirSync(folder)]) {
        chownSync(join(folder, name), NOBODY, NOBODY);
      }
      chmodSync(folder, 0o700);
      await pair.serve("tcp", 22);
      await program.serveBy([
        "unshare",
        "--mount",
        ...["sh", "-c", SHOWN, "sh"],
        // Not by its very name: Deno puts options of its own behind that.
        ...[`${dirname(executable)}/./${basename(executable)}`, runtime],
        ...SOURCE.flatMap((name) => [join(ROOT, name), join(source, name)]),
        "--",
        "setpriv",
        `--reuid=${NOBODY}`,
        `--regid=${NOBODY}`,
        "--clear-groups",
        "--inh-caps=-all,+net_admin",
        "--ambient-caps=-all,+net_admin",
        "--bounding-set=-all,+net_admin",
        "--no-new-privs",
        ...["env", "-i", `HOME=${cache}`, `DENO_DIR=${cache}`],
        `PATH=${process.env["PATH"]}`,
        runtime,
        ...("Deno" in globalThis
          ? serveTask(folder, source)
          : ["run", join(source, "main.ts"), "serve"]),
        ...["--config", config],
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
  ["setpriv", "unshare"],
);
