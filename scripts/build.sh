# shellcheck shell=bash
# Configuring and building; sourced by ../run, which sets ROOT and BUILD.

# The compiler cache is a convenience: nothing here needs one. Paths below ROOT
# count as relative, so that one checkout is served what another compiled.
export CCACHE_BASEDIR=$ROOT CCACHE_NOHASHDIR=1
use_ccache() {
  printf '%s' "-DCMAKE_CXX_COMPILER_LAUNCHER=$(command -v ccache || true)"
}

# Of CMakePresets.json, which says how each is compiled.
PRESET=release

# use_sanitizers sanitize|tsan: builds from here on are made by clang with that
# preset's sanitizers, in a directory of their own. g++ needs more than twice as
# long for a unit with generated service code.
use_sanitizers() {
  PRESET=$1
  BUILD=$ROOT/build/$PRESET
  export UBSAN_OPTIONS=print_stacktrace=1
}

# configure ON|OFF: a build directory with or without tests. Once there are
# tests they stay, since leaving them out again would only reconfigure.
configure() {
  local tests=$1 cache=$BUILD/CMakeCache.txt log
  if [[ -f $BUILD/build.ninja ]] && {
    [[ $tests == OFF ]] || grep -q '^ATTENTION_TESTS:BOOL=ON$' "$cache"
  }; then
    return
  fi
  say "configuring $BUILD"
  mkdir -p "$BUILD"
  log=$BUILD/configure.log
  if ! cmake -S "$ROOT" -B "$BUILD" --preset "$PRESET" \
    -DATTENTION_TESTS="$tests" "$(use_ccache)" > "$log" 2>&1; then
    cat "$log" >&2
    die "cmake could not configure $BUILD"
  fi
}

# build_targets TARGET...: builds; "tests" stands for everything with tests.
# ninja's progress goes to stderr, and nothing at all when all is built.
build_targets() {
  local tests=OFF targets=("$@")
  if [[ $1 == tests ]]; then
    tests=ON
    targets=(all)
  fi
  configure "$tests"
  if ! ninja -C "$BUILD" -n "${targets[@]}" 2> /dev/null |
    grep -q 'no work to do'; then
    say "building (a few minutes the first time)"
    ninja -C "$BUILD" "${targets[@]}" >&2
  fi
}

# Where a program that was built is.
built() { printf '%s/%s' "$BUILD" "$1"; }
