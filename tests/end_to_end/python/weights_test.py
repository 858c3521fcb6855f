"""Weight sets from Python: versions, labels, compare-and-set, streams."""

import hashlib
import unittest

import grpc
import numpy as np

import service
from attention.v1 import attention_pb2 as pb


def weight_set(random, width=3, dtype=np.float32):
    """Three random square projections, and one with a bias."""

    def square():
        return service.tensor(
            random.standard_normal((width, width)).astype(dtype))

    message = pb.WeightSet(num_heads=1, layout=pb.LAYOUT_IN_OUT)
    for projection in (message.query, message.key, message.value):
        projection.weight.CopyFrom(square())
    message.output.weight.CopyFrom(square())
    message.output.bias.CopyFrom(
        service.tensor(random.standard_normal(width).astype(dtype)))
    return message


def paths(weights):
    """Path -> tensor, in the order of the contract."""
    found = {}
    for name in ("query", "key", "value", "output"):
        if weights.HasField(name):
            projection = getattr(weights, name)
            found[f"{name}.weight"] = projection.weight
            if projection.HasField("bias"):
                found[f"{name}.bias"] = projection.bias
    return found


class WeightsTest(service.ServiceTest):

    def setUp(self):
        self.random = np.random.default_rng(7)
        self.name = self.id().rsplit(".", 1)[-1]  # a set for each test

    def set(self, weights=None, **arguments):
        request = pb.SetWeightsRequest(
            name=self.name, weights=weights or weight_set(self.random),
            **arguments)
        return self.stub.SetWeights(request).version

    def get(self, **selector):
        request = pb.GetWeightsRequest(
            weight_set=pb.WeightSetSelector(name=self.name, **selector))
        return list(self.stub.GetWeights(request))

    def compute(self, **selector):
        return self.stub.ComputeAttention(
            pb.ComputeAttentionRequest(
                query=service.tensor(np.eye(3, dtype=np.float32)),
                weight_set=pb.WeightSetSelector(name=self.name, **selector)))

    def test_what_was_set_streams_back(self):
        # 2.25 MiB a tensor: chunks of at most 1 MiB.
        weights = weight_set(self.random, width=768)
        version = self.set(weights, annotations={"made by": "Python"})
        parts = self.get()
        self.assertEqual(parts[0].WhichOneof("part"), "header")
        self.assertEqual(parts[-1].WhichOneof("part"), "sha256")
        self.assertEqual(parts[-1].sha256, version.sha256)

        header = parts[0].header
        self.assertEqual(header.summary.version, version)
        self.assertEqual(header.summary.annotations, {"made by": "Python"})
        self.assertEqual(header.summary.num_kv_heads, 1)
        received = {path: b"" for path in paths(header.weights)}
        order = []
        for part in parts[1:-1]:
            chunk = part.chunk
            self.assertLessEqual(len(chunk.data), 2**20)
            self.assertEqual(chunk.offset, len(received[chunk.tensor]))
            received[chunk.tensor] += chunk.data
            if chunk.tensor not in order:
                order.append(chunk.tensor)
        self.assertEqual(order, list(received))
        sent = paths(weights)
        self.assertEqual(
            received, {path: tensor.data for path, tensor in sent.items()})
        for path, tensor in paths(header.weights).items():
            self.assertEqual(tensor.shape, sent[path].shape)
            self.assertEqual(tensor.dtype, sent[path].dtype)
            self.assertEqual(tensor.data, b"")
        self.assertEqual(
            header.summary.tensor_bytes,
            sum(len(tensor.data) for tensor in sent.values()))

    def test_sha256_tells_contents_apart(self):
        weights = weight_set(self.random)
        first, same = self.set(weights), self.set(weights)
        other = self.set(weight_set(self.random))
        self.assertEqual([v.version for v in (first, same, other)], [1, 2, 3])
        self.assertEqual(first.sha256, same.sha256)
        self.assertNotEqual(first.sha256, other.sha256)
        self.assertEqual(len(first.sha256), 2 * hashlib.sha256().digest_size)

    def test_compare_and_set_lets_one_writer_win(self):
        first = self.set(expected_version=0)
        request = pb.SetWeightsRequest(
            name=self.name, weights=weight_set(self.random), expected_version=0)
        self.refused(
            grpc.StatusCode.ABORTED, self.stub.SetWeights, request)
        request.expected_version = first.version
        at_once = [self.stub.SetWeights.future(request) for _ in range(8)]
        codes = [call.code() for call in at_once]
        self.assertEqual(codes.count(grpc.StatusCode.OK), 1)
        self.assertEqual(codes.count(grpc.StatusCode.ABORTED), 7)

    def test_a_label_chooses_the_version(self):
        first = self.set(labels=["stable"])
        second = self.set()
        self.assertEqual(self.compute().weight_set_used, second)
        by_label = self.compute(label="stable")
        self.assertEqual(by_label.weight_set_used, first)
        self.assertEqual(by_label.output, self.compute(version=1).output)
        self.assertNotEqual(by_label.output, self.compute(version=2).output)

        moved = pb.SetLabelRequest(
            name=self.name, label="stable", version=2, expected_version=2)
        self.refused(grpc.StatusCode.ABORTED, self.stub.SetLabel, moved)
        moved.expected_version = 1
        self.assertEqual(self.stub.SetLabel(moved).version, second)
        self.assertEqual(self.compute(label="stable").weight_set_used, second)

        self.stub.SetLabel(pb.SetLabelRequest(name=self.name, label="stable"))
        request = pb.ComputeAttentionRequest(
            query=service.tensor(np.eye(3, dtype=np.float32)),
            weight_set=pb.WeightSetSelector(name=self.name, label="stable"))
        self.refused(
            grpc.StatusCode.NOT_FOUND, self.stub.ComputeAttention, request)

    def test_pages_list_every_version_once(self):
        made = [self.set(labels=["first"])] + [self.set() for _ in range(4)]
        request = pb.ListWeightsRequest(name=self.name, page_size=2)
        pages = []
        while True:
            page = self.stub.ListWeights(request)
            pages.append(page.versions)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        self.assertEqual([len(page) for page in pages], [2, 2, 1])
        listed = [summary for page in pages for summary in page]
        self.assertEqual([summary.version for summary in listed], made)
        self.assertEqual(list(listed[0].labels), ["first"])
        latest = self.stub.ListWeights(
            pb.ListWeightsRequest(name=self.name, latest_only=True))
        self.assertEqual([s.version for s in latest.versions], made[-1:])

    def test_a_deleted_version_is_gone_and_its_number_too(self):
        self.set(), self.set()
        request = pb.DeleteWeightsRequest(name=self.name, version=2)
        self.assertEqual(self.stub.DeleteWeights(request).versions_deleted, 1)
        self.refused(
            grpc.StatusCode.NOT_FOUND, self.stub.GetWeights,
            pb.GetWeightsRequest(
                weight_set=pb.WeightSetSelector(name=self.name, version=2)))
        self.assertEqual(self.set().version, 3)

    def test_float64_weights_compute_in_double(self):
        weights = weight_set(self.random, dtype=np.float64)
        self.set(weights)
        matrices = {
            path: service.array(tensor) for path, tensor in paths(weights).items()}
        query = self.random.standard_normal((4, 3))
        reply = self.stub.ComputeAttention(
            pb.ComputeAttentionRequest(
                query=service.tensor(query),
                weight_set=pb.WeightSetSelector(name=self.name)))

        scores = (query @ matrices["query.weight"]) @ (
            query @ matrices["key.weight"]).T / np.sqrt(3)
        terms = np.exp(scores - scores.max(axis=-1, keepdims=True))
        attention = terms / terms.sum(axis=-1, keepdims=True)
        expected = attention @ (query @ matrices["value.weight"]) @ matrices[
            "output.weight"] + matrices["output.bias"]
        # Far above what double rounds (some hundred 2^-53), far below what
        # float would (2^-24).
        np.testing.assert_allclose(
            service.array(reply.output), expected, atol=2.0**-40)


if __name__ == "__main__":
    unittest.main()
