"""The floors and aims of bench/floors.json, as they are on one processor."""

import json
import pathlib

TABLE = pathlib.Path(__file__).resolve().parent / "floors.json"


def on(vector_target):
    """The rows in order. A row's "on" has what differs on an instruction set,
    by the beginning of its name, with the reason in "because"."""
    rows = []
    for row in json.loads(TABLE.read_text()):
        elsewhere = row.pop("on", {})
        for name, differs in elsewhere.items():
            if vector_target.startswith(name):
                row |= differs
        rows.append(row)
    return rows
