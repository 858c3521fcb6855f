"""The floors and aims of bench/floors.json, as they are on one processor."""

import json
import pathlib

TABLE = pathlib.Path(__file__).resolve().parent / "floors.json"


def on(vector_target):
    """The rows in order. A row's "on" has what differs on an instruction set,
    with the reason in "because"."""
    rows = json.loads(TABLE.read_text())
    return [row | row.pop("on", {}).get(vector_target, {}) for row in rows]
