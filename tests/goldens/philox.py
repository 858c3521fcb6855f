"""The random numbers of dropout: Philox4x32-10.

Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011.
"""

from __future__ import annotations

import numpy as np

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox4x32_10(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """The four 32-bit outputs for each counter, along the last axis.

    counter is [..., 4], 32-bit words in an array of any integer type.
    """
    word0, word1, word2, word3 = np.moveaxis(counter.astype(np.uint64), -1, 0)
    key0, key1 = key
    for _ in range(10):
        product0, product1 = word0 * _MULTIPLIERS[0], word2 * _MULTIPLIERS[1]
        word0, word1, word2, word3 = (
            (product1 >> _HALF) ^ word1 ^ np.uint64(key0),
            product1 & _LOW,
            (product0 >> _HALF) ^ word3 ^ np.uint64(key1),
            product0 & _LOW,
        )
        key0 = (key0 + _KEY_STEPS[0]) & 0xFFFFFFFF
        key1 = (key1 + _KEY_STEPS[1]) & 0xFFFFFFFF
    return np.stack([word0, word1, word2, word3], axis=-1)


def kept_by_dropout(
    shape: tuple[int, int, int, int], probability: float, seed: int
) -> np.ndarray:
    """Which attention weights [batch, head, query row, key] dropout leaves.

    Batch item b has the key seed + b. Key index j of query row i and head h is
    decided by output j % 4 of the counter (j / 4, i, h, 0): dropped when it is
    below probability * 2^32.
    """
    batch, heads, query_len, kv_len = shape
    blocks = (kv_len + 3) // 4
    head, row, block = np.meshgrid(
        np.arange(heads), np.arange(query_len), np.arange(blocks), indexing="ij"
    )
    counter = np.stack([block, row, head, np.zeros_like(head)], axis=-1)
    kept = np.empty(shape, dtype=bool)
    for item in range(batch):
        key = (seed + item) % 2**64
        random = philox4x32_10(counter, (key & 0xFFFFFFFF, key >> 32))
        random = random.reshape(heads, query_len, 4 * blocks)[..., :kv_len]
        kept[item] = ~(random.astype(np.float64) < probability * 4294967296.0)
    return kept


def check_known_answers() -> None:
    """The known answers of Random123's kat_vectors for philox4x32 10."""
    pi = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    for counter, key, answer in (
        ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xFFFFFFFF,) * 4,
            (0xFFFFFFFF,) * 2,
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            pi,
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ):
        found = tuple(int(word) for word in philox4x32_10(np.array(counter), key))
        if found != answer:
            raise AssertionError(f"philox4x32-10 of {counter}: {found}, not {answer}")
