"""Proves what attacks on the wire do to a server, and to those who call it.

Each attack has a server of its own, of 256 MiB, which one ordinary client calls
all the while. One line per claim (scripts/proofs): what the process took at
most, whether an ordinary call failed, how slow they were, and whether the
ledger was back where it had been. Runs where the Python tests run: PYTHONPATH
has the stubs and tests/support, ATTENTION_SERVER the server. --quick attacks for
less time.
"""

import contextlib
import gzip
import sys
import threading
import time

import grpc
import numpy as np

import service
from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc
from http2 import (CANCEL, CONTINUATION, END_HEADERS, HEADERS, PING, RESET,
                   SETTINGS, Connection, call_headers, frame, header, message)

sys.path.insert(0, str(service.ROOT / "scripts"))
from proofs.program import main  # noqa: E402
from proofs.transfer import memory  # noqa: E402

MIB = 1 << 20
LIMIT = 256 * MIB
# What a process may take beside what it counts (server/memory/memory_limit.h).
BESIDE = 128 * MIB
# Of the server's own: half-sent messages and idle transfers are ended then.
IDLE = 2
# From the end of an attack to the ledger as it was: the idle time of what was
# half sent, two looks at a transfer, what the pool keeps for two seconds, and as
# much again for a machine that is busy.
RECOVERY = 4 * IDLE + 2

