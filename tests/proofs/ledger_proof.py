"""Proves that the server's ledger is the truth about its memory.

Random requests, uploads, sets and reads, and hostile messages among them, are
sent to a server of 512 MiB by several clients at once. Meanwhile what
GetServerInfo says of the ledger is compared with what the allocator and the
system say; and in the end, when all that was written has been deleted, nothing
may be left. Then each hostile message alone: what it may take, and that the
field is named. One line per claim (scripts/proofs). PYTHONPATH has the stubs and
tests/support, ATTENTION_SERVER the server. --quick sends a twentieth.
"""

import random
import sys
import threading
import time

import grpc
import numpy as np
from google.rpc import status_pb2, error_details_pb2

import service
from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc

sys.path.insert(0, str(service.ROOT / "scripts"))
from proofs.program import main  # noqa: E402
from proofs.transfer import memory  # noqa: E402

MIB = 1 << 20
LIMIT = 512 * MIB
REQUESTS = 10_000
CLIENTS = 6
SERVICE = "/attention.v1.AttentionService/"

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
KINDS = ("arriving", "messages", "workspaces", "replies", "uploads", "weights",
         "converted_weights", "idle_buffers")


def varint(value):
    digits = b""
    while value >= 128:
        digits += bytes([value % 128 + 128])
        value //= 128
    return digits + bytes([value])


def field(number, body):
    return varint(number << 3 | 2) + varint(len(body)) + body


