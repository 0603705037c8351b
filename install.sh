#!/bin/sh
# Installs the latest knock for this system, after verifying its checksum: the
# program, its manual pages and completions, and for root on a system with
# systemd the units, which it does not enable.
#
#     curl -fsSL https://github.com/OWNER/knock/releases/latest/download/install.sh | KNOCK_URL=… sh
#     sh install.sh --uninstall
#
# It needs curl and tar. Everything comes by https, redirections too.
#
# KNOCK_URL     where the files of a release are, with SHA256SUMS
# KNOCK_DIR     where to put it; default: /usr/local/bin for root, else ~/.local/bin.
#               What is beside the program goes to the folder above.
# KNOCK_MUSL    1: the binary for musl (Alpine); detected by default
#
# --uninstall   remove what this script installed, and its firewall rules; the
#               configuration and the state stay
#
# To verify more than a checksum: gh attestation verify FILE --repo OWNER/knock
set -eu

fail() {
  echo "install.sh: error: $1" >&2
  exit 1
}

# Whether an address is of this machine: http://127.0.0.1:PORT/ and nothing that
# only begins so.
is_local() {
  authority=${1#http://}
  authority=${authority%%/*}
  case $authority in
    127.0.0.1 | localhost) return 0 ;;
    127.0.0.1:* | localhost:*) ;;
    *) return 1 ;;
  esac
  case ${authority#*:} in
    "" | *[!0-9]*) return 1 ;;
  esac
}

fetch() {
  command -v curl >/dev/null || fail "needs curl"
  curl -fsS --retry 2 "$@" -o "$scratch/$name" "$KNOCK_URL/$name" ||
    fail "cannot fetch $KNOCK_URL/$name"
}

fetch_allowed() {
  name=$1
  case $KNOCK_URL in
    https://*) fetch --location --proto =https --proto-redir =https ;;
    file://*)
      cp "${KNOCK_URL#file://}/$name" "$scratch/$name" ||
        fail "cannot read $KNOCK_URL/$name"
      ;;
    http://*)
      is_local "$KNOCK_URL" ||
        fail "KNOCK_URL must begin with https://, got \"$KNOCK_URL\""
      fetch --proto =http --noproxy "*"
      ;;
    *) fail "KNOCK_URL must begin with https://, got \"$KNOCK_URL\"" ;;
  esac
}

# Fetches a file of the release, and checks it against SHA256SUMS.
fetch_checked() {
  fetch_allowed "$1"
  wanted=$(awk -v name="$1" '$2 == name { print $1 }' "$scratch/SHA256SUMS")
  [ -n "$wanted" ] || fail "SHA256SUMS does not list $1"
  if command -v sha256sum >/dev/null; then
    found=$(sha256sum "$scratch/$1")
  else
    found=$(shasum -a 256 "$scratch/$1")
  fi
  found=${found%% *}
  [ "$found" = "$wanted" ] ||
    fail "the checksum of $1 is wrong: nothing was installed"
}

# Whether units belong here: root's systemd reads those of /usr/local and /usr.
has_systemd() {
  [ "$(id -u)" = 0 ] && [ -d /run/systemd/system ] || return 1
  [ "$prefix" = /usr/local ] || [ "$prefix" = /usr ]
}

# Installs one file; a program that runs is replaced whole, never written into.
put() {
  mkdir -p "${2%/*}"
  cp "$1" "$2.knock-new"
  chmod "$3" "$2.knock-new"
  mv -f "$2.knock-new" "$2"
}

install_shared() {
  mkdir "$scratch/shared"
  tar -xzf "$scratch/knock-share.tar.gz" -C "$scratch/shared"
  (cd "$scratch/shared" && find . -type f) | sed 's|^\./||' | sort >"$scratch/all"
  : >"$scratch/list"
  while read -r path; do
    case $path in
      lib/*)
        has_systemd || continue
        sed "s|/usr/bin/knock|$folder/knock|" "$scratch/shared/$path" >"$scratch/one"
        put "$scratch/one" "$prefix/$path" 644
        ;;
      *) put "$scratch/shared/$path" "$prefix/$path" 644 ;;
    esac
    echo "$path" >>"$scratch/list"
  done <"$scratch/all"
  put "$scratch/list" "$prefix/$list" 644
  has_systemd || return 0
  systemd-sysusers "$prefix/lib/sysusers.d/knock.conf"
  [ -e /etc/knock ] || {
    mkdir -m 0750 /etc/knock
    chown root:knock /etc/knock
  }
  [ -e /var/lib/knock ] || mkdir -m 0700 /var/lib/knock
  systemctl daemon-reload
  # A server that runs goes on with the new version; grants stay.
  systemctl try-restart knock.service
}

uninstall() {
  [ -e "$folder/knock" ] || [ -e "$prefix/$list" ] ||
    fail "knock is not installed in $folder"
  if [ "$(id -u)" = 0 ]; then
    if has_systemd && [ -e "$prefix/lib/systemd/system/knock.service" ]; then
      systemctl disable --now knock.service knock-guard.service || true
    fi
    # Without the program nobody could open what its rules close.
    if [ -e /etc/knock/server.yaml ]; then
      "$folder/knock" rules --remove --config /etc/knock/server.yaml ||
        echo "install.sh: rules of the firewall may be left: see nft list ruleset" >&2
    fi
  fi
  if [ -e "$prefix/$list" ]; then
    while read -r path; do
      rm -f "$prefix/$path"
    done <"$prefix/$list"
    rm -f "$prefix/$list"
    rmdir "$prefix/share/knock" "$prefix/share/doc/knock" 2>/dev/null || true
  fi
  rm -f "$folder/knock"
  if has_systemd; then
    systemctl daemon-reload
  fi
  echo "removed $folder/knock; configuration and state, such as /etc/knock and /var/lib/knock, are left"
}

# Last of all, and in one line: of a download that is cut, nothing runs.
main() {
  if [ -n "${KNOCK_DIR-}" ]; then
    folder=$KNOCK_DIR
  elif [ "$(id -u)" = 0 ]; then
    folder=/usr/local/bin
  else
    folder=$HOME/.local/bin
  fi
  folder=${folder%/}
  case $folder in
    /*) ;;
    *) folder=$PWD/$folder ;;
  esac
  prefix=${folder%/*}
  list=share/knock/installed

  case ${1-} in
    "") ;;
    --uninstall)
      uninstall
      return
      ;;
    *) fail "unknown option \"$1\": the only one is --uninstall" ;;
  esac
  : "${KNOCK_URL:?names the folder of a release, such as https://HOST/releases/latest/download}"

  case $(uname -s) in
    Linux) system=linux ;;
    Darwin) system=darwin ;;
    *) fail "there is no binary for $(uname -s)" ;;
  esac
  case $(uname -m) in
    x86_64 | amd64) machine=x64 ;;
    aarch64 | arm64) machine=arm64 ;;
    *) fail "there is no binary for $(uname -m)" ;;
  esac
  musl=${KNOCK_MUSL-}
  if [ "$system" = linux ] && [ -z "$musl" ]; then
    for loader in /lib/ld-musl-*; do
      if [ -e "$loader" ] && [ ! -e /lib64/ld-linux-x86-64.so.2 ] &&
        [ ! -e /lib/ld-linux-aarch64.so.1 ]; then
        musl=1
      fi
    done
  fi
  binary=knock-$system-$machine
  [ -z "$musl" ] || binary=$binary-musl

  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  trap 'exit 1' HUP INT TERM

  fetch_allowed SHA256SUMS
  fetch_checked "$binary"
  fetch_checked knock-share.tar.gz

  put "$scratch/$binary" "$folder/knock" 755
  install_shared
  echo "$folder/knock: $("$folder/knock" version)"
}

{ main "$@"; }
