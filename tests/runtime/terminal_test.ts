/** Which standard streams are terminals, by script(1), which makes one. */

import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { runtime } from "../fakes/runtime.ts";

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
    const command = `${COMMAND} ${redirections}`;
    try {
      const { stdout } = await runtime.run(
        ["env", "-C", folder, "script", "-qec", command, "/dev/null"],
        { timeoutMs: 30_000 },
      );
      assertEquals(/terminals: ([a-z ]*)/.exec(stdout)?.[1], found, stdout);
    } finally {
      runtime.files.removeFolder(folder);
    }
  });
}

const MAIN = fileURLToPath(new URL("../../main.ts", import.meta.url));
const ENROLMENT = `knock://192.0.2.1:62201/?server=${"A".repeat(42)}E&key=${
  "B".repeat(42)
}E&psk=${"C".repeat(42)}E#laptop`;

const TYPED: readonly (readonly [
  keys: string,
  status: number,
  said: RegExp,
])[] = [
  [`x\x7f${ENROLMENT}\r`, 0, /profile "laptop" is stored/],
  ["secret\x03", 130, /not shown/],
  ["secret\x04", 2, /no enrolment was entered/],
  ["secret\r", 2, /must start with|does not start with/],
];

for (const [keys, wanted, said] of TYPED) {
  test(
    `import asks for the line, and shows nothing of ${
      JSON.stringify(keys.slice(0, 8))
    }`,
    {
      skip: runtime.platform === "linux" ? false : "needs Linux",
      timeout: 60_000,
    },
    async () => {
      const folder = runtime.files.makeTemporaryFolder();
      try {
        const command = COMMAND.replace(PROBE, MAIN) +
          ` import --profiles '${folder}/profiles.yaml'`;
        const child = spawn("script", ["-qec", command, "/dev/null"], {
          stdio: ["pipe", "pipe", "inherit"],
          env: { ...process.env, NO_COLOR: "1" },
        });
        let output = "";
        let isTyped = false;
        child.stdout.on("data", (bytes) => {
          output += bytes;
          if (isTyped || !output.includes("not shown")) return;
          isTyped = true;
          child.stdin.write(keys);
        });
        const status = await new Promise((resolve) =>
          child.once("close", resolve)
        );
        assertEquals(status, wanted, output);
        assert(said.test(output), output);
        assert(!/secret|psk=|CCCC/.test(output), output);
      } finally {
        runtime.files.removeFolder(folder);
      }
    },
  );
}
