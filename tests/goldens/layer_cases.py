"""Attention layers: projections, attention, output projection, by PyTorch."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import nn

from attention_cases import by_hand
from cases import Golden, Random, golden, to_numpy, typed
from contract import Case, Projection, Weights

MODULE = "torch.nn.MultiheadAttention"
LINEAR = "torch.nn.functional.linear, torch.matmul, torch.softmax"


def _module(random: Random, embed_dim: int, num_heads: int, **options):
    """A MultiheadAttention with every parameter drawn; PyTorch starts its biases
    at zero, which would hide an error in them."""
    module = nn.MultiheadAttention(embed_dim, num_heads, batch_first=True, **options)
    for name, parameter in module.named_parameters():
        scale = 1.0 if "bias" in name else 0.25
        parameter.data = random.coarse(*parameter.shape) * scale
    return module.eval()


def _projections(module: nn.MultiheadAttention) -> Weights:
    """The module's parameters as a weight set."""
    if module.in_proj_weight is not None:
        weights = module.in_proj_weight.chunk(3)
    else:
        weights = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
    biases = (None,) * 3
    if module.in_proj_bias is not None:
        biases = tuple(map(to_numpy, module.in_proj_bias.chunk(3)))
    output_bias = module.out_proj.bias
    return Weights(
        module.num_heads,
        "OUT_IN",
        *(Projection(to_numpy(w), b) for w, b in zip(weights, biases)),
        Projection(
            to_numpy(module.out_proj.weight),
            None if output_bias is None else to_numpy(output_bias),
        ),
    )


def _run_module(module, query, key, value, **arguments):
    """Output and attention weights, per head and mean, in the golden's shapes."""

    def run(dtype):
        module.to(dtype)
        tensors = [typed(t, dtype) for t in (query, key, value)]
        extra = {
            name: typed(mask, dtype) if mask.is_floating_point() else mask
            for name, mask in arguments.items()
        }
        output, per_head = module(*tensors, average_attn_weights=False, **extra)
        _, mean = module(*tensors, average_attn_weights=True, **extra)
        return {
            "output": output.unsqueeze(1).detach(),
            "attention_weights": per_head.detach(),
            "attention_weights_mean": mean.unsqueeze(1).detach(),
        }

    return run


def _one_head(*tensors: torch.Tensor):
    """[batch, len, width] as the layer takes it, [batch, 1, len, width]."""
    return [to_numpy(tensor.unsqueeze(1)) for tensor in tensors]


@golden(MODULE)
def self_attention(random: Random) -> Golden:
    module, inputs = _module(random, 12, 3), random.normal(2, 5, 12)
    case = Case(*_one_head(inputs, inputs, inputs), weights=_projections(module))
    return Golden(case, _run_module(module, inputs, inputs, inputs))


@golden(MODULE)
def self_attention_without_bias(random: Random) -> Golden:
    module, inputs = _module(random, 8, 2, bias=False), random.normal(2, 5, 8)
    case = Case(*_one_head(inputs, inputs, inputs), weights=_projections(module))
    return Golden(case, _run_module(module, inputs, inputs, inputs))


@golden(MODULE)
def cross_attention_of_other_widths(random: Random) -> Golden:
    module = _module(random, 8, 2, kdim=5, vdim=7)
    tensors = random.normal(2, 3, 8), random.normal(2, 6, 5), random.normal(2, 6, 7)
    case = Case(*_one_head(*tensors), weights=_projections(module))
    return Golden(case, _run_module(module, *tensors))


@golden(MODULE)
def boolean_and_padding_masks(random: Random) -> Golden:
    """The module's masks say True where it must not attend, ours where it may."""
    module, inputs = _module(random, 8, 2), random.normal(3, 5, 8)
    mask = random.mask(5, 5)
    lengths = torch.tensor([5, 2, 4])
    case = Case(*_one_head(inputs, inputs, inputs), weights=_projections(module))
    case.attend_mask = to_numpy(mask.reshape(1, 1, 5, 5))
    case.options = {"key_lengths": lengths.tolist()}
    padding = torch.arange(5) >= lengths.reshape(3, 1)
    return Golden(
        case,
        _run_module(
            module, inputs, inputs, inputs, attn_mask=~mask, key_padding_mask=padding
        ),
    )


