/** Runs the scripts of `knock completion` in the real shells. */

import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { COMMANDS, runCommand } from "../../lib/commands/table.ts";
import { readOptionLines } from "../../lib/commands/command.ts";
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

/** Strips the option, the description or the whole path that a shell shows with a word. */
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

for (const [name, load] of Object.entries(COMMANDS)) {
  test(`knock ${name} explains each of its options, in 80 columns`, async () => {
    const { help, subcommands = {} } = await load();
    const lines = readOptionLines(help);
    for (const { long, summary } of lines) assert(summary !== "", long);
    const names = lines.map(({ long }) => long);
    assertEquals(new Set(names).size, names.length);
    // An option in the usage or in the words is declared, too.
    const usage = help.slice(0, help.indexOf("\n\n"));
    for (const [, long] of usage.matchAll(/--([a-z][\w-]*)/g)) {
      assert(names.includes(long!), long);
    }
    for (const text of Object.values(subcommands)) {
      for (const { long } of readOptionLines(text)) {
        assert(names.includes(long));
      }
    }
    const [text, example] = help.split(/\nExample.*:\n/);
    for (const line of text!.split("\n")) {
      assert(line.length <= 80 || line.includes("knock completion"), line);
    }
    assert(example, "ends in an example");
  });
}

test("readOptionLines() takes names, values and the first sentence", () => {
  const help = `Options:
    -c, --config FILE    The configuration; or the
                         environment's. More.
        --json           One list
                         of all. And more.
        --open PORT,...

    --not an option line
`;
  assertEquals(readOptionLines(help), [
    {
      long: "config",
      short: "c",
      names: ["--config", "-c"],
      value: "FILE",
      repeats: false,
      summary: "The configuration",
    },
    {
      long: "json",
      short: "",
      names: ["--json"],
      value: null,
      repeats: false,
      summary: "One list of all",
    },
    {
      long: "open",
      short: "",
      names: ["--open"],
      value: "PORT,...",
      repeats: true,
      summary: "",
    },
  ]);
});
