"""Proves that messages which would take seconds to make into objects hold up
nobody.

Two clients send messages of millions of annotations and four send millions of
labels, again and again, while the health is asked every 100 ms; then the server is
told to stop in the midst of it. One line per claim (scripts/proofs). PYTHONPATH
has the stubs and tests/support, ATTENTION_SERVER the server. --quick sends smaller
messages for less time.
"""

import contextlib
import multiprocessing
import pathlib
import sys
import tempfile
import threading
import time

import grpc
import numpy as np

import service
from hostile_messages import SERVICE, annotations, labels

sys.path.insert(0, str(service.ROOT / "scripts"))
from proofs.program import main  # noqa: E402

MIB = 1 << 20
ANNOTATIONS, LABELS = 2, 4  # clients
SIZE, QUICK_SIZE = 57 * MIB, 8 * MIB
SECONDS, QUICK_SECONDS = 60, 3
PAUSE = 0.1
P99_MS = 50
GRACE = 10  # --shutdown-grace, which is so by default
BEYOND_GRACE = 1  # as stop_proof.py has it


def send_for_ever(address, size, begun, sent):
    """In a process of its own, which has no part in what is measured."""
    messages = [annotations(size)] * ANNOTATIONS + [labels(size)] * LABELS
    def send(message):
        call = service.channel(address).unary_unary(SERVICE + "SetWeights")
        while True:
            try:
                call(message)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                    with sent.get_lock():
                        sent.value += 1
    for message in messages:
        threading.Thread(target=send, args=(message,), daemon=True).start()
    begun.set()
    time.sleep(3600)


@contextlib.contextmanager
def senders(address, size):
    """Yields how many messages have been refused, as they should be."""
    spawn = multiprocessing.get_context("spawn")
    begun, sent = spawn.Event(), spawn.Value("q", 0)
    process = spawn.Process(target=send_for_ever, daemon=True,
                            args=(address, size, begun, sent))
    process.start()
    try:
        begun.wait(service.PATIENCE)
        yield sent
    finally:
        process.kill()
        process.join()


def ask_health(address, seconds):
    """How long each answer took."""
    took = []
    with service.channel(address) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        check(b"", timeout=service.PATIENCE)
        until = time.monotonic() + seconds
        while (begun := time.monotonic()) < until:
            check(b"", timeout=service.PATIENCE)
            took.append(time.monotonic() - begun)
            time.sleep(max(0, PAUSE - took[-1]))
    return took


def prove(claims, options):
    size = QUICK_SIZE if options.quick else SIZE
    seconds = QUICK_SECONDS if options.quick else SECONDS
    with tempfile.TemporaryDirectory() as folder, service.running_server(
            "--shutdown-grace", f"{GRACE}s", "--log-level", "error",
            log_path=pathlib.Path(folder) / "log") as (address, process), \
            senders(address, size) as sent:
        took = ask_health(address, seconds)
        told = time.monotonic()
        process.terminate()
        code = process.wait(GRACE + service.PATIENCE)
        stopped = time.monotonic() - told
        claims.at_least(
            "door.responsive.sent",
            f"messages of {size // MIB} MiB of annotations or labels that were "
            f"refused meanwhile", sent.value, ANNOTATIONS + LABELS)
    p99 = 1e3 * float(np.quantile(took, 0.99))
    if options.quick:  # no bound in time where others build beside it
        claims.at_least("door.responsive.health", "answers of health meanwhile, "
                        f"p99 {p99:.0f} ms", len(took), 1)
    else:
        claims.at_most(
            "door.responsive.health", "ms that 99 of 100 answers of health took "
            f"at most, of {len(took)}", p99, P99_MS)
    claims.equal("door.responsive.exit", "exit code after SIGTERM in the midst "
                 "of it", code, 0)
    claims.at_most("door.responsive.stop", "seconds until then", stopped,
                   GRACE + BEYOND_GRACE)


if __name__ == "__main__":
    main(prove)
