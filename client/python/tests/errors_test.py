"""Refusals, deadlines and servers that are not there."""

import asyncio
import inspect
import threading
from concurrent import futures

import grpc
import numpy as np
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

import attention_client
from attention_client import (
    AbortedError,
    AsyncClient,
    AttentionError,
    Client,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
    Violation,
    WeightSet,
    errors,
)

ONE = np.ones((1, 1), np.float32)
# 2^34 multiply-adds for scores and output: a second or more of any CPU's.
LARGE = np.zeros((8192, 128), np.float32)


def test_a_violation_names_field_expected_and_found(client):
    with pytest.raises(InvalidArgumentError) as raised:
        client.compute(np.zeros((2, 4), np.float32), np.zeros((2, 3), np.float32))
    error = raised.value
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    [violation] = error.violations
    assert violation.field == "key.shape[1]"
    assert "3" in violation.description and "4" in violation.description
    assert str(error) == f"INVALID_ARGUMENT: {error.message}"
    assert "\n" not in str(error)
    assert error.retry_delay is None
    assert isinstance(error, ValueError) and isinstance(error, AttentionError)


def test_classes_follow_the_status(client, name):
    with pytest.raises(NotFoundError, match="nobody"):
        client.compute(ONE, weight_set="nobody")
    eye = np.eye(2, dtype=np.float32)
    client.set_weights(name, WeightSet.from_dict(
        {"query": eye, "key": eye, "value": eye}, num_heads=1, layout="in_out"))
    with pytest.raises(FailedPreconditionError) as raised:
        client.compute(ONE, weight_set=name)
    assert raised.value.violations[0].field == "query.shape[1]"


def test_every_status_of_the_contract_has_a_class():
    for code, family in (
        (code_pb2.ABORTED, "Aborted"), (code_pb2.CANCELLED, "Cancelled"),
        (code_pb2.DATA_LOSS, "DataLoss"), (code_pb2.INTERNAL, "Internal"),
        (code_pb2.DEADLINE_EXCEEDED, "DeadlineExceeded"),
        (code_pb2.FAILED_PRECONDITION, "FailedPrecondition"),
        (code_pb2.INVALID_ARGUMENT, "InvalidArgument"),
        (code_pb2.NOT_FOUND, "NotFound"),
        (code_pb2.PERMISSION_DENIED, "PermissionDenied"),
        (code_pb2.RESOURCE_EXHAUSTED, "ResourceExhausted"),
        (code_pb2.UNAUTHENTICATED, "Unauthenticated"),
        (code_pb2.UNAVAILABLE, "Unavailable"),
        (code_pb2.UNIMPLEMENTED, "Unimplemented"),
    ):
        error = errors.from_status(status_pb2.Status(code=code, message="so"))
        assert type(error) is getattr(attention_client, f"{family}Error")
        assert error.code.value[0] == code
    other = errors.from_status(status_pb2.Status(code=code_pb2.OUT_OF_RANGE))
    assert type(other) is AttentionError
    assert other.code is grpc.StatusCode.OUT_OF_RANGE


def test_details_are_taken_apart():
    bad_request = error_details_pb2.BadRequest()
    bad_request.field_violations.add(field="a", description="is 1")
    bad_request.field_violations.add(field="b", description="is 2")
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1250)
    info = error_details_pb2.ErrorInfo(reason="BUSY", metadata={"limit": "3"})
    status = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="later")
    for detail in (bad_request, retry, info):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    error = errors.from_status(status)
    assert error.violations == (Violation("a", "is 1"), Violation("b", "is 2"))
    assert error.retry_delay == 1.25
    assert (error.reason, error.metadata) == ("BUSY", {"limit": "3"})


def test_a_limit_is_told_with_figure_and_flag(connect, start_server):
    with start_server("--max-result-bytes", "32768") as (address, _):
        with pytest.raises(ResourceExhaustedError) as raised:
            connect(address).compute(
                np.zeros((100, 1), np.float32), attention_matrix="scores")
    error = raised.value
    assert error.reason == "LIMIT_EXCEEDED"
    assert error.metadata["flag"] == "--max-result-bytes"
    assert error.metadata["limit"] == "32768"
    assert error.retry_delay is None


def test_what_may_fit_later_says_when(start_server):
    """One request at a time: while a large one is computed, a small one may not
    enter."""
    with start_server("--max-requests-in-flight", "1") as (address, _), \
            Client(address) as client:
        refused = []
        done = threading.Event()

        def knock():
            while not done.is_set() and not refused:
                try:
                    client.compute(ONE)
                except ResourceExhaustedError as error:
                    refused.append(error)

        knocking = threading.Thread(target=knock)
        knocking.start()
        while not refused:
            try:
                client.compute(LARGE)
            except ResourceExhaustedError as error:
                refused.append(error)
        done.set()
        knocking.join()
    assert refused[0].retry_delay > 0


