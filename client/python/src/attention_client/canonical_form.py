"""The SHA-256 by which a version is known: docs/canonical-form.md."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping

import numpy as np

from attention_client.tensors import Array, little_endian

_TAG = b"attention-weights-1\n"
# Every tensor that a weight set may have, in the order of the contract.
PATHS = tuple(f"{projection}.{part}"
              for projection in ("query", "key", "value", "output")
              for part in ("weight", "bias"))


def raw_bytes(array: Array) -> memoryview:
    """The elements, row-major and little-endian; a copy only if they are not."""
    contiguous = np.ascontiguousarray(little_endian(array))
    return contiguous.reshape(-1).view(np.uint8).data


def canonical_sha256(
    tensors: Mapping[str, Array],
    *,
    wire_type: int,
    layout: int,
    num_heads: int,
    num_kv_heads: int,
) -> str:
    """In lower-case hexadecimal. `tensors` are those there are, by path; the
    numbers are the contract's."""
    form = hashlib.sha256(_TAG)
    form.update(_integers(wire_type, layout, num_heads, num_kv_heads))
    for path in PATHS:
        if path not in tensors:
            form.update(_integers(0))
            continue
        array = tensors[path]
        form.update(_integers(array.ndim, *array.shape))
        form.update(raw_bytes(array))
    return form.hexdigest()


def _integers(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}q", *numbers)
