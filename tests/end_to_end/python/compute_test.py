"""ComputeAttention with numpy's arrays, held against plain numpy."""

import sys
import unittest

import grpc
import numpy as np

import service
from attention.v1 import attention_pb2 as pb

sys.path.insert(0, str(service.ROOT / "tests" / "goldens"))
import contract  # noqa: E402
import error_bound  # noqa: E402

UNIT = {np.float32: 2.0**-24, np.float64: 2.0**-53}


def assert_within_bound(test, found, bounded, compute_type=np.float32):
    """`found` is within the bound that tests/goldens/error_bound.py derives for
    float32 and that scales with the unit round-off; a result of half precision
    is rounded once more, by half a unit in the last of its 11 bits."""
    limit = bounded.error * (UNIT[compute_type] / error_bound.UNIT)
    # Of the float64 arithmetic that says what is right.
    limit = limit + bounded.error * (UNIT[np.float64] / error_bound.UNIT)
    if found.dtype == np.float16:
        limit = limit + 2.0**-11 * (np.abs(bounded.value) + limit) + 2.0**-25
    expected = bounded.value
    test.assertEqual(found.shape, expected.shape)
    dead = np.isneginf(expected)  # the lse of a row without keys
    np.testing.assert_array_equal(np.isneginf(found), dead)
    error = np.abs(found[~dead].astype(np.float64) - expected[~dead])
    test.assertTrue(np.all(error <= limit[~dead]), error - limit[~dead])


class ComputeTest(service.ServiceTest):

    def setUp(self):
        self.random = np.random.default_rng(123)

    def draw(self, *shape, dtype=np.float32):
        return self.random.standard_normal(shape).astype(dtype)

    def test_agrees_with_numpy_in_each_dtype(self):
        for dtype in (np.float32, np.float64, np.float16):
            with self.subTest(dtype=dtype.__name__):
                query, key, value = (
                    self.draw(2, 4, 5, 3, dtype=dtype),
                    self.draw(2, 2, 6, 3, dtype=dtype),
                    self.draw(2, 2, 6, 7, dtype=dtype))
                reply = self.stub.ComputeAttention(
                    pb.ComputeAttentionRequest(
                        query=service.tensor(query), key=service.tensor(key),
                        value=service.tensor(value), num_heads=4,
                        num_kv_heads=2, causal=True,
                        alignment=pb.ALIGNMENT_BOTTOM_RIGHT, key_lengths=[6, 4],
                        softmax_scale=0.5,
                        attention_matrix=pb.AttentionMatrixOptions(
                            stage=pb.AttentionMatrixOptions
                            .STAGE_ATTENTION_WEIGHTS), want_lse=True))
                expected = contract.evaluate(
                    contract.Case(
                        *(t.astype(np.float64) for t in (query, key, value)),
                        options={
                            "causal": True, "alignment": "BOTTOM_RIGHT",
                            "key_lengths": [6, 4], "softmax_scale": 0.5}))
                compute = np.float64 if dtype == np.float64 else np.float32
                output = service.array(reply.output)
                self.assertEqual(output.dtype, dtype)
                assert_within_bound(self, output, expected["output"], compute)
                weights = service.array(reply.attention_matrix)
                self.assertEqual(weights.dtype, compute)
                assert_within_bound(
                    self, weights, expected["attention_weights"], compute)
                assert_within_bound(
                    self, service.array(reply.lse)[..., np.newaxis],
                    expected["lse"], compute)

    def test_every_bit_of_a_value_comes_back(self):
        # One key has the attention weight 1, so the output is the value: this
        # shows byte order and rounding, which a tolerance would hide.
        edges = {
            np.float32: [1 / 3, 2.0**-149, -3.4028235e38],
            np.float64: [1 / 3, 2.0**-1074, -1.7976931348623157e308],
            np.float16: [1 / 3, 2.0**-24, -65504.0],
        }
        for dtype, numbers in edges.items():
            with self.subTest(dtype=dtype.__name__):
                value = np.array([[numbers]], dtype=dtype)
                reply = self.stub.ComputeAttention(
                    pb.ComputeAttentionRequest(
                        query=service.tensor(self.draw(1, 2, 3, dtype=dtype)),
                        key=service.tensor(self.draw(1, 1, 3, dtype=dtype)),
                        value=service.tensor(value)))
                found = service.array(reply.output)
                self.assertEqual(
                    found.tobytes(), np.repeat(value, 2, axis=1).tobytes())

    def test_every_bit_of_a_bfloat16_comes_back(self):
        # numpy has no bfloat16; it is the upper half of a float32.
        bits = np.array([[0x3EAB, 0x0001, 0xFF7F]], dtype=np.uint16)

        def bfloat16(array):
            return pb.Tensor(
                dtype=pb.DATA_TYPE_BFLOAT16, shape=array.shape,
                data=array.tobytes())

        reply = self.stub.ComputeAttention(
            pb.ComputeAttentionRequest(
                query=bfloat16(bits), key=bfloat16(np.zeros_like(bits)),
                value=bfloat16(bits)))
        self.assertEqual(reply.output.dtype, pb.DATA_TYPE_BFLOAT16)
        self.assertEqual(reply.output.data, bits.tobytes())

    def test_values_are_answered_with_values(self):
        query = self.draw(3, 4)
        as_data = service.tensor(query)
        as_values = pb.Tensor(
            dtype=as_data.dtype, shape=as_data.shape,
            values=query.reshape(-1).tolist())
        by_data = self.stub.ComputeAttention(
            pb.ComputeAttentionRequest(query=as_data)).output
        by_values = self.stub.ComputeAttention(
            pb.ComputeAttentionRequest(query=as_values)).output
        self.assertEqual((len(by_data.values), len(by_values.data)), (0, 0))
        np.testing.assert_array_equal(
            service.array(by_values), service.array(by_data))

    def test_mask_and_bias_exclude_the_same(self):
        query = self.draw(5, 3)
        mask = self.random.random((5, 5)) < 0.6
        mask[:, 0] = True
        bias = np.where(mask, 0, -np.inf).astype(np.float32)
        replies = [
            self.stub.ComputeAttention(
                pb.ComputeAttentionRequest(
                    query=service.tensor(query), **{name: service.tensor(array)}))
            for name, array in (("attend_mask", mask), ("bias", bias))]
        self.assertEqual(replies[0].output, replies[1].output)
        plain = self.stub.ComputeAttention(
            pb.ComputeAttentionRequest(query=service.tensor(query)))
        self.assertNotEqual(replies[0].output, plain.output)

    def test_top_k_names_the_largest_weights(self):
        request = pb.ComputeAttentionRequest(
            query=service.tensor(self.draw(4, 3)),
            key=service.tensor(self.draw(6, 3)))
        request.attention_matrix.stage = (
            pb.AttentionMatrixOptions.STAGE_ATTENTION_WEIGHTS)
        weights = service.array(
            self.stub.ComputeAttention(request).attention_matrix)
        request.ClearField("attention_matrix")
        request.top_k = 2
        top_k = self.stub.ComputeAttention(request).top_k
        largest = service.array(top_k.weights)
        indices = np.array(top_k.indices).reshape(largest.shape)
        np.testing.assert_array_equal(
            indices, np.argsort(-weights, axis=-1, kind="stable")[..., :2])
        np.testing.assert_array_equal(
            largest, np.take_along_axis(weights, indices, axis=-1))

    def test_calls_at_once_give_the_bytes_of_one_alone(self):
        request = pb.ComputeAttentionRequest(
            query=service.tensor(self.draw(3, 70, 32)), num_heads=4, causal=True)
        alone = self.stub.ComputeAttention(request).output
        at_once = [self.stub.ComputeAttention.future(request) for _ in range(16)]
        for call in at_once:
            self.assertEqual(call.result().output, alone)


