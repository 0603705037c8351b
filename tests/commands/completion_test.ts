/** What the scripts of `knock completion` offer, asked of the real shells. */

import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { COMMANDS, runCommand } from "../../lib/commands/table.ts";
import { readOptionSummaries } from "../../lib/commands/completion/words.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";
import { runtime } from "../fakes/runtime.ts";

const HERE = dirname(fileURLToPath(import.meta.url));

/** Stands for the program: what it says of profiles and clients. */
const PROGRAM = `#!/bin/sh
case "$*" in
  "profiles --names") printf 'home\\noffice\\n' ;;
  "client list") printf 'NAME  OPENS\\nalice ssh\\nbob   ssh\\n' ;;
esac
`;

/** Fills in what bash does before it calls the function. */
const ASK_BASH = `
source "$1"
line=$2
read -ra COMP_WORDS <<< "\${line//=/ = }"
[[ $line == *[\\ =] ]] && COMP_WORDS+=("")
COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
_knock
printf '%s\\n' "\${COMPREPLY[@]}"`;

const SHELLS: Record<string, (script: string, line: string) => string[]> = {
  bash: (script, line) => ["bash", "-c", ASK_BASH, "bash", script, line],
  zsh: (script, line) => [
    "zsh",
    "-f",
    join(HERE, "completion.zsh"),
    script,
    line,
  ],
  fish: (script, line) => [
    "fish",
    "--no-config",
    "-c",
    `source ${script}; complete -C '${line}'`,
  ],
};

const offered: [line: string, words: string[]][] = [
  ["knock ser", ["serve"]],
  ["knock off", ["office"]],
  ["knock serve --c", ["--config"]],
  ["knock init --backend ", ["command", "gate", "iptables", "nft"]],
  ["knock init --backend n", ["nft"]],
  ["knock init --mode=g", ["guard"]],
  ["knock client re", ["remove"]],
  ["knock client show ", ["alice", "bob"]],
  ["knock client add --se", ["--server"]],
  ["knock ping ", ["home", "office"]],
  ["knock ping home ", []],
  ["knock home --no", ["--no-reply"]],
  ["knock home --from s", ["source"]],
  ["knock home --open ", []],
  ["knock send --tries 2 h", ["home"]],
  ["knock convert knock", ["knockd"]],
  ["knock help deco", ["decode"]],
  ["knock check FOLDER/ser", ["FOLDER/server.yaml"]],
  ["knock convert knockd FOLDER/ser", ["FOLDER/server.yaml"]],
  ["knock serve --config FOLDER/ser", ["FOLDER/server.yaml"]],
];

/** What a shell offers may bear its option, a description or the whole path. */
function plain(word: string, folder: string): string {
  return word.split("\t")[0]!.replace(/^--?\w+=/, "").replace(
    /^(server\.yaml)$/,
    join(folder, "$1"),
  ).trim();
}

for (const [shell, ask] of Object.entries(SHELLS)) {
  test(`completion ${shell} offers what fits`, async (t) => {
    try {
      await runtime.run([shell, "--version"]);
    } catch {
      return t.skip(`needs ${shell}`);
    }
    const fake = new FakeRuntime();
    assertEquals(await runCommand(["completion", shell], fake), 0);
    const folder = runtime.files.makeTemporaryFolder();
    try {
      const script = join(folder, `knock.${shell}`);
      runtime.files.create(script, fake.stdout, 0o600);
      runtime.files.create(join(folder, "server.yaml"), "", 0o600);
      runtime.files.create(join(folder, "knock"), PROGRAM, 0o700);
      const env = {
        PATH: folder + delimiter + runtime.env("PATH"),
        HOME: folder,
        TERM: "dumb",
      };
      for (const [words, wanted] of offered) {
        const line = words.replace("FOLDER", folder);
        const { stdout, stderr } = await runtime.run(ask(script, line), {
          env,
          timeoutMs: 20_000,
        });
        assertEquals(
          [...new Set(stdout.split("\n").map((word) => plain(word, folder)))]
            // Where nothing else fits, zsh offers the options.
            .filter((word) => /(^| )-[^ ]*$/.test(line) || !/^-/.test(word))
            .filter(Boolean).sort(),
          wanted.map((word) => word.replace("FOLDER", folder)),
          `${line}: ${stderr}`,
        );
      }
    } finally {
      runtime.files.removeFolder(folder);
    }
  });
}

for (const [name, { load }] of Object.entries(COMMANDS)) {
  test(`knock ${name} explains each of its options, and has no others`, async () => {
    const { help, optionNames, subcommands = {} } = await load();
    const all = [optionNames, ...Object.values(subcommands)]
      .flatMap(({ flags, values, lists }) =>
        Object.keys({ ...flags, ...values, ...lists })
      );
    assertEquals(
      [...readOptionSummaries(help).keys()].sort(),
      [...new Set(all)].sort(),
    );
  });
}

test("readOptionSummaries() takes the first sentence", () => {
  const help = `Options:
    -c, --config FILE    The configuration; or the
                         environment's. More.
        --json           One list
                         of all. And more.

    --not an option line
`;
  assertEquals([...readOptionSummaries(help)], [
    ["config", "The configuration"],
    ["json", "One list of all"],
  ]);
  assert(!readOptionSummaries(help).has("not"));
});
