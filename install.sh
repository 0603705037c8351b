#!/bin/sh
# Installs the latest knock for this system, after its checksum was found right:
#
#     curl -fsSL https://github.com/OWNER/knock/releases/latest/download/install.sh | KNOCK_URL=… sh
#
# It needs curl. Everything comes by https, redirections too.
#
# KNOCK_URL     where the files of a release are, with SHA256SUMS
# KNOCK_DIR     where to put it; default: /usr/local/bin for root, else ~/.local/bin
# KNOCK_MUSL    1: the binary for musl (Alpine), which is found out by itself
#
# Who wants more than a checksum: gh attestation verify FILE --repo OWNER/knock
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

# Last of all, and in one line: of a download that is cut, nothing runs.
main() {
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

  if [ -n "${KNOCK_DIR-}" ]; then
    folder=$KNOCK_DIR
  elif [ "$(id -u)" = 0 ]; then
    folder=/usr/local/bin
  else
    folder=$HOME/.local/bin
  fi

  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  trap 'exit 1' HUP INT TERM

  fetch_allowed SHA256SUMS
  fetch_allowed "$binary"
  wanted=$(awk -v name="$binary" '$2 == name { print $1 }' "$scratch/SHA256SUMS")
  [ -n "$wanted" ] || fail "SHA256SUMS does not list $binary"
  if command -v sha256sum >/dev/null; then
    found=$(sha256sum "$scratch/$binary")
  else
    found=$(shasum -a 256 "$scratch/$binary")
  fi
  found=${found%% *}
  [ "$found" = "$wanted" ] ||
    fail "the checksum of $binary is wrong: nothing was installed"

  mkdir -p "$folder"
  # A program that runs is replaced whole, never written into.
  cp "$scratch/$binary" "$folder/.knock.new"
  chmod 755 "$folder/.knock.new"
  mv -f "$folder/.knock.new" "$folder/knock"
  echo "$folder/knock: $("$folder/knock" version)"
}

main
