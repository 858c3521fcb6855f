"""Exceptions of the client, one class for each family of refusals.

Everything that a server refuses or that goes wrong on the way is an
AttentionError. What could not even be sent, such as an array of integers, is a
TypeError or ValueError that names the argument.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2


class Violation(NamedTuple):
    """What is wrong with one field of the request."""

    field: str  # path in the contract, such as "key.shape[2]"
    description: str  # what was expected and what came


class AttentionError(Exception):
    """A call that failed.

    Attributes:
        code: gRPC's status code.
        message: one line that names what is wrong and what would be right.
        violations: the fields it is about, if it is about fields.
        retry_delay: seconds after which the same request may succeed; None if
            the server does not say that it may.
        reason: a constant for programs, such as "LIMIT_EXCEEDED"; "" if none.
        metadata: what belongs to the reason, such as {"limit": "32768"}.
    """

    code = grpc.StatusCode.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        violations: Iterable[Violation] = (),
        retry_delay: float | None = None,
        reason: str = "",
        metadata: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.violations = tuple(violations)
        self.retry_delay = retry_delay
        self.reason = reason
        self.metadata = dict(metadata or {})

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


class InvalidArgumentError(AttentionError, ValueError):
    """The request contradicts itself or the contract."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class NotFoundError(AttentionError, LookupError):
    """No such weight set, version or label."""

    code = grpc.StatusCode.NOT_FOUND


class AbortedError(AttentionError):
    """expected_version is not the present one: another write came first."""

    code = grpc.StatusCode.ABORTED


class FailedPreconditionError(AttentionError):
    """The query does not fit this weight set, or a label is in the way."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class ResourceExhaustedError(AttentionError):
    """Over a limit; it may fit later exactly if there is a retry_delay."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class DeadlineExceededError(AttentionError, TimeoutError):
    """The timeout passed; the server has stopped computing."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class CancelledError(AttentionError):
    """The call was cancelled, here or by the closing of the client."""

    code = grpc.StatusCode.CANCELLED


class UnavailableError(AttentionError, ConnectionError):
    """No server was reached, or it is shutting down."""

    code = grpc.StatusCode.UNAVAILABLE


class UnauthenticatedError(AttentionError):
    """The server does not know who calls."""

    code = grpc.StatusCode.UNAUTHENTICATED


class PermissionDeniedError(AttentionError):
    """The server knows who calls, and that they may not."""

    code = grpc.StatusCode.PERMISSION_DENIED


class UnimplementedError(AttentionError):
    """The server is older than this client, or is none of this service."""

    code = grpc.StatusCode.UNIMPLEMENTED


class DataLossError(AttentionError):
    """Weights that came are not complete, or not those the server stated."""

    code = grpc.StatusCode.DATA_LOSS


class InternalError(AttentionError):
    """A mistake of the server's; the message has an id to report."""

    code = grpc.StatusCode.INTERNAL


_CLASSES: dict[grpc.StatusCode, type[AttentionError]] = {
    error.code: error for error in AttentionError.__subclasses__()
}
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_DETAILS_KEY = "grpc-status-details-bin"


def from_status(status: status_pb2.Status) -> AttentionError:
    """The exception for what a server says of a request."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    violations: list[Violation] = []
    retry_delay = None
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        bad_request = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(bad_request):
            violations += [
                Violation(found.field, found.description)
                for found in bad_request.field_violations
            ]
        elif detail.Unpack(retry):
            delay = retry.retry_delay
            retry_delay = delay.seconds + delay.nanos * 1e-9
        else:
            detail.Unpack(info)
    return _CLASSES.get(code, AttentionError)(
        status.message,
        code=code,
        violations=violations,
        retry_delay=retry_delay,
        reason=info.reason,
        metadata=dict(info.metadata),
    )


def from_rpc_error(error: grpc.RpcError) -> AttentionError:
    """The exception for a call that gRPC says has failed."""
    code = error.code()
    status = status_pb2.Status(code=code.value[0], message=error.details() or "")
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            try:
                status.details.extend(
                    status_pb2.Status.FromString(value).details)
            except DecodeError:
                pass  # something between us and the server; code and text remain
    return from_status(status)
