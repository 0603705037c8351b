/** The completion script of zsh. */

import type { CommandWord, Kind, OptionWord } from "./words.ts";

/** Writes the script. */
export function formatZsh(commands: readonly CommandWord[]): string {
  const top = commands.filter(({ name }) => !name.includes(" "));
  const list = top.map(({ name, summary }) =>
    `    ${quote(`${name}:${summary.replaceAll(":", "\\:")}`)}`
  );
  const cases = top.map((command) => {
    const under = commands.filter(({ name }) =>
      name.startsWith(`${command.name} `)
    );
    const body = under.length === 0
      ? formatArguments(command)
      : formatParent(under);
    return `    ${command.name})\n${body}\n      ;;`;
  });
  return `#compdef knock
# zsh completion for knock
#     knock completion zsh > "\${fpath[1]}/_knock"
# or, for yourself, in ~/.zshrc behind compinit:  eval "$(knock completion zsh)"

_knock() {
  local -a commands
  commands=(
${list.join("\n")}
  )
  if (( CURRENT == 2 )); then
    _describe -t commands command commands
    _knock_profiles
    return
  fi
  shift words
  (( CURRENT-- ))
  local key=$words[1]
  # A word that is no command is a profile to knock with.
  (( \${commands[(I)\$key:*]} )) || key=send
  _knock_arguments $key
}

_knock_arguments() {
  case $1 in
${cases.join("\n")}
  esac
}

_knock_profiles() {
  local -a profiles
  profiles=(\${(f)"$(command knock profiles --names 2>/dev/null)"})
  (( $#profiles )) && _describe -t profiles profile profiles
}

_knock_clients() {
  local -a clients
  clients=(\${\${(f)"$(command knock client list 2>/dev/null)"}[2,-1]%% *})
  (( $#clients )) && _describe -t clients client clients
}

_knock_commands() {
  _values command ${top.map(({ name }) => name).join(" ")}
}

if [[ $funcstack[1] == _knock ]]; then
  _knock "$@"
else
  compdef _knock knock
fi
`;
}

function formatArguments(command: CommandWord, indent = "      "): string {
  const { first, rest } = command;
  const others = rest === "program" ? "*:: :_normal" : `*: :${action(rest)}`;
  const specs = [
    ...command.options.map(formatOption),
    quote(`1: :${action(first)}`),
    ...rest === "free" ? [] : [quote(others)],
  ];
  return [`${indent}_arguments -s`, ...specs].join(` \\\n${indent}  `);
}

function formatParent(under: readonly CommandWord[]): string {
  const names = under.map(({ name }) => name.split(" ")[1]!);
  const cases = under.map((command, index) =>
    `        ${names[index]})\n${formatArguments(command, "          ")} ;;`
  );
  return `      if (( CURRENT == 2 )); then
        _values '' ${names.join(" ")}
        return
      fi
      shift words
      (( CURRENT-- ))
      case $words[1] in
${cases.join("\n")}
      esac`;
}

function formatOption(option: OptionWord): string {
  const { long, short, value, repeats, summary } = option;
  const words = summary.replace(/[[\]:\\]/g, "\\$&");
  const about = `[${words}]${value === null ? "" : `: :${action(value)}`}`;
  const name = value === null ? `--${long}` : `--${long}=`;
  if (!short) return quote(`${repeats ? "*" : ""}${name}${about}`);
  const letter = value === null ? `-${short}` : `-${short}+`;
  const head = repeats ? "*" : `(-${short} --${long})`;
  return `${quote(head)}{${letter},${name}}${quote(about)}`;
}

const ACTIONS = {
  file: "_files",
  folder: "_files -/",
  profile: "_knock_profiles",
  client: "_knock_clients",
  command: "_knock_commands",
  program: "_command_names",
  free: "",
} as const;

function action(kind: Kind): string {
  return typeof kind === "string" ? ACTIONS[kind] : `(${kind.join(" ")})`;
}

function quote(words: string): string {
  return `'${words.replaceAll("'", "'\\''")}'`;
}
