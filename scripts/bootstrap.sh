# shellcheck shell=bash
# Installs Debian packages that are missing; sourced by ../run.
#
# require_packages PURPOSE...   the packages of scripts/packages.txt under these
# purposes. Says nothing and asks for nothing when all of them are there.

# Prints "attention: ..." on stderr.
say() { printf 'attention: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

# Debian 12 is what the versions are pinned to; anything else is refused before
# a package manager is touched.
require_debian() {
  local name='an unknown system' id='' version=''
  if [[ -r /etc/os-release ]]; then
    # shellcheck disable=SC1091 # not ours to check
    { read -r id; read -r version; read -r name; } < <(
      . /etc/os-release && printf '%s\n%s\n%s\n' "${ID:-}" "${VERSION_ID:-}" \
        "${PRETTY_NAME:-unknown}")
  fi
  if [[ $id != debian || $version != 12 ]] || ! command -v apt-get dpkg-query \
    > /dev/null; then
    die "this is $name; the project builds on Debian 12 (bookworm) with apt." \
      "Use such a machine, container or chroot."
  fi
}

# "<status> <version>" of a package, such as "installed 3.25.1-1"; nothing if it
# has never been there.
package_state() {
  # shellcheck disable=SC2016 # dpkg-query's own variables
  dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$1" 2> /dev/null |
    head -n 1 || true
}

# Runs a command as root: through sudo only when we are not.
as_root() {
  if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

apt_get() {
  as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
    apt-get -qq -o DPkg::Lock::Timeout=900 -o Dpkg::Use-Pty=0 \
    -o Acquire::Retries=3 "$@" < /dev/null
}

# apt-get waits for dpkg's lock, but not for the one of its package lists.
apt_update() {
  local log=$1 attempt
  for attempt in {1..60}; do
    if apt_get update >> "$log" 2>&1; then return; fi
    if ! tail -n 5 "$log" | grep -q 'lists/lock'; then
      say "apt-get update failed; trying with the lists there are"
      return
    fi
    if ((attempt == 1)); then say "waiting for another apt-get"; fi
    sleep 5
  done
}

install_packages() {
  local log started=$SECONDS
  if ((EUID != 0)) && ! command -v sudo > /dev/null; then
    die "packages are missing, and this is neither root nor is there sudo; as" \
      "root run: apt-get install --no-install-recommends ${*%%=*}"
  fi
  log=$(mktemp)
  say "installing $# packages with apt (a minute or two): ${*%%=*}"
  apt_update "$log"
  if ! apt_get install -y --no-install-recommends "$@" >> "$log" 2>&1; then
    cat "$log" >&2
    die "apt-get could not install them"
  fi
  rm -f "$log"
  say "installed in $((SECONDS - started)) s"
}

require_packages() {
  local purpose package pin state missing=()
  require_debian
  while read -r purpose package pin; do
    if [[ " $* " != *" $purpose "* ]]; then continue; fi
    state=$(package_state "$package")
    if [[ $state != 'installed '* ]]; then
      missing+=("$package=$pin*")
    elif [[ $state != "installed $pin"* ]]; then
      die "$package is version ${state#installed };" \
        "Debian 12 has $pin*, which this project is pinned to"
    fi
  done < <(sed -E 's/#.*//; /^[[:space:]]*$/d' "$ROOT/scripts/packages.txt")
  if ((${#missing[@]})); then install_packages "${missing[@]}"; fi
}

# Debian's Node, unless there is one already: its npm is hundreds of packages,
# and another vendor's cannot stand beside it.
require_node() {
  if ! command -v node > /dev/null || ! command -v npm > /dev/null; then
    require_packages node
  fi
}
