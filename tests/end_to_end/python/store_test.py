"""Weight sets outlive the server: a new process answers as the one before."""

import os
import pathlib
import sqlite3
import subprocess
import tempfile
import unittest

import grpc
import numpy as np

import service
from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc
from server_process import last_words


def weights(random, width, dtype=np.float32, output=True, layout=pb.LAYOUT_IN_OUT):
    def matrix():
        return service.tensor(random.standard_normal((width, width)).astype(dtype))

    message = pb.WeightSet(num_heads=2, layout=layout)
    for projection in (message.query, message.key, message.value):
        projection.weight.CopyFrom(matrix())
    message.key.bias.CopyFrom(
        service.tensor(random.standard_normal(width).astype(dtype)))
    if output:
        message.output.weight.CopyFrom(matrix())
    return message


class StoreTest(unittest.TestCase):

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="attention store ")))
        self.path = self.folder / "weights.db"
        self.store = f"sqlite:{self.path}"

    def running(self, **arguments):
        return service.running_server("--store", self.store, **arguments)

    def fill(self, stub):
        """Weight sets of every kind, and everything that can be done to them."""
        random = np.random.default_rng(11)
        for dtype in (np.float32, np.float64, np.float16):
            stub.SetWeights(pb.SetWeightsRequest(
                name=f"kinds/{np.dtype(dtype)}",
                weights=weights(random, 6, dtype, layout=pb.LAYOUT_OUT_IN)))
        # 2.25 MiB a tensor: several chunks.
        stub.SetWeights(pb.SetWeightsRequest(
            name="large", weights=weights(random, 768), labels=["prod"],
            annotations={"made by": "Python \u20ac", "nul": "a\0b"}))
        for _ in range(3):
            stub.SetWeights(pb.SetWeightsRequest(
                name="many", weights=weights(random, 4, output=False),
                labels=["newest"]))
        stub.SetLabel(pb.SetLabelRequest(name="many", label="first", version=1))
        stub.DeleteWeights(pb.DeleteWeightsRequest(name="many", version=2))
        stub.SetWeights(pb.SetWeightsRequest(
            name="gone", weights=weights(random, 4)))
        stub.DeleteWeights(pb.DeleteWeightsRequest(name="gone"))

    def answers(self, stub):
        """Everything that can be read, and a computation, as bytes."""
        listed = stub.ListWeights(pb.ListWeightsRequest(page_size=1000))
        found = [listed]
        for summary in listed.versions:
            selector = pb.WeightSetSelector(
                name=summary.version.name, version=summary.version.version)
            found += stub.GetWeights(pb.GetWeightsRequest(weight_set=selector))
        computed = stub.ComputeAttention(pb.ComputeAttentionRequest(
            query=service.tensor(np.ones((3, 768), np.float32)),
            weight_set=pb.WeightSetSelector(name="large", label="prod")))
        computed.ClearField("timing")  # which varies
        return [message.SerializeToString(deterministic=True)
                for message in (*found, computed)]

    def check_same_after(self, end):
        """What is answered before and after `end` of the process."""
        with self.running() as (address, process):
            with service.channel(address) as channel:
                stub = attention_pb2_grpc.AttentionServiceStub(channel)
                self.fill(stub)
                before = self.answers(stub)
            end(process)
            process.wait(service.PATIENCE)
        self.assertGreater(len(before), 30)
        with self.running() as (address, _), service.channel(
                address) as channel:
            stub = attention_pb2_grpc.AttentionServiceStub(channel)
            self.assertEqual(self.answers(stub), before)
            again = stub.SetWeights(pb.SetWeightsRequest(
                name="gone", weights=weights(np.random.default_rng(1), 4)))
            self.assertEqual(again.version.version, 2)

    def test_the_next_server_answers_with_the_same_bytes(self):
        self.check_same_after(lambda process: process.terminate())

    def test_so_it_does_after_kill_9(self):
        self.check_same_after(lambda process: process.kill())

    def test_a_retry_after_the_end_of_the_server_appends_nothing(self):
        request = pb.SetWeightsRequest(
            name="a", weights=weights(np.random.default_rng(2), 4),
            idempotency_key="once", annotations={"a": "b"})
        versions = []
        for _ in range(2):
            with self.running() as (address, _), service.channel(
                    address) as channel:
                stub = attention_pb2_grpc.AttentionServiceStub(channel)
                versions.append(stub.SetWeights(request).version)
        self.assertEqual(versions[0], versions[1])
        self.assertEqual(versions[1].version, 1)

    def refused(self, *flags, **environment):
        """Why a server does not start, in one line."""
        done = subprocess.run(
            [os.environ["ATTENTION_SERVER"], "--listen", "127.0.0.1:0", *flags],
            capture_output=True, text=True, timeout=service.PATIENCE,
            env={"PATH": "/usr/bin:/bin"} | environment)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(done.stdout, "")
        (said,) = last_words(done.stderr)
        return said

    def test_a_second_server_is_refused(self):
        with self.running() as (_, process):
            self.assertEqual(
                self.refused("--store", self.store),
                f"attention-server: --store {self.store}: another server "
                f"(process {process.pid}) holds {self.path}.lock; expected it "
                "stopped, or another file\n")

    def test_what_cannot_be_a_store_is_refused(self):
        nowhere = self.folder / "no such folder" / "weights.db"
        self.assertEqual(
            self.refused("--store", f"sqlite:{nowhere}"),
            f"attention-server: --store sqlite:{nowhere}: the folder "
            f"{nowhere.parent} does not exist; make it first\n")
        self.path.write_text("no database " * 100)
        self.assertEqual(
            self.refused("--store", self.store),
            f"attention-server: --store {self.store}: file is not a "
            "database\n")
        self.assertIn('--store is "disk"; expected sqlite:PATH',
                      self.refused("--store", "disk"))
        self.assertIn("say --store sqlite:PATH or --store memory",
                      self.refused())

    def test_the_default_is_in_the_state_folder(self):
        printed = subprocess.run(
            [os.environ["ATTENTION_SERVER"], "--print-config"],
            capture_output=True, text=True, timeout=service.PATIENCE,
            env={"PATH": "/usr/bin:/bin", "XDG_STATE_HOME": str(self.folder)})
        self.store = f"sqlite:{self.folder}/attention-service/weights.db"
        self.assertIn(f'store="{self.store}"', printed.stdout)

    def test_what_is_damaged_is_logged_and_the_rest_is_served(self):
        with self.running() as (address, _), service.channel(
                address) as channel:
            self.fill(attention_pb2_grpc.AttentionServiceStub(channel))
        with sqlite3.connect(self.path) as database:
            database.execute(
                "UPDATE chunk SET data = zeroblob(length(data)) WHERE "
                "name = 'many' AND version = 3 AND path = 'key.weight'")
        database.close()
        log = self.folder / "log"
        with self.running(log_path=log) as (address, _), service.channel(
                address) as channel:
            stub = attention_pb2_grpc.AttentionServiceStub(channel)
            listed = stub.ListWeights(pb.ListWeightsRequest(name="many"))
            self.assertEqual(
                [v.version.version for v in listed.versions], [1])
            with self.assertRaises(grpc.RpcError) as raised:
                stub.ComputeAttention(pb.ComputeAttentionRequest(
                    query=service.tensor(np.ones((3, 4), np.float32)),
                    weight_set=pb.WeightSetSelector(name="many", version=3)))
            self.assertEqual(
                raised.exception.code(), grpc.StatusCode.NOT_FOUND)
        warned = [line for line in log.read_text().splitlines()
                  if "damaged in the weight store" in line]
        self.assertEqual(len(warned), 2)
        self.assertIn('version 3 of "many": ', warned[0])
        self.assertIn('label "newest" of "many"', warned[1])


if __name__ == "__main__":
    unittest.main()
