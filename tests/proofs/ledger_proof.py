"""Proves that the server's ledger is the truth about its memory.

Random requests, uploads, sets and reads, and hostile messages among them, are
sent to a server of 512 MiB by several clients at once. Meanwhile what
GetServerInfo says of the ledger is compared with what the allocator and the
system say; and in the end, when all that was written has been deleted, nothing
may be left. Then each hostile message alone: what it may take, and that the
field is named. One line per claim (scripts/proofs). PYTHONPATH has the stubs and
tests/support, ATTENTION_SERVER the server. --quick sends a twentieth.
"""

import collections
import sys
import threading
import time

import grpc

import service
from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc
from hostile_messages import SERVICE, hostile, violated
from mixed_clients import Client

sys.path.insert(0, str(service.ROOT / "scripts"))
from proofs.program import main  # noqa: E402
from proofs.transfer import memory  # noqa: E402

MIB = 1 << 20
LIMIT = 512 * MIB
REQUESTS = 10_000
CLIENTS = 6

# What is not in the ledger, of which each is bounded elsewhere: per mille of it
# for the headers of the allocator's blocks; what is parsed inline and allocated
# once; what a connection and a stream of gRPC take with what is not charged of
# what arrives (server/listener/incoming.h).
SHARE = 1.1
ONCE = 16 * MIB
PER_CONNECTION = 160 << 10
PER_STREAM = 96 << 10
BESIDE = 128 * MIB
LEFT = 64 * MIB
IDLE = 10
KINDS = ("arriving", "messages", "workspaces", "replies", "uploads", "weights",
         "converted_weights", "idle_buffers")


class Looks:
    """What is seen of a server, again and again, while it is used."""

    def __init__(self, stub, pid):
        self.stub, self.pid = stub, pid
        self.start, self.worst = self.info(), 0.0
        self.resident = memory(pid, "VmRSS")

    def info(self):
        return self.stub.GetServerInfo(
            pb.GetServerInfoRequest(), timeout=60).memory

    def look(self):
        # The ledger on both sides of the moment in which memory is looked at:
        # what is given back between two looks was there in one of them.
        before, now, after = self.info(), self.info(), self.info()
        held = max(before.held, now.held, after.held)
        bound = SHARE * (held - self.start.held) + ONCE + (
            CLIENTS + 1) * PER_CONNECTION + CLIENTS * PER_STREAM
        self.worst = max(self.worst,
                         (now.allocated - self.start.allocated) / bound)

    def prove_end(self, claims):
        """That all is as it was, IDLE seconds after the last call."""
        end = self.info()
        for kind in KINDS:
            claims.equal(f"door.ledger.left.{kind}",
                         f"bytes of {kind} more than at the start, {IDLE} s "
                         "after", getattr(end, kind) - getattr(self.start, kind),
                         0)
        claims.at_most("door.ledger.left.allocated",
                       f"MiB allocated beside the ledger more than at the "
                       f"start, {IDLE} s after",
                       (end.allocated - end.held - self.start.allocated
                        + self.start.held) / MIB, ONCE // MIB)
        claims.at_most("door.ledger.left.resident",
                       f"MiB resident more than at the start, {IDLE} s after",
                       (memory(self.pid, "VmRSS") - self.resident) / MIB,
                       LEFT // MIB)


def delete_all(stub):
    """Whatever was written."""
    versions = stub.ListWeights(pb.ListWeightsRequest(
        latest_only=True, page_size=1000), timeout=60).versions
    for version in versions:
        stub.DeleteWeights(pb.DeleteWeightsRequest(name=version.version.name),
                           timeout=60)


def prove_mixed(requests, claims):
    flags = ("--memory-limit", str(LIMIT), "--threads", "2", "--log-level",
             "error")
    with service.running_server(*flags) as (address, process):
        stub = attention_pb2_grpc.AttentionServiceStub(service.channel(address))
        stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=60)
        time.sleep(1)
        looks = Looks(stub, process.pid)
        clients = [Client(service.channel(address), i, -(-requests // CLIENTS))
                   for i in range(CLIENTS)]
        for client in clients:
            client.start()
        while any(client.is_alive() for client in clients):
            looks.look()
            time.sleep(0.1)
        delete_all(stub)
        time.sleep(IDLE)
        codes = sum((client.codes for client in clients),
                    collections.Counter())
        strange = [one for client in clients for one in client.strange]
        for one in strange[:10]:
            print(f"attention: {one}", file=sys.stderr)
        claims.equal("door.ledger.strange", "answers that no client should get, "
                     + ", ".join(f"{count} {code.name}" for code, count in
                                 of_codes(codes).most_common()) + " in all",
                     len(strange), 0)
        claims.at_least("door.ledger.computed",
                        "of the computations, of which a quarter has 10 ms, "
                        "that are answered",
                        codes["compute", grpc.StatusCode.OK]
                        / sum(count for (kind, _), count in codes.items()
                              if kind == "compute"), 0.5)
        claims.at_most("door.ledger.allocated",
                       "of what the ledger and its bounds allow, allocated",
                       looks.worst, 1)
        claims.at_most("door.ledger.resident", "MiB resident at most",
                       memory(process.pid, "VmHWM") / MIB,
                       (LIMIT + BESIDE) // MIB)
        looks.prove_end(claims)


def of_codes(codes):
    total = collections.Counter()
    for (_, code), count in codes.items():
        total[code] += count
    return total


def prove_hostile(size, claims):
    for name, (method, body, named) in hostile(size).items():
        with service.running_server("--threads", "2", "--log-level",
                                    "error") as (address, process):
            channel = service.channel(address)
            stub = attention_pb2_grpc.AttentionServiceStub(channel)
            def allocated():
                return stub.GetServerInfo(
                    pb.GetServerInfoRequest(), timeout=60).memory.allocated
            allocated()
            before, peak = allocated(), 0
            done = threading.Event()
            outcome = []
            def call():
                attacker = service.channel(address)
                try:
                    attacker.unary_unary(SERVICE + method)(body, timeout=60)
                    outcome.append((grpc.StatusCode.OK, [], []))
                except grpc.RpcError as error:
                    outcome.append((error.code(), *violated(error)))
                done.set()
            thread = threading.Thread(target=call)
            thread.start()
            while not done.is_set():
                peak = max(peak, allocated() - before)
            thread.join()
            code, fields, reasons = outcome[0]
            claims.at_most(f"door.hostile.{name}.allocated",
                           f"MiB that {len(body) / MIB:.0f} MiB made it "
                           "allocate", peak / MIB, 2 * len(body) / MIB + 1)
            if named is None:
                right = code == grpc.StatusCode.OK
            elif named == "":
                right = code == grpc.StatusCode.RESOURCE_EXHAUSTED
            else:
                right = (code == grpc.StatusCode.INVALID_ARGUMENT
                         and any(f.startswith(named) for f in fields)
                         and len(reasons) == 1)
            if not right:
                print(f"attention: {name}: {outcome[0]}", file=sys.stderr)
            claims.equal(f"door.hostile.{name}.answer",
                         "it is refused by its field, or passed over (1)",
                         int(right), 1)


def prove(claims, options):
    prove_mixed(REQUESTS // 20 if options.quick else REQUESTS, claims)
    prove_hostile((8 if options.quick else 57) * MIB, claims)


if __name__ == "__main__":
    main(prove)
