/**
 * Wrong command lines, as `wrong_inputs.txt` lists them: what is printed, the
 * exit status, and that nothing is changed.
 */

import { assert, assertEquals } from "@std/assert";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { runCommand } from "../../lib/commands/table.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";

const DIR = "/etc/knock";
const KEY = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
const PROFILES = "/root/.config/knock/profiles.yaml";
const CLIENT = `knock: { key: ${KEY}, psk: ${KEY} }`;

const CONFIG = `services: { ssh: tcp/22, web: [tcp/80, tcp/443] }
clients:
  alice: { ${CLIENT}, open: all }
`;
const PROFILE = `home:
  server: 192.0.2.1:62201
  knock: { server: ${KEY}, key: ${KEY}, psk: ${KEY} }
`;

const FILES: Readonly<Record<string, string>> = {
  [`${DIR}/server.yaml`]: CONFIG,
  [`${DIR}/server.key`]: `${KEY}\n`,
  [PROFILES]: PROFILE,
  "/f/server.key": `${KEY}\n`,
  "/f/empty": "",
  "/f/text": "hello\n",
  "/f/cut": "home: [1\n",
  "/f/tab": "services:\n\tssh: tcp/22\n",
  "/f/units": `services: { ssh: 22/tcp }
defaults: { for: 1h30m }
clients: { bob: { ${CLIENT}, open: [22], max_for: 2 hours, expires: tomorrow } }
`,
  "/f/slips": "lisen: 62201\nfirewal: { backend: nftables }\n",
};

/** A machine with a server's configuration and a client's profile. */
function machine(stdin: string): FakeRuntime {
  const runtime = new FakeRuntime({
    userId: 0,
    env: { HOME: "/root" },
    files: FILES,
    stdin,
  });
  runtime.files.put("/f/world", PROFILE, 0o644);
  runtime.files.makeFolder("/f/folder", 0o700);
  return runtime;
}

/** One command line: `$ [printf 'STDIN' |] knock WORDS`, what it prints, `[STATUS]`. */
const CASE = /^\$ (?:printf '(.*)' \| )?knock (.*)\n((?:.*\n)*?)\[(\d)\]$/;

const cases = readFileSync(new URL("wrong_inputs.txt", import.meta.url), "utf8")
  .trimEnd().split("\n\n");

test("commands of the server say on a client's machine where they belong", async () => {
  for (const line of ["status", "log", "client list", "check", "rules"]) {
    const runtime = new FakeRuntime({
      env: { HOME: "/home/alice" },
      files: { "/home/alice/.config/knock/profiles.yaml": PROFILE },
    });
    assertEquals(await runCommand(line.split(" "), runtime), 2);
    assertEquals(
      runtime.stderr,
      `knock: error: there is no configuration at "/home/alice/.config/knock/server.yaml"
knock: hint: this machine has a client's profiles: run it on the server, or \`knock ping PROFILE\` here
`,
    );
  }
});

test("there are more than a hundred wrong inputs, no two alike", () => {
  const lines = cases.map((text) => text.split("\n")[0]);
  assert(lines.length > 100 && new Set(lines).size === lines.length);
});

for (const text of cases) {
  const [, stdin = "", line = "", printed, status] = CASE.exec(text) ?? [];
  assert(line !== "", text);
  test(`knock ${line} (${stdin.length} on stdin) gets its help`, async () => {
    const runtime = machine(stdin.replaceAll("KEY", KEY));
    const before = runtime.files.paths();
    const args = line.match(/'[^']*'|\S+/g)!.map((word) =>
      word.replace(/^'|'$/g, "").replaceAll("KEY", KEY)
    );
    assertEquals(await runCommand(args, runtime), Number(status));
    assertEquals(runtime.stderr, printed);
    assertEquals(runtime.stdout, "");
    assertEquals(runtime.files.paths(), before);
    assertEquals(runtime.files.readText(`${DIR}/server.yaml`), CONFIG);
    assertEquals(runtime.files.readText(PROFILES), PROFILE);
  });
}