COMPUTE = "/attention.v1.AttentionService/ComputeAttention"
STREAM = "/attention.v1.AttentionService/StreamAttention"
UPLOAD = "/attention.v1.AttentionService/UploadWeights"
GET = "/attention.v1.AttentionService/GetWeights"
METHODS = [COMPUTE, STREAM, UPLOAD, GET] + [
    "/attention.v1.AttentionService/" + name for name in (
        "SetWeights", "ListWeights", "DeleteWeights", "SetLabel",
        "GetServerInfo")] + [
    "/grpc.health.v1.Health/Check",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/no.such.Service/Method"]


class Caller(threading.Thread):
    """An ordinary client, which calls again and again."""

    REQUEST = pb.ComputeAttentionRequest(
        query=service.tensor(np.ones((4, 4), np.float32)))

    def __init__(self, address):
        super().__init__(daemon=True)
        self.channel = service.channel(address)
        self.stub = attention_pb2_grpc.AttentionServiceStub(self.channel)
        self.stop = threading.Event()
        self.seconds, self.failures = [], []

    def run(self):
        while not self.stop.wait(0.005):
            begun = time.monotonic()
            try:
                self.stub.ComputeAttention(self.REQUEST, timeout=30)
            except grpc.RpcError as error:
                self.failures.append(f"{error.code()}: {error.details()}")
            self.seconds.append(time.monotonic() - begun)

    def p99_ms(self):
        return 1e3 * float(np.quantile(self.seconds, 0.99))


# Attacks: functions of an address and of the seconds they may take.

def until(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield


def reconnecting(address, seconds, attack):
    """Attacks again on a new connection when the server has ended one."""
    for _ in until(seconds):
        with contextlib.suppress(OSError), Connection(address) as connection:
            for _ in until(seconds):
                if not attack(connection):
                    break


def gzip_bomb(address, seconds):
    bomb = gzip.compress(bytes(254 * MIB), 9)
    def attack(connection):
        stream = connection.new_stream()
        connection.send(frame(
            HEADERS, END_HEADERS, stream,
            call_headers(COMPUTE) + header("grpc-encoding", "gzip")))
        body = b"\x01" + message(b"", len(bomb))[1:] + bomb
        connection.data(stream, body, end=True, patience=1)
        return not connection.closed
    reconnecting(address, seconds, attack)


def continuation_flood(address, seconds):
    filler = b"".join(header(f"x-{i}", "y" * 1000) for i in range(15))
    def attack(connection):
        connection.send(frame(HEADERS, 0, 1, call_headers(COMPUTE)))
        for _ in until(seconds):
            if not connection.send(frame(CONTINUATION, 0, 1, filler)):
                break
        return False
    reconnecting(address, seconds, attack)


def rapid_reset(address, seconds):
    def attack(connection):
        burst = b""
        for _ in range(100):
            stream = connection.new_stream()
            burst += frame(HEADERS, END_HEADERS, stream, call_headers(COMPUTE))
            burst += frame(RESET, 0, stream, CANCEL)
        return connection.send(burst)
    reconnecting(address, seconds, attack)


def many_streams(address, seconds):
    def attack(connection):
        for _ in range(20_000):
            stream = connection.new_stream()
            if not connection.send(frame(HEADERS, END_HEADERS, stream,
                                         call_headers(STREAM))):
                return False
        return False
    reconnecting(address, seconds, attack)


def ping_flood(address, seconds):
    burst = frame(PING, 0, 0, bytes(8)) * 100
    reconnecting(address, seconds, lambda connection: connection.send(burst))


def settings_flood(address, seconds):
    burst = frame(SETTINGS, 0, 0) * 100
    reconnecting(address, seconds, lambda connection: connection.send(burst))


def huge_literals(address, seconds):
    block = call_headers(COMPUTE) + header("x-huge", "y" * (1 << 20))
    def attack(connection):
        stream = connection.new_stream()
        pieces = [block[i:i + 16384] for i in range(0, len(block), 16384)]
        for i, piece in enumerate(pieces):
            last = END_HEADERS if i == len(pieces) - 1 else 0
            if not connection.send(frame(CONTINUATION if i else HEADERS, last,
                                         stream, piece)):
                return False
        return True
    reconnecting(address, seconds, attack)


def slow_loris(address, seconds):
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(Connection(address))
                       for _ in range(200)]
        for connection in connections:
            connection.send(frame(HEADERS, 0, 1, call_headers(COMPUTE)))
        for _ in until(seconds):
            for connection in connections:
                connection.send(frame(CONTINUATION, 0, 1, header("x", "y")))
            time.sleep(0.2)


def half_sent(address, seconds):
    """Messages of 8 MiB that stand still short of their end, to every method."""
    with contextlib.ExitStack() as stack:
        threads = []
        for i in range(4 * len(METHODS)):
            connection = stack.enter_context(Connection(address))
            threads.append(threading.Thread(
                target=lambda c, m: c.data(
                    c.start(m), message(bytes(7 * MIB), 8 * MIB),
                    patience=seconds),
                args=(connection, METHODS[i % len(METHODS)])))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(IDLE)


def uploads(address, seconds):
    """16 uploads of 64 MiB, all that is sent and then nothing."""
    width = 2365  # three matrices of FLOAT32: 64 MiB
    side = pb.Projection(weight=pb.Tensor(
        dtype=pb.DATA_TYPE_FLOAT32, shape=(width, width)))
    first = pb.UploadWeightsRequest(header=pb.UploadWeightsRequest.Header(
        name="attack", weights=pb.WeightSet(
            num_heads=1, layout=pb.LAYOUT_IN_OUT, query=side, key=side,
            value=side)))
    def messages():
        yield first
        for tensor in ("query.weight", "key.weight", "value.weight"):
            size = 4 * width * width
            for offset in range(0, size, MIB):
                yield pb.UploadWeightsRequest(chunk=pb.TensorChunk(
                    tensor=tensor, offset=offset,
                    data=bytes(min(MIB, size - offset))))
        time.sleep(seconds)
    with contextlib.ExitStack() as stack:
        calls = []
        for _ in range(16):
            stub = attention_pb2_grpc.AttentionServiceStub(
                stack.enter_context(service.channel(address)))
            calls.append(stub.UploadWeights.future(messages(), timeout=60))
        for call in calls:
            call.exception()


def unread_downloads(address, seconds):
    """50 answers of GetWeights that nobody reads."""
    stub = attention_pb2_grpc.AttentionServiceStub(service.channel(address))
    width = 1024
    side = pb.Projection(weight=service.tensor(
        np.ones((width, width), np.float32)))
    stub.SetWeights(pb.SetWeightsRequest(name="large", weights=pb.WeightSet(
        num_heads=1, layout=pb.LAYOUT_IN_OUT, query=side, key=side,
        value=side)))
    body = pb.GetWeightsRequest(
        weight_set=pb.WeightSetSelector(name="large")).SerializeToString()
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            connection = stack.enter_context(Connection(address))
            stream = connection.start(GET)
            connection.data(stream, message(body, len(body)), end=True)
        time.sleep(seconds + 2 * IDLE)
    stub.DeleteWeights(pb.DeleteWeightsRequest(name="large"))


def idle_streams(address, seconds):
    """1,024 streams that bring nothing."""
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(Connection(address))
            for _ in range(256):
                connection.start(STREAM)
        time.sleep(seconds)


ATTACKS = (half_sent, rapid_reset, uploads, continuation_flood, gzip_bomb,
           many_streams, ping_flood, settings_flood, huge_literals, slow_loris,
           unread_downloads, idle_streams)
QUICK_ATTACKS = 1  # the first ones


def prove_attack(attack, seconds, quick, claims):
    name = attack.__name__
    flags = ("--memory-limit", "256MiB", "--receive-idle", f"{IDLE}s",
             "--max-transfer-idle", f"{IDLE}s", "--threads", "2",
             # An old connection's last call is another proof's (roll_proof.py).
             "--max-connection-age", "60min",
             "--log-level", "error")
    with service.running_server(*flags) as (address, process):
        stub = attention_pb2_grpc.AttentionServiceStub(service.channel(address))
        def ledger():
            return stub.GetServerInfo(
                pb.GetServerInfoRequest(), timeout=30).memory
        caller = Caller(address)
        caller.start()
        time.sleep(0.5)
        before = ledger()
        peak = 0
        attacker = threading.Thread(target=attack, args=(address, seconds))
        attacker.start()
        while attacker.is_alive():
            attacker.join(0.1)
            if process.poll() is not None:
                break
            with contextlib.suppress(ValueError):  # it has ended
                peak = max(peak, memory(process.pid, "VmRSS"))
        lived = process.poll() is None
        claims.equal(f"door.attack.{name}.lives",
                     "the server is there after it (1)", int(lived), 1)
        if not lived:
            return
        ended = time.monotonic()
        def is_back():
            now = ledger()
            return all(
                getattr(now, kind) <= getattr(before, kind) for kind in (
                    "arriving", "workspaces", "replies", "uploads", "weights",
                    "converted_weights", "idle_buffers"))
        while not is_back() and time.monotonic() < ended + 3 * RECOVERY:
            time.sleep(0.1)
        recovered = time.monotonic() - ended
        caller.stop.set()
        caller.join()
        for failure in caller.failures[:3]:
            print(f"attention: {name}: {failure}", file=sys.stderr)
        claims.at_most(f"door.attack.{name}.resident",
                       "MiB resident at most", peak / MIB,
                       (LIMIT + BESIDE) // MIB)
        claims.equal(f"door.attack.{name}.failed",
                     f"of {len(caller.seconds)} calls of somebody else that "
                     "failed", len(caller.failures), 0)
        if not quick:  # no bound in time where others build beside it
            claims.at_most(f"door.attack.{name}.p99",
                           "ms that 99 of 100 of those calls took at most",
                           caller.p99_ms(), 1000)
        claims.at_most(f"door.attack.{name}.recovery",
                       "s until the ledger is as it was", recovered, RECOVERY)


def prove(claims, options):
    for attack in ATTACKS[:QUICK_ATTACKS if options.quick else None]:
        prove_attack(attack, 1 if options.quick else 10, options.quick, claims)


if __name__ == "__main__":
    main(prove)
