"""The chapter's own computations, the way the chapter makes them.

chapter_NAME is the case NAME of client/chapter.json, "-" for "_".

"Coding attention mechanisms": six tokens of three numbers, weights from
torch.manual_seed and the modules' own initialisation, attention written out in
small modules. What they return must be what the chapter prints.
"""

from __future__ import annotations

import torch
from torch import nn

from cases import Golden, Random, golden, to_numpy
from contract import Case, Projection, Weights
from philox import kept_by_dropout

INPUTS = torch.tensor(
    [
        [0.43, 0.15, 0.89],  # Your
        [0.55, 0.87, 0.66],  # journey
        [0.57, 0.85, 0.64],  # starts
        [0.22, 0.58, 0.33],  # with
        [0.77, 0.25, 0.10],  # one
        [0.05, 0.80, 0.55],  # step
    ]
)
BATCH = torch.stack([INPUTS, INPUTS])
OTHER_INPUTS = torch.tensor(
    [
        [0.77, 0.25, 0.10],  # One
        [0.31, 0.42, 0.18],  # small
        [0.05, 0.80, 0.55],  # step
    ]
)


class AttentionWithMatrices(nn.Module):
    """Self-attention with trainable matrices applied as x * W."""

    def __init__(self, width_in: int, width_out: int):
        super().__init__()
        self.query = nn.Parameter(torch.rand(width_in, width_out))
        self.key = nn.Parameter(torch.rand(width_in, width_out))
        self.value = nn.Parameter(torch.rand(width_in, width_out))

    def forward(self, inputs, others=None):
        """Scores, weights and context of inputs that attend to others."""
        others = inputs if others is None else others
        scores = (inputs @ self.query) @ (others @ self.key).T
        weights = torch.softmax(scores / self.key.shape[-1] ** 0.5, dim=-1)
        return scores, weights, weights @ (others @ self.value)


class AttentionWithLinear(nn.Module):
    """The same with nn.Linear, whose matrix lies the other way round; causal
    if asked to be: the scores of later tokens are set to -inf."""

    def __init__(self, width_in: int, width_out: int):
        super().__init__()
        self.query = nn.Linear(width_in, width_out, bias=False)
        self.key = nn.Linear(width_in, width_out, bias=False)
        self.value = nn.Linear(width_in, width_out, bias=False)

    def forward(self, inputs, causal: bool, dropout=lambda weights: weights):
        query, key, value = (f(inputs) for f in (self.query, self.key, self.value))
        scores = query @ key.transpose(-2, -1)
        if causal:
            length = inputs.shape[-2]
            later = torch.triu(torch.ones(length, length), diagonal=1).bool()
            scores = scores.masked_fill(later, -torch.inf)
        weights = dropout(torch.softmax(scores / key.shape[-1] ** 0.5, dim=-1))
        return weights, weights @ value


