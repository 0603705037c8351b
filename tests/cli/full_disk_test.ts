/** Every command that prints data, with stdout on a full disk: an error, and nothing changed. */

import { assert, assertEquals } from "@std/assert";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { COMMANDS } from "../../lib/commands/table.ts";
import { runtime } from "../fakes/runtime.ts";

const MAIN = fileURLToPath(new URL("../../main.ts", import.meta.url));
const PROGRAM = [
  process.execPath,
  ...runtime.name === "deno" ? ["run", "-A", "--no-check"] : ["run"],
  MAIN,
];

const folder = mkdtempSync(join(tmpdir(), "knock-full-"));
after(() => rmSync(folder, { recursive: true }));

const KEY = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
const CONFIG = `firewall: { backend: nft }
services: { ssh: tcp/22 }
state: state
clients:
  alice: { knock: { key: ${KEY}, psk: ${KEY} }, open: [ssh] }
`;
const PROFILE = `home:
  server: 127.0.0.1:9
  knock: { server: ${KEY}, key: ${KEY}, psk: ${KEY} }
`;
const FILES: Readonly<Record<string, string>> = {
  "server.yaml": CONFIG,
  "server.key": `${KEY}\n`,
  "profiles.yaml": PROFILE,
  "knockd.conf":
    "[door]\nsequence = 7000,8000\ncommand = /sbin/iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n",
};
for (const [name, text] of Object.entries(FILES)) {
  writeFileSync(join(folder, name), text, { mode: 0o600 });
}

const SKIP = runtime.platform === "linux" ? false : "needs /dev/full";

/** Runs a command line with stdout redirected. */
function knock(args: readonly string[], target: string, input = "") {
  const script = `cd ${folder} && exec "$@" > ${target}`;
  return runtime.run(["sh", "-c", script, "sh", ...PROGRAM, ...args], {
    stdin: input,
    env: {
      HOME: folder,
      KNOCK_CONFIG: join(folder, "server.yaml"),
      KNOCK_PROFILES: join(folder, "profiles.yaml"),
    },
  });
}

/** Command lines that print data, with what goes to their stdin. */
const LINES: readonly (readonly [line: string, input?: string])[] = [
  ["check"],
  ["client list"],
  ["client show alice"],
  ["status"],
  ["status --json"],
  ["doctor"],
  ["doctor --json"],
  ["convert knockd knockd.conf"],
  ["rules"],
  ["send home --no-reply --from 192.0.2.1 --json"],
  ["ping home --tries 1 --json"],
  ["profiles"],
  ["profiles --json"],
  ["decode", "hello"],
  ["keygen"],
  ["pubkey", `${KEY}\n`],
  ["demo"],
  ["completion bash"],
  ["version"],
  ["help"],
  ["seq 127.0.0.1 9:udp -v"],
  ...Object.keys(COMMANDS).map((name): [string] => [`${name} --help`]),
];

for (const [line, input] of LINES) {
  test(`knock ${line} >/dev/full is an error`, { skip: SKIP }, async () => {
    const { code, stderr } = await knock(line.split(" "), "/dev/full", input);
    assert(
      stderr.includes("cannot write to stdout: no space left on device"),
      stderr,
    );
    assertEquals(code, 1);
  });
}

const ADDING: readonly string[] = [
  "client add bob --code --svg bob.svg",
  "client add bob --dialect fwknop",
  "client add bob --dialect openme --svg bob.svg",
];

for (const line of ADDING) {
  test(`knock ${line} >/dev/full enrols nobody`, { skip: SKIP }, async () => {
    // The server's own key for a dialect may stay.
    const own = () =>
      runtime.files.list(folder).filter((name) => name !== "openme.key").sort();
    const before = own();
    const { code, stderr } = await knock(line.split(" "), "/dev/full");
    assert(stderr.includes("no space left on device: nobody was enrolled"));
    assertEquals(code, 1);
    assertEquals(runtime.files.readText(join(folder, "server.yaml")), CONFIG);
    assertEquals(own(), before);
  });
}

test("knock help, with a reader that goes away, is no error", {
  skip: SKIP,
}, async () => {
  const script = `"$@" | true; echo "\${PIPESTATUS[0]}"`;
  const { stdout, stderr } = await runtime.run(
    ["bash", "-c", script, "bash", ...PROGRAM, "help"],
  );
  assertEquals([stdout, stderr], ["0\n", ""]);
});
