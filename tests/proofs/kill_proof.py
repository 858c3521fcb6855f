"""Proves that kill -9 loses no weight set that was acknowledged.

Starts the server on one database again and again, writes to it without a pause,
kills it at a random moment, and looks at what the next one holds: every version
that was acknowledged, with its SHA-256, and nothing half. The SHA-256 of what is
streamed back is computed here (docs/canonical-form.md), not by the server. Runs
where the Python tests run: PYTHONPATH has the stubs, ATTENTION_SERVER the
server. --quick kills it 20 times, not 200.
"""

import pathlib
import sys
import tempfile
import threading
import time

import grpc
import numpy as np

import service
from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc
from canonical_form import canonical_sha256

sys.path.insert(0, str(service.ROOT / "scripts"))
from proofs.program import main  # noqa: E402

# Widths of the sets that are written: below a chunk of 1 MiB, and four of them
# a tensor, so that kills fall into short writes and into long ones.
WIDTHS = (8, 96, 896)

# Longest time from the first write to the kill. A large write takes about 50 ms.
LATEST_KILL = 0.4

# How many kills a set is looked at again before it is deleted.
KEPT_ROUNDS = 3


def streamed_sha256(stub, version):
    """The SHA-256 of what GetWeights answers, computed from its bytes."""
    header, data = None, {}
    for part in stub.GetWeights(
            pb.GetWeightsRequest(weight_set=pb.WeightSetSelector(
                name=version.name, version=version.version)),
            timeout=service.PATIENCE):
        kind = part.WhichOneof("part")
        if kind == "header":
            header = part.header
        elif kind == "chunk":
            data.setdefault(part.chunk.tensor, bytearray())
            data[part.chunk.tensor] += part.chunk.data
    return canonical_sha256(header.weights, data)


