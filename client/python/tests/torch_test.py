"""PyTorch's tensors and layers, against what PyTorch computes itself.

Both compute in double, so what they may differ by is some hundred 2^-53; the
tolerance is far above that and far below what float would be off by (2^-24).
"""

import ml_dtypes
import numpy as np
import pytest
import torch

from attention_client import WeightSet, attention_request

TOLERANCE = 2.0**-40
WIDTH, HEADS = 12, 3


@pytest.fixture(autouse=True)
def in_double():
    torch.manual_seed(5)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_tensors_of_every_type_and_stride_arrive_to_the_bit(client, dtype):
    wide = torch.randn(5, 8).to(getattr(torch, dtype))
    for tensor in (wide, wide.T, wide[:, ::2], wide[1:]):
        result = client.compute(tensor, window_left=0, window_right=0,
                                alignment="top_left")
        assert result.output.dtype == np.dtype(getattr(ml_dtypes, dtype, dtype))
        np.testing.assert_array_equal(
            result.output.astype(np.float64), tensor.double().numpy())


def test_masks_are_tensors_too():
    x = torch.randn(2, 4)
    mask = torch.tensor([[True, False], [True, True]])
    assert attention_request(x, attend_mask=mask) == attention_request(
        x.numpy(), attend_mask=mask.numpy())


def test_a_tensor_that_requires_a_gradient_is_refused():
    x = torch.randn(2, 4, requires_grad=True)
    with pytest.raises(TypeError, match=r"^query requires a gradient.*detach\(\)"):
        attention_request(x)
    attention_request(x.detach())


def test_integers_are_refused():
    with pytest.raises(TypeError, match="^query has dtype int64"):
        attention_request(torch.ones(2, 2, dtype=torch.int64))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("widths", [{}, {"kdim": 5, "vdim": 7}],
                         ids=["packed", "separate"])
def test_a_multihead_attention_computes_the_same(client, name, widths, bias):
    module = torch.nn.MultiheadAttention(
        WIDTH, HEADS, bias=bias, batch_first=True, **widths).eval()
    for parameter in module.parameters():  # its biases are zero at first
        torch.nn.init.normal_(parameter)
    query = torch.randn(2, 4, WIDTH)
    key = torch.randn(2, 6, widths.get("kdim", WIDTH))
    value = torch.randn(2, 6, widths.get("vdim", WIDTH))
    with torch.no_grad():
        expected, weights = module(query, key, value, average_attn_weights=False)

    client.set_weights(name, WeightSet.from_multihead_attention(module))
    result = client.compute(query, key, value, weight_set=name,
                            attention_matrix="attention_weights")
    np.testing.assert_allclose(result.output, expected, atol=TOLERANCE)
    np.testing.assert_allclose(result.attention_matrix, weights, atol=TOLERANCE)


def test_a_module_whose_keys_are_added_is_refused():
    for option in ("add_bias_kv", "add_zero_attn"):
        module = torch.nn.MultiheadAttention(WIDTH, HEADS, **{option: True})
        with pytest.raises(ValueError, match=f"^module has {option}"):
            WeightSet.from_multihead_attention(module)


@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers_compute_the_same(client, name, bias):
    query, key, value, output = (
        torch.nn.Linear(WIDTH, width, bias=bias)
        for width in (WIDTH, WIDTH // 3, WIDTH // 3, WIDTH))
    x = torch.randn(5, WIDTH)
    with torch.no_grad():
        q = query(x).reshape(5, 3, 4)  # three heads on one key/value head
        scores = torch.einsum("ihd,jd->hij", q, key(x)) / 2
        scores += torch.full((5, 5), -torch.inf).triu(1)
        heads = torch.softmax(scores, -1) @ value(x)
        expected = output(heads.swapaxes(0, 1).reshape(5, WIDTH))

    weights = WeightSet.from_linear(
        query, key, value, output, num_heads=3, num_kv_heads=1)
    client.set_weights(name, weights)
    result = client.compute(x, weight_set=name, causal=True)
    np.testing.assert_allclose(result.output, expected, atol=TOLERANCE)


def test_parameters_of_bfloat16_come_back_to_the_bit(client, name):
    layer = torch.nn.Linear(4, 4).to(torch.bfloat16)
    client.set_weights(
        name, WeightSet.from_linear(layer, layer, layer, num_heads=1))
    stored = client.get_weights(name).weights.query
    assert stored.weight.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(
        stored.weight.astype(np.float64), layer.weight.detach().double())


def test_a_layer_that_is_no_linear_is_refused():

    class Conv1D(torch.nn.Module):  # GPT-2's: [in, out]

        def __init__(self, **features):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(4, 12))
            self.bias = None
            vars(self).update(features)

    layer = torch.nn.Linear(4, 4)
    for other in (Conv1D(), Conv1D(in_features=4, out_features=12)):
        with pytest.raises(TypeError, match="^key is Conv1D; expected a layer of t"):
            WeightSet.from_linear(layer, other, layer, num_heads=1)
