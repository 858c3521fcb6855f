"""Attention of given query, key and value, by PyTorch."""

from __future__ import annotations

import torch
from torch.nn import functional

from cases import Golden, Random, golden, to_numpy, typed
from contract import Case
from philox import kept_by_dropout


def by_hand(
    dtype,
    query,
    key,
    value,
    mask=None,
    bias=None,
    scale=None,
    cap=None,
    kept=None,
    key_mask=None,
) -> dict[str, torch.Tensor]:
    """Attention as its definition reads, in PyTorch's operations; key/value heads
    shared by repeat_interleave. kept is (boolean mask, probability); key_mask says
    which keys are there at all, so that there is a score to show."""
    query, key, value, bias = (typed(t, dtype) for t in (query, key, value, bias))
    group = query.shape[1] // key.shape[1]
    key = key.repeat_interleave(group, dim=1)
    value = value.repeat_interleave(group, dim=1)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = torch.matmul(query, key.transpose(-2, -1)) * scale
    if key_mask is not None:
        scores = scores.masked_fill(~key_mask, -torch.inf)
    softcapped = scores if cap is None else cap * torch.tanh(scores / cap)
    if key_mask is not None:
        softcapped = softcapped.masked_fill(~key_mask, -torch.inf)
    biased = softcapped if bias is None else softcapped + bias
    if mask is not None:
        biased = biased.masked_fill(~mask, -torch.inf)
    # PyTorch 1.13 answers a row that attends to nothing with NaN, we with zeros.
    dead = torch.all(biased == -torch.inf, dim=-1, keepdim=True)
    weights = torch.softmax(biased, dim=-1).masked_fill(dead, 0.0)
    if kept is not None:
        weights = torch.where(kept[0], weights / (1 - kept[1]), 0.0).to(dtype)
    return {
        "output": torch.matmul(weights, value),
        "scores": scores,
        "softcapped": softcapped,
        "biased": biased,
        "attention_weights": weights,
        "attention_weights_mean": weights.mean(dim=1, keepdim=True),
        "lse": torch.logsumexp(biased, dim=-1, keepdim=True),
    }


def by_torch(dtype, query, key, value, mask=None, causal=False):
    """PyTorch's own scaled_dot_product_attention."""
    output, weights = functional._scaled_dot_product_attention(
        typed(query, dtype),
        typed(key, dtype),
        typed(value, dtype),
        mask,
        0.0,
        True,
        causal,
    )
    return {"output": output, "attention_weights": weights}


SDPA = "torch.nn.functional._scaled_dot_product_attention"
HAND = "torch.matmul, torch.softmax, torch.logsumexp"


def _qkv(random: Random, query_shape, kv_heads, kv_len, value_dim):
    batch, _, _, head_dim = query_shape
    return (
        random.normal(*query_shape),
        random.normal(batch, kv_heads, kv_len, head_dim),
        random.normal(batch, kv_heads, kv_len, value_dim),
    )


@golden(SDPA)
def plain(random: Random) -> Golden:
    tensors = _qkv(random, (2, 3, 5, 4), 3, 7, 4)
    case = Case(*map(to_numpy, tensors))
    return Golden(case, lambda dtype: by_torch(dtype, *tensors))


@golden(HAND)
def every_stage(random: Random) -> Golden:
    tensors = _qkv(random, (1, 2, 3, 5), 2, 4, 5)
    bias = random.normal(1, 2, 3, 4)
    case = Case(*map(to_numpy, tensors), bias=to_numpy(bias))
    case.options = {"softcap": 1.5}
    return Golden(case, lambda dtype: by_hand(dtype, *tensors, bias=bias, cap=1.5))


@golden(SDPA)
def causal_square(random: Random) -> Golden:
    tensors = _qkv(random, (2, 2, 5, 3), 2, 5, 3)
    case = Case(*map(to_numpy, tensors), options={"causal": True})
    return Golden(case, lambda dtype: by_torch(dtype, *tensors, causal=True))


@golden(SDPA)
def causal_top_left(random: Random) -> Golden:
    tensors = _qkv(random, (1, 2, 3, 4), 2, 6, 4)
    case = Case(*map(to_numpy, tensors))
    case.options = {"causal": True, "alignment": "TOP_LEFT"}
    return Golden(case, lambda dtype: by_torch(dtype, *tensors, causal=True))


