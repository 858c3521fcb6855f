"""The client that is awaited."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
)
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

import grpc
import grpc.aio

from attention_client import attention_pb2 as pb
from attention_client import errors, many, operations, steps
from attention_client.channel import DEFAULT_MAX_REPLY_BYTES, Tls, channel_options
from attention_client.client import method_signature

P = ParamSpec("P")
Result = TypeVar("Result")


def _method(
    operation: Callable[P, steps.Operation[Result]]
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, Result]]:

    @wraps(operation)
    async def call(
        self: AsyncClient, *args: P.args, **kwargs: P.kwargs
    ) -> Result:
        return await self._carry_out(operation(*args, **kwargs))

    vars(call)["__signature__"] = method_signature(operation)
    return cast(
        "Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, Result]]", call)


class AsyncClient:
    """One server, called over one connection, from one event loop.

        async with AsyncClient("localhost:50051") as client:
            result = await client.compute(x, weight_set="layer0")

    Its methods are those of Client, to await. To cancel one cancels its call.
    """

    def __init__(
        self,
        target: str,
        *,
        tls: Tls | None = None,
        max_reply_bytes: int = DEFAULT_MAX_REPLY_BYTES,
    ) -> None:
        """As Client; to be made where the event loop runs."""
        options = channel_options(max_reply_bytes)
        self._channel = (
            grpc.aio.insecure_channel(target, options) if tls is None else
            grpc.aio.secure_channel(target, tls.credentials(), options))
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

    async def compute_many(
        self,
        requests: (Iterable[pb.ComputeAttentionRequest]
                   | AsyncIterable[pb.ComputeAttentionRequest]),
        *,
        timeout: float | None = None,
    ) -> AsyncIterator[many.Answer]:
        """As Client.compute_many, with `async for`; the requests may have to be
        waited for."""
        failures: list[BaseException] = []
        call = self._methods["StreamAttention"](timeout=steps.seconds(timeout))
        ending = _Ending(call)
        sending = asyncio.create_task(_send(
            call, many.numbered_async(requests, failures), failures))
        try:
            async for message in call:
                yield many.answer(message)
        except (grpc.RpcError, asyncio.CancelledError) as error:
            if failures:
                raise failures[0] from None
            if isinstance(error, grpc.RpcError):
                raise errors.from_rpc_error(ending.of(error)) from None
            raise
        finally:
            sending.cancel()
            call.cancel()  # for who stops listening; without effect at the end

    async def close(self) -> None:
        """As Client.close."""
        self._methods = steps.ClosedMethods()
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _carry_out(self, operation: steps.Operation[Result]) -> Result:
        reply = None
        try:
            while True:
                reply = await self._perform(operation.send(reply))
        except StopIteration as done:
            result: Result = done.value
            return result
        except grpc.RpcError as error:
            raise errors.from_rpc_error(error) from None
        finally:
            operation.close()

    async def _perform(self, step: steps.Step) -> Any:
        call, timeout = self._methods[step.method], steps.seconds(step.timeout)
        if isinstance(step, steps.Unary):
            return await call(step.request, timeout=timeout)
        if isinstance(step, steps.Download):
            messages = call(step.request, timeout=timeout)
            try:
                async for message in messages:
                    step.take(message)
            finally:
                messages.cancel()  # without effect at the end
            return None
        upload = call(step.requests, timeout=timeout)
        ending = _Ending(upload)
        try:
            return await upload
        except grpc.RpcError as error:
            raise ending.of(error) from None


class _Ending:
    """How a call that is written to ended, kept in the moment it does.

    Where a write meets the end of the call, grpc.aio may report that the write
    failed in place of the status that came (its issue 36066).
    """

    _FAILED_WRITE = "Internal error from Core"

    def __init__(self, call: Any) -> None:
        self._first: grpc.RpcError | None = None
        call.add_done_callback(self._keep)

    def of(self, error: grpc.RpcError) -> grpc.RpcError:
        """What came, for an `error` that the call raised."""
        replaced = error.details() == self._FAILED_WRITE
        return self._first if replaced and self._first is not None else error

    def _keep(self, call: Any) -> None:
        if self._first is not None:
            return
        self._first = grpc.aio.AioRpcError(
            _at_once(call.code()), grpc.aio.Metadata(),
            _at_once(call.trailing_metadata()), _at_once(call.details()))


def _at_once(told: Coroutine[Any, Any, Result]) -> Result:
    """What a call that is done tells without waiting."""
    try:
        told.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    raise RuntimeError("a call that is done has no status yet")


async def _send(
    call: Any,
    messages: AsyncIterator[pb.StreamAttentionRequest],
    failures: list[BaseException],
) -> None:
    """Writes until there are no more messages or the stream has ended, of which
    its reader is told."""
    try:
        async for message in messages:
            await call.write(message)
        await call.done_writing()
    except BaseException as error:
        if failures:
            call.cancel()  # its reader raises what failed
        elif not isinstance(error, Exception):
            raise
