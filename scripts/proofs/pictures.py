"""Pictures of attention: every cell is held against the numbers.

What is drawn is asked of the server once more as JSON. Where the matrices are
on the page is read from the SVG of the same picture, which must agree with the
PNG to the pixel.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np

from proofs import png
from proofs.context import clean_environment

# Lengths, heads and options: 6 tokens as one and as many, 64, and 512.
CASES = {
    "6": (6, 1, ()),
    "6_causal_12_heads": (6, 12, ("--causal",)),
    "64_causal_4_heads": (64, 4, ("--causal",)),
    "64_window": (64, 1, ("--window-left", "5", "--window-right", "2")),
    "512": (512, 1, ()),
    "512_causal_12_heads": (512, 12, ("--causal",)),
}

LARGEST = (253, 231, 37)  # viridis's end, for the largest weight
SMALLEST = (68, 1, 84)  # and its start, for weight 0
HATCH = ((240, 240, 240), (200, 200, 200))

RECTANGLE = re.compile(r'<rect x="(\d+)" y="(\d+)" width="(\d+)" '
                       r'height="(\d+)" fill="url\(#excluded\)"/>')
BAR_ROW = re.compile(r'<rect x="(\d+)" y="(\d+)" width="16" height="1" '
                     r'fill="#\w+"/>')


def prove_pictures(context):
    sys.path.insert(0, str(context.root / "tests/support"))
    from server_process import running_server  # the tests' own
    context.build_targets("attention", "attention-server")
    with running_server(
            context.build / "server/attention-server") as (address, _), \
            tempfile.TemporaryDirectory() as scratch:
        command = Command(context.build / "client/cpp/attention", address,
                          pathlib.Path(scratch))
        for name, (length, heads, options) in CASES.items():
            _prove_case(context.claims, command, name, length, heads, options)


class Command:
    """The command line, in a folder of its own."""

    def __init__(self, program, address, folder):
        self.program = program
        self.folder = folder
        self.environment = clean_environment(ATTENTION_TARGET=address)

    def __call__(self, *arguments):
        return subprocess.run(
            [self.program, *arguments], cwd=self.folder, check=True,
            env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE).stdout

    def write_tokens(self, length, heads):
        """A query that tokens of different lengths make: weights of all sizes."""
        random = np.random.default_rng(length)
        tokens = random.standard_normal((length, 8 * heads))
        tokens *= random.uniform(0.2, 1.5, (length, 1))
        path = self.folder / f"tokens_{length}_{heads}.csv"
        np.savetxt(path, tokens, delimiter=",", fmt="%.6f")
        return path.name


def _prove_case(claims, command, name, length, heads, options):
    arguments = ("--query", command.write_tokens(length, heads), "--heads",
                 str(heads), *options)
    weights = matrix_of(command("compute", *arguments, "--json", "--matrix",
                                "attention-weights"))
    biased = matrix_of(
        command("compute", *arguments, "--json", "--matrix", "biased"))
    picture = command("heatmap", *arguments, "--format", "png", "--out", "-")
    again = command("heatmap", *arguments, "--format", "png", "--out", "-")
    svg = command("heatmap", *arguments, "--format", "svg", "--out", "-")
    areas = matrix_areas(svg)
    page = png.pixels(picture)
    cells = CellPixels(page, areas, length)
    bar = bar_pixels(page, svg)
    excluded = np.isneginf(biased)

    prefix = f"client.pictures.{name}"
    claims.equal(f"{prefix}.heads", "matrices in the picture", len(areas),
                 heads)
    claims.equal(f"{prefix}.cells", "cells that are not of one colour",
                 cells.mixed, 0)
    claims.equal(f"{prefix}.order",
                 "pairs of neighbouring weights whose lightness is reversed, "
                 "over all heads", reversed_pairs(weights, cells, excluded), 0)
    claims.equal(f"{prefix}.scale",
                 "cells whose colour is not that of their weight on the bar",
                 off_scale(weights, cells, excluded, bar), 0)
    claims.equal(f"{prefix}.largest",
                 "colour of the largest weight is viridis's last",
                 int(tuple(cells.colors.reshape(-1, 3)[weights.argmax()])
                     == LARGEST), 1)
    claims.equal(f"{prefix}.excluded",
                 "cells hatched where attended, or the reverse",
                 int((cells.hatched != excluded).sum()), 0)
    claims.equal(f"{prefix}.same", "the same bytes again", int(picture == again),
                 1)


def matrix_of(response):
    """The attention matrix [heads, query_len, key_len] of a response in JSON."""
    matrix = json.loads(response)["attention_matrix"]
    return np.array([float(value) for value in matrix["values"]]).reshape(
        [int(axis) for axis in matrix["shape"]])


def matrix_areas(svg):
    """(x, y, width, height) of each matrix; the legend's swatch is smaller."""
    areas = [tuple(map(int, found)) for found in RECTANGLE.findall(svg.decode())]
    return [area for area in areas if area[2:] != (18, 12)]


def bar_pixels(page, svg):
    """The colours of the bar, from the top, at least one row for each."""
    rows = [tuple(map(int, found)) for found in BAR_ROW.findall(svg.decode())]
    assert len(rows) >= 256
    return np.array([page[y, x] for x, y in rows])


class CellPixels:
    """What was drawn for each element, [heads, rows, columns]: its colour, at
    the cell's corner; whether it is hatched; how many cells are neither hatched
    nor of one colour (but for their number, in black or white)."""

    def __init__(self, page, areas, length):
        self.colors, self.hatched, self.mixed = [], [], 0
        for x, y, width, height in areas:
            cell = width // length
            assert (width, height) == (cell * length, cell * length)
            matrix = page[y:y + height, x:x + width].reshape(
                length, cell, length, cell, 3).swapaxes(1, 2)
            corner = matrix[:, :, :1, :1]
            grey = is_grey(matrix).all(axis=(2, 3))
            # The edge of a cell, which no number touches.
            edge = np.concatenate([matrix[:, :, 0], matrix[:, :, -1],
                                   matrix[:, :, :, 0], matrix[:, :, :, -1]],
                                  axis=2)
            uniform = (edge == corner[:, :, 0]).all(axis=(2, 3))
            self.mixed += int((~grey & ~uniform).sum())
            self.colors.append(corner[:, :, 0, 0])
            self.hatched.append(grey)
        self.colors = np.array(self.colors)
        self.hatched = np.array(self.hatched)


def is_grey(colors):
    return np.logical_or.reduce(
        [(colors == grey).all(axis=-1) for grey in HATCH])


def lightness(colors):
    """CIE's L*, 0 to 100."""
    value = np.asarray(colors) / 255
    linear = np.where(value <= 0.04045, value / 12.92,
                      ((value + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16,
                    903.3 * luminance)


def reversed_pairs(weights, cells, excluded):
    """Viridis in 8 bits has two neighbours that rounding reverses, by 0.03."""
    order = np.argsort(weights[~excluded], kind="stable")
    light = lightness(cells.colors[~excluded])[order]
    return int((np.diff(light) < -0.04).sum())


def off_scale(weights, cells, excluded, bar):
    """Cells whose colour is not, to a row, where their weight is on the bar,
    which runs from the largest weight of all heads down to 0."""
    attended = weights[~excluded]
    colors = cells.colors[~excluded]
    place = (1 - attended / attended.max()) * (len(bar) - 1)
    on_bar = np.zeros(len(attended), bool)
    for row in range(-1, 3):
        near = np.clip(np.floor(place).astype(int) + row, 0, len(bar) - 1)
        on_bar |= (bar[near] == colors).all(axis=1)
    return int((~on_bar).sum())
