"""Proves what happens to calls in flight when the server is told to stop.

Starts the server again and again, puts calls in flight, sends SIGTERM, and says
how the calls and the process ended, one line per claim (scripts/proofs). Runs
where the Python tests run: PYTHONPATH has the stubs, ATTENTION_SERVER the
server. --quick stops it 5 times, not 20.
"""

import collections
import sys
import threading
import time

import grpc
import numpy as np

import service
from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc

sys.path.insert(0, str(service.ROOT / "scripts"))
from proofs.program import main  # noqa: E402

ALLOWED = {
    grpc.StatusCode.OK, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}

# What --shutdown-grace is where calls are to end within it, and where they are
# to outlast it.
LONG_GRACE = 10.0
SHORT_GRACE = 0.5

# Beyond the grace: gRPC hands out the answers of cancelled calls for 0.2 s
# (server.cc), a tile in work ends (10^7 multiply-adds, milliseconds), threads
# join. The rest is for a machine that is busy with something else.
BEYOND_GRACE = 1.0

CHANNELS = 3
CALLS_PER_CHANNEL = 4


def compute(rows, width):
    return pb.ComputeAttentionRequest(
        query=service.tensor(np.ones((rows, width), np.float32)))


SMALL = compute(4, 4)
# 2^33 multiply-adds: twelve of them take a second or so of two CPUs, less than
# LONG_GRACE. The reply stays below gRPC's 4 MiB.
MEDIUM = compute(8192, 64)
# 2^36 multiply-adds: twelve of them outlast SHORT_GRACE and the second signal.
LARGE = compute(16384, 128)


class Way:
    """A way to stop."""

    def __init__(self, grace, request, signals):
        self.grace = grace
        self.request = request
        self.signals = signals


WAYS = (
    Way(LONG_GRACE, MEDIUM, signals=1),  # calls get to finish
    Way(LONG_GRACE, LARGE, signals=2),  # the second signal ends the wait
    Way(SHORT_GRACE, LARGE, signals=1),  # the grace runs out
)


class Stop:
    """What became of one server and its calls."""

    def __init__(self):
        self.in_flight = 0
        self.finished = 0  # of those in flight, OK
        self.codes = collections.Counter()
        self.exit_code = None
        self.seconds = float("inf")
        self.lock = threading.Lock()

    def count(self, code):
        with self.lock:
            self.codes[code] += 1


def code_of(call):
    """How a call ended; None if it has not after all."""
    try:
        error = call.exception(timeout=service.PATIENCE)
    except grpc.FutureTimeoutError:
        return None
    return grpc.StatusCode.OK if error is None else error.code()


def call_until_refused(stub, stop):
    """Calls of every kind, one after the other, as a client that goes on."""
    matrix = pb.Projection(weight=service.tensor(np.eye(4, dtype=np.float32)))
    weights = pb.SetWeightsRequest(
        name="identity", weights=pb.WeightSet(
            num_heads=1, layout=pb.LAYOUT_IN_OUT, query=matrix, key=matrix,
            value=matrix))
    selector = pb.WeightSetSelector(name="identity")
    calls = (
        lambda: stub.SetWeights(weights, timeout=service.PATIENCE),
        lambda: stub.ComputeAttention(SMALL, timeout=service.PATIENCE),
        lambda: list(stub.GetWeights(
            pb.GetWeightsRequest(weight_set=selector),
            timeout=service.PATIENCE)))
    while True:
        for call in calls:
            try:
                call()
            except grpc.RpcError as error:
                stop.count(error.code())
                return
            stop.count(grpc.StatusCode.OK)


def stop_under_load(way, delay):
    """Starts a server, loads it for `delay` seconds, stops it that way."""
    stop = Stop()
    with service.running_server(
            "--shutdown-grace", str(way.grace)) as (address, process):
        # A connection for each channel.
        channels = [
            grpc.insecure_channel(
                address, options=[("grpc.use_local_subchannel_pool", 1)])
            for _ in range(CHANNELS)]
        stubs = [
            attention_pb2_grpc.AttentionServiceStub(opened)
            for opened in channels]
        for stub in stubs:  # connected, so that what follows is sent at once
            stub.ComputeAttention(SMALL, timeout=service.PATIENCE)
        calls = [
            stub.ComputeAttention.future(way.request)
            for stub in stubs for _ in range(CALLS_PER_CHANNEL)]
        clients = [
            threading.Thread(target=call_until_refused, args=(stub, stop))
            for stub in stubs]
        for client in clients:
            client.start()
        time.sleep(delay)
        in_flight = [call for call in calls if not call.done()]
        stop.in_flight = len(in_flight)
        told = time.monotonic()
        process.terminate()
        for _ in range(way.signals - 1):
            time.sleep(delay)
            process.terminate()
        stop.exit_code = process.wait(way.grace + service.PATIENCE)
        stop.seconds = time.monotonic() - told
        for call in calls:
            stop.count(code_of(call))
        stop.finished = sum(
            code_of(call) is grpc.StatusCode.OK for call in in_flight)
        for client in clients:
            client.join()
        for opened in channels:
            opened.close()
    return stop


def prove(claims, options):
    times = 5 if options.quick else 20
    random = np.random.default_rng(1)
    stops = []
    for turn in range(times):
        way = WAYS[turn % len(WAYS)]
        stops.append((way, stop_under_load(way, random.uniform(0.02, 0.2))))

    total = collections.Counter()
    for _, stop in stops:
        total += stop.codes
    named = ", ".join(
        f"{count} {code.name if code else 'never'}"
        for code, count in total.items())
    claims.at_least(
        "spine.stop.in_flight",
        f"fewest long calls in flight at one of {times} SIGTERMs",
        min(stop.in_flight for _, stop in stops), 1)
    claims.equal(
        "spine.stop.statuses",
        f"calls at {times} stops that end otherwise than OK, CANCELLED or "
        f"UNAVAILABLE ({named})",
        sum(count for code, count in total.items() if code not in ALLOWED), 0)
    claims.at_least(
        "spine.stop.finished",
        "calls in flight that were let finish where the grace is long enough "
        "for them; at least 1 must",
        sum(stop.finished for way, stop in stops if way is WAYS[0]), 1)
    claims.at_least(
        "spine.stop.cut_short",
        "calls that were cut short where the grace was too short for them; at "
        "least 1 must",
        sum(stop.codes[grpc.StatusCode.CANCELLED]
            + stop.codes[grpc.StatusCode.UNAVAILABLE]
            for way, stop in stops if way.grace == SHORT_GRACE), 1)
    claims.equal(
        "spine.stop.exit", f"processes of {times} that end with 0",
        sum(stop.exit_code == 0 for _, stop in stops), times)
    claims.at_most(
        "spine.stop.within_grace",
        f"most seconds from SIGTERM to the exit, where --shutdown-grace is "
        f"{LONG_GRACE:g} and the calls end or a second SIGTERM comes",
        max(stop.seconds for way, stop in stops if way.grace == LONG_GRACE),
        LONG_GRACE)
    claims.at_most(
        "spine.stop.after_grace",
        f"most seconds from SIGTERM to the exit, where --shutdown-grace is "
        f"{SHORT_GRACE:g} and the calls would last for minutes",
        max(stop.seconds for way, stop in stops if way.grace == SHORT_GRACE),
        SHORT_GRACE + BEYOND_GRACE)


if __name__ == "__main__":
    main(prove)