@golden(MODULE)
def additive_mask_per_head(random: Random) -> Golden:
    module, inputs = _module(random, 8, 2), random.normal(3, 4, 8)
    bias = random.normal(3, 2, 4, 4).masked_fill(~random.mask(3, 2, 4, 4), -torch.inf)
    case = Case(*_one_head(inputs, inputs, inputs), weights=_projections(module))
    case.bias = to_numpy(bias)
    return Golden(
        case,
        _run_module(module, inputs, inputs, inputs, attn_mask=bias.reshape(6, 4, 4)),
    )


@golden(MODULE)
def causal_layer(random: Random) -> Golden:
    module, inputs = _module(random, 8, 2), random.normal(2, 6, 8)
    case = Case(*_one_head(inputs, inputs, inputs), weights=_projections(module))
    case.options = {"causal": True}
    mask = nn.Transformer.generate_square_subsequent_mask(6)
    return Golden(case, _run_module(module, inputs, inputs, inputs, attn_mask=mask))


def _with_indicators(case: Case, module: nn.MultiheadAttention) -> None:
    """add_bias_kv and add_zero_attn in the contract's words.

    PyTorch appends rows to the projected key and value: bias_k and bias_v, then
    zeros. A row appended before the projection does the same if the inputs get
    a column more for each, which is 1 in that row and 0 elsewhere: the
    projection's weight for that column is then the wanted row minus the
    projection's bias, which is added to every row. The parameters are coarse
    enough for the difference to be exact.
    """
    batch, _, length, _ = case.key.shape
    width = module.embed_dim
    wanted = []
    if module.bias_k is not None:
        wanted.append((to_numpy(module.bias_k), to_numpy(module.bias_v)))
    if module.add_zero_attn:
        wanted.append((0.0, 0.0))
    indicators = np.zeros((batch, 1, length + len(wanted), len(wanted)))
    for which in range(len(wanted)):
        indicators[..., length + which, which] = 1
    for index, name in enumerate(("key", "value")):
        projection = getattr(case.weights, name)
        columns = [
            np.broadcast_to(rows[index], (1, 1, width)).reshape(width, 1)
            - (0 if projection.bias is None else projection.bias[:, None])
            for rows in wanted
        ]
        projection.weight = np.concatenate([projection.weight, *columns], axis=1)
        tensor = getattr(case, name)
        padded = np.pad(tensor, ((0, 0), (0, 0), (0, len(wanted)), (0, 0)))
        setattr(case, name, np.concatenate([padded, indicators], axis=-1))


@golden(MODULE)
def bias_kv_by_indicator_column(random: Random) -> Golden:
    module, inputs = _module(random, 8, 2, add_bias_kv=True), random.normal(2, 4, 8)
    case = Case(*_one_head(inputs, inputs, inputs), weights=_projections(module))
    _with_indicators(case, module)
    return Golden(case, _run_module(module, inputs, inputs, inputs))


@golden(MODULE)
def zero_attn_by_indicator_column(random: Random) -> Golden:
    module, inputs = _module(random, 8, 2, add_zero_attn=True), random.normal(2, 4, 8)
    case = Case(*_one_head(inputs, inputs, inputs), weights=_projections(module))
    _with_indicators(case, module)
    return Golden(case, _run_module(module, inputs, inputs, inputs))


@golden(MODULE)
def both_indicator_columns_with_a_mask(random: Random) -> Golden:
    module = _module(
        random, 8, 2, kdim=6, vdim=5, add_bias_kv=True, add_zero_attn=True
    )
    tensors = random.normal(2, 3, 8), random.normal(2, 4, 6), random.normal(2, 4, 5)
    mask = random.mask(3, 4)
    case = Case(*_one_head(*tensors), weights=_projections(module))
    _with_indicators(case, module)
    appended = torch.ones(3, 2, dtype=torch.bool)
    case.attend_mask = to_numpy(torch.cat([mask, appended], 1).reshape(1, 1, 3, 6))
    return Golden(case, _run_module(module, *tensors, attn_mask=~mask))


