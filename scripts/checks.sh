# shellcheck shell=bash
# Formatting and static checks; sourced by ../run, which sets ROOT
# and BUILD.

# The project's own C++ files, NUL-separated; $1 is a pattern such as '*.cc'.
sources() {
  find "$ROOT" -type d \( -name node_modules -o -name "build*" -o -name .git \) \
    -prune -o -type f -name "$1" -print0
}

# ./run format [--check]
#
# Formats the C++ sources with clang-format 14; --check only tells what differs.
command_format() {
  local how=(-i)
  if [[ ${1:-} == --check ]]; then how=(--dry-run -Werror); fi
  require_packages lint
  { sources '*.cc' && sources '*.h'; } | xargs -0 clang-format-14 "${how[@]}"
}

# clang-tidy is PyPI's, in a virtual environment of its own: since version 22 it
# looks into system headers no more than it must, which makes it far faster than
# Debian's.
readonly CLANG_TIDY=clang-tidy==22.1.8
install_clang_tidy() {
  local environment=$1
  if [[ $(cat "$environment/installed" 2> /dev/null) == "$CLANG_TIDY" ]]; then
    return
  fi
  say "installing $CLANG_TIDY into $environment"
  "$PYTHON" -m venv --clear "$environment"
  "$environment/bin/pip" install --quiet --disable-pip-version-check "$CLANG_TIDY"
  printf '%s' "$CLANG_TIDY" > "$environment/installed"
}

# clang-tidy over every unit of the project; generated code is not ours. Counts
# of warnings it does not show are left out, and its colours; what it found comes
# again at the end, once however many units include the header it is in.
# run-clang-tidy takes regular expressions, so the path is quoted as one.
run_clang_tidy() {
  local environment=$ROOT/build/lint quoted log
  install_clang_tidy "$environment"
  build_targets tests
  build_benchmarks
  quoted=$("$PYTHON" -c 'import re, sys; print(re.escape(sys.argv[1]))' "$ROOT")
  log=$BUILD/clang-tidy.log
  if ! "$environment/bin/python" "$environment/bin/run-clang-tidy.py" \
    -clang-tidy-binary "$environment/bin/clang-tidy" \
    -quiet -p "$BUILD" -j "$(nproc)" \
    "^$quoted/(bench|client|command_line|proto|server|tests|tls)/" 2>&1 |
    sed -uE -e 's/\x1b\[[0-9;]*m//g' \
      -e '/^[0-9]+ warnings?( and [0-9]+ errors?)? generated\.$/d' |
    tee "$log"; then
    say "clang-tidy found:"
    grep -E ': (error|warning): |terminated by signal' "$log" | sort -u >&2
    return 1
  fi
}

# ./run lint [tidy|shell|architecture|links]...
#
# Static checks, all of them if none is named.
command_lint() {
  local checks=("$@") check
  require_packages build test lint
  if ((${#checks[@]} == 0)); then checks=(shell architecture links tidy); fi
  for check in "${checks[@]}"; do
    case $check in
      tidy) run_clang_tidy ;;
      shell) (cd "$ROOT" && shellcheck -x run .ci/run docker/*.sh scripts/*.sh tests/*/*/*.sh) ;;
      architecture) "$PYTHON" "$ROOT/tests/repository/architecture_test.py" ;;
      links) "$PYTHON" "$ROOT/tests/repository/links_test.py" ;;
      *) die "no check '$check'" ;;
    esac
  done
}
