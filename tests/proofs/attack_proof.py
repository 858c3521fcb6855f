"""Proves what attacks on the wire do to a server, and to those who call it.

Each attack (attacks.py) has a server of its own, of 256 MiB, which one ordinary
client calls all the while. One line per claim (scripts/proofs): what the process
took at most, whether an ordinary call failed, how slow they were, and whether the
server was back where it had been while the attacker still held its connections;
and all of it as a table. Runs where the Python tests run: PYTHONPATH has the
stubs and tests/support, ATTENTION_SERVER the server. --quick carries out a few,
for less time. With names of attacks, those alone.
"""

import argparse
import os
import pathlib
import sys
import tempfile
import threading
import time

import grpc
import numpy as np

import certificates
import service
from attacks import ATTACKS, WITH_TLS, Attack, Target
from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc

sys.path.insert(0, str(service.ROOT / "scripts"))
from proofs.program import main  # noqa: E402
from proofs.transfer import memory  # noqa: E402

MIB = 1 << 20
LIMIT = 256 * MIB
# What a process may take beside what it counts (server/memory/memory_limit.h).
BESIDE = 128 * MIB
# The server's own: what is half sent, not read, or idle is ended then.
IDLE = 2
FLAGS = ("--memory-limit", str(LIMIT), "--threads", "2", "--log-level", "error",
         "--receive-idle", f"{IDLE}s", "--max-transfer-idle", f"{IDLE}s",
         "--max-stream-idle", f"{IDLE}s", "--handshake-timeout", f"{IDLE}s",
         "--max-connection-idle", f"{IDLE}s",
         # An old connection's last call is another proof's (roll_proof.py).
         "--max-connection-age", "60min")
# From the end of an attack, which goes on holding its connections, until
# everything is as it was: the idle time of its messages, that of the connection
# which is without calls then, and what the pool keeps for two seconds; twice,
# since what is idle is looked for once in such a time, and for a busy machine.
RECOVERY = 2 * (IDLE + IDLE + 2)
P99_MS = 1000  # no more than a person would wait

SECONDS, QUICK_SECONDS = 10, 1
QUICK_ATTACKS = ("half_sent", "rapid_reset")

KINDS = ("arriving", "messages", "workspaces", "replies", "uploads", "weights",
         "converted_weights", "idle_buffers")


class Caller(threading.Thread):
    """An ordinary client, which calls again and again."""

    REQUEST = pb.ComputeAttentionRequest(
        query=service.tensor(np.ones((4, 4), np.float32)))

    def __init__(self, channel):
        super().__init__(daemon=True)
        self.stub = attention_pb2_grpc.AttentionServiceStub(channel)
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

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.join()

    def p99_ms(self):
        return 1e3 * float(np.quantile(self.seconds, 0.99))


class Server:
    """One that is looked at while it is attacked."""

    def __init__(self, process, channel):
        self.process = process
        self.stub = attention_pb2_grpc.AttentionServiceStub(channel)

    def lives(self):
        return self.process.poll() is None

    def holds(self):
        """Bytes of each kind, and open files."""
        ledger = self.stub.GetServerInfo(pb.GetServerInfoRequest(),
                                         timeout=30).memory
        held = {kind: getattr(ledger, kind) for kind in KINDS}
        held["open files"] = len(os.listdir(f"/proc/{self.process.pid}/fd"))
        return held

    def usual(self):
        """The most it holds in half a second of ordinary calls."""
        looks, until = [self.holds()], time.monotonic() + 0.5
        while time.monotonic() < until:
            looks.append(self.holds())
        return {name: max(look[name] for look in looks) for name in looks[0]}

    def more_than(self, usual):
        return {name: held - usual[name] for name, held in self.holds().items()
                if held > usual[name]}


def prove_attack(name, tls, seconds, quick, claims):
    """Its row of the table, or None if the server has not survived."""
    id = name + ("_tls" if tls else "")
    with tempfile.TemporaryDirectory() as folder:
        flags, ca = FLAGS, None
        if tls:
            authority = certificates.Authority(pathlib.Path(folder))
            cert, key = authority.issue("server", ["127.0.0.1"])
            flags += ("--tls-cert", str(cert), "--tls-key", str(key))
            ca = str(authority.ca)
        with service.running_server(*flags) as (address, process):
            target = Target(address, ca)
            server = Server(process, target.channel())
            with Caller(target.channel()) as caller:
                usual = server.usual()
                with Attack(name, target, seconds) as attack:
                    attack.wait(process)
                    lived = server.lives()
                    recovered = back_within(server, usual, id) if lived else 0
            claims.equal(f"door.attack.{id}.lives",
                         "the server is there after it (1)",
                         int(lived and server.lives()), 1)
            if not server.lives():
                return None
            peak = memory(process.pid, "VmHWM")
    for failure in caller.failures[:3]:
        print(f"attention: {id}: {failure}", file=sys.stderr)
    claims.at_most(f"door.attack.{id}.resident", "MiB resident at most",
                   peak / MIB, (LIMIT + BESIDE) // MIB)
    claims.equal(f"door.attack.{id}.failed",
                 f"of {len(caller.seconds)} calls of somebody else that "
                 "failed", len(caller.failures), 0)
    if not quick:  # no bound in time where others build beside it
        claims.at_most(f"door.attack.{id}.p99",
                       "ms that 99 of 100 of those calls took at most",
                       caller.p99_ms(), P99_MS)
    claims.at_most(f"door.attack.{id}.recovery",
                   "s until ledger and open files are as they were",
                   recovered, RECOVERY)
    return id, peak / MIB, caller.p99_ms(), recovered


def back_within(server, usual, id):
    """Seconds until the server holds no more than usual."""
    begun = time.monotonic()
    while more := server.more_than(usual):
        seconds = time.monotonic() - begun
        if seconds > 3 * RECOVERY:
            print(f"attention: {id} leaves {more}", file=sys.stderr)
            break
        time.sleep(0.05)
    return time.monotonic() - begun


def chosen(options):
    """(name, whether with TLS) of the attacks that are asked for."""
    if options.quick:
        return [(name, False) for name in options.names or QUICK_ATTACKS]
    return [(name, tls) for name in options.names or ATTACKS
            for tls in ((False, True) if name in WITH_TLS else (False,))]


def prove(claims, options):
    seconds = QUICK_SECONDS if options.quick else SECONDS
    rows = [prove_attack(name, tls, seconds, options.quick, claims)
            for name, tls in chosen(options)]
    print("\n| Attack | MiB at most | p99 of other calls, ms | recovery, s |\n"
          "| --- | --- | --- | --- |")
    for name, peak, p99, recovered in filter(None, rows):
        print(f"| {name} | {peak:.0f} | {p99:.0f} | {recovered:.1f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("names", metavar="ATTACK", nargs="*",
                        choices=[*ATTACKS, []])
    main(prove, parser)
