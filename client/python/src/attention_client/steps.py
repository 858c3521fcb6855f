"""What an operation asks of a connection, without saying how it is made.

An operation is a generator: it yields what is to be called, is sent the reply,
and returns its result. So it is written once, for a client that blocks and one
that awaits; each of them has a loop of its own that carries out the steps, and
nothing else.
"""

from __future__ import annotations

import numbers
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf import descriptor_pb2

from attention_client import attention_pb2 as pb

Result = TypeVar("Result")


@dataclass(frozen=True)
class Unary:
    """One message there; the reply is one message."""

    method: str
    request: Any
    timeout: float | None


@dataclass(frozen=True)
class Download:
    """One message there; `take` gets each that comes back. The reply is None."""

    method: str
    request: Any
    take: Callable[[Any], None]
    timeout: float | None


@dataclass(frozen=True)
class Upload:
    """Many messages there; the reply is one message."""

    method: str
    requests: Iterator[Any]
    timeout: float | None


Step = Unary | Download | Upload
Operation = Generator[Step, Any, Result]


# Beyond what a deadline of gRPC can express there is none; 31 years are within.
_LONGEST_TIMEOUT = 1e9


def seconds(timeout: float | None) -> float | None:
    """`timeout` as gRPC takes it; None if there is no end to wait for.

    Raises:
        TypeError, ValueError: it is no number of seconds, or below 0.
    """
    if timeout is None:
        return None
    if not isinstance(timeout, numbers.Real):
        raise TypeError(
            f"timeout is {timeout!r}; expected a number of seconds, or None")
    if not timeout >= 0:
        raise ValueError(f"timeout is {timeout!r}; expected seconds, 0 or more")
    return float(timeout) if timeout < _LONGEST_TIMEOUT else None


class Deadline:
    """The time that is left to an operation of several calls."""

    def __init__(self, timeout: float | None) -> None:
        left = seconds(timeout)
        self._end = None if left is None else time.monotonic() + left

    def left(self) -> float | None:
        """In seconds; None without a timeout."""
        if self._end is None:
            return None
        return max(0.0, self._end - time.monotonic())


def bind_methods(channel: Any) -> dict[str, Callable[..., Any]]:
    """Method name -> what calls it over `channel`, of grpc or of grpc.aio."""
    service = pb.DESCRIPTOR.services_by_name["AttentionService"]
    bound = {}
    for method in service.methods:
        described = descriptor_pb2.MethodDescriptorProto()
        method.CopyToProto(described)
        kind = "_".join("stream" if streams else "unary" for streams in (
            described.client_streaming, described.server_streaming))
        bound[method.name] = getattr(channel, kind)(
            f"/{service.full_name}/{method.name}",
            request_serializer=_message(method.input_type).SerializeToString,
            response_deserializer=_message(method.output_type).FromString)
    return bound


class ClosedMethods(dict[str, Callable[..., Any]]):
    """In place of those that bind_methods gave, once a client is closed."""

    def __missing__(self, name: str) -> Callable[..., Any]:
        raise ValueError("the client is closed; make a new one")


def _message(descriptor: Any) -> Any:
    return getattr(pb, descriptor.name)
