"""Attention in float64, and how far a float of the service's may be from it."""

import numpy as np


def attention(query, key=None, value=None, *, num_heads=1, num_kv_heads=None,
              causal=False, window_left=None, window_right=None, alignment=None,
              query_offsets=None, attend_mask=None, bias=None, key_lengths=None,
              softmax_scale=None, softcap=None, unit=2.0**-24):
    """(output, attention weights, lse, bound of the output's error) of inputs of
    rank 3, without a weight set.

    The bound, with u the unit roundoff of the compute type: a score is a sum of
    head_dim products, so it is off by (head_dim + 3)u of the sum of absolutes;
    softcap, whose slope is at most 1, adds 8u of the cap, bias u of the sum. If
    all scores of a row are off by at most e, each attention weight is off by a
    factor exp(2e); exp, the sum and the division add (kv_len + 8)u, and the
    weighted sum of value kv_len u, of what the absolutes sum to.
    """
    key = query if key is None else key
    value = key if value is None else value
    num_kv_heads = num_kv_heads or num_heads
    query, key, value = (
        _split(array, heads) for array, heads in (
            (query, num_heads), (key, num_kv_heads), (value, num_kv_heads)))
    key, value = (np.repeat(array, num_heads // num_kv_heads, axis=1)
                  for array in (key, value))
    batch, _, query_len, head_dim = query.shape
    kv_len = key.shape[2]
    scale = head_dim**-0.5 if softmax_scale is None else softmax_scale

    scores = scale * query @ key.swapaxes(-1, -2)
    error = (head_dim + 3) * unit * abs(scale) * (
        np.abs(query) @ np.abs(key).swapaxes(-1, -2))
    if softcap is not None:
        scores = softcap * np.tanh(scores / softcap)
        error += 8 * unit * softcap
    attended = np.ones((batch, 1, query_len, kv_len), bool)
    if bias is not None:
        bias = np.asarray(bias, np.float64)
        attended = attended & (bias > -np.inf)
        finite = np.where(bias > -np.inf, bias, 0)
        scores = scores + finite
        error = error + unit * (np.abs(scores) + np.abs(finite))
    if attend_mask is not None:
        attended = attended & attend_mask
    attended = attended & _positions(
        batch, query_len, kv_len, causal, window_left, window_right, alignment,
        query_offsets, key_lengths)
    attended = np.broadcast_to(attended, scores.shape)

    # A row with nothing to attend to is zeros, and its lse -inf.
    scores = np.where(attended, scores, -np.inf)
    largest = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    shift = np.where(largest > -np.inf, largest, 0)
    terms = np.exp(scores - shift)
    total = terms.sum(axis=-1, keepdims=True)
    weights = np.divide(terms, total, out=np.zeros_like(terms), where=total > 0)
    with np.errstate(divide="ignore"):
        lse = (np.log(total) + shift)[..., 0]

    error = np.where(attended, error, 0).max(axis=-1, keepdims=True, initial=0)
    factor = np.expm1(2 * error) + (2 * kv_len + 16) * unit
    return (_join(weights @ value), weights, lse,
            _join(factor * (weights @ np.abs(value))))


def _positions(batch, query_len, kv_len, causal, window_left, window_right,
               alignment, query_offsets, key_lengths):
    lengths = np.full(batch, kv_len) if key_lengths is None else (
        np.array(key_lengths))
    if query_offsets is not None:
        offsets = np.array(query_offsets)
    elif alignment == "bottom_right":
        offsets = lengths - query_len
    else:
        offsets = np.zeros(batch, int)
    j = np.arange(kv_len)
    p = np.arange(query_len)[:, None] + offsets[:, None, None, None]
    attended = j < lengths[:, None, None, None]
    if causal:
        attended = attended & (j <= p)
    if window_left is not None:
        attended = attended & (j >= p - window_left)
    if window_right is not None:
        attended = attended & (j <= p + window_right)
    return attended


def _split(array, heads):
    array = np.asarray(array, np.float64)
    batch, length, width = array.shape
    return array.reshape(batch, length, heads, width // heads).swapaxes(1, 2)


def _join(array):
    batch, heads, length, dim = array.shape
    return array.swapaxes(1, 2).reshape(batch, length, heads * dim)
