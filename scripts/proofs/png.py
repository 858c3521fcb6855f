"""Reads PNG files, with nothing of the project and no library for images."""

import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def pixels(data):
    """The pixels [height, width, 3] of an RGB file of 8 bits per channel.

    Every checksum is checked, and nothing may follow the end."""
    width, height, compressed = _chunks(data)
    rows = np.frombuffer(zlib.decompress(compressed), np.uint8).reshape(
        height, 1 + 3 * width)
    unfiltered = np.zeros((height, width, 3), np.uint8)
    above = np.zeros((width, 3), np.uint8)
    for y, row in enumerate(rows):
        above = unfiltered[y] = _unfilter(
            row[0], row[1:].reshape(width, 3), above)
    return unfiltered


def _chunks(data):
    if data[:8] != SIGNATURE:
        raise ValueError("not a PNG file")
    at, compressed, header = 8, b"", None
    while True:
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        checksum, = struct.unpack(">I", data[at + 8 + length:at + 12 + length])
        if zlib.crc32(kind + body) != checksum:
            raise ValueError(f"chunk {kind} has another checksum")
        at += 12 + length
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            compressed += body
        elif kind == b"IEND":
            break
    if at != len(data):
        raise ValueError("something follows the end")
    width, height, *form = header
    if form != [8, 2, 0, 0, 0]:  # 8 bits, RGB, not interlaced
        raise ValueError(f"form {form} is not read here")
    return width, height, compressed


def _unfilter(kind, row, above):
    if kind == 0:
        return row
    if kind == 1:
        return np.cumsum(row, axis=0, dtype=np.uint8)
    if kind == 2:
        return row + above
    raise ValueError(f"filter {kind} is not read here")
