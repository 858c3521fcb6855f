"""Proves that a burst of connections does not silence the server.

Idle connections take all of the 64 or 1,024 files that it may open, in plain text,
with TLS and on a Unix socket, and are closed again; then health is asked. One line
per claim (scripts/proofs). Runs where the Python tests run: ATTENTION_SERVER and
ATTENTION_CLI are the programs. --quick does each twice, not five times.
"""

import contextlib
import os
import pathlib
import resource
import socket
import subprocess
import sys
import tempfile
import time

import certificates
from server_process import PATIENCE, running_server

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
from proofs.program import main  # noqa: E402

SERVER, CLI = os.environ["ATTENTION_SERVER"], os.environ["ATTENTION_CLI"]

# Open files that the server may have, and connections that take them all.
LIMITS = ((64, 120), (1024, 1100))
TIMES, QUICK_TIMES = 5, 2
MOST_SECONDS = 2.0  # from the last close to the answer


def connect(address):
    if address.startswith("unix:"):
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(PATIENCE)
        one.connect(address.removeprefix("unix:"))
        return one
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), PATIENCE)


def seconds_after_burst(address, connections, *flags):
    """Until health is SERVING after the connections are closed; infinite if it
    is not."""
    with contextlib.ExitStack() as burst:
        for _ in range(connections):
            burst.enter_context(connect(address))
    begun = time.monotonic()
    done = subprocess.run(
        [CLI, "health", "--target", address, "--wait", "30s", *flags],
        capture_output=True, text=True)
    seconds = time.monotonic() - begun
    return seconds if done.stdout == "SERVING\n" else float("inf")


def prove(claims, options):
    times = QUICK_TIMES if options.quick else TIMES
    # This process has the other ends.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        authority = certificates.Authority(folder)
        cert, key = authority.issue("server", ["127.0.0.1"])
        for files, connections in LIMITS:
            def few(files=files):
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
            path = f"unix:{folder}/socket"
            with running_server(SERVER, "--listen", path,
                                preexec_fn=few) as (plain, _), \
                    running_server(SERVER, "--tls-cert", cert, "--tls-key", key,
                                   preexec_fn=few) as (tls, _):
                for name, address, flags in (
                        ("plain", plain, ()), ("unix", path, ()),
                        ("tls", tls, ("--tls-ca", authority.ca))):
                    claims.at_most(
                        f"door.descriptors.{files}.{name}",
                        f"most seconds from the last close of {connections} "
                        f"connections, which took all of {files} open files, to "
                        f"SERVING, {times} times",
                        max(seconds_after_burst(address, connections, *flags)
                            for _ in range(times)), MOST_SECONDS)


if __name__ == "__main__":
    main(prove)
