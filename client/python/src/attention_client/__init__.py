"""Client of the attention service: NumPy in, NumPy out.

    from attention_client import Client

    with Client("localhost:50051") as client:
        result = client.compute(x, weight_set="layer0", causal=True,
                                alignment="top_left")
        result.output
"""

from attention_client.aio import AsyncClient
from attention_client.attention import (
    AttentionMatrix,
    AttentionOptions,
    AttentionResult,
    Dropout,
    Timing,
    TopK,
    attention_request,
)
from attention_client.channel import Tls
from attention_client.client import Client
from attention_client.errors import (
    AbortedError,
    AttentionError,
    CancelledError,
    DataLossError,
    DeadlineExceededError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    Violation,
)
from attention_client.versions import (
    WeightSetSelector,
    WeightSetSummary,
    WeightSetVersion,
)
from attention_client.weight_stream import StoredWeightSet
from attention_client.weights import Initializer, Projection, WeightSet

__all__ = [
    "AbortedError",
    "AsyncClient",
    "AttentionError",
    "AttentionMatrix",
    "AttentionOptions",
    "AttentionResult",
    "CancelledError",
    "Client",
    "DataLossError",
    "DeadlineExceededError",
    "Dropout",
    "FailedPreconditionError",
    "Initializer",
    "InternalError",
    "InvalidArgumentError",
    "NotFoundError",
    "PermissionDeniedError",
    "Projection",
    "ResourceExhaustedError",
    "StoredWeightSet",
    "Timing",
    "Tls",
    "TopK",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "Violation",
    "WeightSet",
    "WeightSetSelector",
    "WeightSetSummary",
    "WeightSetVersion",
    "attention_request",
]
