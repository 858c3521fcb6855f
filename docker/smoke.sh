#!/usr/bin/env bash
# docker/smoke.sh [--json FILE]
#
# Builds the image of docker/Dockerfile, says what it has beyond its base, runs
# it without privileges, and prints one line per claim as ./run prove does. Uses
# Docker where its daemon answers; elsewhere, as root, buildah and podman on a
# Debian from this machine's mirror, which needs no daemon and no registry. Takes
# about five minutes, and removes the containers and the image it has made.
set -euo pipefail

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
readonly ROOT
if ! docker info > /dev/null 2>&1; then
  "$ROOT/run" packages container
elif ! /usr/bin/python3 -c 'import cryptography, yaml' 2> /dev/null; then
  echo "docker/smoke.sh: /usr/bin/python3 lacks the packages cryptography and" \
    "yaml (Debian: python3-cryptography python3-yaml)" >&2
  exit 1
fi
exec /usr/bin/python3 -B "$ROOT/scripts/container_smoke.py" "$@"
