"""Which version of a weight set is meant, and what is known about one."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import numpy as np

from attention_client import attention_pb2 as pb
from attention_client import tensors


@dataclass(frozen=True)
class WeightSetVersion:
    """One version, identified. Where a weight set is asked for, it stands for
    exactly this version."""

    name: str
    version: int  # counted from 1 within the name
    sha256: str  # of the canonical form, in lower-case hexadecimal

    @classmethod
    def from_message(cls, message: pb.WeightSetVersion) -> WeightSetVersion:
        return cls(message.name, message.version, message.sha256)


@dataclass(frozen=True)
class WeightSetSelector:
    """A weight set by name; its latest version unless `version` or `label` says
    another."""

    name: str
    version: int | None = None
    label: str | None = None


WeightSetLike = str | WeightSetSelector | WeightSetVersion


def selector_message(weight_set: WeightSetLike) -> pb.WeightSetSelector:
    """A name is its latest version."""
    if isinstance(weight_set, str):
        return pb.WeightSetSelector(name=weight_set)
    if isinstance(weight_set, WeightSetVersion):
        return pb.WeightSetSelector(
            name=weight_set.name, version=weight_set.version)
    if not isinstance(weight_set, WeightSetSelector):
        raise TypeError(
            f"weight_set is {type(weight_set).__name__}; expected a name, a "
            "WeightSetSelector or a WeightSetVersion")
    if weight_set.version is not None and weight_set.label is not None:
        raise ValueError(
            f"weight_set has version {weight_set.version} and label "
            f"{weight_set.label!r}; expected one of them")
    return pb.WeightSetSelector(
        name=weight_set.name, version=weight_set.version,
        label=weight_set.label)


@dataclass(frozen=True)
class WeightSetSummary:
    """Facts about one version, without its tensors."""

    version: WeightSetVersion
    create_time: datetime.datetime  # when it was appended, in UTC
    labels: tuple[str, ...]  # that point at it, sorted
    annotations: dict[str, str]
    num_heads: int
    num_kv_heads: int
    head_dim: int
    value_dim: int
    dtype: np.dtype[Any]
    tensor_bytes: int  # of all tensors together

    @classmethod
    def from_message(cls, message: pb.WeightSetSummary) -> WeightSetSummary:
        return cls(
            version=WeightSetVersion.from_message(message.version),
            create_time=message.create_time.ToDatetime(datetime.timezone.utc),
            labels=tuple(message.labels),
            annotations=dict(message.annotations),
            num_heads=message.num_heads,
            num_kv_heads=message.num_kv_heads,
            head_dim=message.head_dim,
            value_dim=message.value_dim,
            dtype=tensors.array_type(message.dtype),
            tensor_bytes=message.tensor_bytes,
        )
