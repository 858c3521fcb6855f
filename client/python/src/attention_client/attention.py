"""One computation of attention: the request, option by option, and its result."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import numpy as np

from attention_client import attention_pb2 as pb
from attention_client import enums, tensors, versions
from attention_client.tensors import Array
from attention_client.weights import WeightSet


@dataclass(frozen=True)
class Dropout:
    """Zeros in the attention weights, the others scaled by 1 / (1 - probability).

    Which are zero depends on the seed, head, query row and key alone; batch item
    b draws from seed + b.
    """

    probability: float  # 0 <= probability < 1
    seed: int  # of batch item 0; 0 <= seed < 2^64


@dataclass(frozen=True)
class AttentionMatrix:
    """What to show on the way from scores to output.

    "scores" and "softcapped" show every position, "biased" is -inf where
    excluded, "attention_weights" is after softmax and dropout. "mean", of the
    heads, is for "attention_weights" only.
    """

    stage: enums.Stage
    heads: enums.Heads = "per_head"


class AttentionOptions(TypedDict, total=False):
    """What a computation may say beyond query, key and value.

    The names are those of the contract; None is the same as leaving it out.
    query_len, kv_len and batch are those of the arrays.
    """

    # Projections to apply: a name (its latest version), a WeightSetSelector, or
    # the WeightSetVersion that an earlier result names. Without: none.
    weight_set: versions.WeightSetLike | None
    # Projections for this computation only, which the server does not keep; not
    # with weight_set.
    weights: WeightSet | None
    # Query heads, and key/value heads, a divisor of them. Without: 1 and
    # num_heads, or what the weight set says. Required for rank 4.
    num_heads: int | None
    num_kv_heads: int | None
    # Query row i stands at position p = i + its offset, and attends only to keys
    # j <= p (causal), j >= p - window_left, j <= p + window_right.
    causal: bool | None
    window_left: int | None
    window_right: int | None
    # Where row 0 stands: at key 0 ("top_left"), or so that the last row stands at
    # the last valid key ("bottom_right"). Required wherever it matters.
    alignment: enums.Alignment | None
    # Or, for each batch item, at this key.
    query_offsets: Iterable[int] | None
    # Of bool, true = attend; rank 1 [kv_len], 2 [query_len, kv_len] or 4 [batch,
    # num_heads, query_len, kv_len], each axis of full size or 1.
    attend_mask: Any | None
    # Added to the scores after softcap; axes as attend_mask. -inf excludes.
    bias: Any | None
    # Valid keys of each batch item; the others are not read.
    key_lengths: Iterable[int] | None
    # Factor on query * key^T; without: 1 / sqrt(head_dim).
    softmax_scale: float | None
    # softcap * tanh(scores / softcap); above 0.
    softcap: float | None
    dropout: Dropout | None
    # A stage, or an AttentionMatrix.
    attention_matrix: enums.Stage | AttentionMatrix | None
    # The top_k largest attention weights of each row. Not with attention_matrix.
    top_k: int | None
    # The log-sum-exp of each row.
    want_lse: bool | None


def attention_request(
    query: Any,
    key: Any | None = None,
    value: Any | None = None,
    **options: Unpack[AttentionOptions],
) -> pb.ComputeAttentionRequest:
    """A request, for `Client.compute_request` and `Client.compute_many`.

    `Client.compute` takes the same arguments and says more about them.

    Raises:
        TypeError, ValueError: naming the argument that cannot be sent.
    """
    request = pb.ComputeAttentionRequest()
    tensors.fill(request.query, query, "query")
    if key is not None:
        tensors.fill(request.key, key, "key")
    if value is not None:
        tensors.fill(request.value, value, "value")
    for name, option in options.items():
        if name not in _SETTERS:
            raise TypeError(f"there is no option {name!r}; the options are "
                            f"{', '.join(_SETTERS)}")
        if option is not None:
            _SETTERS[name](request, name, option)
    return request


def _set_int(request: Any, name: str, option: Any) -> None:
    setattr(request, name, _int32(option, name))


def _set_ints(request: Any, name: str, option: Any) -> None:
    try:
        entries = iter(option)
    except TypeError:
        raise TypeError(f"{name} is {option!r}; expected several, such as "
                        f"[{option!r}]: one for each batch item") from None
    getattr(request, name).extend(
        _int32(entry, f"{name}[{index}]") for index, entry in enumerate(entries))


def _int32(option: Any, field: str) -> int:
    try:
        number = operator.index(option)
    except TypeError:
        raise TypeError(f"{field} is {option!r}; expected an integer") from None
    if not -2**31 <= number < 2**31:
        raise ValueError(f"{field} is {number}; expected 32 bits")
    return number


def _set_float(request: Any, name: str, option: Any) -> None:
    try:
        setattr(request, name, float(option))
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {option!r}; expected a number") from None
    except OverflowError:
        raise ValueError(
            f"{name} is an integer too large for a float") from None


def _set_bool(request: Any, name: str, option: Any) -> None:
    if not isinstance(option, bool | np.bool_):
        raise TypeError(f"{name} is {option!r}; expected True or False")
    setattr(request, name, bool(option))


def _set_weight_set(request: Any, name: str, option: Any) -> None:
    request.weight_set.CopyFrom(versions.selector_message(option))


def _set_weights(request: Any, name: str, option: Any) -> None:
    if not isinstance(option, WeightSet):
        raise TypeError(f"{name} is {type(option).__name__}; expected a "
                        "WeightSet, such as from_dict makes")
    request.weights.CopyFrom(option.to_message())


def _set_alignment(request: Any, name: str, option: Any) -> None:
    request.alignment = enums.ALIGNMENT.number(option, name)


def _set_attend_mask(request: Any, name: str, option: Any) -> None:
    tensors.fill(request.attend_mask, option, name, tensors.BOOL)


def _set_bias(request: Any, name: str, option: Any) -> None:
    tensors.fill(request.bias, option, name)


def _set_dropout(request: Any, name: str, option: Any) -> None:
    if not isinstance(option, Dropout):
        raise TypeError(
            f"dropout is {option!r}; expected Dropout(probability, seed)")
    try:
        request.dropout.probability = option.probability
        request.dropout.seed = option.seed
    except (TypeError, ValueError) as error:
        raise type(error)(f"dropout: {error}") from None


def _set_attention_matrix(request: Any, name: str, option: Any) -> None:
    if not isinstance(option, AttentionMatrix):
        option = AttentionMatrix(option)
    request.attention_matrix.stage = enums.STAGE.number(option.stage, name)
    request.attention_matrix.heads = enums.HEADS.number(
        option.heads, f"{name}.heads")


_SETTERS: dict[str, Callable[[Any, str, Any], None]] = {
    "weight_set": _set_weight_set,
    "weights": _set_weights,
    "num_heads": _set_int,
    "num_kv_heads": _set_int,
    "causal": _set_bool,
    "window_left": _set_int,
    "window_right": _set_int,
    "alignment": _set_alignment,
    "query_offsets": _set_ints,
    "attend_mask": _set_attend_mask,
    "bias": _set_bias,
    "key_lengths": _set_ints,
    "softmax_scale": _set_float,
    "softcap": _set_float,
    "dropout": _set_dropout,
    "attention_matrix": _set_attention_matrix,
    "top_k": _set_int,
    "want_lse": _set_bool,
}


@dataclass(frozen=True, eq=False)
class TopK:
    """The largest attention weights of each row, descending, ties to the lower
    index. Both are [batch,] num_heads, query_len, min(top_k, kv_len)."""

    weights: Array  # 0 in a slot beyond the attended keys
    indices: Array  # int32, of the key; -1 in such a slot


@dataclass(frozen=True)
class Timing:
    """Time spent inside the server, in seconds."""

    queue: float  # from receiving the request to its first computation
    compute: float  # from then to the finished result


@dataclass(frozen=True, eq=False)
class AttentionResult:
    """What a computation gives. The arrays are read-only; `.copy()` is not.

    The batch axis is there exactly when the query has one.
    """

    # [batch,] query_len, width, or [batch, num_heads, query_len, value_dim], in
    # the query's rank and dtype.
    output: Array
    # If asked for, float32, or float64 if the query is.
    attention_matrix: Array | None  # [batch,] [num_heads,] query_len, kv_len
    top_k: TopK | None
    lse: Array | None  # [batch,] num_heads, query_len; -inf for a dead row
    # What weight_set resolved to; pass it on to use the same version again. Of
    # weights the SHA-256 alone, with name "" and version 0.
    weight_set_used: versions.WeightSetVersion | None
    timing: Timing

    @classmethod
    def from_message(
        cls, message: pb.ComputeAttentionResponse
    ) -> AttentionResult:

        def optional(name: str) -> Array | None:
            if not message.HasField(name):
                return None
            return tensors.to_array(getattr(message, name))

        return cls(
            output=tensors.to_array(message.output),
            attention_matrix=optional("attention_matrix"),
            top_k=_top_k(message.top_k) if message.HasField("top_k") else None,
            lse=optional("lse"),
            weight_set_used=(
                versions.WeightSetVersion.from_message(message.weight_set_used)
                if message.HasField("weight_set_used") else None),
            timing=Timing(
                message.timing.queue.ToNanoseconds() * 1e-9,
                message.timing.compute.ToNanoseconds() * 1e-9),
        )


def _top_k(message: pb.TopK) -> TopK:
    weights = tensors.to_array(message.weights)
    indices = np.array(message.indices, np.int32).reshape(weights.shape)
    indices.flags.writeable = False
    return TopK(weights, indices)
