/** Which standard streams are terminals, by script(1), which makes one. */

import { test } from "node:test";
import { assertEquals } from "@std/assert";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { runtime } from "./runtime.ts";

const PROBE = fileURLToPath(new URL("terminal_probe.ts", import.meta.url));
const COMMAND = [
  process.execPath,
  ...(runtime.name === "deno" ? ["run", "-A", "--no-check"] : []),
  PROBE,
].map((word) => `'${word}'`).join(" ");

const CASES: readonly (readonly [redirections: string, found: string])[] = [
  ["", "in out err"],
  ["< /dev/null", "out err"],
  ["> /dev/null", "in err"],
  ["> /dev/full", "in err"],
  ["> file", "in err"],
  ["| cat", "in err"],
  ["<&-", "out err"],
  ["2>&1 < /dev/null > /dev/null", "err"],
  ["2> file; cat file", "in out"],
];

for (const [redirections, found] of CASES) {
  test(`terminals with "${redirections}": ${found}`, {
    skip: runtime.platform === "linux" ? false : "needs Linux",
  }, async () => {
    const folder = runtime.files.makeTemporaryFolder();
    try {
      const { stdout } = await runtime.run(
        ["script", "-qec", `${COMMAND} ${redirections}`, "/dev/null"],
        { cwd: folder, timeoutMs: 30_000 },
      );
      assertEquals(/terminals: ([a-z ]*)/.exec(stdout)?.[1], found, stdout);
    } finally {
      runtime.files.removeFolder(folder);
    }
  });
}
