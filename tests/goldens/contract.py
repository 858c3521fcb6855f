"""What a golden case asks for, evaluated in float64 as the contract words it.

Slow and plain on purpose. generate.py uses it for two things: to make sure that
a case says in the contract's terms what was asked of PyTorch in PyTorch's, and
to bound the rounding error of each result (error_bound.py).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

import error_bound
from error_bound import Bounded
from philox import kept_by_dropout


@dataclasses.dataclass
class Projection:
    weight: np.ndarray
    bias: np.ndarray | None = None


@dataclasses.dataclass
class Weights:
    """A weight set; layout is IN_OUT or OUT_IN."""

    num_heads: int
    layout: str
    query: Projection
    key: Projection
    value: Projection
    output: Projection | None = None
    num_kv_heads: int | None = None


@dataclasses.dataclass
class Case:
    """One computation.

    Without weights, query is [batch, num_heads, query_len, head_dim], key and
    value have num_kv_heads; with weights all three are [batch, 1, len, width].
    attend_mask and bias broadcast to [batch, num_heads, query_len, kv_len].
    options are AttentionOptions by their names.
    """

    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    attend_mask: np.ndarray | None = None
    bias: np.ndarray | None = None
    weights: Weights | None = None
    options: dict = dataclasses.field(default_factory=dict)


def _project(rows: np.ndarray | Bounded, projection: Projection, layout: str):
    """[batch, 1, len, in] to [batch, 1, len, out]."""
    if not isinstance(rows, Bounded):
        rows = Bounded.exact(rows)
    matrix = projection.weight if layout == "IN_OUT" else projection.weight.T
    projected = error_bound.matmul(rows, Bounded.exact(matrix))
    if projection.bias is not None:
        projected = error_bound.add(projected, Bounded.exact(projection.bias))
    return projected


def _split_heads(rows: Bounded, heads: int) -> Bounded:
    """[batch, 1, len, heads * dim] to [batch, heads, len, dim]."""
    batch, _, length, width = rows.value.shape
    return rows.reshaped(batch, length, heads, width // heads).transposed(0, 2, 1, 3)


def _without_score(scores: Bounded, where: np.ndarray) -> Bounded:
    """-inf where a position has no score to show."""
    return Bounded(
        np.where(where, -np.inf, scores.value), np.where(where, 0.0, scores.error)
    )


def attended(case: Case, shape: tuple[int, int, int, int]) -> np.ndarray:
    """Which positions of [batch, num_heads, query_len, kv_len] are attended."""
    batch, _, query_len, kv_len = shape
    options = case.options
    lengths = np.array(options.get("key_lengths") or [kv_len] * batch)
    if options.get("query_offsets"):
        offsets = np.array(options["query_offsets"])
    elif options.get("alignment") == "BOTTOM_RIGHT":
        offsets = lengths - query_len
    else:
        offsets = np.zeros(batch, dtype=int)

    position = (offsets[:, None] + np.arange(query_len))[:, None, :, None]
    key_index = np.arange(kv_len)[None, None, None, :]
    allowed = np.broadcast_to(key_index < lengths[:, None, None, None], shape).copy()
    if options.get("causal"):
        allowed &= key_index <= position
    if options.get("window_left") is not None:
        allowed &= key_index >= position - options["window_left"]
    if options.get("window_right") is not None:
        allowed &= key_index <= position + options["window_right"]
    if case.attend_mask is not None:
        allowed &= case.attend_mask
    if case.bias is not None:
        allowed &= case.bias != -np.inf
    return allowed


def evaluate(case: Case) -> dict[str, Bounded]:
    """Every result a golden may hold, by name."""
    weights, options = case.weights, case.options
    query, key, value = (
        Bounded.exact(tensor) for tensor in (case.query, case.key, case.value)
    )
    if weights:
        kv_heads = weights.num_kv_heads or weights.num_heads
        query = _split_heads(
            _project(query, weights.query, weights.layout), weights.num_heads
        )
        key = _split_heads(_project(key, weights.key, weights.layout), kv_heads)
        value = _split_heads(_project(value, weights.value, weights.layout), kv_heads)
    group = query.value.shape[1] // key.value.shape[1]
    key, value = key.repeated(group, axis=1), value.repeated(group, axis=1)

    head_dim = query.value.shape[-1]
    factor = options.get("softmax_scale")
    factor = 1 / math.sqrt(head_dim) if factor is None else factor
    scores = error_bound.scale(
        error_bound.matmul(query, key.transposed(0, 1, 3, 2)), factor
    )
    cap = options.get("softcap")
    capped = scores if cap is None else error_bound.softcap(scores, cap)
    biased = capped
    allowed = attended(case, scores.value.shape)
    if case.bias is not None:
        finite = np.where(np.isfinite(case.bias), case.bias, 0.0)
        biased = error_bound.add(capped, Bounded.exact(finite))

    if options.get("key_lengths"):
        lengths = np.array(options["key_lengths"])[:, None, None, None]
        beyond = np.broadcast_to(np.arange(allowed.shape[-1]) >= lengths, allowed.shape)
        scores, capped = _without_score(scores, beyond), _without_score(capped, beyond)

    attention_weights = error_bound.softmax(biased, allowed)
    if options.get("dropout"):
        probability = options["dropout"]["probability"]
        seed = options["dropout"]["seed"]
        kept = kept_by_dropout(attention_weights.value.shape, probability, seed)
        attention_weights = error_bound.dropout(attention_weights, kept, probability)
    output = error_bound.matmul(attention_weights, value)
    if weights:
        batch, heads, length, dim = output.value.shape
        output = output.transposed(0, 2, 1, 3).reshaped(batch, 1, length, heads * dim)
        if weights.output:
            output = _project(output, weights.output, weights.layout)
    results = {
        "output": output,
        "scores": scores,
        "softcapped": capped,
        "biased": _without_score(biased, ~allowed),
        "attention_weights": attention_weights,
        "attention_weights_mean": error_bound.mean_over_heads(attention_weights),
        "lse": error_bound.log_sum_exp(biased, allowed),
    }
    if options.get("top_k"):
        results |= largest(attention_weights, options["top_k"])
    return results


def largest(weights: Bounded, count: int) -> dict[str, Bounded]:
    """The largest of each row, and their indices; refuses rows where rounding
    could change the order, which a golden cannot tell from an error."""
    indices = np.argsort(-weights.value, axis=-1, kind="stable")
    value = np.take_along_axis(weights.value, indices, axis=-1)
    error = np.take_along_axis(weights.error, indices, axis=-1)
    if np.any(value[..., :-1] - value[..., 1:] <= error[..., :-1] + error[..., 1:]):
        raise ValueError("two attention weights are too close to tell them apart")
    return {
        "top_k_weights": Bounded(value[..., :count], error[..., :count]),
        "top_k_indices": Bounded.exact(indices[..., :count]),
    }
