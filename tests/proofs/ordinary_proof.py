"""Proves that ordinary clients are not cut, however large, many or rare their
messages are.

In plain text and with TLS, of servers with default flags: five calls of 40 MiB at
once on one channel; 10 million messages on one stream; a channel, and a stream,
that say nothing for five minutes and then go on. One line per claim
(scripts/proofs). PYTHONPATH has the stubs and tests/support, ATTENTION_SERVER the
server, STREAM_CLIENT tests/stream_client. --quick waits less and sends fewer.
"""

import contextlib
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time

import grpc
import numpy as np

import certificates
import service
from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc

sys.path.insert(0, str(service.ROOT / "scripts"))
from proofs.program import main  # noqa: E402

STREAM_CLIENT = os.environ["STREAM_CLIENT"]

MIB = 1 << 20
CALLS = 5
LARGE = 40 * MIB
TIMES, QUICK_TIMES = 5, 1
MESSAGES, QUICK_MESSAGES = 10_000_000, 50_000
IDLE, QUICK_IDLE = 300, 4

TINY = pb.ComputeAttentionRequest(
    query=service.tensor(np.ones((4, 4), np.float32)))


class IdleClient(threading.Thread):
    """Calls, and has one message of a stream answered; the same once more after
    `seconds`. `failures` says what was not answered."""

    def __init__(self, channel, seconds):
        super().__init__(daemon=True)
        self.stub = attention_pb2_grpc.AttentionServiceStub(channel)
        self.seconds = seconds
        self.failures = []

    def attempt(self, what, call):
        try:
            call()
        except grpc.RpcError as error:
            self.failures.append(f"{what}: {error.code()} {error.details()}")

    def run(self):
        messages = queue.Queue()
        answers = self.stub.StreamAttention(iter(messages.get, None))
        def call():
            self.stub.ComputeAttention(TINY, timeout=service.PATIENCE)
        def send():
            messages.put(pb.StreamAttentionRequest(id=1, request=TINY))
            if not next(answers).HasField("response"):
                self.failures.append("a message of the stream was refused")
        def end():
            messages.put(None)
            list(answers)
        self.attempt("the first call", call)
        self.attempt("the first message", send)
        time.sleep(self.seconds)
        self.attempt("the call after it", call)
        self.attempt("the message after it", send)
        self.attempt("the end of the stream", end)


def large_calls(channel, times):
    """What failed of CALLS at once, so many times."""
    width = 64
    query = np.ones((LARGE // 4 // width, width), np.float32)
    request = pb.ComputeAttentionRequest(
        query=service.tensor(query), key=service.tensor(query[:1]))
    stub = attention_pb2_grpc.AttentionServiceStub(channel)
    failures = []
    for _ in range(times):
        calls = [stub.ComputeAttention.future(request, timeout=600)
                 for _ in range(CALLS)]
        for call in calls:
            error = call.exception()
            if error is not None:
                failures.append(f"{error.code()}: {error.details()}")
            elif len(call.result().output.data) != LARGE:
                failures.append("another answer")
    return failures


def stream(address, ca, count):
    done = subprocess.run(
        [STREAM_CLIENT, address, str(count), *([ca] if ca else [])],
        stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def prove(claims, options):
    idle = QUICK_IDLE if options.quick else IDLE
    times = QUICK_TIMES if options.quick else TIMES
    count = QUICK_MESSAGES if options.quick else MESSAGES
    with contextlib.ExitStack() as stack:
        authority = certificates.Authority(pathlib.Path(
            stack.enter_context(tempfile.TemporaryDirectory())))
        cert, key = authority.issue("server", ["127.0.0.1"])
        ways = []
        for name, flags, ca in (
                ("plain", (), None),
                ("tls", ("--tls-cert", str(cert), "--tls-key", str(key)),
                 str(authority.ca))):
            address, _ = stack.enter_context(service.running_server(*flags))
            silent = IdleClient(service.channel(address, ca=ca), idle)
            silent.start()
            ways.append((name, address, ca, silent))
        for name, address, ca, silent in ways:
            with service.channel(address, ca=ca) as channel:
                failures = large_calls(channel, times)
            claims.equal(
                f"door.ordinary.{name}.large",
                f"of {times} times {CALLS} calls of {LARGE // MIB} MiB at once on "
                "one channel that failed" + "".join(f"; {one}" for one in
                                                    failures[:1]),
                len(failures), 0)
            did = stream(address, ca, count)
            claims.equal(
                f"door.ordinary.{name}.stream",
                "messages of one stream that are answered right, "
                f"{did['seconds']:.0f} s; it ended {did['ended']}"
                + (f"; {did['error']}" if did["error"] else ""),
                did["right"] if did["ended"] == "OK" else -1, count)
        for name, _, _, silent in ways:
            silent.join()
            claims.equal(
                f"door.ordinary.{name}.idle",
                f"calls, and messages of a stream, that failed before and after "
                f"{idle} s of silence" + "".join(
                    f"; {one}" for one in silent.failures),
                len(silent.failures), 0)


if __name__ == "__main__":
    main(prove)