def hostile(size):
    """Method -> message of about `size` bytes, and the field it is refused by."""
    packed = bytes(size)
    return {
        "labels": ("SetWeights", field(1, b"x") + field(6, b"") * (size // 2),
                   "labels"),
        "annotations": ("SetWeights", field(1, b"x") + b"".join(
            field(7, field(1, b"%d" % i)) for i in range(size // 10)),
            "annotations"),
        "query_offsets": ("ComputeAttention", field(11, packed),
                          "query_offsets"),
        "key_lengths": ("ComputeAttention", field(14, packed), "key_lengths"),
        "shape": ("ComputeAttention", field(2, field(2, packed)),
                  "query.shape"),
        "long_name": ("DeleteWeights", field(1, b"x" * size), "name"),
        "page_token": ("ListWeights", field(4, b"x" * size), "page_token"),
        # Fields that nobody knows are passed over.
        "unknown": ("ListWeights", field(1000, b"x" * size), None),
        "unknown_info": ("GetServerInfo", field(1000, b"x" * size), ""),
    }


def violated(error):
    """The field and the reasons that an error's details have."""
    names, reasons = [], []
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        for detail in status_pb2.Status.FromString(value).details:
            bad, info = error_details_pb2.BadRequest(), error_details_pb2.ErrorInfo()
            if detail.Unpack(bad):
                names += [v.field for v in bad.field_violations]
            if detail.Unpack(info):
                reasons.append(info.reason)
    return names, reasons


class Client(threading.Thread):
    """Random calls; what fails for want of memory is part of it."""

    ALLOWED = {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED,
               grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT,
               grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED,
               grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.ABORTED,
               grpc.StatusCode.DATA_LOSS,  # of a checksum that is none
               # a connection that was ended, of this client
               grpc.StatusCode.UNAVAILABLE}

    def __init__(self, address, number, requests):
        super().__init__(daemon=True)
        self.dice = random.Random(number)
        self.name_of_set = f"set-{number}"
        self.requests = requests
        self.channel = service.channel(address)
        self.stub = attention_pb2_grpc.AttentionServiceStub(self.channel)
        self.strange = []

    def weights(self, width, dtype=np.float32):
        side = pb.Projection(weight=service.tensor(
            np.ones((width, width), dtype)))
        return pb.WeightSet(num_heads=1, layout=pb.LAYOUT_IN_OUT, query=side,
                            key=side, value=side)

    def compute(self):
        rows = self.dice.choice((1, 16, 512, 4096))
        width = self.dice.choice((8, 64))
        dtype = self.dice.choice((np.float32, np.float64, np.float16))
        request = pb.ComputeAttentionRequest(
            query=service.tensor(np.ones((rows, width), dtype)))
        if self.dice.random() < 0.3:
            request.weight_set.name = self.name_of_set
        if rows <= 512 and self.dice.random() < 0.3:
            request.attention_matrix.stage = pb.AttentionMatrixOptions.STAGE_SCORES
        self.stub.ComputeAttention(
            request, timeout=self.dice.choice((60, 60, 0.01)))

    def set(self):
        self.stub.SetWeights(pb.SetWeightsRequest(
            name=self.name_of_set,
            weights=self.weights(self.dice.choice((8, 64, 512)),
                                 self.dice.choice((np.float32, np.float16)))),
            timeout=60)

    def upload(self):
        width = self.dice.choice((64, 1024))
        empty = pb.Projection(weight=pb.Tensor(
            dtype=pb.DATA_TYPE_FLOAT32, shape=(width, width)))
        whole = self.dice.random() < 0.5
        def messages():
            yield pb.UploadWeightsRequest(header=pb.UploadWeightsRequest.Header(
                name=self.name_of_set, weights=pb.WeightSet(
                    num_heads=1, layout=pb.LAYOUT_IN_OUT, query=empty,
                    key=empty, value=empty)))
            for tensor in ("query.weight", "key.weight", "value.weight"):
                for offset in range(0, 4 * width * width, MIB):
                    count = min(MIB, 4 * width * width - offset)
                    yield pb.UploadWeightsRequest(chunk=pb.TensorChunk(
                        tensor=tensor, offset=offset, data=bytes(count)))
                if not whole:
                    return
            yield pb.UploadWeightsRequest(sha256="0" * 64)
        self.stub.UploadWeights(messages(), timeout=60)

    def read(self):
        list(self.stub.GetWeights(pb.GetWeightsRequest(
            weight_set=pb.WeightSetSelector(name=self.name_of_set)),
            timeout=60))

    def drop(self):
        self.stub.DeleteWeights(pb.DeleteWeightsRequest(name=self.name_of_set),
                                timeout=60)

    def stream(self):
        request = pb.ComputeAttentionRequest(
            query=service.tensor(np.ones((64, 64), np.float32)))
        list(self.stub.StreamAttention(
            (pb.StreamAttentionRequest(id=i, request=request)
             for i in range(20)), timeout=60))

    def attack(self):
        method, body, _ = self.dice.choice(
            list(hostile(self.dice.choice((1000, MIB, 4 * MIB))).values()))
        self.channel.unary_unary(SERVICE + method)(body, timeout=60)

    def run(self):
        calls = ((self.compute, 60), (self.set, 10), (self.upload, 5),
                 (self.read, 5), (self.drop, 8), (self.stream, 5),
                 (self.attack, 7))
        for _ in range(self.requests):
            call, = self.dice.choices([call for call, _ in calls],
                                      [weight for _, weight in calls])
            try:
                call()
            except grpc.RpcError as error:
                if error.code() not in self.ALLOWED:
                    self.strange.append(f"{error.code()}: {error.details()}")
        try:
            self.drop()
        except grpc.RpcError:
            pass
        self.channel.close()


def prove_mixed(requests, claims):
    flags = ("--memory-limit", str(LIMIT), "--threads", "2", "--log-level",
             "error")
    with service.running_server(*flags) as (address, process):
        stub = attention_pb2_grpc.AttentionServiceStub(service.channel(address))
        def info():
            return stub.GetServerInfo(
                pb.GetServerInfoRequest(), timeout=60).memory
        info()
        time.sleep(1)
        start, start_resident = info(), memory(process.pid, "VmRSS")
        clients = [Client(address, i, requests // CLIENTS)
                   for i in range(CLIENTS)]
        for client in clients:
            client.start()
        worst, most_resident = 0.0, 0
        beside = ONCE + (CLIENTS + 1) * PER_CONNECTION + CLIENTS * PER_STREAM
        while any(client.is_alive() for client in clients):
            # The ledger on both sides of the moment in which memory is looked
            # at: what is given back between two looks was there in one of them.
            before, now, after = info(), info(), info()
            held = max(before.held, now.held, after.held)
            bound = SHARE * (held - start.held) + beside
            worst = max(worst, (now.allocated - start.allocated) / bound)
            most_resident = max(most_resident, memory(process.pid, "VmRSS"))
            time.sleep(0.1)
        time.sleep(10)
        end = info()
        claims.equal("door.ledger.strange", "answers that no client should get",
                     sum(len(client.strange) for client in clients), 0)
        for client in clients:
            for one in client.strange[:2]:
                print(f"attention: {one}", file=sys.stderr)
        claims.at_most("door.ledger.allocated",
                       "of what the ledger and its bounds allow, allocated",
                       worst, 1)
        claims.at_most("door.ledger.resident", "MiB resident at most",
                       most_resident / MIB, (LIMIT + BESIDE) // MIB)
        for kind in KINDS:
            claims.equal(f"door.ledger.left.{kind}",
                         f"bytes of {kind} more than at the start, 10 s after",
                         getattr(end, kind) - getattr(start, kind), 0)
        claims.at_most("door.ledger.left.resident",
                       "MiB resident more than at the start, 10 s after",
                       (memory(process.pid, "VmRSS") - start_resident) / MIB,
                       LEFT // MIB)


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
