/** The completion script of fish. */

import type { CommandWord, Kind } from "./words.ts";

/** Writes the script. */
export function formatFish(commands: readonly CommandWord[]): string {
  const top = commands.filter(({ name }) => !name.includes(" "));
  const topNames = top.map(({ name }) => name).join(" ");
  const parents = new Set(
    commands.filter(({ name }) => name.includes(" "))
      .map(({ name }) => name.split(" ")[0]!),
  );
  const valued = new Set(
    commands.flatMap(({ options }) => options)
      .flatMap(({ names, value }) => value === null ? [] : names),
  );
  const lines = top.map(({ name, summary }) =>
    `complete -c knock -n __knock_first -a ${name} -d ${quote(summary)}`
  );
  for (const { name, options, first, rest } of commands) {
    for (const { long, short, value, summary } of options) {
      const parts = [
        `-l ${long}`,
        short && `-s ${short}`,
        value && (value === "file" ? "-r" : "-x"),
        value && offer(value),
        summary && `-d ${quote(summary)}`,
      ];
      lines.push(complete(name, parts.filter(Boolean).join(" ")));
    }
    if (first !== "free") lines.push(complete(name, offer(first), "0"));
    if (rest !== "free") lines.push(complete(name, offer(rest), "more"));
  }
  return `# fish completion for knock
#     knock completion fish > ~/.config/fish/completions/knock.fish

function __knock_profiles
    command knock profiles --names 2>/dev/null
end

function __knock_clients
    command knock client list 2>/dev/null | awk 'NR > 1 { print $1 }'
end

function __knock_commands
    printf '%s\\n' ${topNames}
end

# Whether the command itself is still to be written.
function __knock_first
    test (count (commandline -opc)) -eq 1
end

# Whether the line is of the command of this name; with 0, and it has no word
# yet; with more, and it has one.
function __knock_is
    set -l words (commandline -opc)
    test (count $words) -ge 2; or return 1
    set -l key $words[2]
    set -l rest $words[3..-1]
    if not contains -- $key ${topNames}
        set rest $key $rest
        set key send
    end
    if contains -- $key ${[...parents].join(" ")}; and test (count $rest) -ge 1
        set key "$key $rest[1]"
        set -e rest[1]
    end
    test "$argv[1]" = "$key"; or return 1
    test (count $argv) -eq 1; and return 0
    # What is neither an option nor an option's value.
    set -l own 0
    set -l before ''
    for word in $rest
        if string match -q -- '-*' $word
            set before $word
            continue
        end
        contains -- $before ${[...valued].join(" ")}; or set own (math $own + 1)
        set before ''
    end
    switch $argv[2]
        case 0
            test $own -eq 0
        case more
            test $own -ge 1
    end
end

complete -c knock -f
complete -c knock -n __knock_first -a '(__knock_profiles)' -d profile
complete -c knock -n __knock_first -l help -s h -d 'explain the commands'
complete -c knock -n __knock_first -l version -s V -d 'print the version'
${lines.join("\n")}
`;
}

const OFFERS = {
  file: "-F",
  folder: "-a '(__fish_complete_directories)'",
  profile: "-a '(__knock_profiles)'",
  client: "-a '(__knock_clients)'",
  command: "-a '(__knock_commands)'",
  program: "-a '(__fish_complete_subcommand)'",
  free: "",
} as const;

function offer(kind: Kind): string {
  return typeof kind === "string"
    ? OFFERS[kind]
    : `-a ${quote(kind.join(" "))}`;
}

function complete(name: string, what: string, ...state: string[]): string {
  const word = name.includes(" ") ? `"${name}"` : name;
  const when = quote(["__knock_is", word, ...state].join(" "));
  return `complete -c knock -n ${when} ${what}`;
}

function quote(words: string): string {
  return /^[\w-]+$/.test(words)
    ? words
    : `'${words.replace(/['\\]/g, "\\$&")}'`;
}
