"""Weight sets: the projections of one attention layer, from where people have
them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from attention_client import attention_pb2 as pb
from attention_client import canonical_form, enums, tensors
from attention_client.tensors import Array

_PROJECTIONS = ("query", "key", "value", "output")


@dataclass(frozen=True, eq=False)
class Projection:
    """One trainable matrix, [in, out] or [out, in], with an optional bias [out].

    In a WeightSet both are NumPy arrays.
    """

    weight: Any
    bias: Any | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class WeightSet:
    """The projections of one attention layer; heads lie side by side along out.

    Takes whatever `Client.compute` takes as a tensor; parameters of PyTorch may
    require a gradient. All tensors have one float dtype.

    Raises:
        TypeError, ValueError: naming the tensor or the argument.
    """

    query: Projection  # out = num_heads * head_dim
    key: Projection  # out = num_kv_heads * head_dim
    value: Projection  # out = num_kv_heads * value_dim
    output: Projection | None = None  # in = num_heads * value_dim
    num_heads: int
    num_kv_heads: int | None = None  # None becomes num_heads
    # "in_out": x @ weight, the chapter's; "out_in": x @ weight.T, of
    # torch.nn.Linear.
    layout: enums.Layout

    def __post_init__(self) -> None:
        enums.LAYOUT.number(self.layout, "layout")
        for name in _PROJECTIONS:
            projection = getattr(self, name)
            if projection is None and name == "output":
                continue
            if not isinstance(projection, Projection):
                raise TypeError(f"{name} is {type(projection).__name__}; "
                                "expected a Projection")
            object.__setattr__(self, name, _as_arrays(projection, name))
        if self.num_kv_heads is None:
            object.__setattr__(self, "num_kv_heads", self.num_heads)
        for path, array in self.tensors():
            if array.dtype != self.dtype:
                raise ValueError(
                    f"{path} has dtype {array.dtype} but query.weight has "
                    f"{self.dtype}; a weight set has one dtype")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type of every tensor."""
        dtype: np.dtype[Any] = self.query.weight.dtype
        return dtype

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors together."""
        return sum(array.nbytes for _, array in self.tensors())

    def tensors(self) -> Iterator[tuple[str, Array]]:
        """(path, array) of each tensor, such as "query.weight", in the order of
        the contract."""
        for name in _PROJECTIONS:
            projection = getattr(self, name)
            if projection is not None:
                yield f"{name}.weight", projection.weight
                if projection.bias is not None:
                    yield f"{name}.bias", projection.bias

    def sha256(self) -> str:
        """By which the server knows a version with these weights."""
        return canonical_form.canonical_sha256(
            dict(self.tensors()),
            wire_type=tensors.wire_type(self.query.weight),
            layout=enums.LAYOUT.number(self.layout, "layout"),
            num_heads=self.num_heads,
            num_kv_heads=self.num_kv_heads or self.num_heads,
        )

    @classmethod
    def from_dict(
        cls,
        arrays: Mapping[str, Any],
        *,
        num_heads: int,
        layout: enums.Layout,
        num_kv_heads: int | None = None,
    ) -> WeightSet:
        """From {"query.weight": ..., "query.bias": ..., ...}, or nested as
        {"query": {"weight": ..., "bias": ...}}, or {"query": ...} for a weight
        without bias.

        Every entry is used; another name is a ValueError.
        """
        flat: dict[str, Any] = {}
        for name, entry in arrays.items():
            if isinstance(entry, Mapping):
                flat |= {f"{name}.{part}": array for part, array in entry.items()}
            else:
                flat[f"{name}.weight" if name in _PROJECTIONS else name] = entry
        for path in flat:
            if path not in canonical_form.PATHS:
                raise ValueError(
                    f"{path!r} is no tensor of a weight set; expected one of "
                    f"{', '.join(canonical_form.PATHS)}")
        projections: dict[str, Projection] = {}
        for name in _PROJECTIONS:
            weight, bias = flat.get(f"{name}.weight"), flat.get(f"{name}.bias")
            if weight is not None:
                projections[name] = Projection(weight, bias)
            elif bias is not None or name != "output":
                raise ValueError(f"{name}.weight is missing")
        return cls(**projections, num_heads=num_heads, layout=layout,
                   num_kv_heads=num_kv_heads)

    @classmethod
    def from_safetensors(
        cls,
        path: str | os.PathLike[str],
        *,
        names: Mapping[str, str] | None = None,
        num_heads: int | None = None,
        layout: enums.Layout | None = None,
        num_kv_heads: int | None = None,
    ) -> WeightSet:
        """From a file of which only the tensors that are needed are read.

        `names` says what they are called there, such as {"query.weight":
        "encoder.layer.0.attention.self.query.weight", ...}; without it they are
        called as in a weight set. num_heads, num_kv_heads and layout are what
        `to_safetensors`, or `attention weights export`, wrote, unless given.
        """
        try:
            opened = safetensors.safe_open(path, framework="numpy")
        except safetensors.SafetensorError as error:
            raise ValueError(
                f"{os.fspath(path)} is no file of safetensors: {error}") from None
        with opened as file:
            found = set(file.keys())
            if names is None:
                names = {name: name for name in canonical_form.PATHS
                         if name in found}
            for wanted in names.values():
                if wanted not in found:
                    raise ValueError(
                        f"{os.fspath(path)} has no tensor {wanted!r}; it has "
                        f"{', '.join(sorted(found)) or 'none'}")
            arrays = {name: file.get_tensor(wanted)
                      for name, wanted in names.items()}
            written = file.metadata() or {}
        stated_heads = num_heads or int(written.get("num_heads", 0))
        stated_layout: Any = layout or written.get("layout", "").replace("-", "_")
        if not stated_heads or not stated_layout:
            missing = "layout" if stated_heads else "num_heads"
            raise ValueError(
                f"{os.fspath(path)} does not say what {missing} is; give it")
        if num_kv_heads is None and num_heads is None:
            num_kv_heads = int(written.get("num_kv_heads", stated_heads))
        return cls.from_dict(arrays, num_heads=stated_heads,
                             layout=stated_layout, num_kv_heads=num_kv_heads)

    def to_safetensors(self, path: str | os.PathLike[str]) -> None:
        """Writes a file that `from_safetensors`, and `attention weights import`,
        read without further words."""
        safetensors.numpy.save_file(
            {name: np.ascontiguousarray(tensors.little_endian(array))
             for name, array in self.tensors()},
            path,
            metadata={
                "format": "pt",  # without it transformers refuses a file
                "num_heads": str(self.num_heads),
                "num_kv_heads": str(self.num_kv_heads or self.num_heads),
                "layout": self.layout.replace("_", "-"),  # the command line's word
            })

    @classmethod
    def from_linear(
        cls,
        query: Any,
        key: Any,
        value: Any,
        output: Any | None = None,
        *,
        num_heads: int,
        num_kv_heads: int | None = None,
    ) -> WeightSet:
        """From layers of torch.nn.Linear, with or without bias."""
        layers = {"query": query, "key": key, "value": value, "output": output}
        return cls(
            **{name: _linear(layer, name)
               for name, layer in layers.items() if layer is not None},
            num_heads=num_heads, num_kv_heads=num_kv_heads, layout="out_in")

    @classmethod
    def from_multihead_attention(cls, module: Any) -> WeightSet:
        """From a torch.nn.MultiheadAttention, packed or with kdim and vdim.

        Its batch_first does not matter: the service takes [batch, len, width].
        Its dropout is not part of the weights: see Dropout. A module with
        add_bias_kv or add_zero_attn is a ValueError, since those are keys of
        their own and no projections.
        """
        if module.bias_k is not None or module.add_zero_attn:
            option = "add_bias_kv" if module.bias_k is not None else "add_zero_attn"
            raise ValueError(
                f"module has {option}, which adds a key to every sequence and is "
                "no part of a weight set; append it to key and value")
        if module.in_proj_weight is not None:
            weights = module.in_proj_weight.chunk(3)
        else:
            weights = (module.q_proj_weight, module.k_proj_weight,
                       module.v_proj_weight)
        biases = ((None, None, None) if module.in_proj_bias is None
                  else module.in_proj_bias.chunk(3))
        query, key, value = map(Projection, weights, biases)
        return cls(
            query=query, key=key, value=value,
            output=Projection(module.out_proj.weight, module.out_proj.bias),
            num_heads=module.num_heads, layout="out_in")

    def to_message(self, *, elements: bool = True) -> pb.WeightSet:
        """As the contract has it; without `elements`, dtypes and shapes only."""
        message = pb.WeightSet(
            num_heads=self.num_heads, num_kv_heads=self.num_kv_heads,
            layout=enums.LAYOUT.number(self.layout, "layout"))
        for path, array in self.tensors():
            projection, part = path.split(".")
            tensor = getattr(getattr(message, projection), part)
            if elements:
                tensors.fill(tensor, array, path)
            else:
                tensors.describe(tensor, array)
        return message

    @classmethod
    def from_message(
        cls, message: pb.WeightSet, arrays: Mapping[str, Array] | None = None
    ) -> WeightSet:
        """The tensors are in the message, or in `arrays` by path."""
        if arrays is None:
            arrays = {path: tensors.to_array(tensor)
                      for path, tensor in message_tensors(message)}
        return cls.from_dict(
            arrays, num_heads=message.num_heads,
            num_kv_heads=(message.num_kv_heads
                          if message.HasField("num_kv_heads") else None),
            layout=enums.LAYOUT.word(message.layout))


@dataclass(frozen=True, kw_only=True)
class Initializer:
    """Weights that the server draws from a seed, as PyTorch would.

    "uniform" is torch.rand, "linear" torch.nn.Linear, "xavier_uniform"
    torch.nn.init.xavier_uniform_, each after torch.manual_seed(seed). What is
    None is as the contract says.
    """

    distribution: enums.Distribution
    seed: int
    layout: enums.Layout
    num_heads: int
    num_kv_heads: int | None = None  # num_heads
    query_width: int
    key_width: int | None = None  # query_width
    value_width: int | None = None  # key_width's
    head_dim: int
    value_dim: int | None = None  # head_dim
    output_width: int | None = None  # no output projection
    input_bias: bool = False
    output_bias: bool = False

    def to_message(self) -> pb.Initializer:
        """As the contract has it."""
        words = replace(self).__dict__
        words["distribution"] = enums.DISTRIBUTION.number(
            self.distribution, "distribution")
        words["layout"] = enums.LAYOUT.number(self.layout, "layout")
        return pb.Initializer(**words)

    @classmethod
    def from_message(cls, message: pb.Initializer) -> Initializer:
        """What the message leaves unset is None."""
        words = {field.name: value for field, value in message.ListFields()}
        words.setdefault("seed", 0)
        words["distribution"] = enums.DISTRIBUTION.word(message.distribution)
        words["layout"] = enums.LAYOUT.word(message.layout)
        return cls(**words)


def message_tensors(message: pb.WeightSet) -> Iterator[tuple[str, pb.Tensor]]:
    """(path, tensor) of each tensor there is, in the order of the contract."""
    for name in _PROJECTIONS:
        if message.HasField(name):
            projection = getattr(message, name)
            yield f"{name}.weight", projection.weight
            if projection.HasField("bias"):
                yield f"{name}.bias", projection.bias


def _as_arrays(projection: Projection, name: str) -> Projection:
    def array(source: Any, part: str) -> Array:
        if getattr(source, "requires_grad", False):
            source = source.detach()  # a parameter, of which the numbers are meant
        found = tensors.as_array(source, f"{name}.{part}")
        return found.astype(found.dtype.newbyteorder("="), copy=False)

    return Projection(
        array(projection.weight, "weight"),
        None if projection.bias is None else array(projection.bias, "bias"))


def _linear(layer: Any, name: str) -> Projection:
    """A layer that says it is [out, in]; others, such as GPT-2's Conv1D, may
    not be."""
    shape = (getattr(layer, "out_features", None),
             getattr(layer, "in_features", None))
    if None in shape or tuple(layer.weight.shape) != shape:
        raise TypeError(f"{name} is {type(layer).__name__}; expected a layer of "
                        "torch.nn.Linear, whose weight is [out, in]")
    return Projection(layer.weight, layer.bias)
