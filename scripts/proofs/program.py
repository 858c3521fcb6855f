"""What is the same in every program that proves something for ./run prove."""

import argparse
import os
import pathlib
import sys

from proofs.claims import Claims


def main(prove, parser=None):
    """Makes claims by prove(claims, options) and ends the process: with 0 if all
    hold, 1 if one falls short, and as Python does if `prove` breaks.

    `parser` has what the program takes beside --quick and --json, which are
    those of ./run prove."""
    parser = parser or argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path)
    options = parser.parse_args()
    claims = Claims()
    try:
        prove(claims, options)
    finally:
        if options.json is not None:
            claims.write(options.json)
    sys.stdout.flush()
    sys.stderr.flush()
    # gRPC's threads may outlast what they were for, and then wait for it.
    os._exit(0 if claims.hold() else 1)
