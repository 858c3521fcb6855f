# shellcheck shell=bash
# The benchmarks; sourced by ../run, which sets ROOT, BUILD and PYTHON.

# Builds the benchmarks, in the build directory of everything else.
build_benchmarks() {
  local log=$BUILD/configure.log
  configure OFF
  if ! grep -q '^ATTENTION_BENCH:BOOL=ON$' "$BUILD/CMakeCache.txt" &&
    ! cmake -S "$ROOT" -B "$BUILD" -DATTENTION_BENCH=ON > "$log" 2>&1; then
    cat "$log" >&2
    die "cmake could not configure the benchmarks"
  fi
  build_targets core_bench client_bench rpc_bench echo_server attention-server
}

# ./run bench [--quick] [--rows ID,...] [--rounds N] [--runs N] [--publish]
#             [--cpu-time] [--json FILE]
# ./run bench --against BUILD_DIR [--rows ID,...] [--rounds N] [--cpu-time]
#             [--json FILE]
#
# Compares the core with this machine's matrix multiplication and with other
# libraries, and the service with an empty echo, in alternating rounds (15), and
# prints each row of bench/floors.json with its median and quartiles. Other
# libraries are installed from PyPI into build/bench/venv (several GB, a few
# minutes); one that cannot be had is reported as missing. Writes results.json,
# RESULTS.md and a plot to build/bench; --publish makes three runs and writes
# this processor's section of bench/RESULTS.md too, unless the machine's matrix
# multiplication is below its own floor. --quick takes 3 short rounds, which mean
# little. So does anything measured while other programs run: a run takes about a
# quarter of an hour, in which the machine should do nothing else. Where that is
# not to be had, --cpu-time measures what runs in one thread in processor time of
# its process, and says so at the row: tiny_us and sgemm_over_fma_peak, and with
# one processor (taskset -c 0 ./run bench --cpu-time) all of the core and of other
# libraries. Rows of two threads are times by the clock in any case.
#
# --against is how a change is judged: this build and another, in turns, each row
# with the ratio of their times and its 95 % interval from 30 rounds or more.
# BUILD_DIR is the build directory of another checkout, in which ./run bench has
# been run before (./run bench --quick --rows tiny_us is enough).
command_bench() {
  require_packages build bench
  build_benchmarks
  exec "$PYTHON" -B "$ROOT/bench/driver.py" --build "$BUILD" "$@"
}
