"""Attention through the client against NumPy's own, option by option and in
combination."""

import ml_dtypes
import numpy as np
import pytest
import reference

from attention_client import (
    AttentionMatrix,
    Dropout,
    InvalidArgumentError,
    WeightSet,
    WeightSetSelector,
    attention_request,
)

HEADS, KV_HEADS, DIM, VALUE_DIM = 4, 2, 3, 2
BATCH, QUERY_LEN, KV_LEN = 2, 5, 7

# Unit roundoff of the compute type, and of the type the output is stored in.
UNITS = {
    np.float32: (2.0**-24, 2.0**-24),
    np.float64: (2.0**-53, 2.0**-53),
    np.float16: (2.0**-24, 2.0**-11),
    ml_dtypes.bfloat16: (2.0**-24, 2.0**-8),
}


@pytest.fixture
def inputs(random):
    """query, key, value of unequal lengths and widths, with grouped heads."""
    return [
        random.standard_normal(shape).astype(np.float32) for shape in (
            (BATCH, QUERY_LEN, HEADS * DIM), (BATCH, KV_LEN, KV_HEADS * DIM),
            (BATCH, KV_LEN, KV_HEADS * VALUE_DIM))
    ]


def is_within(found, exact, bound, stored=2.0**-24):
    """Whether every element is as near as the bound and the rounding to the
    type it is stored in allow; NaN is not. Twice, since exact has an error too."""
    found = np.asarray(found, np.float64)
    return found.shape == exact.shape and bool(
        np.all(np.abs(found - exact) <= 2 * bound + stored * np.abs(exact)))


def choices(random):
    """Options that go together, drawn at random."""

    def perhaps(**options):
        return options if random.random() < 0.5 else {}

    drawn = perhaps(causal=True) | perhaps(window_left=2)
    drawn |= perhaps(window_right=1)
    if drawn:
        where = [{"alignment": "top_left"}, {"alignment": "bottom_right"},
                 {"query_offsets": [-1, 3]}]
        drawn |= where[random.integers(len(where))]
    drawn |= perhaps(key_lengths=[KV_LEN, 4])
    mask = random.random((BATCH, 1, QUERY_LEN, KV_LEN)) < 0.7
    mask[0, 0, 0] = False  # a dead row
    drawn |= perhaps(attend_mask=mask)
    bias = random.standard_normal((HEADS, QUERY_LEN, KV_LEN))[None]
    bias[0, 1, 2, 3] = -np.inf
    drawn |= perhaps(bias=bias.astype(np.float32))
    return drawn | perhaps(softmax_scale=0.3) | perhaps(softcap=1.5)


@pytest.mark.parametrize("seed", range(24))
def test_options_in_combination_are_numpys(client, inputs, seed):
    options = choices(np.random.default_rng(seed))
    for dtype, (unit, stored) in UNITS.items():
        arrays = [array.astype(dtype) for array in inputs]
        heads = {"num_heads": HEADS, "num_kv_heads": KV_HEADS}
        output, weights, lse, bound = reference.attention(
            *arrays, **heads, **options, unit=unit)
        result = client.compute(
            *arrays, **heads, **options, attention_matrix="attention_weights",
            want_lse=True)
        assert result.output.dtype == dtype
        assert is_within(result.output, output, bound, stored), options
        compute_type = np.float64 if dtype == np.float64 else np.float32
        assert result.attention_matrix.dtype == compute_type
        # A weight is an output whose value is 1; the bound of all is the largest.
        of_one = reference.attention(
            arrays[0], arrays[1], np.ones_like(arrays[2]), **heads, **options,
            unit=unit)[3].max()
        assert is_within(result.attention_matrix, weights, of_one), options
        dead = np.isinf(lse)
        np.testing.assert_array_equal(np.isneginf(result.lse), dead)
        assert is_within(
            result.lse[~dead], lse[~dead], of_one + 8 * unit * np.abs(lse[~dead]))


@pytest.mark.parametrize("options", [
    {"num_heads": 2, "num_kv_heads": 1},
    {"causal": True, "alignment": "bottom_right"},
    {"window_left": 1, "alignment": "top_left"},
    {"window_right": 1, "alignment": "top_left"},
    {"attend_mask": np.arange(KV_LEN) % 2 == 0},
    {"bias": np.linspace(-1, 1, KV_LEN, dtype=np.float32)},
    {"key_lengths": [3, KV_LEN]},
    {"softmax_scale": 2.0},
    {"softcap": 0.5},
    {"dropout": Dropout(0.5, seed=3)},
], ids=lambda options: next(iter(options)))
def test_every_option_changes_the_answer(client, inputs, options):
    plain = {"num_heads": HEADS, "num_kv_heads": KV_HEADS}
    first = client.compute(*inputs, **plain).output
    changed = client.compute(*inputs, **plain | options).output
    assert not np.array_equal(first, changed)


