"""Compares the core and the service with this machine's matrix multiplication,
with an empty echo, and with other libraries; see ./run bench --help.

Every number is a ratio of two measurements of one round, or stands alone; of
each row it tells the median of the rounds and the quartiles, of several runs
the median of their medians. Ends with 0 if every row could be measured or its
peer is missing, with 1 if one failed, with 2 if it was called wrongly.
"""

import argparse
import datetime
import json
import pathlib
import signal
import statistics
import sys

import machine
import report
from contest import Bench
from peers import say
from rows import ROWS
from workers import WorkerError

HERE = pathlib.Path(__file__).resolve().parent
FULL_ROUNDS = 15
PUBLISHED_RUNS = 3


def arguments(argv):
    parser = argparse.ArgumentParser(prog="./run bench")
    parser.add_argument("--build", type=pathlib.Path, required=True,
                        help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=lambda ids: ids.split(","),
                        metavar="ID,...", default=list(ROWS))
    parser.add_argument("--rounds", type=int, default=FULL_ROUNDS)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--publish", action="store_true")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE")
    options = parser.parse_args(argv)
    unknown = [row for row in options.rows if row not in ROWS]
    if unknown:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    if options.rounds < 1 or options.runs < 1:
        parser.error("--rounds and --runs are at least 1")
    if options.quick:
        options.rounds = min(options.rounds, 3)
    if options.publish:
        if options.quick or options.rounds < FULL_ROUNDS or (
                len(options.rows) < len(ROWS)):
            parser.error("only a full run is published")
        options.runs = max(options.runs, PUBLISHED_RUNS)
    return options


def measure_row(bench, row):
    """One row, with what other programs took meanwhile."""
    load = machine.Load()
    try:
        result = ROWS[row](bench)
    except WorkerError as error:
        result = {"error": str(error)}
    result["load"] = load.report()
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


def measure(options, directory):
    load = machine.Load()
    with Bench(options.build, directory, options.rounds,
               0.02 if options.quick else 0.08, options.quick) as bench:
        runs = []
        for bench.run in range(options.runs):
            say(f"run {bench.run + 1} of {options.runs}")
            runs.append({row: measure_row(bench, row) for row in options.rows})
        return {
            "machine": machine.description(),
            "blas": bench.blas,
            "peers": bench.peers.about,
            "missing": bench.peers.missing,
            "time": datetime.datetime.now(datetime.timezone.utc).isoformat(
                timespec="minutes"),
            "rounds": options.rounds,
            "runs": options.runs,
            "quick": options.quick,
            "load": load.report(),
            "rows": {row: over_runs([run[row] for run in runs])
                     for row in options.rows},
        }


def main(argv):
    # As Ctrl-C does: what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = arguments(argv)
    directory = HERE.parent / "build" / "bench"
    directory.mkdir(parents=True, exist_ok=True)
    results = measure(options, directory)
    floors = json.loads((HERE / "floors.json").read_text())
    for path in {directory / "results.json", options.json} - {None}:
        path.write_text(json.dumps(results, indent=2) + "\n")
    report.write(results, floors, directory / "RESULTS.md")
    if options.publish:
        report.write(results, floors, HERE / "RESULTS.md")
    print(report.table(results, floors))
    failed = [row for row, result in results["rows"].items()
              if "error" in result]
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("attention: interrupted")
