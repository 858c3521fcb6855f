"""What both clients can do, without how: see steps.

The docstrings are those of `Client` and `AsyncClient`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Unpack

from tqdm.auto import tqdm

from attention_client import attention_pb2 as pb
from attention_client.attention import (
    AttentionOptions,
    AttentionResult,
    attention_request,
)
from attention_client.steps import Deadline, Download, Operation, Unary, Upload
from attention_client.versions import (
    WeightSetLike,
    WeightSetSummary,
    WeightSetVersion,
    selector_message,
)
from attention_client.weight_stream import (
    CHUNK_BYTES,
    StoredWeightSet,
    WeightSetAssembler,
    upload_messages,
)
from attention_client.weights import Initializer, WeightSet


def compute(
    query: Any,
    key: Any | None = None,
    value: Any | None = None,
    *,
    timeout: float | None = None,
    **options: Unpack[AttentionOptions],
) -> Operation[AttentionResult]:
    """Attention of one query.

    Args:
        query: [query_len, width], [batch, query_len, width], or, without a
            weight set, [batch, num_heads, query_len, head_dim]. Anything that
            is or becomes a NumPy array of float16, bfloat16, float32 or
            float64: arrays of any strides and byte order, PyTorch tensors,
            what has `__array__` or `__dlpack__`, nested lists of floats. The
            service computes in double if it is float64.
        key: as query, with kv_len; None: the query (self-attention).
        value: as key; None: the key.
        timeout: seconds, after which the server stops computing; None or
            infinity: it takes what it takes.
        **options: see AttentionOptions, whose names are the contract's.

    Raises:
        TypeError, ValueError: an argument cannot be sent, or the client is
            closed.
        AttentionError: the server refused, or was not reached.
    """
    request = attention_request(query, key, value, **options)
    reply = yield Unary("ComputeAttention", request, timeout)
    return AttentionResult.from_message(reply)


def compute_request(
    request: pb.ComputeAttentionRequest, *, timeout: float | None = None
) -> Operation[AttentionResult]:
    """The same for a request that `attention_request` made, or that was read
    from JSON."""
    reply = yield Unary("ComputeAttention", request, timeout)
    return AttentionResult.from_message(reply)


def set_weights(
    name: str,
    weights: WeightSet | Initializer,
    *,
    expected_version: int | None = None,
    labels: Iterable[str] = (),
    annotations: Mapping[str, str] | None = None,
    idempotency_key: str = "",
    progress: bool = False,
    timeout: float | None = None,
) -> Operation[WeightSetVersion]:
    """Appends a version to a weight set, which is created if need be.

    Atomic: no call sees half of it, and one that breaks off leaves nothing
    behind. What does not fit one message is sent in chunks.

    Args:
        name: 1 to 128 of letters, digits and "._-/".
        weights: the weights, or a recipe for the server.
        expected_version: the latest version this write builds on; 0 = there
            must be none. Anything else present is an AbortedError.
        labels: to point at the new version in the same step.
        annotations: free text kept with the version.
        idempotency_key: a second call with the same key and contents is
            answered like the first and appends nothing.
        progress: show a bar, where standard error is a terminal.

    Raises:
        AttentionError: as compute.
        TypeError: labels is one str.
    """
    if isinstance(labels, (str, bytes)):
        raise TypeError(
            f"labels is {labels!r}; expected several, such as [{labels!r}]")
    facts: dict[str, Any] = {
        "name": name, "expected_version": expected_version, "labels": labels,
        "annotations": annotations, "idempotency_key": idempotency_key,
    }
    if isinstance(weights, Initializer):
        request = pb.SetWeightsRequest(initializer=weights.to_message(), **facts)
        reply = yield Unary("SetWeights", request, timeout)
    elif not isinstance(weights, WeightSet):
        raise TypeError(f"weights is {type(weights).__name__}; expected a "
                        "WeightSet, such as from_dict makes, or an Initializer")
    elif weights.nbytes <= CHUNK_BYTES:
        request = pb.SetWeightsRequest(weights=weights.to_message(), **facts)
        reply = yield Unary("SetWeights", request, timeout)
    else:
        header = pb.UploadWeightsRequest.Header(
            weights=weights.to_message(elements=False), **facts)
        with _progress_bar(progress, name) as bar:
            bar.total = weights.nbytes
            messages = upload_messages(header, weights)
            reply = yield Upload(
                "UploadWeights", _counted(messages, bar), timeout)
    return WeightSetVersion.from_message(reply.version)


def get_weights(
    weight_set: WeightSetLike,
    *,
    progress: bool = False,
    timeout: float | None = None,
) -> Operation[StoredWeightSet]:
    """One version with its tensors, whose SHA-256 has been checked.

    Args:
        weight_set: a name (its latest version), a WeightSetSelector or a
            WeightSetVersion.
        progress: show a bar, where standard error is a terminal.

    Raises:
        DataLossError: what came is not what the server stated.
        AttentionError: as compute.
    """
    selector = selector_message(weight_set)
    assembler = WeightSetAssembler()
    with _progress_bar(progress, selector.name) as bar:

        def take(message: pb.GetWeightsResponse) -> None:
            assembler.take(message)
            bar.total = assembler.nbytes
            bar.update(len(message.chunk.data))

        yield Download("GetWeights", pb.GetWeightsRequest(weight_set=selector),
                       take, timeout)
    return assembler.finish()


def list_weights(
    name: str = "",
    *,
    latest_only: bool = False,
    timeout: float | None = None,
) -> Operation[list[WeightSetSummary]]:
    """Every version, or those of one weight set, by name and version.

    Args:
        name: only this weight set; NotFoundError if there is none.
        latest_only: only the latest version of each set.
    """
    deadline = Deadline(timeout)
    request = pb.ListWeightsRequest(name=name, latest_only=latest_only)
    listed: list[WeightSetSummary] = []
    while True:
        page = yield Unary("ListWeights", request, deadline.left())
        listed += map(WeightSetSummary.from_message, page.versions)
        if not page.next_page_token:
            return listed
        request.page_token = page.next_page_token


def delete_weights(
    name: str,
    *,
    version: int | None = None,
    expected_version: int | None = None,
    timeout: float | None = None,
) -> Operation[int]:
    """Deletes one version, or a whole weight set with its labels; returns how
    many versions that was.

    Args:
        version: None: all of them. FailedPreconditionError while a label
            points at it.
        expected_version: of the latest; anything else is an AbortedError.
    """
    request = pb.DeleteWeightsRequest(
        name=name, version=version, expected_version=expected_version)
    reply = yield Unary("DeleteWeights", request, timeout)
    deleted: int = reply.versions_deleted
    return deleted


def set_label(
    name: str,
    label: str,
    version: int,
    *,
    expected_version: int | None = None,
    timeout: float | None = None,
) -> Operation[WeightSetVersion]:
    """Points a label at a version of a weight set.

    Args:
        expected_version: where it points now; 0 = nowhere. Anything else is an
            AbortedError.
    """
    request = pb.SetLabelRequest(
        name=name, label=label, version=version,
        expected_version=expected_version)
    reply = yield Unary("SetLabel", request, timeout)
    return WeightSetVersion.from_message(reply.version)


def remove_label(
    name: str,
    label: str,
    *,
    expected_version: int | None = None,
    timeout: float | None = None,
) -> Operation[None]:
    """Removes a label of a weight set; the version stays.

    Args:
        expected_version: as set_label.
    """
    request = pb.SetLabelRequest(
        name=name, label=label, expected_version=expected_version)
    yield Unary("SetLabel", request, timeout)


def server_info(
    *, timeout: float | None = None
) -> Operation[pb.GetServerInfoResponse]:
    """What the server is, what it can do, and its limits, as the contract's
    message."""
    reply: pb.GetServerInfoResponse = yield Unary(
        "GetServerInfo", pb.GetServerInfoRequest(), timeout)
    return reply


def _progress_bar(shown: bool, name: str) -> Any:
    """A bar that counts bytes; with None tqdm looks for a terminal."""
    return tqdm(desc=name, unit="B", unit_scale=True, unit_divisor=1024,
                disable=None if shown else True)


def _counted(
    messages: Iterator[pb.UploadWeightsRequest], bar: Any
) -> Iterator[pb.UploadWeightsRequest]:
    for message in messages:
        yield message  # resumed when gRPC has room for the next
        bar.update(len(message.chunk.data))
