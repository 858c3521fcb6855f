#!/usr/bin/python3
"""Makes the golden files from PyTorch, or checks the ones there are.

Run by Debian's python3 with python3-torch and python3-numpy; README.md says
what is in the files, and where the tolerances come from.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.dont_write_bytecode = True

import attention_cases  # noqa: E402
import cases  # noqa: E402
import chapter_cases  # noqa: E402
import chapter_json  # noqa: E402
import contract  # noqa: E402
import error_bound  # noqa: E402
import layer_cases  # noqa: E402
import philox  # noqa: E402

HERE = pathlib.Path(__file__).parent
CHAPTER_JSON = HERE.parent.parent / "client" / "chapter.json"
FILES = {
    "attention.json": attention_cases,
    "layer.json": layer_cases,
    "chapter.json": chapter_cases,
}


def number(value: float, as_float32: bool) -> float | str:
    """What JSON shows for a number: -inf as a word, and a float32 by the
    shortest decimal that reads back as it."""
    if value == -np.inf:
        return "-Infinity"
    if not as_float32:
        return float(value)
    shortest = float(str(np.float32(value)))
    if np.float32(value) != value or np.float32(shortest) != np.float32(value):
        raise AssertionError(f"{value!r} is not a float32 that JSON can carry")
    return int(shortest) if shortest.is_integer() else shortest


def tensor(array: np.ndarray, as_float32: bool = False) -> dict:
    flat = array.reshape(-1)
    if array.dtype == bool:
        values = [int(element) for element in flat]
    else:
        values = [number(element, as_float32) for element in flat.tolist()]
    return {"shape": list(array.shape), "values": values}


def describe_weights(weights: contract.Weights) -> dict:
    described = {"num_heads": weights.num_heads}
    described["num_kv_heads"] = weights.num_kv_heads or weights.num_heads
    described["layout"] = weights.layout
    for name in ("query", "key", "value", "output"):
        projection = getattr(weights, name)
        if projection is None:
            continue
        described[name] = {"weight": tensor(projection.weight, as_float32=True)}
        if projection.bias is not None:
            described[name]["bias"] = tensor(projection.bias, as_float32=True)
    return described


def four_axes(array: np.ndarray) -> np.ndarray:
    return array.reshape((1,) * (4 - array.ndim) + array.shape)


def describe(golden: cases.Golden) -> dict:
    """One entry of a golden file; raises if PyTorch and the contract differ."""
    case = golden.case
    entry: dict = {"name": golden.name, "computed_by": golden.computed_by}
    entry["options"] = case.options
    for name in ("query", "key", "value"):
        entry[name] = tensor(getattr(case, name), as_float32=True)
    for name in ("attend_mask", "bias"):
        if getattr(case, name) is not None:
            entry[name] = tensor(four_axes(getattr(case, name)), as_float32=True)
    if case.weights:
        entry["weights"] = describe_weights(case.weights)

    bounded = contract.evaluate(case)
    double = golden.results(torch.float64)
    single = golden.results(torch.float32)
    entry["expected"] = {}
    for name, result in double.items():
        types = (result.dtype, single[name].dtype)
        if name != "top_k_indices" and types != (torch.float64, torch.float32):
            raise AssertionError(f"{golden.name}: {name} is not of the compute type")
        expected = result.numpy().astype(np.float64)
        units = error_bound.in_units(bounded[name])
        label = f"{golden.name}: {name}"
        compare(f"{label} in float64", expected, bounded[name].value, units, 2.0**-52)
        single_error = compare(
            f"{label} in float32",
            single[name].numpy().astype(np.float64),
            expected,
            units,
            error_bound.UNIT,
        )
        entry["expected"][name] = {
            "bound": units,
            "torch_float32_error": single_error,
            **tensor(expected),
        }
    return entry


def compare(what, found, expected, units: float, unit: float) -> float:
    """The largest difference in units; raises beyond the bound."""
    if found.shape != expected.shape:
        raise AssertionError(f"{what}: shape {found.shape}, not {expected.shape}")
    if not np.array_equal(np.isfinite(found), np.isfinite(expected)):
        raise AssertionError(f"{what}: not finite where it should be, or vice versa")
    finite = np.isfinite(expected)
    error = np.abs(found[finite] - expected[finite]).max(initial=0.0) / unit
    if error > units:
        raise AssertionError(f"{what}: off by {error:.3g} units, bound {units:.3g}")
    return float(f"{error:.3g}")


def check_against(committed: dict, made: dict) -> None:
    """The inputs must be the same, the results within twice their bounds: last
    digits of a float64 result depend on the processor."""
    for old, new in zip(committed["cases"], made["cases"], strict=True):
        for key in old.keys() | new.keys():
            if key != "expected" and old.get(key) != new.get(key):
                raise AssertionError(f"{old['name']}: {key} is no longer the same")
        for name, expected in new["expected"].items():
            old_values, new_values = (
                np.array([float(v) for v in entry["values"]])
                for entry in (old["expected"][name], expected)
            )
            compare(
                f"{old['name']}: {name}",
                old_values,
                new_values,
                expected["bound"],
                2.0**-52,
            )


def dump(content: dict) -> str:
    """JSON with one line per tensor."""
    lines: list[str] = []

    def add(prefix: str, value, indent: str, suffix: str) -> None:
        nested = isinstance(value, dict) and value and "values" not in value
        if nested and any(isinstance(v, dict) for v in value.values()):
            lines.append(f"{indent}{prefix}{{")
            for index, (key, item) in enumerate(value.items()):
                comma = "," if index + 1 < len(value) else ""
                add(f"{json.dumps(key)}: ", item, indent + " ", comma)
            lines.append(f"{indent}}}{suffix}")
        else:
            lines.append(f"{indent}{prefix}{json.dumps(value)}{suffix}")

    lines.append("{")
    lines.append(f' "torch": {json.dumps(content["torch"])},')
    lines.append(' "cases": [')
    for index, entry in enumerate(content["cases"]):
        add("", entry, "  ", "," if index + 1 < len(content["cases"]) else "")
    lines.append(" ]")
    lines.append("}")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; fail if the files there are do not agree",
    )
    arguments = parser.parse_args()
    philox.check_known_answers()
    torch.set_num_threads(1)

    made: dict[str, dict] = {}
    chapter: list[cases.Golden] = []
    for file, module in FILES.items():
        goldens = [make() for make in cases.GOLDENS if make.module == module.__name__]
        if module is chapter_cases:
            chapter = goldens
        made[file] = {
            "torch": torch.__version__,
            "cases": [describe(golden) for golden in goldens],
        }
    for file, content in made.items():
        path = HERE / file
        if arguments.check:
            check_against(json.loads(path.read_text()), content)
        else:
            path.write_text(dump(content))
        print(f"{file}: {len(content['cases'])} cases")
    checked = chapter_json.reconcile(CHAPTER_JSON, chapter, write=not arguments.check)
    print(f"client/{CHAPTER_JSON.name}: {checked} numbers agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
