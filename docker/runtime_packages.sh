#!/usr/bin/env bash
# docker/runtime_packages.sh PROGRAM...
#
# Prints the Debian packages of the shared libraries that the programs load, one
# to a line. Ends non-zero if a library is missing or belongs to no package.
set -euo pipefail

libraries=$(ldd "$@" | awk '
  /not found/ { print "missing: " $1 > "/dev/stderr"; failed = 1 }
  $2 == "=>" && $3 ~ /^\// { print $3 }
  END { exit failed }' | sort -u)

while read -r library; do
  # Of alternatives (OpenBLAS) the name is a link that no package owns; and what
  # dpkg knows under /lib is in /usr/lib, which is one folder.
  file=$(realpath "$library")
  found=$(dpkg-query --search "$file" "${file#/usr}" 2> /dev/null || true)
  if [[ -z $found ]]; then
    echo "$library belongs to no package" >&2
    exit 1
  fi
  printf '%s\n' "${found%%:*}"
done <<< "$libraries" | sort -u
