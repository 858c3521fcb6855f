"""The numbers of client/chapter.json against what PyTorch computes.

What the chapter prints is there as it is printed, and must be what its modules
return. What it does not print, cross-attention between two sentences and dropout
with a seed of ours, is written by this generator.
"""

from __future__ import annotations

import json
import pathlib

import numpy as np
import torch

from cases import Golden

COMPUTED = ("cross-attention", "dropout")
STAGES = {
    "STAGE_ATTENTION_WEIGHTS": "attention_weights",
    "STAGE_SCORES": "scores",
}


def _tensor(described: dict) -> np.ndarray:
    values = np.array(described["values"], dtype=np.float32)
    return values.reshape(described["shape"])


def _check_same(what: str, described: dict, array: np.ndarray) -> None:
    found = _tensor(described)
    if found.size != array.size or np.any(found.reshape(-1) != array.reshape(-1)):
        raise AssertionError(f"client/chapter.json, {what}: not the chapter's numbers")


def _check_inputs(case: dict, golden: Golden) -> None:
    """The request asks for what the golden computes."""
    identity, request = case["id"], case["request"]
    for name in ("query", "key", "value"):
        if name in request:
            array = getattr(golden.case, name)
            _check_same(f"{identity}, {name}", request[name], array)
    if (golden.case.weights is not None) != ("weight_set" in request):
        raise AssertionError(f"client/chapter.json, {identity}: weight_set")
    options = {
        name: request[name]
        for name in ("softmax_scale", "causal", "dropout")
        if name in request
    }
    if options != golden.case.options:
        raise AssertionError(
            f"client/chapter.json, {identity}: {options}, not {golden.case.options}"
        )


def _check_weights(case: dict, golden: Golden) -> None:
    if "set_weights" not in case:
        return
    weights = case["set_weights"]["weights"]
    for name in ("query", "key", "value", "output"):
        projection = getattr(golden.case.weights, name)
        if (projection is None) != (name not in weights):
            raise AssertionError(f"client/chapter.json, {case['id']}: {name}")
        if projection is None:
            continue
        what = f"{case['id']}, weights.{name}"
        _check_same(what, weights[name]["weight"], projection.weight)
        if projection.bias is not None:
            _check_same(what, weights[name]["bias"], projection.bias)


def _reply(case: dict, golden: Golden) -> dict[str, np.ndarray]:
    """PyTorch's results in the shapes of the reply."""
    results = {
        name: result.numpy().astype(np.float64)
        for name, result in golden.results(torch.float32).items()
    }
    output = results["output"][:, 0] if "output" in results else None
    stage = case["request"].get("attention_matrix", {}).get("stage")
    matrix = results.get(STAGES.get(stage, ""))
    if len(case["request"]["query"]["shape"]) == 2:  # no batch axis
        output = None if output is None else output[0]
        matrix = None if matrix is None else matrix[0]
    return {"output": output, "attention_matrix": matrix}


def _rounded(array: np.ndarray, digits: int):
    if array.ndim:
        return [_rounded(part, digits) for part in array]
    number = round(float(array), digits) + 0.0  # no -0
    return int(number) if number.is_integer() else number


def _pretty(value, indent: str = "") -> str:
    """JSON with every object and every list of lists opened up, and any other
    list on one line."""
    inner = indent + "  "
    if isinstance(value, dict):
        items = [f"{json.dumps(k)}: {_pretty(v, inner)}" for k, v in value.items()]
    elif isinstance(value, list) and value and isinstance(value[0], (dict, list)):
        items = [_pretty(item, inner) for item in value]
    else:
        return json.dumps(value, ensure_ascii=False)
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    lines = f",\n{inner}".join(items)
    return f"{opening}\n{inner}{lines}\n{indent}{closing}"


def reconcile(path: pathlib.Path, goldens: list[Golden], write: bool) -> int:
    """Checks every case; writes what is computed here if `write`. Returns how
    many numbers were compared."""
    text = path.read_text()
    document = json.loads(text)
    digits = document["digits"]
    by_name = {golden.name.removeprefix("chapter_"): golden for golden in goldens}
    compared = 0
    for case in document["cases"]:
        golden = by_name.pop(case["id"].replace("-", "_"))
        _check_inputs(case, golden)
        _check_weights(case, golden)
        reply = _reply(case, golden)
        for expected in case["expect"]:
            found = reply[expected["path"]][tuple(expected["index"])]
            values = np.array(expected["values"])
            compared += values.size
            # Rounded to the digits given, plus what float32 may be off by.
            limit = 0.5 * 10.0**-digits + 1e-6
            same = found.shape == values.shape and np.abs(found - values).max() < limit
            if not same and case["id"] in COMPUTED and write:
                expected["values"] = _rounded(found, digits)
            elif not same:
                raise AssertionError(
                    f"client/chapter.json, {case['id']}, {expected['what']}: "
                    f"{values.tolist()}, but PyTorch says {found.tolist()}"
                )
    if by_name:
        raise AssertionError(f"client/chapter.json has no case {sorted(by_name)}")
    if document != json.loads(text):
        path.write_text(_pretty(document) + "\n")
    return compared