class MultiHeadAttention(nn.Module):
    """Causal, heads side by side in one matrix, and an output projection."""

    def __init__(self, width_in: int, width_out: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width_in, width_out, bias=False)
        self.key = nn.Linear(width_in, width_out, bias=False)
        self.value = nn.Linear(width_in, width_out, bias=False)
        self.output = nn.Linear(width_out, width_out)

    def forward(self, inputs):
        batch, length, _ = inputs.shape
        query, key, value = (
            f(inputs).view(batch, length, self.num_heads, -1).transpose(1, 2)
            for f in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(2, 3)
        later = torch.triu(torch.ones(length, length), diagonal=1).bool()
        scores = scores.masked_fill(later, -torch.inf)
        weights = torch.softmax(scores / key.shape[-1] ** 0.5, dim=-1)
        context = (weights @ value).transpose(1, 2).reshape(batch, length, -1)
        return weights, self.output(context)


def _linear(module: nn.Linear) -> Projection:
    bias = None if module.bias is None else to_numpy(module.bias)
    return Projection(to_numpy(module.weight), bias)


def _weights(module: nn.Module, num_heads: int = 1) -> Weights:
    if isinstance(module, AttentionWithMatrices):
        matrices = (module.query, module.key, module.value)
        return Weights(1, "IN_OUT", *(Projection(to_numpy(m)) for m in matrices))
    output = getattr(module, "output", None)
    return Weights(
        num_heads,
        "OUT_IN",
        _linear(module.query),
        _linear(module.key),
        _linear(module.value),
        None if output is None else _linear(output),
    )


def _self_attention(inputs: torch.Tensor, **more) -> Case:
    """A case over [batch, len, width] inputs."""
    array = to_numpy(inputs.unsqueeze(1))
    return Case(array, array, array, **more)


def _in_four_axes(**results: torch.Tensor) -> dict[str, torch.Tensor]:
    """Axes of size 1 put in front, until there are four."""
    return {
        name: tensor.detach().reshape((1,) * (4 - tensor.dim()) + tuple(tensor.shape))
        for name, tensor in results.items()
    }


@golden("the chapter: inputs @ inputs.T, torch.softmax")
def chapter_without_weights(_: Random) -> Golden:
    def results(dtype):
        inputs = INPUTS.to(dtype)
        weights = torch.softmax(inputs @ inputs.T, dim=-1)
        return _in_four_axes(attention_weights=weights, output=weights @ inputs)

    options = {"softmax_scale": 1.0}
    return Golden(_self_attention(INPUTS.unsqueeze(0), options=options), results)


@golden("the chapter: torch.manual_seed(123), three torch.rand(3, 2)")
def chapter_trainable_in_out(_: Random) -> Golden:
    torch.manual_seed(123)
    module = AttentionWithMatrices(3, 2)

    def results(dtype):
        _, weights, context = module.to(dtype)(INPUTS.to(dtype))
        return _in_four_axes(attention_weights=weights, output=context)

    case = _self_attention(INPUTS.unsqueeze(0), weights=_weights(module))
    return Golden(case, results)


@golden("the chapter: torch.manual_seed(123), three torch.rand(3, 2), before scaling")
def chapter_trainable_scores(_: Random) -> Golden:
    torch.manual_seed(123)
    module = AttentionWithMatrices(3, 2)

    def results(dtype):
        return _in_four_axes(scores=module.to(dtype)(INPUTS.to(dtype))[0])

    case = _self_attention(INPUTS.unsqueeze(0), weights=_weights(module))
    case.options = {"softmax_scale": 1.0}
    return Golden(case, results)


def _with_linear(seed: int, inputs: torch.Tensor, causal: bool) -> Golden:
    torch.manual_seed(seed)
    module = AttentionWithLinear(3, 2)

    def results(dtype):
        weights, context = module.to(dtype)(inputs.to(dtype), causal)
        return _in_four_axes(
            attention_weights=weights.unsqueeze(1), output=context.unsqueeze(1)
        )

    case = _self_attention(inputs, weights=_weights(module))
    if causal:
        case.options = {"causal": True}
    return Golden(case, results)


@golden("the chapter: torch.manual_seed(789), three nn.Linear(3, 2, bias=False)")
def chapter_trainable_out_in(_: Random) -> Golden:
    return _with_linear(789, INPUTS.unsqueeze(0), causal=False)


@golden("the chapter: the same, later tokens masked with -inf")
def chapter_causal(_: Random) -> Golden:
    return _with_linear(789, INPUTS.unsqueeze(0), causal=True)


@golden("the chapter: CausalAttention after torch.manual_seed(123)")
def chapter_causal_attention(_: Random) -> Golden:
    return _with_linear(123, BATCH, causal=True)


@golden("the chapter: MultiHeadAttention after torch.manual_seed(123)")
def chapter_multi_head(_: Random) -> Golden:
    torch.manual_seed(123)
    module = MultiHeadAttention(3, 2, num_heads=2)

    def results(dtype):
        weights, output = module.to(dtype)(INPUTS.unsqueeze(0).to(dtype))
        return {
            "attention_weights": weights.detach(),
            "output": output.unsqueeze(1).detach(),
        }

    case = _self_attention(INPUTS.unsqueeze(0), weights=_weights(module, num_heads=2))
    case.options = {"causal": True}
    return Golden(case, results)


@golden("the chapter's matrices, between two sentences")
def chapter_cross_attention(_: Random) -> Golden:
    torch.manual_seed(123)
    module = AttentionWithMatrices(3, 2)

    def results(dtype):
        module.to(dtype)
        _, weights, context = module(OTHER_INPUTS.to(dtype), INPUTS.to(dtype))
        return _in_four_axes(attention_weights=weights, output=context)

    query, others = (
        to_numpy(tensor.reshape(1, 1, -1, 3)) for tensor in (OTHER_INPUTS, INPUTS)
    )
    return Golden(Case(query, others, others, weights=_weights(module)), results)


@golden("the chapter's causal attention, dropout by Philox4x32-10")
def chapter_dropout(_: Random) -> Golden:
    torch.manual_seed(789)
    module = AttentionWithLinear(3, 2)
    probability, seed = 0.5, 123
    kept = torch.from_numpy(kept_by_dropout((1, 1, 6, 6), probability, seed))[0]

    def dropout(weights):
        return torch.where(kept, weights / (1 - probability), 0.0).to(weights.dtype)

    def results(dtype):
        inputs = INPUTS.unsqueeze(0).to(dtype)
        weights, context = module.to(dtype)(inputs, causal=True, dropout=dropout)
        return _in_four_axes(attention_weights=weights, output=context)

    case = _self_attention(INPUTS.unsqueeze(0), weights=_weights(module))
    case.options = {
        "causal": True,
        "dropout": {"probability": probability, "seed": seed},
    }
    return Golden(case, results)
