"""Proves that restarts lose no call.

Two servers are stopped and started again in turns, while callers that know both
go on: four of tiny calls, two of calls that last about 2 s. Counts the calls that
fail, one line per claim (scripts/proofs). Runs where the Python tests run:
PYTHONPATH has the stubs, ATTENTION_SERVER the server. --quick does 3 rolls, not
100, and 1 without retries, not 20.
"""

import collections
import contextlib
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import grpc
import numpy as np

import service
from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc
from server_process import PATIENCE

sys.path.insert(0, str(service.ROOT / "scripts"))
from proofs.program import main  # noqa: E402

SERVER = os.environ["ATTENTION_SERVER"]

FLAGS = ("--max-connection-age", "1s", "--drain-delay", "8s", "--store",
         "memory")
TINY_CALLERS, LONG_CALLERS = 4, 2
LONG_SECONDS = 2.0
WIDTH = 64

# Rolls with the settings that clients have, and with transparent retries off.
ROLLS, QUICK_ROLLS = 100, 3
BARE_ROLLS, QUICK_BARE_ROLLS = 20, 1

# In a quick run, beside other proofs: in 45 rolls under load four calls of 130,000
# were reset (recvmsg) as their connection left, why is not known yet. A full run
# allows none, and fewer with retries off.
QUICK_LOSS = 5

# Of calls whose client has turned off transparent retries: one that meets a
# connection in the moment it closes is lost to it.
BARE_LOSS = 1e-4

# What clients need to find a server that is there again: they try every 0.2 s.
FOUND_AGAIN = 1.0
PINGS_SECONDS = 45  # four pings and the half of one


class Server:
    """One that is started again and again on the port that it had first."""

    def __init__(self, folder, name):
        self.port_file = folder / name
        self.log = folder / f"{name}.log"
        self.listen = "127.0.0.1:0"
        self.start()

    def start(self):
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith("ATTENTION_")}
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                [SERVER, "--listen", self.listen, "--port-file",
                 str(self.port_file), *FLAGS], stdout=log, stderr=log,
                env=environment)
        until = time.monotonic() + PATIENCE
        while not self.port_file.exists():
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError("no server:\n" + self.log.read_text())
            time.sleep(0.01)
        self.listen = f"127.0.0.1:{self.port_file.read_text().strip()}"

    def stop(self):
        self.process.terminate()
        return self.process.wait(PATIENCE)


def compute(rows):
    return pb.ComputeAttentionRequest(
        query=service.tensor(np.ones((rows, WIDTH), np.float32)))


def rows_of_long_calls(address):
    """So many that one call alone takes LONG_SECONDS."""
    rows = 8192
    with grpc.insecure_channel(address, options=service_options(1)) as channel:
        stub = attention_pb2_grpc.AttentionServiceStub(channel)
        stub.ComputeAttention(compute(rows), timeout=PATIENCE)
        begun = time.monotonic()
        stub.ComputeAttention(compute(rows), timeout=PATIENCE)
        seconds = time.monotonic() - begun
    return int(rows * math.sqrt(LONG_SECONDS / seconds))


def service_options(retries):
    return [("grpc.lb_policy_name", "round_robin"),
            ("grpc.enable_retries", retries),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.min_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 200),
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1)]


class Callers:
    """Calls of both kinds, each caller on connections of its own."""

    def __init__(self, target, rows, retries):
        self.target, self.retries = target, retries
        self.codes = collections.Counter()
        self.said = collections.Counter()
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.threads = [
            threading.Thread(target=self.call, args=(compute(size),))
            for size in [4] * TINY_CALLERS + [rows] * LONG_CALLERS]

    def call(self, request):
        codes, said = collections.Counter(), collections.Counter()
        with grpc.insecure_channel(
                self.target, options=service_options(self.retries)) as channel:
            stub = attention_pb2_grpc.AttentionServiceStub(channel)
            while not self.ended.is_set():
                try:
                    stub.ComputeAttention(request, timeout=PATIENCE)
                    codes[grpc.StatusCode.OK] += 1
                except grpc.RpcError as error:
                    codes[error.code()] += 1
                    said[f"{error.code().name}: {error.details()}"] += 1
        with self.lock:
            self.codes += codes
            self.said += said

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def total(self):
        return sum(self.codes.values())

    def failed(self):
        return self.total() - self.codes[grpc.StatusCode.OK]


