# Prints what zsh offers for the command line $2 with the script $1: it types
# the line and a tab into a zsh of its own, in which compadd tells its matches.
if [[ $1 == inside ]]; then
  PROMPT=
  autoload -Uz compinit && compinit -u
  source $2
  bindkey '^I' complete-word
  zstyle ':completion:*' insert-tab false
  compadd() {
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then
      builtin compadd "$@"
      return
    fi
    local -a hits
    builtin compadd -A hits "$@"
    print -r -- "<${(j:|:)hits}>"
    builtin compadd "$@"
  }
  finish() { print '<end>'; exit }
  comppostfuncs=(finish)
  print '<ready>'
  return
fi
zmodload zsh/zpty
zpty offers zsh -f -i
zpty -w offers "source ${0:A} inside $1"
until [[ $said == '<ready>'* ]]; do zpty -r offers said || exit 1; done
zpty -w -n offers "$2"$'\t'
while zpty -r offers said && [[ $said != *'<end>'* ]]; do
  said=${said//($'\r'|$'\n')/}
  if [[ $said == *'<'*'>' ]]; then
    print -rl -- ${(s:|:)${said##*<}%>}
  fi
done
zpty -d offers
