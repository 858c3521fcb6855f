"""A server that a test starts and stops."""

import contextlib
import os
import pathlib
import signal
import subprocess
import tempfile
import time

# How long to wait for what takes milliseconds, on a machine that is busy.
PATIENCE = 60


def last_words(error):
    """Why a server did not start, of what it wrote to the standard error, where
    it may also have logged what it found: lines with their ends."""
    return [line for line in error.splitlines(keepends=True)
            if line.startswith("attention-server: ")]


@contextlib.contextmanager
def running_server(program, *flags, log_path=None, preexec_fn=None):
    """Starts `program` on a free loopback port; yields (address, process).

    It keeps weight sets in memory unless `flags` say otherwise, and its log for
    as long as it runs unless `log_path` says where; `preexec_fn` is
    subprocess.Popen's. The block may kill it."""
    # Settings of whoever runs the tests are not the tests'.
    environment = {
        name: value for name, value in os.environ.items()
        if not name.startswith("ATTENTION_")}
    with tempfile.TemporaryDirectory() as scratch:
        port_file = pathlib.Path(scratch) / "port"
        log_path = log_path or pathlib.Path(scratch) / "log"
        with open(log_path, "w") as log:
            process = subprocess.Popen(
                [program, "--listen", "127.0.0.1:0",
                 "--port-file", str(port_file), "--store", "memory", *flags],
                stdout=log, stderr=log, env=environment,
                preexec_fn=preexec_fn)
        try:
            waited_until = time.monotonic() + PATIENCE
            while not (port_file.exists() and port_file.read_text().strip()):
                if process.poll() is not None or time.monotonic() > waited_until:
                    raise AssertionError(
                        "no server:\n" + log_path.read_text())
                time.sleep(0.02)
            yield f"127.0.0.1:{port_file.read_text().strip()}", process
            if process.poll() not in (None, 0, -signal.SIGKILL):
                raise AssertionError("server ended:\n" + log_path.read_text())
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(PATIENCE)
