"""Compares the core and the service with this machine's matrix multiplication,
with an empty echo, and with other libraries; see ./run bench --help.

Every number is a ratio of two measurements of one round, or stands alone; of
each row it tells the median of the rounds and the quartiles, of several runs
the median of their medians. What kernels are compared with is measured first, in
each run: where the matrix library falls below its own floor, on a kernel of
another processor, say, the run is marked, and nothing is published.

Ends with 0 if every row could be measured or its peer is missing, with 1 if one
failed or was to be published and may not, with 2 if it was called wrongly.
"""

import argparse
import datetime
import json
import pathlib
import signal
import statistics
import sys

import against
import floors as table_of_floors
import loopback
import machine
import report
from contest import Bench
from peers import say
from rows import ROWS, YARDSTICK
from workers import WorkerError

HERE = pathlib.Path(__file__).resolve().parent
FULL_ROUNDS = 15
PUBLISHED_RUNS = 3


def arguments(argv):
    parser = argparse.ArgumentParser(prog="./run bench")
    parser.add_argument("--build", type=pathlib.Path, required=True,
                        help=argparse.SUPPRESS)
    parser.add_argument("--against", type=pathlib.Path, metavar="BUILD_DIR")
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--rows", type=lambda ids: ids.split(","),
                        metavar="ID,...")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--publish", action="store_true")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE")
    options = parser.parse_args(argv)
    there_are = against.QUANTITIES if options.against else ROWS
    options.rows = options.rows or list(there_are)
    unknown = [row for row in options.rows if row not in there_are]
    if unknown:
        parser.error(
            f"no row {', '.join(unknown)}; there are {', '.join(there_are)}")
    if options.against:
        if options.publish or options.quick or options.runs > 1:
            parser.error("--against goes with --rows, --rounds, --cpu-time and "
                         "--json")
        options.rounds = options.rounds or against.ROUNDS
        if options.rounds < against.ROUNDS:
            parser.error(f"--against takes {against.ROUNDS} rounds at least")
        return options
    options.rounds = options.rounds or FULL_ROUNDS
    if options.rounds < 1 or options.runs < 1:
        parser.error("--rounds and --runs are at least 1")
    if options.quick:
        options.rounds = min(options.rounds, 3)
    if options.publish:
        if options.quick or options.cpu_time or (
                options.rounds < FULL_ROUNDS) or (
                len(options.rows) < len(ROWS)):
            parser.error("only a full run is published")
        options.runs = max(options.runs, PUBLISHED_RUNS)
    return options


def measure_row(bench, row):
    """One row, with what other programs took meanwhile."""
    load = machine.Load()
    bench.clocks.clear()
    try:
        result = ROWS[row](bench)
    except WorkerError as error:
        result = {"error": str(error)}
    result["load"] = load.report()
    if bench.clocks == {"CPU"}:
        result["clock"] = "process CPU time"
    say(f"{row}: {report.in_short(result)}")
    return result


def over_runs(results):
    """The run whose value is the median of the runs (the lower of the middle
    two), with the values of all."""
    measured = [result for result in results if "value" in result]
    if len(measured) < len(results):
        return next(result for result in results if "value" not in result)
    middle = statistics.median_low(result["value"] for result in measured)
    chosen = next(r for r in measured if r["value"] == middle)
    return {**chosen, "runs": [result["value"] for result in measured]}


def measure(options, directory, paced):
    """`paced` tells how TCP paces what comes over loopback."""
    load = machine.Load()
    with Bench(options.build, directory, options.rounds,
               0.02 if options.quick else 0.08, options.quick,
               options.cpu_time) as bench:
        vector_target, blas_kernel = bench.kernels
        floors = table_of_floors.on(vector_target)
        order = [YARDSTICK] + [row for row in options.rows if row != YARDSTICK]
        runs = []
        for bench.run in range(options.runs):
            say(f"run {bench.run + 1} of {options.runs}")
            runs.append({row: measure_row(bench, row) for row in order})
        return {
            "machine": machine.description() | {"loopback": paced},
            "vector_target": vector_target,
            "blas_kernel": blas_kernel,
            "blas": bench.blas,
            "floors": floors,
            "yardstick_holds": all(
                report.verdict(run[YARDSTICK], next(
                    floor for floor in floors if floor["id"] == YARDSTICK))
                in ("floor", "aim") for run in runs),
            "peers": bench.peers.about,
            "missing": bench.peers.missing,
            "time": datetime.datetime.now(datetime.timezone.utc).isoformat(
                timespec="minutes"),
            "rounds": options.rounds,
            "runs": options.runs,
            "quick": options.quick,
            "load": load.report(),
            "rows": {row: over_runs([run[row] for run in runs])
                     for row in order},
        }


def measure_against(options, directory, paced):
    """Both builds in turns; prints each row at once."""
    with Bench(options.build, directory / "this", options.rounds, 0.08, False,
               options.cpu_time) as ours, \
            Bench(options.against, directory / "other", options.rounds, 0.08,
                  False, options.cpu_time) as theirs:
        print(f"this build: {ours.blas}\nthe other, {options.against}: "
              f"{theirs.blas}\n{options.rounds} rounds; TCP on loopback by {paced}\n\n"
              f"{against.HEAD}")
        results = {}
        for row in options.rows:
            results[row] = against.measure_row(ours, theirs, row)
            print(against.line(row, results[row]), flush=True)
        print(f"\ngeometric mean {against.geometric_mean(results):.3f}; of two "
              f"builds that are equally fast, {0.05 * len(results):.1f} of "
              f"{len(results)} rows are called faster or slower by chance")
        return results


def main(argv):
    # As Ctrl-C does: what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = arguments(argv)
    directory = HERE.parent / "build" / "bench"
    directory.mkdir(parents=True, exist_ok=True)
    name = "against.json" if options.against else "results.json"
    with loopback.paced_by_cubic(say) as paced:
        results = (measure_against if options.against else measure)(
            options, directory, paced)
    for path in {directory / name, options.json} - {None}:
        path.write_text(json.dumps(results, indent=2) + "\n")
    if options.against:
        return 1 if any("error" in row for row in results.values()) else 0
    report.write(results, directory / "RESULTS.md")
    print(report.warning(results) + report.table(results))
    if options.publish and not results["yardstick_holds"]:
        say("nothing is published: what kernels are compared with is below its "
            "own floor")
        return 1
    if options.publish:
        report.write(results, HERE / "RESULTS.md")
    failed = [row for row, result in results["rows"].items()
              if "error" in result]
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("attention: interrupted")