def roll(servers, target, rows, retries, times):
    """The callers, and how the servers ended: (exit code, seconds) each."""
    ends = []
    with Callers(target, rows, retries) as callers:
        time.sleep(FOUND_AGAIN)
        for turn in range(times):
            server = servers[turn % len(servers)]
            told = time.monotonic()
            code = server.stop()
            ends.append((code, time.monotonic() - told))
            server.start()
            time.sleep(FOUND_AGAIN)
    for words, count in callers.said.items():
        print(f"attention: {count} x {words}", file=sys.stderr)
    return callers, ends


def prove_rolls(claims, quick):
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as end:
        servers = [Server(pathlib.Path(folder), name) for name in ("a", "b")]
        for server in servers:
            end.callback(server.stop)
        target = "ipv4:" + ",".join(server.listen for server in servers)
        rows = rows_of_long_calls(servers[0].listen)
        times = QUICK_ROLLS if quick else ROLLS
        callers, ends = roll(servers, target, rows, 1, times)
        claims.at_most(
            "door.rolls", f"calls of {callers.total()} that failed while two "
            f"servers were restarted {times} times in turns", callers.failed(),
            QUICK_LOSS if quick else 0)
        claims.equal(
            "door.rolls.exit", f"servers of {times} that ended with 0",
            sum(code == 0 for code, _ in ends), times)
        claims.at_most(
            "door.rolls.seconds", "most seconds from SIGTERM to the end, of "
            "8 s of --drain-delay and 10 s of grace",
            max(seconds for _, seconds in ends), 18)
        times = QUICK_BARE_ROLLS if quick else BARE_ROLLS
        callers, _ = roll(servers, target, rows, 0, times)
        claims.at_most(
            "door.rolls.bare", f"calls of {callers.total()} that failed in "
            f"{times} restarts where the client has turned off transparent "
            "retries; 1 in 10,000 may, and 1 of fewer", callers.failed(),
            QUICK_LOSS if quick else max(1, BARE_LOSS * callers.total()))


class Pings:
    """A connection that pings every 10 s without a call; entered, it begins."""

    def __init__(self):
        self.states = []

    def __enter__(self):
        self.end = contextlib.ExitStack()
        address, _ = self.end.enter_context(service.running_server(
            "--max-connection-age", "60min"))
        self.channel = self.end.enter_context(grpc.insecure_channel(
            address, options=[("grpc.keepalive_time_ms", 10_000),
                              ("grpc.keepalive_permit_without_calls", 1),
                              ("grpc.http2.max_pings_without_data", 0)]))
        self.ask()
        self.channel.subscribe(self.states.append)
        self.begun = time.monotonic()
        return self

    def __exit__(self, *details):
        return self.end.__exit__(*details)

    def ask(self):
        attention_pb2_grpc.AttentionServiceStub(self.channel).GetServerInfo(
            pb.GetServerInfoRequest(), timeout=PATIENCE)

    def prove(self, claims):
        time.sleep(max(0, self.begun + PINGS_SECONDS - time.monotonic()))
        self.ask()
        claims.equal(
            "door.pings", "times that a client which pings every 10 s without a "
            f"call lost its connection in {PINGS_SECONDS} s",
            sum(state is not grpc.ChannelConnectivity.READY
                for state in self.states), 0)


def prove(claims, options):
    with Pings() as pings:
        prove_rolls(claims, options.quick)
        pings.prove(claims)


if __name__ == "__main__":
    main(prove)