@golden(SDPA)
def causal_bottom_right(random: Random) -> Golden:
    tensors = _qkv(random, (1, 2, 3, 4), 2, 6, 4)
    case = Case(*map(to_numpy, tensors))
    case.options = {"causal": True, "alignment": "BOTTOM_RIGHT"}
    mask = torch.ones(3, 6, dtype=torch.bool).tril(diagonal=6 - 3)
    return Golden(case, lambda dtype: by_torch(dtype, *tensors, mask=mask))


@golden(SDPA)
def boolean_mask(random: Random) -> Golden:
    tensors = _qkv(random, (2, 2, 4, 3), 2, 6, 3)
    mask = random.mask(2, 2, 4, 6)
    case = Case(*map(to_numpy, tensors), attend_mask=to_numpy(mask))
    return Golden(case, lambda dtype: by_torch(dtype, *tensors, mask=mask))


@golden(SDPA)
def mask_of_keys(random: Random) -> Golden:
    """A mask broadcast over heads and query rows."""
    tensors = _qkv(random, (3, 2, 4, 3), 2, 5, 3)
    mask = random.mask(3, 1, 1, 5)
    case = Case(*map(to_numpy, tensors), attend_mask=to_numpy(mask))
    return Golden(case, lambda dtype: by_torch(dtype, *tensors, mask=mask))


@golden(HAND)
def additive_mask(random: Random) -> Golden:
    """A bias with -inf in it."""
    tensors = _qkv(random, (2, 2, 4, 3), 2, 6, 3)
    bias = random.normal(2, 2, 4, 6).masked_fill(~random.mask(2, 2, 4, 6), -torch.inf)
    case = Case(*map(to_numpy, tensors), bias=to_numpy(bias))
    return Golden(case, lambda dtype: by_hand(dtype, *tensors, bias=bias))


@golden(HAND)
def linear_biases(random: Random) -> Golden:
    """ALiBi: a slope per head times the distance, broadcast over the batch."""
    tensors = _qkv(random, (2, 4, 6, 3), 4, 6, 3)
    slopes = 2.0 ** -torch.arange(1, 5).float().reshape(1, 4, 1, 1)
    distance = torch.arange(6).reshape(1, -1) - torch.arange(6).reshape(-1, 1)
    bias = slopes * distance
    case = Case(*map(to_numpy, tensors), bias=to_numpy(bias), options={"causal": True})
    mask = torch.ones(6, 6, dtype=torch.bool).tril()
    return Golden(case, lambda dtype: by_hand(dtype, *tensors, mask=mask, bias=bias))


@golden(SDPA)
def value_dim_differs(random: Random) -> Golden:
    tensors = _qkv(random, (2, 2, 4, 3), 2, 5, 7)
    case = Case(*map(to_numpy, tensors))
    return Golden(case, lambda dtype: by_torch(dtype, *tensors))


@golden(HAND)
def grouped_query(random: Random) -> Golden:
    tensors = _qkv(random, (2, 6, 4, 5), 2, 5, 3)
    case = Case(*map(to_numpy, tensors))
    return Golden(case, lambda dtype: by_hand(dtype, *tensors))


@golden(HAND)
def multi_query_causal(random: Random) -> Golden:
    tensors = _qkv(random, (2, 4, 5, 3), 1, 5, 3)
    case = Case(*map(to_numpy, tensors), options={"causal": True})
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    return Golden(case, lambda dtype: by_hand(dtype, *tensors, mask=mask))


@golden(HAND)
def explicit_scale(random: Random) -> Golden:
    tensors = _qkv(random, (1, 2, 4, 3), 2, 5, 3)
    case = Case(*map(to_numpy, tensors), options={"softmax_scale": 0.25})
    return Golden(case, lambda dtype: by_hand(dtype, *tensors, scale=0.25))


@golden(HAND)
def window_left_of_causal(random: Random) -> Golden:
    tensors = _qkv(random, (1, 2, 7, 3), 2, 7, 3)
    case = Case(*map(to_numpy, tensors), options={"causal": True, "window_left": 2})
    ones = torch.ones(7, 7, dtype=torch.bool)
    return Golden(
        case,
        lambda dtype: by_hand(dtype, *tensors, mask=ones.tril() & ones.triu(-2)),
    )


