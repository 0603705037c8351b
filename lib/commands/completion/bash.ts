/** The completion script of bash; it needs nothing but bash 3.2. */

import type { CommandWord, Kind } from "./words.ts";

/** Writes the script. */
export function formatBash(commands: readonly CommandWord[]): string {
  const top = commands.filter(({ name }) => !name.includes(" "));
  const options = commands.map(({ name, options }) => {
    const words = options.flatMap(({ names }) => names).join(" ");
    return `    ${pattern(name)}) words='${words}' ;;`;
  });
  const values = commands.flatMap(({ name, options }) =>
    options.map(({ names, value }) =>
      setKind(names.map((word) => `${name} ${word}`), value)
    )
  );
  const positionals = commands.flatMap(({ name, first, rest }) => [
    setKind([`${name} 0`], first === "free" ? null : first),
    setKind([`${name} *`], rest === "free" ? null : rest),
  ]);
  const parents = commands.filter(({ name }) => name.includes(" "))
    .map(({ name }) => `      ${pattern(name)}) key=$pair ;;`);
  return `# bash completion for knock
#     knock completion bash > /usr/share/bash-completion/completions/knock
# or, for yourself, in ~/.bashrc:  eval "$(knock completion bash)"

_knock() {
  local cur prev key='' pair word kind=free words='' count=0 i COMMANDS
  cur=\${COMP_WORDS[COMP_CWORD]}
  prev=\${COMP_WORDS[COMP_CWORD-1]}
  # bash splits --option=VALUE at the sign.
  if [[ $cur == = ]]; then
    cur=''
  elif [[ $prev == = && COMP_CWORD -ge 3 ]]; then
    prev=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  COMMANDS=' ${top.map(({ name }) => name).join(" ")} '
  COMPREPLY=()

  # The command, and how many of its words are there before this one.
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ -z $key ]]; then
      if [[ $COMMANDS == *" $word "* ]]; then
        key=$word
      elif [[ $word != -* ]]; then
        key=send count=1
      fi
      continue
    fi
    if [[ $word == -- ]]; then
      _knock_program "$((i + 1))"
      return
    fi
    pair="$key $word"
    if ((count == 0)); then
      case $pair in
${parents.join("\n")}
      esac
      [[ $key == "$pair" ]] && continue
    fi
    if [[ $word == -* ]]; then
      if [[ \${COMP_WORDS[i+1]} == = ]]; then
        ((i += 2))
      elif _knock_value "$key" "$word"; then
        ((i++))
      fi
      continue
    fi
    count=$((count + 1))
  done

  if [[ -z $key ]]; then
    _knock_offer "$cur" "$COMMANDS --help --version $(_knock_profiles)"
    return
  fi
  if _knock_value "$key" "$prev"; then
    :
  elif [[ $cur == -* ]]; then
    _knock_words "$key"
    _knock_offer "$cur" "$words"
    return
  else
    _knock_positional "$key" "$count"
  fi
  case $kind in
    free) ;;
    file) _knock_paths -f "$cur" ;;
    folder) _knock_paths -d "$cur" ;;
    program) ;;
    profile) _knock_offer "$cur" "$(_knock_profiles)" ;;
    client) _knock_offer "$cur" "$(_knock_clients)" ;;
    command) _knock_offer "$cur" "$COMMANDS" ;;
    words) _knock_offer "$cur" "$words" ;;
  esac
}

_knock_words() {
  case $1 in
${options.join("\n")}
  esac
}

# Whether it is an option with a value; then sets kind and words.
_knock_value() {
  case "$1 $2" in
${values.filter(Boolean).join("\n")}
    *) return 1 ;;
  esac
}

_knock_positional() {
  case "$1 $2" in
${positionals.filter(Boolean).join("\n")}
  esac
}

_knock_profiles() {
  command knock profiles --names 2>/dev/null
}

_knock_clients() {
  command knock client list 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_knock_program() {
  if ((COMP_CWORD == $1)); then
    COMPREPLY=($(compgen -c -- "$cur"))
  else
    _knock_paths -f "$cur"
  fi
}

_knock_offer() {
  COMPREPLY=($(compgen -W "$2" -- "$1"))
}

# A path may hold spaces: one a line.
_knock_paths() {
  local path
  compopt -o filenames 2>/dev/null
  while IFS= read -r path; do
    COMPREPLY+=("$path")
  done < <(compgen "$1" -- "$2")
}

complete -F _knock knock
`;
}

/** A branch of `case` for the words behind these; "" for none. */
function setKind(behind: readonly string[], kind: Kind | null): string {
  if (kind === null) return "";
  const set = typeof kind === "string"
    ? `kind=${kind}`
    : `kind=words words='${kind.join(" ")}'`;
  return `    ${behind.map(pattern).join("|")}) ${set} ;;`;
}

function pattern(words: string): string {
  return words.replaceAll(" ", "\\ ");
}
