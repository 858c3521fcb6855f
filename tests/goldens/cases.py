"""What the files of cases share: drawing inputs, and a list of all cases."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Callable

import numpy as np
import torch

from contract import Case

Results = dict[str, torch.Tensor]


@dataclasses.dataclass
class Golden:
    """A case, and PyTorch's results for it in torch.float32 or torch.float64."""

    case: Case
    results: Callable[[torch.dtype], Results]
    name: str = ""
    computed_by: str = ""


class Random:
    """Inputs drawn from PyTorch's generator; float32, so that both types of
    computation start from the same numbers."""

    def __init__(self, name: str):
        # A seed of its own, so that a new case leaves the others as they are.
        self._generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self._generator)

    def coarse(self, *shape: int) -> torch.Tensor:
        """Multiples of 1/256, whose sums and differences are exact."""
        return torch.round(self.normal(*shape) * 256) / 256

    def mask(self, *shape: int) -> torch.Tensor:
        """True in two places of three, and in the first of every row."""
        mask = torch.rand(*shape, generator=self._generator) < 2 / 3
        mask[..., 0] = True
        return mask


GOLDENS: list[Callable[[], Golden]] = []


def golden(computed_by: str):
    """Registers a function that makes a Golden under the function's name."""

    def register(make: Callable[[Random], Golden]):
        def named() -> Golden:
            made = make(Random(make.__name__))
            made.name, made.computed_by = make.__name__, computed_by
            return made

        named.module = make.__module__
        GOLDENS.append(named)
        return make

    return register


def typed(tensor: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    return None if tensor is None else tensor.to(dtype)


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """A mask as bool, anything else as float64."""
    array = tensor.detach().numpy()
    return array if array.dtype == bool else array.astype(np.float64)
