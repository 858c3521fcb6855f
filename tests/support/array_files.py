"""Files of arrays as numpy reads and writes them; safetensors by hand, after its
description, since Debian has no library for it."""

import json
import pathlib
import struct
import subprocess

import numpy as np

# numpy has no bfloat16: two bytes without a meaning, as ml_dtypes saves it.
BFLOAT16 = np.dtype("V2")
DTYPES = {
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
    "float16": np.dtype(np.float16),
    "bfloat16": BFLOAT16,
    "bool": np.dtype(bool),
}
SAFETENSORS = {"F32": "float32", "F64": "float64", "F16": "float16",
               "BF16": "bfloat16", "BOOL": "bool"}
WORDS = {DTYPES[name]: word for word, name in SAFETENSORS.items()}
WORDS[np.dtype(np.int64)] = "I64"

# Endings of files of which every bit survives.
BINARY = (".npy", ".npz", ".compressed.npz", ".safetensors")


def random_bits(name, shape, seed=7):
    """Any bits at all: NaN with payloads, infinities, subnormals, -0."""
    dtype = DTYPES[name]
    random = np.random.default_rng(seed)
    count = int(np.prod(shape))
    if name == "bool":
        return random.integers(0, 2, count).astype(bool).reshape(shape)
    return np.frombuffer(
        random.bytes(count * dtype.itemsize), dtype).reshape(shape)


def write_safetensors(path, arrays, metadata=None):
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, array in arrays.items():
        bits = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": WORDS[array.dtype], "shape": array.shape,
                        "data_offsets": [len(data), len(data) + len(bits)]}
        data += bits
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read_safetensors(path):
    """Name -> array; the metadata is under None."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header, data = json.loads(content[8:8 + length]), content[8 + length:]
    arrays = {None: header.pop("__metadata__", {})}
    for name, entry in header.items():
        dtype = (np.dtype(np.int64) if entry["dtype"] == "I64"
                 else DTYPES[SAFETENSORS[entry["dtype"]]])
        begin, end = entry["data_offsets"]
        arrays[name] = np.frombuffer(
            data[begin:end], dtype).reshape(entry["shape"])
    return arrays


def save(path, **arrays):
    """Writes arrays in the format of the path's ending; .npy holds one."""
    if path.name.endswith(".npy"):
        (array,) = arrays.values()
        np.save(path, array)
    elif path.name.endswith(".compressed.npz"):
        np.savez_compressed(path, **arrays)
    elif path.name.endswith(".npz"):
        np.savez(path, **arrays)
    else:
        write_safetensors(path, arrays)


def load(path):
    """Name -> array; of .npy the name is x."""
    if path.name.endswith(".npy"):
        return {"x": np.load(path)}
    if path.name.endswith(".npz"):
        with np.load(path) as arrays:
            return dict(arrays)
    return read_safetensors(path)


def same_bits(left, right):
    return (left.dtype == right.dtype and left.shape == right.shape
            and left.tobytes() == right.tobytes())


def convert(program, source, target, text_type="float32", **arguments):
    """Reads and writes with the project's own code (tests/client/files/convert_array.cc)."""
    return subprocess.run(
        [program, source, target, text_type], check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **arguments)


def differing_round_trips(program, folder):
    """Every dtype from every format into every format: (trips, those of which a
    bit changed or that failed)."""
    folder = pathlib.Path(folder)
    trips, differing = 0, []
    for name in DTYPES:
        array = random_bits(name, (37, 3, 5))
        for source in BINARY:
            origin = folder / f"in{source}"
            save(origin, x=array)
            for target in (".npy", ".npz", ".safetensors"):
                trips += 1
                goal = folder / f"out{target}"
                done = convert(program, origin, goal)
                if done.returncode != 0 or not same_bits(
                        load(goal)["x"], array):
                    differing.append((name, source, target, done.stderr))
    return trips, differing


def differing_text_trips(program, folder):
    """Every dtype through JSON and CSV, written and read by the project, and by
    Python for what it can: (trips, those of which a bit changed)."""
    folder = pathlib.Path(folder)
    trips, differing = 0, []
    for name, dtype in DTYPES.items():
        # Text holds every number, but of a NaN only that it is one.
        array = random_bits(name, (61, 7)).copy()
        array.view(f"V{dtype.itemsize}")[is_nan(name, array)] = bytes(
            dtype.itemsize)
        save(folder / "in.npy", x=array)
        for ending in (".json", ".csv"):
            trips += 1
            text, back = folder / f"text{ending}", folder / "back.npy"
            there = convert(program, folder / "in.npy", text)
            again = convert(program, text, back, name)
            if again.returncode != 0 or not same_bits(np.load(back), array):
                differing.append((name, ending, there.stderr + again.stderr))
            elif name in ("float32", "float64") and not same_bits(
                    read_text(text).astype(dtype), array):
                differing.append((name, ending, "as Python reads it"))
    return trips, differing


def is_nan(name, array):
    if name == "bool":
        return np.zeros(array.shape, bool)
    if name == "bfloat16":
        bits = array.view(np.uint16).astype(np.uint32) << 16
        return np.isnan(bits.view(np.float32))
    return np.isnan(array)


def read_text(path):
    if path.suffix == ".csv":
        return np.loadtxt(path, delimiter=",", ndmin=2)
    # Numbers that are no numbers are words there.
    return np.array([[float(element) for element in row]
                     for row in json.loads(path.read_text())])