def test_where_row_zero_stands_changes_the_answer(client, inputs):
    outputs = [
        client.compute(*inputs, num_heads=HEADS, num_kv_heads=KV_HEADS,
                       causal=True, **where).output.tobytes()
        for where in ({"alignment": "top_left"}, {"alignment": "bottom_right"},
                      {"query_offsets": [1, 0]})
    ]
    assert len(set(outputs)) == 3


def test_none_is_an_option_left_out(client, inputs):
    options = {"num_heads": HEADS, "num_kv_heads": KV_HEADS}
    left_out = client.compute(*inputs, **options)
    given = client.compute(
        *inputs, **options, causal=None, window_left=None, weight_set=None,
        weights=None, bias=None, softcap=None, top_k=None, dropout=None)
    np.testing.assert_array_equal(given.output, left_out.output)
    assert given.attention_matrix is given.top_k is given.lse is None
    assert given.weight_set_used is None
    assert given.timing.queue >= 0 and given.timing.compute >= 0


def test_falsy_options_are_sent(client, inputs):
    """0 is a scale and a window; None is neither."""
    options = {"num_heads": HEADS, "num_kv_heads": KV_HEADS}
    flat = client.compute(*inputs, **options, softmax_scale=0.0,
                          attention_matrix="attention_weights")
    np.testing.assert_allclose(
        flat.attention_matrix, 1 / KV_LEN, rtol=KV_LEN * 2.0**-24)
    itself = client.compute(*inputs, **options, window_left=0, window_right=0,
                            alignment="top_left",
                            attention_matrix="attention_weights")
    np.testing.assert_array_equal(
        itself.attention_matrix,
        np.broadcast_to(np.eye(QUERY_LEN, KV_LEN, dtype=np.float32),
                        (BATCH, HEADS, QUERY_LEN, KV_LEN)))


def test_stages_and_the_mean_of_heads(client, inputs):
    options = {"num_heads": HEADS, "num_kv_heads": KV_HEADS, "softcap": 0.5,
               "bias": np.array([0, -np.inf, 0, 1, 0, 0, 0], np.float32)}

    def matrix(stage):
        return client.compute(
            *inputs, **options, attention_matrix=stage).attention_matrix

    scores, capped, biased, weights = map(
        matrix, ("scores", "softcapped", "biased", "attention_weights"))
    tolerance = 8 * 2.0**-24
    np.testing.assert_allclose(
        capped, 0.5 * np.tanh(scores.astype(np.float64) / 0.5), atol=tolerance)
    np.testing.assert_allclose(biased, capped + options["bias"], atol=tolerance)
    terms = np.exp(biased.astype(np.float64))
    np.testing.assert_allclose(
        weights, terms / terms.sum(-1, keepdims=True), atol=16 * 2.0**-24)
    mean = matrix(AttentionMatrix("attention_weights", heads="mean"))
    assert mean.shape == (BATCH, QUERY_LEN, KV_LEN)
    np.testing.assert_allclose(mean, weights.mean(axis=1), atol=HEADS * 2.0**-24)


def test_top_k_is_the_largest_weights(client, inputs):
    options = {"num_heads": HEADS, "num_kv_heads": KV_HEADS,
               "key_lengths": [KV_LEN, 2]}
    weights = client.compute(
        *inputs, **options, attention_matrix="attention_weights").attention_matrix
    top_k = client.compute(*inputs, **options, top_k=3).top_k
    assert top_k.weights.shape == top_k.indices.shape == (
        BATCH, HEADS, QUERY_LEN, 3)
    largest = np.argsort(-weights, axis=-1, kind="stable")[..., :3]
    np.testing.assert_array_equal(top_k.indices[0], largest[0])
    np.testing.assert_array_equal(top_k.indices[1, ..., :2], largest[1, ..., :2])
    assert (top_k.indices[1, ..., 2] == -1).all()
    np.testing.assert_array_equal(
        top_k.weights, np.take_along_axis(weights, largest, axis=-1))


