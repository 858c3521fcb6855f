"""Checks what the README claims, one line per claim; see ./run prove --help.

Ends with 0 if every claim holds, 1 if one falls short, 2 if it was called
wrongly.
"""

import argparse
import pathlib
import signal
import sys

from proofs import client, container, door, fast, processors, spine
from proofs.claims import Claims
from proofs.context import Context

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Name -> a module with QUICK, what --quick reduces, and prove(context).
SUITES = {"spine": spine, "fast": fast, "client": client, "door": door,
          "container": container, "processors": processors}


def arguments(argv):
    parser = argparse.ArgumentParser(prog="./run prove")
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path)
    # Where the project is built with its tests; ./run says so.
    parser.add_argument("--build", type=pathlib.Path, required=True,
                        help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv):
    # As Ctrl-C does: what was started is stopped, what was made is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = arguments(argv)
    suite = SUITES[options.suite]
    if options.quick:
        print(f"quick: {suite.QUICK}", flush=True)
    claims = Claims()
    try:
        suite.prove(Context(ROOT, options.build, options.quick, claims))
    finally:
        if options.json is not None:
            claims.write(options.json)
    return 0 if claims.hold() else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("attention: interrupted")