@golden(HAND)
def window_on_both_sides(random: Random) -> Golden:
    tensors = _qkv(random, (1, 2, 4, 3), 2, 9, 3)
    case = Case(*map(to_numpy, tensors))
    case.options = {"window_left": 2, "window_right": 1, "alignment": "BOTTOM_RIGHT"}
    ones = torch.ones(4, 9, dtype=torch.bool)
    mask = ones.tril(5 + 1) & ones.triu(5 - 2)
    return Golden(case, lambda dtype: by_hand(dtype, *tensors, mask=mask))


@golden(HAND)
def offsets_of_each_item(random: Random) -> Golden:
    tensors = _qkv(random, (2, 2, 3, 4), 2, 6, 4)
    case = Case(*map(to_numpy, tensors))
    case.options = {"causal": True, "query_offsets": [0, 2]}
    ones = torch.ones(3, 6, dtype=torch.bool)
    mask = torch.stack([ones.tril(0), ones.tril(2)]).unsqueeze(1)
    return Golden(case, lambda dtype: by_hand(dtype, *tensors, mask=mask))


@golden(SDPA)
def padded_keys(random: Random) -> Golden:
    tensors = _qkv(random, (3, 2, 4, 3), 2, 6, 3)
    case = Case(*map(to_numpy, tensors), options={"key_lengths": [6, 1, 4]})
    mask = torch.arange(6) < torch.tensor([6, 1, 4]).reshape(3, 1, 1, 1)
    return Golden(case, lambda dtype: by_torch(dtype, *tensors, mask=mask))


@golden(HAND)
def dropout_of_batch(random: Random) -> Golden:
    """Seeds that wrap at 2^64, and a number of keys that 4 does not divide."""
    tensors = _qkv(random, (3, 2, 3, 4), 2, 6, 4)
    case = Case(*map(to_numpy, tensors))
    probability, seed = 0.3, 2**64 - 2
    case.options = {"dropout": {"probability": probability, "seed": seed}}
    kept = torch.from_numpy(kept_by_dropout((3, 2, 3, 6), probability, seed))
    return Golden(
        case, lambda dtype: by_hand(dtype, *tensors, kept=(kept, probability))
    )


@golden(HAND)
def everything_together(random: Random) -> Golden:
    tensors = _qkv(random, (2, 4, 5, 3), 2, 7, 6)
    bias = random.normal(2, 1, 5, 7)
    mask = random.mask(1, 4, 5, 7)
    probability, seed = 0.25, 789
    case = Case(*map(to_numpy, tensors), to_numpy(mask), to_numpy(bias))
    case.options = {
        "softmax_scale": 0.75,
        "softcap": 3.0,
        "causal": True,
        "window_left": 3,
        "query_offsets": [1, -1],
        "key_lengths": [6, 7],
        "dropout": {"probability": probability, "seed": seed},
    }
    first_row = torch.tensor([1, -1]).reshape(2, 1, 1, 1)
    row = torch.arange(5).reshape(1, 1, 5, 1) + first_row
    key = torch.arange(7)
    allowed = mask & (key <= row) & (key >= row - 3)
    key_mask = key < torch.tensor([6, 7]).reshape(2, 1, 1, 1)
    kept = torch.from_numpy(kept_by_dropout((2, 4, 5, 7), probability, seed))
    return Golden(
        case,
        lambda dtype: by_hand(
            dtype,
            *tensors,
            mask=allowed,
            bias=bias,
            scale=0.75,
            cap=3.0,
            kept=(kept, probability),
            key_mask=key_mask,
        ),
    )


@golden("torch.topk of torch.softmax")
def three_largest(random: Random) -> Golden:
    tensors = _qkv(random, (2, 2, 4, 3), 2, 7, 3)
    case = Case(*map(to_numpy, tensors), options={"top_k": 3})

    def results(dtype):
        weights = by_hand(dtype, *tensors)["attention_weights"]
        largest, indices = torch.topk(weights, 3)
        return {"top_k_weights": largest, "top_k_indices": indices}

    return Golden(case, results)


@golden(SDPA)
def longer_than_a_tile(random: Random) -> Golden:
    tensors = _qkv(random, (1, 1, 70, 16), 1, 45, 16)
    return Golden(
        Case(*map(to_numpy, tensors)),
        lambda dtype: {"output": by_torch(dtype, *tensors)["output"]},
    )
