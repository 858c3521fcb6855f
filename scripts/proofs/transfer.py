"""Weight sets larger than a message: what a transfer takes of memory, and what
one leaves behind that breaks off.

prove_transfer(context) starts servers of its own and moves sets with
tests/transfer_client, the client library in a process of its own.
"""

import contextlib
import json
import pathlib
import random
import signal
import subprocess
import tempfile
import time

from proofs.context import clean_environment, say, started

TARGETS = ("attention-server", "attention", "transfer_client")

MIB = 1 << 20

# Four projections of WIDTH x WIDTH floats are 16 * WIDTH^2 bytes.
WIDTH, QUICK_WIDTH = 8192, 2048  # 1 GiB; 64 MiB
# So large that what a cut leaves would show.
CUT_WIDTH = 4096  # 256 MiB
CUTS = 10

# What either side may take beyond the set: chunks of 1 MiB that are on their way
# through gRPC, which lets some 16 MiB come ahead of who reads and holds them more
# than once while it takes them apart, and what the allocators keep of them. It
# does not grow with the set.
CHUNKS = 64

# Seconds for what takes milliseconds, on a machine that is busy.
PATIENCE = 60


def prove_transfer(context):
    context.build_targets(*TARGETS)
    prove_memory(context)
    prove_cuts(context)


@contextlib.contextmanager
def running_server(context, *flags):
    """A server of its own; yields (address, process id)."""
    with tempfile.TemporaryDirectory() as scratch:
        port = pathlib.Path(scratch) / "port"
        command = [context.build / "server/attention-server",
                   "--listen", "127.0.0.1:0", "--port-file", port,
                   "--store", "memory", *flags]
        with started(command, env=clean_environment(),
                     stdout=subprocess.DEVNULL,
                     stderr=subprocess.DEVNULL) as process:
            wait_until(lambda: port.exists() and port.read_text().strip()
                       or process.poll() is not None)
            yield f"127.0.0.1:{port.read_text().strip()}", process.pid


def wait_until(condition):
    """Whether the condition came true within PATIENCE."""
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def transfer(context, *arguments):
    """The exit code of transfer_client and what it measured."""
    done = subprocess.run(
        [context.build / "tests/transfer_client", *map(str, arguments)],
        check=False, stdout=subprocess.PIPE, text=True,
        env=clean_environment())
    return done.returncode, json.loads(done.stdout) if done.stdout else {}


def memory(pid, field):
    """VmRSS or VmHWM of a process, in bytes."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"process {pid} has no {field}")


class PeakMemory:
    """What a process takes at most, beyond what it had before."""

    def __init__(self, pid):
        self.pid = pid
        self.before = memory(pid, "VmRSS")
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")

    def bytes(self):
        return max(memory(self.pid, "VmHWM") - self.before, 0)


def prove_memory(context):
    width = QUICK_WIDTH if context.quick else WIDTH
    set_bytes = 16 * width * width
    size = f"{set_bytes // MIB} MiB"
    with running_server(context) as (address, pid):
        # What a process takes once, however much it transfers.
        for verb in ("upload", "download"):
            transfer(context, verb, address, "warm", 512)
        for verb, held in (("upload", set_bytes), ("download", 0)):
            say(f"{verb} of {size} ...")
            server = PeakMemory(pid)
            code, client = transfer(context, verb, address, "set", width)
            server_peak = server.bytes()
            done = code == 0
            context.claims.equal(
                f"client.transfer.{verb}",
                f"exit code of the {verb} of a set of {size}, "
                f"{client.get('seconds', 0):.1f} s", code, 0)
            for side, peak, most in (
                    ("server", server_peak, held),
                    ("client", client.get("peak_bytes", -1), set_bytes)):
                bound = most // MIB + CHUNKS
                context.claims.add(
                    f"client.transfer.{verb}.{side}_memory",
                    f"MiB that the {side} takes at most during it: "
                    + (f"the set and {CHUNKS} chunks of 1 MiB" if most else
                       f"{CHUNKS} chunks of 1 MiB"),
                    peak / MIB, bound, done and 0 <= peak <= bound * MIB)


def prove_cuts(context):
    set_bytes = 16 * CUT_WIDTH * CUT_WIDTH
    dice = random.Random(1)
    points = sorted(dice.randrange(1, set_bytes) for _ in range(CUTS))
    dice.shuffle(points)
    # Two uploads at once do not fit, so each shows that the one before has given
    # its budget back.
    budget = set_bytes + set_bytes // 2
    # An eighth of the limit is never lent.
    with running_server(context, "--memory-limit", str(budget * 8 // 7 + 8),
                        "--max-message-bytes", "2MiB") as (address, pid):
        # The memory that transfers take on the way is there.
        transfer(context, "upload", address, "warm", 512)
        run_attention(context, address, "weights", "delete", "warm")
        before = memory(pid, "VmRSS")
        killed = 0
        for point in points:
            say(f"cut after {point} of {set_bytes} bytes ...")
            # Refused, it tries again: the connection before may not be known to
            # be gone yet.
            if not wait_until(lambda: transfer(
                    context, "upload", address, "cut", CUT_WIDTH,
                    point)[0] == -signal.SIGKILL):
                break
            killed += 1
        context.claims.equal(
            "client.transfer.cuts",
            f"uploads of {set_bytes // MIB} MiB that were taken on and whose "
            "client was killed at a random byte, each taking a budget that two "
            "would not fit", killed, CUTS)
        left = run_attention(context, address, "weights", "list", "--json")
        context.claims.equal(
            "client.transfer.cuts_leave_versions", "versions left by them",
            len(left.get("versions", [])), 0)
        given_back = wait_until(
            lambda: memory(pid, "VmRSS") - before <= CHUNKS * MIB)
        context.claims.add(
            "client.transfer.cuts_leave_memory",
            "MiB that the server has more than before them",
            (memory(pid, "VmRSS") - before) / MIB, CHUNKS, given_back)
        code, _ = transfer(context, "upload", address, "cut", CUT_WIDTH)
        context.claims.equal("client.transfer.after_cuts",
                             "exit code of an upload after them", code, 0)


def run_attention(context, address, *arguments):
    """What the command line prints as JSON."""
    done = subprocess.run(
        [context.build / "client/cpp/attention", "--target", address,
         *arguments], check=True, stdout=subprocess.PIPE, text=True,
        env=clean_environment())
    return json.loads(done.stdout) if "--json" in arguments else done.stdout