class Requests:
    """Requests of random weights, each with a key that no other has."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.pools = {
            width: self.random.standard_normal(
                (width, width)).astype(np.float32)
            for width in WIDTHS}
        self.count = 0

    def next(self, name):
        self.count += 1
        width = self.random.choice(WIDTHS)
        weights = pb.WeightSet(num_heads=1, layout=pb.LAYOUT_IN_OUT)
        for projection in (weights.query, weights.key, weights.value):
            matrix = self.pools[width] + np.float32(self.random.random())
            projection.weight.CopyFrom(service.tensor(matrix))
        return pb.SetWeightsRequest(
            name=name, weights=weights, labels=["newest"],
            idempotency_key=f"request {self.count}",
            annotations={"request": str(self.count)})


class Writer:
    """Writes without a pause until the server is gone."""

    def __init__(self, stub, name, requests):
        self.stub = stub
        self.name = name
        self.requests = requests
        self.begun = threading.Event()
        self.acknowledged = []  # versions, in their order
        self.unanswered = None  # the request that the kill cut short
        self.thread = threading.Thread(target=self.write)

    def write(self):
        while True:
            request = self.requests.next(self.name)
            self.begun.set()
            try:
                answer = self.stub.SetWeights(request, timeout=service.PATIENCE)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                self.unanswered = request
                return
            self.acknowledged.append(answer.version)


class Kills:
    """What `times` kills of the server on one database came to."""

    def __init__(self, times, seed=1):
        self.times = times
        self.random = np.random.default_rng(seed)
        self.requests = Requests(seed)
        self.promised = {}  # (name, version) -> SHA-256, until it is deleted
        self.unanswered = None
        self.starts = self.acknowledged = self.cut_short = self.committed = 0
        self.lost = self.torn = self.twice = self.strange = self.warned = 0

    def run(self, folder):
        flags = ("--store", f"sqlite:{folder}/weights.db",
                 "--log-level", "warn")
        log = pathlib.Path(folder) / "log"
        for turn in range(self.times + 1):
            with service.running_server(*flags, log_path=log) as (
                    address, process), service.channel(address) as channel:
                self.starts += 1
                stub = attention_pb2_grpc.AttentionServiceStub(channel)
                self.check(stub)
                if turn == self.times:
                    break
                self.retry(stub)
                self.forget(stub, turn - KEPT_ROUNDS)
                self.write_until_killed(stub, f"round/{turn}", process)
            # The matrix library is no matter of what is stored.
            self.warned += sum("OpenBLAS" not in line
                               for line in log.read_text().splitlines())
        return self

    def check(self, stub):
        """Compares what is there with what was promised."""
        held = {}
        request = pb.ListWeightsRequest(page_size=1000)
        while True:
            page = stub.ListWeights(request, timeout=service.PATIENCE)
            for summary in page.versions:
                version = summary.version
                held[version.name, version.version] = version.sha256
                if streamed_sha256(stub, version) != version.sha256:
                    self.torn += 1
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        self.lost += sum(
            held.get(key) != sha256 for key, sha256 in self.promised.items())
        # Beyond the promised at most the one that was being written.
        self.strange += max(0, len(held) - len(self.promised) - 1)
        self.committed += len(held) > len(self.promised)
        self.held = held

    def retry(self, stub):
        """Says again what was not answered: it is appended once."""
        if self.unanswered is None:
            return
        version = stub.SetWeights(
            self.unanswered, timeout=service.PATIENCE).version
        key = version.name, version.version
        new = [held for held in self.held if held not in self.promised]
        self.twice += bool(new) and new != [key]
        self.promised[key] = version.sha256

    def forget(self, stub, turn):
        """Deletes an old set, or each start would take longer than the last."""
        name = f"round/{turn}"
        old = [key for key in self.promised if key[0] == name]
        if old:
            stub.DeleteWeights(
                pb.DeleteWeightsRequest(name=name), timeout=service.PATIENCE)
        for key in old:
            del self.promised[key]

    def write_until_killed(self, stub, name, process):
        writer = Writer(stub, name, self.requests)
        writer.thread.start()
        writer.begun.wait(service.PATIENCE)
        time.sleep(self.random.uniform(0, LATEST_KILL))
        process.kill()
        process.wait(service.PATIENCE)
        writer.thread.join(service.PATIENCE)
        for version in writer.acknowledged:
            self.promised[version.name, version.version] = version.sha256
        self.acknowledged += len(writer.acknowledged)
        self.unanswered = writer.unanswered
        self.cut_short += writer.unanswered is not None


def prove(claims, options):
    times = 20 if options.quick else 200
    with tempfile.TemporaryDirectory(prefix="attention kills ") as folder:
        kills = Kills(times).run(folder)
    claims.equal(
        "client.kill.starts",
        f"starts of the server on one database, after each of {times} kill -9",
        kills.starts, times + 1)
    claims.equal(
        "client.kill.cut_short",
        "kills during a SetWeights, which was then on its way",
        kills.cut_short, times)
    claims.equal(
        "client.kill.lost",
        f"versions of {kills.acknowledged} acknowledged that were not there "
        "afterwards with their SHA-256",
        kills.lost, 0)
    claims.equal(
        "client.kill.torn",
        "versions whose streamed bytes have another SHA-256 than they are "
        "listed with",
        kills.torn, 0)
    claims.equal(
        "client.kill.strange",
        f"versions beyond those and the {kills.committed} that were committed "
        "and killed before the answer",
        kills.strange, 0)
    claims.equal(
        "client.kill.twice",
        "versions that a retry with the same idempotency_key appended again",
        kills.twice, 0)
    claims.equal(
        "client.kill.warned",
        "lines that the servers logged at warn and above, but on OpenBLAS",
        kills.warned, 0)
    claims.at_least(
        "client.kill.acknowledged",
        "acknowledged versions for each kill, on average",
        kills.acknowledged / times, 1)


if __name__ == "__main__":
    main(prove)
