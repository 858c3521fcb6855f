"""Proves that no client, nor any mix of them, ends a server that has little
memory.

One server may hold 256 MiB and map 512 MiB beside them (RLIMIT_AS); another has
its default flags in a control group of 512 MiB, as a container has, which takes
root. Both are used by random clients (mixed_clients.py) while every attack
(attacks.py) has its turn, two at a time. One line per claim (scripts/proofs).
PYTHONPATH has the stubs and tests/support, ATTENTION_SERVER the server. --quick
leaves out the control group and most attacks. With names of attacks, those alone.
"""

import argparse
import contextlib
import os
import pathlib
import random
import resource
import subprocess
import sys
import tempfile
import time

import grpc
import numpy as np

import service
from attack_proof import FLAGS
from attacks import ATTACKS, Attack, Target
from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc
from mixed_clients import Client

sys.path.insert(0, str(service.ROOT / "scripts"))
from proofs.program import main  # noqa: E402

MIB = 1 << 20
# As attack_proof.py has it, and what gRPC and the program may map beside it
# (server/memory/memory_limit.h).
ADDRESS_SPACE = (256 + 512) * MIB
CONTAINER = 512 * MIB

CLIENTS = 4
SECONDS, QUICK_SECONDS = 5, 2
QUICK_ATTACKS = ("half_sent", "unread_downloads")


class Ended(Exception):
    pass


def in_little_address_space():
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))


@contextlib.contextmanager
def control_group(size):
    """A group of processes that have `size` bytes together; yields what moves the
    calling process into it."""
    root = pathlib.Path("/sys/fs/cgroup")
    groups = dict(line.split(":")[1:] for line in pathlib.Path(
        "/proc/self/cgroup").read_text().splitlines())
    if "memory" in groups:  # version 1
        parent = root / "memory" / groups["memory"].strip("/")
        limit = "memory.limit_in_bytes"
    else:  # where this process is, the group has processes and so no children
        parent, limit = root, "memory.max"
    group = parent / f"attention-proof-{os.getpid()}"
    group.mkdir()
    try:
        (group / limit).write_text(str(size))
        yield lambda: (group / "cgroup.procs").write_text("0")
    finally:
        until = time.monotonic() + service.PATIENCE
        while True:
            try:
                group.rmdir()  # once the last process is gone from it
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)


def ask(stub):
    """That it computes; an answer may be that it has no memory now."""
    until = time.monotonic() + service.PATIENCE
    while True:
        try:
            return stub.ComputeAttention(pb.ComputeAttentionRequest(
                query=service.tensor(np.ones((4, 4), np.float32))), timeout=10)
        except grpc.RpcError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def attack_together(address, process, names, seconds, seed):
    """Attacks at once and beside random clients; raises Ended if the server is
    gone after it."""
    with contextlib.ExitStack() as stack:
        clients = [Client(service.channel(address), seed + i)
                   for i in range(CLIENTS)]
        for client in clients:
            client.start()
            stack.callback(client.join)
            stack.callback(client.stop)
        for attack in [stack.enter_context(
                Attack(name, Target(address), seconds)) for name in names]:
            # One that breaks was not let in.
            with contextlib.suppress(RuntimeError):
                attack.wait(process)
    if process.poll() is not None:
        raise Ended


def times_it_ended(pairs, seconds, flags, preexec_fn):
    """Of so many pairs of attacks; a new server goes on with the next pair."""
    ended, pairs = 0, list(pairs)
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "log"
        while pairs:
            try:
                with service.running_server(
                        "--threads", "2", "--log-level", "error", *flags,
                        log_path=log, preexec_fn=preexec_fn) as (address,
                                                                 process):
                    stub = attention_pb2_grpc.AttentionServiceStub(
                        service.channel(address))
                    while pairs:
                        names = pairs.pop()
                        attack_together(address, process, names, seconds,
                                        100 * len(pairs))
                        ask(stub)
            except (Ended, grpc.RpcError, subprocess.TimeoutExpired) as why:
                # It is gone, or it neither computes nor stops any more.
                ended += 1
                print(f"attention: ended by {' and '.join(names)} "
                      f"(exit code {process.poll()}, {why!r}):\n"
                      + log.read_text()[-2000:], file=sys.stderr)
                process.kill()
    return ended


def prove(claims, options):
    names = list(options.names
                 or (QUICK_ATTACKS if options.quick else ATTACKS))
    seconds = QUICK_SECONDS if options.quick else SECONDS
    random.Random(1).shuffle(names)
    pairs = [names[i:i + 2] for i in range(0, len(names), 2)]
    said = (f"times that it ended, of {len(pairs)} in which two attacks at once "
            f"meet {CLIENTS} random clients")
    claims.equal("door.bounded.address_space",
                 "a server of 256 MiB under RLIMIT_AS of 512 MiB more: " + said,
                 times_it_ended(pairs, seconds, FLAGS, in_little_address_space),
                 0)
    if options.quick:
        return
    with control_group(CONTAINER) as enter:
        claims.equal("door.bounded.container",
                     "a server of default flags in a control group of 512 MiB: "
                     + said, times_it_ended(pairs, seconds, (), enter), 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("names", metavar="ATTACK", nargs="*",
                        choices=[*ATTACKS, []])
    main(prove, parser)
