"""Builds the image and runs it; see docker/smoke.sh.

Ends with 0 if every claim holds, 1 if one falls short.
"""

import argparse
import pathlib
import signal
import sys

from proofs import container
from proofs.claims import Claims

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main(argv):
    # As Ctrl-C does: what was started is stopped, what was made is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="docker/smoke.sh")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path)
    options = parser.parse_args(argv)
    claims = Claims()
    try:
        container.smoke(ROOT, claims)
    finally:
        if options.json is not None:
            claims.write(options.json)
    return 0 if claims.hold() else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("attention: interrupted")
