"""Refusals, deadlines and cancellation as a Python client sees them."""

import pathlib
import unittest

import grpc
import numpy as np

import service
from attention.v1 import attention_pb2 as pb

FLOAT32 = np.dtype(np.float32)


class ErrorsTest(service.ServiceTest):

    def expect_violation(self, code, call, request, field, *words):
        """The error names `field` in BadRequest, and says `words` about it."""
        error = self.refused(code, call, request)
        found = dict(service.violations(error))
        self.assertIn(field, found, error.details())
        for word in words:
            self.assertIn(word, found[field])
        self.assertIn(field, error.details())

    def test_a_wrong_width_names_field_expected_and_found(self):
        request = pb.ComputeAttentionRequest(
            query=service.tensor(np.zeros((2, 4), FLOAT32)),
            key=service.tensor(np.zeros((2, 3), FLOAT32)))
        self.expect_violation(
            grpc.StatusCode.INVALID_ARGUMENT, self.stub.ComputeAttention,
            request, "key.shape[1]", "3", "4")

    def test_a_wrong_byte_count_names_the_data(self):
        query = service.tensor(np.zeros((2, 4), FLOAT32))
        query.data = query.data[:-1]
        self.expect_violation(
            grpc.StatusCode.INVALID_ARGUMENT, self.stub.ComputeAttention,
            pb.ComputeAttentionRequest(query=query), "query.data", "31", "32")

    def test_a_nan_is_named_by_its_index(self):
        query = np.zeros((2, 4), FLOAT32)
        query[1, 2] = np.nan
        self.expect_violation(
            grpc.StatusCode.INVALID_ARGUMENT, self.stub.ComputeAttention,
            pb.ComputeAttentionRequest(query=service.tensor(query)),
            "query.data", "[1, 2]", "NaN")

    def test_alignment_left_open_is_refused_where_it_matters(self):
        request = pb.ComputeAttentionRequest(
            query=service.tensor(np.zeros((2, 4), FLOAT32)),
            key=service.tensor(np.zeros((3, 4), FLOAT32)), causal=True)
        self.expect_violation(
            grpc.StatusCode.INVALID_ARGUMENT, self.stub.ComputeAttention,
            request, "alignment")

    def test_a_layout_left_open_is_refused(self):
        square = pb.Projection(
            weight=service.tensor(np.eye(2, dtype=FLOAT32)))
        request = pb.SetWeightsRequest(
            name="no-layout", weights=pb.WeightSet(
                num_heads=1, query=square, key=square, value=square))
        self.expect_violation(
            grpc.StatusCode.INVALID_ARGUMENT, self.stub.SetWeights, request,
            "weights.layout")

    def test_an_unknown_weight_set_is_not_found(self):
        request = pb.ComputeAttentionRequest(
            query=service.tensor(np.zeros((2, 4), FLOAT32)),
            weight_set=pb.WeightSetSelector(name="nobody"))
        error = self.refused(
            grpc.StatusCode.NOT_FOUND, self.stub.ComputeAttention, request)
        self.assertIn("nobody", error.details())

    def test_a_query_that_does_not_fit_its_weight_set_is_refused(self):
        projection = pb.Projection(
            weight=service.tensor(np.eye(2, dtype=FLOAT32)))
        self.stub.SetWeights(
            pb.SetWeightsRequest(
                name="two-wide", weights=pb.WeightSet(
                    num_heads=1, layout=pb.LAYOUT_IN_OUT, query=projection,
                    key=projection, value=projection)))
        request = pb.ComputeAttentionRequest(
            query=service.tensor(np.zeros((2, 4), FLOAT32)),
            weight_set=pb.WeightSetSelector(name="two-wide"))
        self.expect_violation(
            grpc.StatusCode.FAILED_PRECONDITION, self.stub.ComputeAttention,
            request, "query.shape[1]", "4", "2")


class InterruptionTest(service.ServiceTest):
    """A call that is given up leaves a server that answers the next."""

    # 2^34 multiply-adds for scores and output: a second or more of any CPU's.
    LARGE = pb.ComputeAttentionRequest(
        query=service.tensor(np.zeros((8192, 128), FLOAT32)))
    SMALL = pb.ComputeAttentionRequest(
        query=service.tensor(np.ones((1, 1), FLOAT32)))

    def assert_answers(self):
        reply = self.stub.ComputeAttention(self.SMALL, timeout=service.PATIENCE)
        np.testing.assert_array_equal(service.array(reply.output), [[1]])

    def test_a_deadline_ends_the_call(self):
        with self.assertRaises(grpc.RpcError) as raised:
            self.stub.ComputeAttention(self.LARGE, timeout=0.05)
        self.assertEqual(
            raised.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assert_answers()

    def test_a_cancelled_call_ends(self):
        call = self.stub.ComputeAttention.future(self.LARGE)
        self.assertTrue(call.cancel())
        self.assertEqual(call.code(), grpc.StatusCode.CANCELLED)
        self.assert_answers()


class MessageLimitTest(service.ServiceTest):
    SERVER_FLAGS = ("--max-message-bytes", "65536", "--max-result-bytes", "32768")

    def test_a_request_above_the_limit_is_refused(self):
        query = np.zeros((2**14 + 1, 1), FLOAT32)
        self.refused(
            grpc.StatusCode.RESOURCE_EXHAUSTED, self.stub.ComputeAttention,
            pb.ComputeAttentionRequest(query=service.tensor(query)))

    def test_a_result_above_the_limit_is_refused_with_figure_and_flag(self):
        query = np.zeros((100, 1), FLOAT32)
        request = pb.ComputeAttentionRequest(query=service.tensor(query))
        request.attention_matrix.stage = (
            pb.AttentionMatrixOptions.STAGE_ATTENTION_WEIGHTS)
        error = self.refused(
            grpc.StatusCode.RESOURCE_EXHAUSTED, self.stub.ComputeAttention,
            request)
        self.assertIn("max-result-bytes", error.details())
        self.assertIn("32768", error.details())


class ServerTest(service.ServiceTest):

    def test_it_says_what_it_is(self):
        info = self.stub.GetServerInfo(pb.GetServerInfoRequest())
        self.assertRegex(info.version, r"^\d+\.\d+\.\d+$")
        self.assertIn("OpenBLAS", info.blas.config)
        self.assertNotEqual(info.blas.kernel, "")
        self.assertGreaterEqual(info.compute_threads, 1)
        for field in info.limits.DESCRIPTOR.fields:
            with self.subTest(limit=field.name):
                limit = getattr(info.limits, field.name)
                if field.message_type is not None:  # a Duration
                    limit = limit.ToNanoseconds()
                self.assertGreater(limit, 0)

    def test_ps_shows_its_name(self):
        # Though it started itself anew; the kernel keeps 15 letters.
        name = pathlib.Path(f"/proc/{self.process.pid}/comm").read_text()
        self.assertEqual(name, "attention-serve\n")

    def test_health_is_served(self):
        # Without its stubs: an empty request, and status = 1, SERVING, in field
        # 1 of the reply.
        check = self.channel.unary_unary("/grpc.health.v1.Health/Check")
        self.assertEqual(check(b"", timeout=service.PATIENCE), b"\x08\x01")

    def test_it_stops_when_told(self):
        with service.running_server() as (address, process):
            with service.channel(address) as opened:
                stub = service.attention_pb2_grpc.AttentionServiceStub(opened)
                stub.GetServerInfo(
                    pb.GetServerInfoRequest(), timeout=service.PATIENCE)
                process.terminate()
                self.assertEqual(process.wait(service.PATIENCE), 0)


if __name__ == "__main__":
    unittest.main()
