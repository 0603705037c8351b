#!/bin/sh
# Installs the latest knock for this system, after its checksum was found right:
#
#     curl -fsSL https://github.com/OWNER/knock/releases/latest/download/install.sh | KNOCK_URL=… sh
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
name=knock-$system-$machine
[ -z "$musl" ] || name=$name-musl

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

fetch() {
  case $KNOCK_URL in
    https://* | http://127.0.0.1:* | http://localhost:* | file://*) ;;
    *) fail "KNOCK_URL must begin with https://, got \"$KNOCK_URL\"" ;;
  esac
  if command -v curl >/dev/null; then
    curl -fsSL --retry 2 -o "$scratch/$1" "$KNOCK_URL/$1"
  elif [ "${KNOCK_URL#file://}" != "$KNOCK_URL" ]; then
    cp "${KNOCK_URL#file://}/$1" "$scratch/$1"
  elif command -v wget >/dev/null; then
    wget -q -O "$scratch/$1" "$KNOCK_URL/$1"
  else
    fail "needs curl or wget"
  fi || fail "cannot fetch $KNOCK_URL/$1"
}

fetch SHA256SUMS
fetch "$name"
wanted=$(awk -v name="$name" '$2 == name { print $1 }' "$scratch/SHA256SUMS")
[ -n "$wanted" ] || fail "SHA256SUMS does not tell of $name"
if command -v sha256sum >/dev/null; then
  found=$(sha256sum "$scratch/$name")
else
  found=$(shasum -a 256 "$scratch/$name")
fi
found=${found%% *}
[ "$found" = "$wanted" ] ||
  fail "the checksum of $name is wrong: nothing was installed"

mkdir -p "$folder"
# A program that runs is replaced whole, never written into.
cp "$scratch/$name" "$folder/.knock.new"
chmod 755 "$folder/.knock.new"
mv -f "$folder/.knock.new" "$folder/knock"
echo "$folder/knock: $("$folder/knock" version)"
