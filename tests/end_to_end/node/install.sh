#!/usr/bin/env bash
# install.sh SOURCE TARGET: installs into TARGET what SOURCE/package-lock.json
# says, and does nothing if that is what is there.
set -euo pipefail
readonly source=$1 target=$2

if cmp --silent "$source/package-lock.json" "$target/installed.json"; then
  exit 0
fi
mkdir -p "$target"
rm -f "$target/installed.json"
cp "$source/package.json" "$source/package-lock.json" "$source/.npmrc" "$target/"
npm ci --prefix "$target" --loglevel=error
cp "$source/package-lock.json" "$target/installed.json"
