"""The chapter's examples, which the build puts beside this file."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf import json_format

from attention_client import attention_pb2 as pb
from attention_client.attention import AttentionResult
from attention_client.tensors import Array
from attention_client.weights import Initializer, WeightSet


@dataclass(frozen=True)
class WeightsToSet:
    """A weight set as an example wants it."""

    name: str
    weights: WeightSet | Initializer
    idempotency_key: str


@dataclass(frozen=True, eq=False)
class Expectation:
    """What the chapter prints of one tensor of the reply."""

    what: str
    path: str  # "output" or "attention_matrix"
    index: tuple[int, ...]  # the leading indices of that part of it
    values: Array
    tolerance: Array

    def found(self, result: AttentionResult) -> Array:
        """That part of a reply."""
        array: Array = getattr(result, self.path)[self.index]
        return array

    def holds(self, found: Array) -> bool:
        """Whether it has this shape and, to the digits given, these numbers."""
        return found.shape == self.values.shape and bool(
            np.all(np.abs(found - self.values) <= self.tolerance))


@dataclass(frozen=True)
class Example:
    """One step of the chapter."""

    title: str
    explanation: str
    set_weights: WeightsToSet | None
    # Another recipe for the same weights, to the bit.
    same_weights: WeightsToSet | None
    request: pb.ComputeAttentionRequest
    expectations: tuple[Expectation, ...]


def examples() -> Iterator[Example]:
    """All of them, in the order of the chapter."""
    text = importlib.resources.files("attention_client").joinpath(
        "chapter.json").read_text(encoding="utf-8")
    chapter = json.loads(text)
    for case in chapter["cases"]:
        yield Example(
            title=case["title"],
            explanation=case["explanation"],
            set_weights=_weights(case.get("set_weights")),
            same_weights=_weights(case.get("same_weights_from_seed")),
            request=json_format.ParseDict(
                case["request"], pb.ComputeAttentionRequest()),
            expectations=tuple(
                _expectation(expected, chapter["digits"])
                for expected in case["expect"]))


def _weights(case: dict[str, Any] | None) -> WeightsToSet | None:
    if case is None:
        return None
    request = json_format.ParseDict(case, pb.SetWeightsRequest())
    weights = (WeightSet.from_message(request.weights)
               if request.HasField("weights")
               else Initializer.from_message(request.initializer))
    return WeightsToSet(request.name, weights, request.idempotency_key)


def _expectation(expected: dict[str, Any], digits: int) -> Expectation:
    values = np.array(expected["values"])
    # The digits were rounded from an exact result, which a float32 computation
    # of this size (some ten operations per number) meets within 16 units of its
    # last place.
    rounding = 16 * np.finfo(np.float32).eps * np.maximum(1.0, np.abs(values))
    return Expectation(
        expected["what"], expected["path"], tuple(expected["index"]), values,
        0.5 * 10.0**-digits + rounding)
