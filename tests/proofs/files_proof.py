"""Proves that files of arrays survive, one line per claim (scripts/proofs).

Runs where the Python tests run: CONVERT_ARRAY has tests/convert_array. --quick
takes arrays of 64 MiB instead of 1 GiB for the claims about memory.
"""

import os
import pathlib
import sys
import tempfile

import numpy as np

import array_files

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[1:1] = [str(ROOT / "scripts"), str(ROOT / "tests/support")]
from proofs.program import main  # noqa: E402

CONVERT = os.environ["CONVERT_ARRAY"]
MIB = 1 << 20
# The program itself, its libraries, and blocks of 64 KiB.
BESIDE_THE_ARRAY = 32 * MIB


def peak_bytes(source, target):
    """Converts in a child of its own; the most memory it had."""
    child = os.fork()
    if child == 0:
        os.execv(CONVERT, [CONVERT, str(source), str(target), "float32"])
    _, status, usage = os.wait4(child, 0)
    if status != 0:
        sys.exit(f"attention: {source} cannot be converted")
    return usage.ru_maxrss * 1024


def prove_memory(claims, folder, size):
    for source, target, copies, why in (
        (".npy", ".safetensors", 1, "the array, once"),
        (".safetensors", ".npy", 1, "the array, once"),
        (".npz", ".npy", 1, "the array, once"),
        (".npy", ".npz", 2, "the array, and the archive"),
    ):
        origin, goal = folder / f"large{source}", folder / f"copy{target}"
        # No array of this process outlives that: what it has when it forks would
        # count as the child's.
        array_files.save(origin, x=np.ones((size // 4096, 1024), np.float32))
        peak = peak_bytes(origin, goal)
        claims.at_most(
            f"client.files.memory{source}{target}",
            f"most MiB of memory while {size // MIB} MiB go from {source} to "
            f"{target}: {why}, and {BESIDE_THE_ARRAY // MIB} MiB",
            peak / MIB, (copies * size + BESIDE_THE_ARRAY) / MIB)
        origin.unlink()
        goal.unlink()


def prove(claims, options):
    size = (64 if options.quick else 1024) * MIB
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        for id, what, trips in (
            ("client.files.bits", "every dtype, any bits, from npy, npz, "
             "compressed npz and safetensors into npy, npz and safetensors, as "
             "numpy reads and writes them: files of which every bit survives",
             array_files.differing_round_trips),
            ("client.files.text", "every dtype through JSON and CSV: files of "
             "which every number survives", array_files.differing_text_trips),
        ):
            count, differing = trips(CONVERT, folder)
            for trip in differing:
                print(f"  {trip}")
            claims.add(id, what, count - len(differing), count,
                       count > 0 and not differing)
        prove_memory(claims, folder, size)


if __name__ == "__main__":
    main(prove)