@dataclasses.dataclass
class Dims:
    """Widths of a weight set."""

    num_heads: int
    num_kv_heads: int
    head_dim: int
    value_dim: int
    query_width: int
    key_width: int
    value_width: int
    output_width: int


def _draw_layer(
    random: Random, layout: str, dims: Dims, with_biases: bool
) -> Weights:
    outs = {
        "query": dims.num_heads * dims.head_dim,
        "key": dims.num_kv_heads * dims.head_dim,
        "value": dims.num_kv_heads * dims.value_dim,
        "output": dims.output_width,
    }
    ins = {
        "query": dims.query_width,
        "key": dims.key_width,
        "value": dims.value_width,
        "output": dims.num_heads * dims.value_dim,
    }
    projections = {}
    for name, out in outs.items():
        shape = (ins[name], out) if layout == "IN_OUT" else (out, ins[name])
        projections[name] = Projection(
            to_numpy(random.normal(*shape) * 0.3),
            to_numpy(random.normal(out)) if with_biases else None,
        )
    return Weights(
        dims.num_heads,
        layout,
        num_kv_heads=dims.num_kv_heads,
        **projections,
    )


def _run_layer(weights: Weights, query, key, value, **attention):
    """The layer in PyTorch's operations, for what the module has no word for."""

    def project(rows, projection, dtype):
        matrix = torch.from_numpy(projection.weight).to(dtype)
        if weights.layout == "IN_OUT":
            matrix = matrix.T
        bias = projection.bias
        bias = None if bias is None else torch.from_numpy(bias).to(dtype)
        return nn.functional.linear(rows.to(dtype), matrix, bias)

    def run(dtype):
        heads = (weights.num_heads,) + (weights.num_kv_heads,) * 2
        split = [
            project(rows, projection, dtype).unflatten(-1, (count, -1)).transpose(1, 2)
            for rows, projection, count in zip(
                (query, key, value),
                (weights.query, weights.key, weights.value),
                heads,
            )
        ]
        results = by_hand(dtype, *split, **attention)
        joined = results["output"].transpose(1, 2).flatten(2)
        results["output"] = project(joined, weights.output, dtype).unsqueeze(1)
        return results

    return run


@golden(LINEAR)
def grouped_query_in_out(random: Random) -> Golden:
    dims = Dims(
        num_heads=4,
        num_kv_heads=2,
        head_dim=3,
        value_dim=5,
        query_width=7,
        key_width=6,
        value_width=4,
        output_width=9,
    )
    weights = _draw_layer(random, "IN_OUT", dims, with_biases=True)
    tensors = random.normal(2, 3, 7), random.normal(2, 5, 6), random.normal(2, 5, 4)
    case = Case(*_one_head(*tensors), weights=weights)
    return Golden(case, _run_layer(weights, *tensors))


@golden(LINEAR)
def multi_query_out_in_with_options(random: Random) -> Golden:
    dims = Dims(
        num_heads=3,
        num_kv_heads=1,
        head_dim=4,
        value_dim=2,
        query_width=6,
        key_width=6,
        value_width=6,
        output_width=6,
    )
    weights = _draw_layer(random, "OUT_IN", dims, with_biases=False)
    inputs, memory = random.normal(2, 3, 6), random.normal(2, 6, 6)
    case = Case(*_one_head(inputs, memory, memory), weights=weights)
    case.options = {
        "causal": True,
        "alignment": "BOTTOM_RIGHT",
        "key_lengths": [6, 4],
        "softmax_scale": 0.5,
        "softcap": 2.0,
    }
    lengths = torch.tensor([6, 4]).reshape(2, 1, 1, 1)
    key, row = torch.arange(6), torch.arange(3).reshape(1, 1, 3, 1) + lengths - 3
    options = {"mask": key <= row, "key_mask": key < lengths, "scale": 0.5, "cap": 2.0}
    return Golden(case, _run_layer(weights, inputs, memory, memory, **options))
