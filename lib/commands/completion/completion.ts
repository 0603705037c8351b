import type { Runtime } from "../../runtime/runtime.ts";
import { UsageError } from "../../values/errors.ts";
import { nearest } from "../../values/text.ts";
import { type Commands, parseOptions, takePositionals } from "../command.ts";
import { formatBash } from "./bash.ts";
import { formatFish } from "./fish.ts";
import { readCommandWords } from "./words.ts";
import { formatZsh } from "./zsh.ts";

export const help = `Usage:
    knock completion bash|zsh|fish

Prints a script that completes commands, options, profiles and files in a
shell. Packages bring it along; otherwise, once:

    bash    knock completion bash > ~/.local/share/bash-completion/completions/knock
    zsh     knock completion zsh > ~/.zfunc/_knock    (a folder of $fpath)
    fish    knock completion fish > ~/.config/fish/completions/knock.fish

Example:
    $ eval "$(knock completion bash)"
    $ knock pro<TAB>
`;

const SHELLS = { bash: formatBash, zsh: formatZsh, fish: formatFish } as const;

/** Runs `knock completion`, and returns the exit status. */
export async function run(
  args: string[],
  runtime: Runtime,
  commands: Commands,
): Promise<number> {
  const options = parseOptions(args, help);
  const [shell] = takePositionals(options, ["SHELL"], 1);
  if (shell === undefined) {
    throw new UsageError("SHELL is missing", "it is bash, zsh or fish");
  }
  if (!Object.hasOwn(SHELLS, shell)) {
    throw new UsageError(
      `SHELL must be bash, zsh or fish, got "${shell}"`,
      shell.endsWith("sh")
        ? "there is a script for these three alone"
        : nearest(shell, Object.keys(SHELLS)),
    );
  }
  const format = SHELLS[shell as keyof typeof SHELLS];
  runtime.out(format(await readCommandWords(commands)));
  return 0;
}
