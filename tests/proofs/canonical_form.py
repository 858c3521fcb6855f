"""The SHA-256 of a weight set, computed here (docs/canonical-form.md) and not by
the server."""

import hashlib
import struct

PATHS = tuple(f"{owner}.{part}" for owner in ("query", "key", "value", "output")
              for part in ("weight", "bias"))


def integer(number):
    return struct.pack("<q", number)


def canonical_sha256(weights, data):
    """The SHA-256 of a set whose tensors' bytes are in `data` by path."""
    digest = hashlib.sha256(b"attention-weights-1\n")
    for number in (weights.query.weight.dtype, weights.layout,
                   weights.num_heads,
                   weights.num_kv_heads or weights.num_heads):
        digest.update(integer(number))
    for path in PATHS:
        owner, part = path.split(".")
        projection = getattr(weights, owner)
        if not (weights.HasField(owner) and projection.HasField(part)):
            digest.update(integer(0))
            continue
        shape = getattr(projection, part).shape
        digest.update(integer(len(shape)))
        for axis in shape:
            digest.update(integer(axis))
        digest.update(data[path])
    return digest.hexdigest()