class LargeReplyTest(service.ServiceTest):
    """A reply above the 4 MiB that a gRPC client receives by default."""

    def setUp(self):
        query = np.zeros((1025, 1), np.float32)
        self.request = pb.ComputeAttentionRequest(query=service.tensor(query))
        self.request.attention_matrix.stage = (
            pb.AttentionMatrixOptions.STAGE_ATTENTION_WEIGHTS)

    def stub_receiving(self, max_bytes):
        opened = service.channel(self.address, max_bytes)
        self.addCleanup(opened.close)
        return service.attention_pb2_grpc.AttentionServiceStub(opened)

    def test_grpcs_own_limit_refuses_it(self):
        with grpc.insecure_channel(self.address) as default:
            stub = service.attention_pb2_grpc.AttentionServiceStub(default)
            self.refused(
                grpc.StatusCode.RESOURCE_EXHAUSTED, stub.ComputeAttention,
                self.request)

    def test_a_client_that_asks_for_the_servers_limit_receives_it(self):
        limits = self.stub.GetServerInfo(pb.GetServerInfoRequest()).limits
        # Beside the tensors a reply has room for names and numbers.
        stub = self.stub_receiving(limits.max_result_bytes + 2**20)
        weights = service.array(
            stub.ComputeAttention(self.request).attention_matrix)
        self.assertGreater(weights.nbytes, 4 * 2**20)
        # Equal scores give equal weights: each is within 1 + 1 + 1024 roundings
        # (exp is exact at 0; the sum; the quotient) of 1 / 1025.
        np.testing.assert_allclose(weights, 1 / 1025, rtol=1026 * 2.0**-24)


if __name__ == "__main__":
    unittest.main()
