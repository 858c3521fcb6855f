"""Makes the seeds of tests/fuzz/corpus again: small files of each format and
serialized messages, right ones and ones with a fault that a reader has to name.

    tests/fuzz/make_corpus.py

What a fuzzer found and a reader now withstands is added by hand beside them.
"""

import io
import json
import pathlib
import struct
import zipfile

import numpy as np

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"

NUMBERS = np.array([[1, -2.5, 0.1], [-0.0, 3e38, 6]])


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_of(header, data=b"", version=b"\x01\x00"):
    text = header.encode()
    length = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + version + length + text + data


def npy_files():
    good = npy(NUMBERS.astype(np.float32))
    yield "float32", good
    yield "float64", npy(NUMBERS)
    yield "float16", npy(np.array([1, -np.inf, np.nan], np.float16))
    yield "bool", npy(np.array([[True, False]]))
    yield "int64", npy(np.array([3, -1]))
    yield "big_endian", npy(NUMBERS.astype(">f8"))
    yield "fortran", npy(np.asfortranarray(NUMBERS.astype(np.float32)))
    yield "scalar", npy(np.float32(7))
    yield "empty", npy(np.zeros((0, 3), np.float32))
    yield "bfloat16", npy_of(
        "{'descr': '<V2', 'fortran_order': False, 'shape': (2,), }\n", b"\x80?\0@")
    yield "version_2", npy_of(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n",
        b"\0\0\x80?", b"\x02\x00")
    yield "cut_off", good[:-3]
    yield "longer", good + b"\0"
    yield "object", npy_of(
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", b"\x80\x04.")
    yield "records", npy_of("{'descr': [('a', '<f4')], 'fortran_order': False, "
                            "'shape': (1,), }\n", b"\0\0\0\0")
    yield "beyond_memory", npy_of(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, "
        "4294967296), }\n")
    yield "bool_of_two", npy(np.array([True])).replace(b"\n\x01", b"\n\x02")
    yield "key_twice", npy_of("{'descr': '<f4', 'descr': '<f4', 'shape': (), }\n")
    yield "version_9", b"\x93NUMPY\x09\x00" + good[8:]
    yield "long_header", b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 31)


def npz(save, **arrays):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def npz_files():
    one = {"x": NUMBERS.astype(np.float32)}
    two = one | {"mask": np.array([True, False])}
    stored = npz(np.savez, **two)
    deflated = npz(np.savez_compressed, **two)
    yield "stored", stored
    yield "deflated", deflated
    yield "one", npz(np.savez, **one)
    yield "cut_off", stored[:-40]
    data = npy(one["x"])
    yield "wrong_checksum", npz(np.savez, **one).replace(
        data[-8:], bytes(8))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "no array")
    yield "no_array", file.getvalue()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.npy", npy_of(
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2097152,), }\n",
            bytes(8 << 20)))
    yield "bomb", file.getvalue()
    yield "not_a_zip", b"PK\x03\x04 and so on"


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors_files():
    data = NUMBERS.astype(np.float32).tobytes()
    x = entry("F32", [2, 3], 0, 24)
    yield "float32", safetensors({"x": x}, data)
    yield "all_dtypes", safetensors(
        {"__metadata__": {"format": "pt"}, "a": entry("F64", [1], 0, 8),
         "b": entry("F16", [2], 8, 12), "c": entry("BF16", [1, 1], 12, 14),
         "d": entry("BOOL", [2], 14, 16), "e": entry("I64", [], 16, 24)},
        bytes(24))
    yield "empty", safetensors({})
    yield "empty_tensor", safetensors({"x": entry("F32", [0, 4], 0, 0)})
    yield "cut_off", safetensors({"x": x}, data[:-1])
    yield "overlap", safetensors({"x": x, "y": entry("F32", [2], 20, 28)},
                                 data + bytes(4))
    yield "gap", safetensors({"x": entry("F32", [5], 4, 24)}, data)
    yield "longer", safetensors({"x": x}, data + b"\0")
    yield "twice", safetensors(
        b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        b'"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(4))
    yield "beyond_memory", safetensors(
        {"x": entry("F32", [1 << 40, 1 << 40], 0, 24)}, data)
    yield "unknown_dtype", safetensors({"x": entry("F4", [48], 0, 24)}, data)
    yield "no_json", safetensors(b"{not json", data)
    yield "negative", safetensors({"x": entry("F32", [-2, -3], 0, 24)}, data)
    yield "long_header", struct.pack("<Q", 1 << 60) + b"{}"


def json_files():
    yield "matrix", b"[[1, 2.5], [-0, 1e-3]]\n"
    yield "words", b'[true, false, "NaN", "Infinity", "-Infinity"]'
    yield "empty", b"[[], []]"
    yield "deep", b"[" * 16 + b"1" + b"]" * 16
    yield "ragged", b"[[1, 2], [3]]"
    yield "too_deep", b"[" * 17 + b"1" + b"]" * 17
    yield "not_json", b"[[1, 2],\n [3, ]]"
    yield "object", b'[{"a": 1}]'
    yield "beyond_double", b"[1e999]"
    yield "beyond_float16", b"[70000]"


def csv_files():
    yield "matrix", b"1,2.5\r\n\n-0,1e-3\n"
    yield "words", b"true,false,inf\nnan,-inf,0"
    yield "ragged", b"1,2\n3\n"
    yield "letters", b"1,x\n"
    yield "empty", b"\n\n"
    yield "beyond_double", b"1e999\n"
    yield "beyond_float16", b"70000,1\n"


def field(number, body):
    """A field of a message: bytes are length-delimited, numbers varints."""
    if isinstance(body, int):
        return varint(number << 3) + varint(body)
    return varint(number << 3 | 2) + varint(len(body)) + body


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def wire_walk_messages():
    tensor = field(1, 1) + field(2, b"\2\3") + field(3, bytes(24))
    compute = (field(2, tensor) + field(5, 2) + field(11, b"\1") + b"\x79"
               + bytes(8))
    unknown = field(1000, 7) + varint(900 << 3 | 3) + varint(900 << 3 | 4)
    weights = field(1, 2) + field(4, field(1, tensor))
    annotation = field(1, b"key") + field(2, b"text")
    setting = (field(1, b"layer") + field(2, weights) + field(6, b"best")
               + field(7, annotation))
    yield "compute", compute
    yield "streamed", field(1, 5) + field(2, compute)
    yield "values", field(2, field(1, 1) + field(2, 2) + field(4, bytes(16)))
    yield "set", setting
    yield "upload", field(1, field(1, b"layer") + field(2, weights))
    yield "chunk", field(2, field(1, b"query.weight") + field(3, bytes(8)))
    yield "unknown", unknown + compute + field(2, unknown)
    yield "empty", b""
    yield "cut", compute[:-3]
    yield "wire_type", field(2, 1)
    yield "open_group", varint(900 << 3 | 3)
    yield "no_utf8", field(1, b"\xc3\x28")
    yield "labels", field(6, b"") * 65
    yield "shape", field(2, field(2, b"\1" * 9))
    yield "long_varint", b"\x28" + b"\x80" * 11


def main():
    for folder, files in (("npy", npy_files), ("npz", npz_files),
                          ("safetensors", safetensors_files),
                          ("json", json_files), ("csv", csv_files),
                          ("wire_walk", wire_walk_messages)):
        (CORPUS / folder).mkdir(parents=True, exist_ok=True)
        for name, content in files():
            (CORPUS / folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
