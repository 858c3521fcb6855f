"""Weight sets as streams of chunks, for those larger than a message."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from attention_client import attention_pb2 as pb
from attention_client import tensors
from attention_client.canonical_form import raw_bytes
from attention_client.errors import DataLossError
from attention_client.tensors import Array
from attention_client.versions import WeightSetSummary
from attention_client.weights import WeightSet, message_tensors

CHUNK_BYTES = 2**20  # the most that the contract allows


@dataclass(frozen=True, eq=False)
class StoredWeightSet:
    """One version of a weight set with its tensors."""

    summary: WeightSetSummary
    weights: WeightSet


def upload_messages(
    header: pb.UploadWeightsRequest.Header, weights: WeightSet
) -> Iterator[pb.UploadWeightsRequest]:
    """What UploadWeights wants: header, chunks of each tensor, checksum."""
    yield pb.UploadWeightsRequest(header=header)
    for path, array in weights.tensors():
        data = raw_bytes(array)
        for offset in range(0, len(data), CHUNK_BYTES):
            piece = bytes(data[offset:offset + CHUNK_BYTES])
            yield pb.UploadWeightsRequest(
                chunk=pb.TensorChunk(tensor=path, offset=offset, data=piece))
    yield pb.UploadWeightsRequest(sha256=weights.sha256())


class WeightSetAssembler:
    """Puts together what GetWeights streams, in the memory of the result.

    Every method raises DataLossError if the stream is not what it should be.
    """

    def __init__(self) -> None:
        self._header: pb.GetWeightsResponse.Header | None = None
        self._arrays: dict[str, Array] = {}
        self._filled: dict[str, int] = {}
        self._sha256 = ""

    @property
    def nbytes(self) -> int:
        """Of all tensors together, once the header has come."""
        return sum(array.nbytes for array in self._arrays.values())

    def take(self, message: pb.GetWeightsResponse) -> None:
        """The next message."""
        part = message.WhichOneof("part")
        if self._sha256:
            raise DataLossError("a message came after the checksum")
        if part == "header":
            self._take_header(message.header)
        elif part == "chunk":
            self._take_chunk(message.chunk)
        elif part == "sha256":
            self._sha256 = message.sha256
        else:
            raise DataLossError("a message has no part that this client knows")

    def _take_header(self, header: pb.GetWeightsResponse.Header) -> None:
        if self._header is not None:
            raise DataLossError("a second header came")
        self._header = header
        for path, tensor in message_tensors(header.weights):
            self._arrays[path] = np.empty(
                tuple(tensor.shape), tensors.array_type(tensor.dtype))
            self._filled[path] = 0

    def _take_chunk(self, chunk: pb.TensorChunk) -> None:
        path = chunk.tensor
        if path not in self._arrays:
            raise DataLossError(
                f"a chunk of {path!r} came, which the header does not name")
        data = chunk.data
        filled, array = self._filled[path], self._arrays[path]
        if chunk.offset != filled:
            raise DataLossError(f"{path}: a chunk starts at byte {chunk.offset} "
                                f"but {filled} bytes have come")
        if filled + len(data) > array.nbytes:
            raise DataLossError(f"{path}: {filled + len(data)} bytes have come "
                                f"but its shape takes {array.nbytes}")
        raw_bytes(array)[filled:filled + len(data)] = data
        self._filled[path] += len(data)

    def finish(self) -> StoredWeightSet:
        """The weight set, whose SHA-256 is what the server stated."""
        if self._header is None or not self._sha256:
            raise DataLossError("the answer ended before its checksum")
        for path, array in self._arrays.items():
            if self._filled[path] != array.nbytes:
                raise DataLossError(f"{path}: {self._filled[path]} bytes have "
                                    f"come but its shape takes {array.nbytes}")
        weights = WeightSet.from_message(self._header.weights, self._arrays)
        summary = WeightSetSummary.from_message(self._header.summary)
        stated, computed = summary.version.sha256, weights.sha256()
        if not stated == self._sha256 == computed:
            raise DataLossError(
                f"SHA-256 is {stated} in the header, {self._sha256} at the end "
                f"and {computed} of the tensors that came")
        return StoredWeightSet(summary, weights)
