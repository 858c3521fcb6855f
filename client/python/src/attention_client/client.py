"""The client that blocks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

import grpc

from attention_client import attention_pb2 as pb
from attention_client import errors, many, operations, steps
from attention_client.channel import DEFAULT_MAX_REPLY_BYTES, Tls, channel_options

P = ParamSpec("P")
Result = TypeVar("Result")


def _method(
    operation: Callable[P, steps.Operation[Result]]
) -> Callable[Concatenate[Client, P], Result]:

    @wraps(operation)
    def call(self: Client, *args: P.args, **kwargs: P.kwargs) -> Result:
        return self._carry_out(operation(*args, **kwargs))

    vars(call)["__signature__"] = method_signature(operation)
    return cast("Callable[Concatenate[Client, P], Result]", call)


def method_signature(operation: Callable[..., Any]) -> inspect.Signature:
    """That of the method made from `operation`, for help()."""
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    signature = inspect.signature(operation)
    result = str(signature.return_annotation)
    return signature.replace(
        parameters=[own, *signature.parameters.values()],
        return_annotation=result.removeprefix("Operation[").removesuffix("]"))


class Client:
    """One server, called over one connection.

        with Client("localhost:50051") as client:
            result = client.compute(x, weight_set="layer0", causal=True,
                                    alignment="top_left")

    Thread-safe; every method blocks until the answer is there. AsyncClient has
    the same methods, to await.
    """

    def __init__(
        self,
        target: str,
        *,
        tls: Tls | None = None,
        max_reply_bytes: int = DEFAULT_MAX_REPLY_BYTES,
    ) -> None:
        """Connects at the first call.

        Args:
            target: host:port, or any name that gRPC knows.
            tls: None: plain text, to a server on this machine.
            max_reply_bytes: of the largest reply to accept; the server has a
                limit of its own, max_result_bytes.

        Raises:
            OSError, ValueError: as Tls.credentials.
        """
        options = channel_options(max_reply_bytes)
        self._channel = (
            grpc.insecure_channel(target, options) if tls is None else
            grpc.secure_channel(target, tls.credentials(), options))
        self._methods = steps.bind_methods(self._channel)

    compute = _method(operations.compute)
    compute_request = _method(operations.compute_request)
    set_weights = _method(operations.set_weights)
    get_weights = _method(operations.get_weights)
    list_weights = _method(operations.list_weights)
    delete_weights = _method(operations.delete_weights)
    set_label = _method(operations.set_label)
    remove_label = _method(operations.remove_label)
    server_info = _method(operations.server_info)

    def compute_many(
        self,
        requests: Iterable[pb.ComputeAttentionRequest],
        *,
        timeout: float | None = None,
    ) -> Iterator[many.Answer]:
        """Attention of many requests on one stream, which costs less for each
        than a call of its own.

            requests = (attention_request(x, causal=True) for x in arrays)
            for index, result in client.compute_many(requests): ...

        Args:
            requests: taken one by one, in another thread, as the server has room
                for them; without end if need be.
            timeout: seconds, for all of them.

        Yields:
            (index of the request, AttentionResult or AttentionError), as they
            are ready. A request that is refused does not end the others.

        Raises:
            AttentionError: the stream itself failed.
            BaseException: whatever taking the next request raised.
        """
        failures: list[BaseException] = []
        call = self._methods["StreamAttention"](
            many.numbered(requests, failures), timeout=steps.seconds(timeout))
        try:
            yield from map(many.answer, call)
        except grpc.RpcError as error:
            if failures:
                raise failures[0] from None
            raise errors.from_rpc_error(error) from None
        finally:
            call.cancel()  # for who stops listening; without effect at the end

    def close(self) -> None:
        """Ends the connection and what is under way on it. To call a closed
        client is a ValueError."""
        self._methods = steps.ClosedMethods()
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _carry_out(self, operation: steps.Operation[Result]) -> Result:
        reply = None
        try:
            while True:
                reply = self._perform(operation.send(reply))
        except StopIteration as done:
            result: Result = done.value
            return result
        except grpc.RpcError as error:
            raise errors.from_rpc_error(error) from None
        finally:
            operation.close()

    def _perform(self, step: steps.Step) -> Any:
        call, timeout = self._methods[step.method], steps.seconds(step.timeout)
        if isinstance(step, steps.Unary):
            return call(step.request, timeout=timeout)
        if isinstance(step, steps.Download):
            messages = call(step.request, timeout=timeout)
            try:
                for message in messages:
                    step.take(message)
            finally:
                messages.cancel()  # without effect at the end
            return None
        return call(step.requests, timeout=timeout)