def test_a_timeout_ends_the_call_and_the_client_goes_on(client):
    with pytest.raises(DeadlineExceededError) as raised:
        client.compute(LARGE, timeout=0.05)
    assert isinstance(raised.value, TimeoutError)
    assert client.compute(ONE, timeout=60).output == 1


@pytest.mark.parametrize("timeout", [
    float("inf"), np.float32(np.inf), 1e30, 10**400, 1e9, 999_999_999],
    ids=["inf", "inf of NumPy", "1e30", "10**400", "1e9", "31 years"])
def test_a_timeout_may_be_as_long_as_one_likes(client, timeout):
    assert client.compute(ONE, timeout=timeout).output == 1
    client.list_weights(timeout=timeout)
    [(_, result)] = client.compute_many(
        [attention_client.attention_request(ONE)], timeout=timeout)
    assert result.output == 1


@pytest.mark.parametrize("timeout", [float("nan"), -1, -0.5, float("-inf"), "5",
                                     b"5", [5], 1j], ids=repr)
def test_a_timeout_that_is_none_is_named(client, timeout):
    for call in (lambda: client.compute(ONE, timeout=timeout),
                 lambda: client.get_weights("a", timeout=timeout),
                 lambda: client.list_weights(timeout=timeout),
                 lambda: list(client.compute_many([], timeout=timeout))):
        with pytest.raises((TypeError, ValueError),
                           match="^timeout is .*; expected .*seconds") as raised:
            call()
        assert not isinstance(raised.value, AttentionError)


def test_a_closed_client_says_so(address):
    closed = "^the client is closed"
    with Client(address) as client:
        assert client.compute(ONE).output == 1
    client.close()  # a second time is well
    for call in (lambda: client.compute(ONE), lambda: client.get_weights("a"),
                 lambda: list(client.compute_many([]))):
        with pytest.raises(ValueError, match=closed):
            call()

    async def run():
        async with AsyncClient(address) as client:
            assert (await client.compute(ONE)).output == 1
        await client.close()
        for call in (client.compute(ONE), client.get_weights("a"),
                     anext(client.compute_many([]))):
            assert inspect.isawaitable(call)
            with pytest.raises(ValueError, match=closed):
                await call

    asyncio.run(run())


@pytest.fixture
def refuser():
    """A server that ends every call at its first message."""

    def refuse(messages, context):
        next(messages)
        context.abort(grpc.StatusCode.ABORTED, "another was first")

    class Refuser(grpc.GenericRpcHandler):

        def service(self, call):
            return (grpc.stream_unary_rpc_method_handler(refuse)
                    if call.method.endswith("/UploadWeights")
                    else grpc.stream_stream_rpc_method_handler(refuse))

    server = grpc.server(futures.ThreadPoolExecutor(1), [Refuser()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_a_call_refused_while_it_is_written_to_says_why(connect, refuser):
    client = connect(refuser)
    wide = np.ones((300, 300), np.float32)
    requests = [attention_client.attention_request(wide)] * 16
    weights = WeightSet.from_dict(dict.fromkeys(
        ("query", "key", "value"), np.ones((2000, 2000), np.float32)),
        num_heads=1, layout="in_out")
    for _ in range(30):
        for call in (lambda: list(client.compute_many(requests)),
                     lambda: client.set_weights("large", weights)):
            with pytest.raises(AbortedError, match="^ABORTED: another was first$"):
                call()


def test_no_server_is_unavailable(connect, start_server):
    with start_server() as (address, _):
        client = connect(address)
        client.compute(ONE)
    with pytest.raises(UnavailableError) as raised:
        client.compute(ONE)
    assert isinstance(raised.value, ConnectionError)
    with pytest.raises(UnavailableError):
        list(client.compute_many([]))


def test_a_reply_beyond_ones_own_limit_is_refused(connect, address):
    client = connect(address, max_reply_bytes=1000)
    assert client.compute(ONE).output == 1
    with pytest.raises(ResourceExhaustedError):
        client.compute(np.ones((500, 1), np.float32))


def test_cancelling_a_task_cancels_its_call(address):

    async def cancel():
        async with AsyncClient(address) as client:
            task = asyncio.create_task(client.compute(LARGE))
            await asyncio.sleep(0.05)
            assert task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return (await client.compute(ONE)).output

    assert asyncio.run(cancel()) == 1
