"""Arrays and the tensors of the contract.

In: whatever is or becomes a NumPy array, with any strides and byte order, is
copied once, into the bytes of the message. Out: an array over the bytes of the
reply, read-only and without a copy.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from attention_client import attention_pb2 as pb

Array = npt.NDArray[Any]

_WIRE_TYPES: dict[np.dtype[Any], int] = {
    np.dtype(np.float32): pb.DATA_TYPE_FLOAT32,
    np.dtype(np.float64): pb.DATA_TYPE_FLOAT64,
    np.dtype(np.float16): pb.DATA_TYPE_FLOAT16,
    np.dtype(ml_dtypes.bfloat16): pb.DATA_TYPE_BFLOAT16,
    np.dtype(np.bool_): pb.DATA_TYPE_BOOL,
}
_ARRAY_TYPES = {wire: dtype for dtype, wire in _WIRE_TYPES.items()}

BOOL = (np.dtype(np.bool_),)
FLOATS = tuple(dtype for dtype in _WIRE_TYPES if dtype not in BOOL)


def as_array(
    source: Any, field: str, dtypes: Collection[np.dtype[Any]] = FLOATS
) -> Array:
    """`source` as a NumPy array; no copy if it is one or shares its memory.

    Takes NumPy arrays, PyTorch tensors of any device, whatever has `__array__`
    or `__dlpack__`, and nested sequences of Python's floats (float64) or bools.

    Raises:
        TypeError: naming `field`, if the element type is not one of `dtypes` in
            some byte order, or if something of `source` would be lost: the mask
            of a masked array, the gradient of a tensor that requires one.
        ValueError: naming `field`, if it is no array, such as a ragged list.
    """
    torch = sys.modules.get("torch")  # who passes a tensor has imported it
    if torch is not None and isinstance(source, torch.Tensor):
        array = _from_torch(source, field, torch)
    elif isinstance(source, np.ma.MaskedArray):
        raise TypeError(f"{field} is a masked array, whose mask the service does "
                        "not see; pass its data, and attend_mask")
    elif hasattr(source, "__dlpack__") and not hasattr(source, "__array__"):
        array = np.from_dlpack(source)
    else:
        try:
            array = np.asarray(source)
        except ValueError as error:
            raise ValueError(f"{field} does not become an array: {error}") from None
    if array.dtype.newbyteorder("=") not in dtypes:
        names = ", ".join(dtype.name for dtype in dtypes)
        raise TypeError(f"{field} has dtype {array.dtype.name}; expected {names}")
    return array


def _from_torch(tensor: Any, field: str, torch: Any) -> Array:
    if tensor.requires_grad:
        raise TypeError(f"{field} requires a gradient, and none comes back from "
                        f"the service; pass {field}.detach()")
    tensor = tensor.cpu()
    if tensor.dtype != torch.bfloat16:
        return np.asarray(tensor.numpy())
    # Neither NumPy nor DLPack for NumPy has this type: the same bits as integers.
    return np.asarray(tensor.view(torch.int16).numpy()).view(ml_dtypes.bfloat16)


def little_endian(array: Array) -> Array:
    """`array` with the byte order of the wire; itself if it has that."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def describe(tensor: pb.Tensor, array: Array) -> None:
    """Writes type and shape of `array` into a message, without its elements."""
    tensor.dtype = wire_type(array)  # type: ignore[assignment]
    tensor.shape.extend(array.shape)


def fill(
    tensor: pb.Tensor,
    source: Any,
    field: str,
    dtypes: Collection[np.dtype[Any]] = FLOATS,
) -> None:
    """Writes `source` into an empty message. Raises as as_array does."""
    array = as_array(source, field, dtypes)
    describe(tensor, array)
    tensor.data = little_endian(array).tobytes()  # row-major from any strides


def to_array(tensor: pb.Tensor) -> Array:
    """The elements of a tensor that a server sent; read-only."""
    dtype = array_type(tensor.dtype)
    if tensor.values:
        array = np.array(tensor.values, dtype)
        array.flags.writeable = False
    else:
        array = np.frombuffer(tensor.data, dtype)
    return array.reshape(tensor.shape)


def array_type(wire_type: int) -> np.dtype[Any]:
    """NumPy's name for a DataType of the contract, little-endian."""
    return _ARRAY_TYPES[wire_type].newbyteorder("<")


def wire_type(array: Array) -> int:
    """The DataType of the contract for an array that as_array gave."""
    return _WIRE_TYPES[array.dtype.newbyteorder("=")]