def test_dropout_is_seeded_and_seen_in_the_weights(client, inputs):
    options = {"num_heads": HEADS, "num_kv_heads": KV_HEADS,
               "attention_matrix": "attention_weights"}
    plain = client.compute(*inputs, **options)
    first, again, other = (
        client.compute(*inputs, **options, dropout=Dropout(0.25, seed=seed))
        for seed in (2**63, 2**63, 1))
    np.testing.assert_array_equal(first.output, again.output)
    assert not np.array_equal(first.output, other.output)
    kept = first.attention_matrix != 0
    assert 0 < kept.mean() < 1
    np.testing.assert_allclose(
        first.attention_matrix[kept], plain.attention_matrix[kept] / 0.75,
        rtol=4 * 2.0**-24)


def test_ranks_2_3_and_4_agree(client, inputs):
    heads = {"num_heads": HEADS, "num_kv_heads": KV_HEADS}
    rank_3 = client.compute(*inputs, **heads, want_lse=True)
    rank_2 = client.compute(*(array[1] for array in inputs), **heads,
                            want_lse=True)
    np.testing.assert_array_equal(rank_2.output, rank_3.output[1])
    np.testing.assert_array_equal(rank_2.lse, rank_3.lse[1])
    query, key, value = (
        array.reshape(*array.shape[:2], heads, -1).swapaxes(1, 2)  # not contiguous
        for array, heads in zip(inputs, (HEADS, KV_HEADS, KV_HEADS)))
    rank_4 = client.compute(query, key, value, **heads)
    np.testing.assert_array_equal(
        rank_4.output.swapaxes(1, 2).reshape(rank_3.output.shape),
        rank_3.output)


def test_a_length_of_zero_has_an_answer(client):
    result = client.compute(
        np.ones((2, 3), np.float32), np.ones((0, 3), np.float32), want_lse=True)
    np.testing.assert_array_equal(result.output, np.zeros((2, 3)))
    assert np.isneginf(result.lse).all()
    assert client.compute(np.ones((0, 3), np.float32)).output.shape == (0, 3)


def test_a_weight_set_projects_with_the_version_asked_for(client, random, name):
    x = random.standard_normal((4, 3))

    def set_weights(**options):
        arrays = {path: random.standard_normal((3, 3))
                  for path in ("query", "key", "value", "output")}
        arrays["output.bias"] = random.standard_normal(3)
        version = client.set_weights(
            name, WeightSet.from_dict(arrays, num_heads=1, layout="in_out"),
            **options)
        return arrays, version

    sets = [set_weights(labels=["stable"]), set_weights()]
    for weight_set, (arrays, version) in (
        (name, sets[1]),
        (sets[0][1], sets[0]),
        (WeightSetSelector(name, version=1), sets[0]),
        (WeightSetSelector(name, label="stable"), sets[0]),
    ):
        result = client.compute(x, weight_set=weight_set)
        assert result.weight_set_used == version
        heads = reference.attention(
            *(x[None] @ arrays[path] for path in ("query", "key", "value")))[0]
        # Far above what double rounds (some hundred 2^-53), far below what
        # float would (2^-24).
        np.testing.assert_allclose(
            result.output, heads[0] @ arrays["output"] + arrays["output.bias"],
            atol=2.0**-40)


def test_weights_in_the_request_are_the_stored_set_to_the_bit(client, random,
                                                              name):
    x = random.standard_normal((4, 3))
    weights = WeightSet.from_dict(
        {path: random.standard_normal((3, 3))
         for path in ("query", "key", "value", "output")},
        num_heads=1, layout="out_in")
    given = client.compute(x, weights=weights)
    assert given.weight_set_used.sha256 == weights.sha256()
    assert given.weight_set_used.name == ""
    assert given.weight_set_used.version == 0
    version = client.set_weights(name, weights)
    stored = client.compute(x, weight_set=version)
    assert given.output.tobytes() == stored.output.tobytes()
    [(_, streamed)] = client.compute_many(
        [attention_request(x, weights=weights)])
    assert streamed.output.tobytes() == stored.output.tobytes()
    with pytest.raises(InvalidArgumentError, match="together with weight_set"):
        client.compute(x, weights=weights, weight_set=name)
    with pytest.raises(TypeError, match="expected a WeightSet"):
        client.compute(x, weights={"query": np.eye(3)})


def test_the_comparison_fails_on_nan_sign_and_shape():
    exact, bound = np.array([1.0, -2.0]), np.full(2, 1e-7)
    assert is_within(exact + 1e-7, exact, bound)
    for wrong in (exact + 1e-5, -exact, exact[:1], exact * np.nan):
        assert not is_within(wrong, exact, bound)


def test_a_reply_beyond_grpcs_4_mib_arrives(client):
    x = np.ones((1100, 1), np.float32)
    matrix = client.compute(x, attention_matrix="scores").attention_matrix
    assert matrix.nbytes > 2**22
    assert (matrix == 1).all()
