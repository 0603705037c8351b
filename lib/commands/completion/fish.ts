/** The completion script of fish. */

import type { CommandWord, Kind } from "./words.ts";

/** Writes the script. */
export function formatFish(commands: readonly CommandWord[]): string {
  const top = commands.filter(({ name }) => !name.includes(" "));
  const parents = [
    ...new Set(
      commands.filter(({ name }) => name.includes(" "))
        .map(({ name }) => name.split(" ")[0]!),
    ),
  ];
  const valued = new Set(
    commands.flatMap(({ options }) =>
      options.filter(({ value }) => value !== null)
        .flatMap(({ long, short }) =>
          short ? [`--${long}`, `-${short}`] : [`--${long}`]
        )
    ),
  );
  const lines = top.map(({ name, summary }) =>
    `complete -c knock -n __knock_first -a ${name} -d ${quote(summary)}`
  );
  for (const { name, options, first, rest } of commands) {
    const when = `-n ${isCommand(name)}`;
    for (const { long, short, value, summary } of options) {
      const letter = short ? ` -s ${short}` : "";
      const takes = value === null ? "" : ` ${argument(value)}`;
      const about = summary === "" ? "" : ` -d ${quote(summary)}`;
      lines.push(
        `complete -c knock ${when} -l ${long}${letter}${takes}${about}`,
      );
    }
    if (first !== "free") {
      const when = `-n ${isCommand(name, "0")}`;
      lines.push(`complete -c knock ${when} ${positional(first)}`);
    }
    if (rest !== "free") {
      const when = `-n ${isCommand(name, "more")}`;
      lines.push(`complete -c knock ${when} ${positional(rest)}`);
    }
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
    printf '%s\\n' ${top.map(({ name }) => name).join(" ")}
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
    if not contains -- $key ${top.map(({ name }) => name).join(" ")}
        set rest $key $rest
        set key send
    end
    if contains -- $key ${parents.join(" ")}; and test (count $rest) -ge 1
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

function argument(kind: Kind): string {
  return kind === "file"
    ? "-r -F"
    : kind === "free"
    ? "-x"
    : `-x ${offer(kind)}`;
}

function positional(kind: Kind): string {
  return kind === "file" ? "-F" : offer(kind);
}

function offer(kind: Kind): string {
  if (typeof kind !== "string") return `-a ${quote(kind.join(" "))}`;
  switch (kind) {
    case "folder":
      return "-a '(__fish_complete_directories)'";
    case "profile":
      return "-a '(__knock_profiles)'";
    case "client":
      return "-a '(__knock_clients)'";
    case "command":
      return "-a '(__knock_commands)'";
    case "program":
      return "-a '(__fish_complete_subcommand)'";
    case "file":
    case "free":
      return "";
  }
}

function isCommand(name: string, ...state: readonly string[]): string {
  const word = name.includes(" ") ? `"${name}"` : name;
  return quote(["__knock_is", word, ...state].join(" "));
}

function quote(words: string): string {
  return /^[\w-]+$/.test(words)
    ? words
    : `'${words.replace(/['\\]/g, "\\$&")}'`;
}
