"""attention heatmap and compute --heatmap, as a user has them."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import numpy as np

from server_process import running_server

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
from proofs import pictures, png  # noqa: E402
from proofs.context import clean_environment  # noqa: E402

WORDS = "Your journey starts with one step"
TOKENS = """0.43,0.15,0.89
0.55,0.87,0.66
0.57,0.85,0.64
0.22,0.58,0.33
0.77,0.25,0.10
0.05,0.80,0.55
"""
WEIGHTS = [[[0.5, 0.5, 0], [0.1, 0.2, 0.7]], [[0, 0, 1], [0.25, 0.25, 0.5]]]


class HeatmapTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        address, _ = cls.enterClassContext(
            running_server(os.environ["ATTENTION_SERVER"]))
        cls.folder = pathlib.Path(
            cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.environment = clean_environment(
            ATTENTION_TARGET=address, TERM="xterm-256color", COLUMNS="80")
        (cls.folder / "tokens.csv").write_text(TOKENS)
        (cls.folder / "weights.json").write_text(json.dumps(WEIGHTS))

    def attention(self, *arguments, code=0, stdin=b""):
        """Standard output, or the error line of a call that must fail."""
        done = subprocess.run(
            [os.environ["ATTENTION_CLI"], *arguments], cwd=self.folder,
            env=self.environment, input=stdin, capture_output=True)
        self.assertEqual(done.returncode, code, done.stderr.decode())
        if code == 0:
            return done.stdout
        self.assertEqual(done.stdout, b"")
        line = done.stderr.decode()
        self.assertEqual(line.count("\n"), 1, line)
        return line

    def svg(self, *arguments):
        return self.attention("heatmap", *arguments, "--format",
                              "svg").decode()

    def cells(self, *arguments, length):
        """Cells of the PNG where the SVG says they are."""
        areas = pictures.matrix_areas(self.svg(*arguments).encode())
        page = png.pixels(
            self.attention("heatmap", *arguments, "--format", "png"))
        return pictures.CellPixels(page, areas, length)

    def test_a_file_of_weights_becomes_a_picture_per_head(self):
        svg = self.svg("weights.json", "--key-labels", "x y z", "--labels",
                       "up down")
        for text in ("weights.json", "head 0", "head 1", "up", "down", "x", "z",
                     "0.70", "max 1"):
            self.assertIn(f">{text}</text>", svg)
        self.assertEqual(
            len(pictures.matrix_areas(svg.encode())), 2)

    def test_one_head_can_be_chosen(self):
        svg = self.svg("weights.json", "--head", "1")
        self.assertIn(">head 1</text>", svg)
        self.assertNotIn(">head 0</text>", svg)

    def test_a_row_is_a_query_and_a_column_a_key(self):
        matrix = np.arange(16, dtype=float).reshape(4, 4)
        np.savetxt(self.folder / "square.csv", matrix, delimiter=",")
        cells = self.cells("square.csv", length=4)
        light = pictures.lightness(cells.colors[0].astype(float))
        self.assertTrue((np.diff(light.ravel()) > 0).all(), light)

    def test_what_is_excluded_is_hatched_and_weight_zero_is_not(self):
        (self.folder / "bias.csv").write_text("0,-1e4,-inf\n" * 3)
        (self.folder / "three.csv").write_text(TOKENS[:45])
        cells = self.cells("--query", "three.csv", "--bias", "bias.csv",
                           length=3)
        self.assertEqual(cells.hatched[0].tolist(),
                         [[False, False, True]] * 3)
        self.assertEqual(tuple(cells.colors[0][0][1]), pictures.SMALLEST)

    def test_options_that_exclude_compose(self):
        arguments = ("--query", "tokens.csv", "--causal", "--window-left", "2",
                     "--dropout", "0.5", "--seed", "1")
        cells = self.cells(*arguments, length=6)
        row, column = np.indices((6, 6))
        self.assertEqual(cells.hatched[0].tolist(),
                         ((column > row) | (column < row - 2)).tolist())
        # Dropped weights are 0, not excluded.
        self.assertTrue((cells.colors[0][~cells.hatched[0]]
                         == pictures.SMALLEST).all(axis=-1).any())

    def test_the_mean_is_excluded_where_every_head_is(self):
        (self.folder / "wide.json").write_text(
            json.dumps(np.eye(4, 4).tolist()))
        # Per head: head 0 sees keys 0 and 1, head 1 keys 1 and 2.
        (self.folder / "mask.json").write_text(json.dumps(
            [[[[1, 1, 0, 0]], [[0, 1, 1, 0]]]]))
        cells = self.cells("--query", "wide.json", "--heads", "2",
                           "--attend-mask", "mask.json", "--mean", length=4)
        self.assertEqual(cells.hatched.tolist(),
                         [[[False, False, False, True]] * 4])

    def test_batch_items_are_titled_and_chosen(self):
        batch = np.random.default_rng(0).standard_normal((2, 3, 4))
        (self.folder / "batch.json").write_text(json.dumps(batch.tolist()))
        arguments = ("--query", "batch.json", "--heads", "2")
        self.assertIn(">item 1, head 0</text>", self.svg(*arguments))
        chosen = self.svg(*arguments, "--item", "1", "--head", "0")
        self.assertEqual(len(pictures.matrix_areas(chosen.encode())), 1)
        mean = self.svg(*arguments, "--mean")
        self.assertIn(">item 1</text>", mean)
        self.assertIn("mean of the heads", mean)

    def test_a_reply_is_shown_from_a_pipe(self):
        reply = self.attention("compute", "--query", "tokens.csv", "--causal",
                               "--matrix", "biased", "--json")
        svg = self.attention("heatmap", "--response", "-", "--format", "svg",
                             "--labels", WORDS, stdin=reply).decode()
        self.assertIn(">journey</text>", svg)
        self.assertIn(">excluded</text>", svg)

    def test_compute_draws_beside_its_result(self):
        plain = self.attention("compute", "--query", "tokens.csv", "--scale",
                               "1", "--causal")
        drawn = self.attention("compute", "--query", "tokens.csv", "--scale",
                               "1", "--causal", "--heatmap", "beside.svg",
                               "--labels", WORDS)
        untimed = re.compile(rb"computed in .*")
        self.assertEqual(untimed.sub(b"", plain), untimed.sub(b"", drawn))
        self.assertEqual(
            (self.folder / "beside.svg").read_text(),
            self.svg("--query", "tokens.csv", "--scale", "1", "--causal",
                     "--labels", WORDS))

    def test_labels_from_a_file_keep_their_blanks_and_symbols(self):
        (self.folder / "labels.txt").write_text(
            " the\n<s>\n\u4e2d\u6587\n\x1b[2J\na b\n\u0120caf\u00e9\n")
        svg = self.svg("--query", "tokens.csv", "--labels", "@labels.txt")
        for text in (" the", "&lt;s&gt;", "\u4e2d\u6587", "\u241b[2J", "a b",
                     "\u0120caf\u00e9"):
            self.assertIn(f">{text}</text>", svg)
        text = self.attention("heatmap", "--query", "tokens.csv", "--labels",
                              "@labels.txt", "--color", "none")
        self.assertNotIn(b"\x1b", text)

    def test_the_terminal_gets_text_that_fits_it(self):
        for width in (40, 80, 132):
            for mode in ("none", "256", "true"):
                text = self.attention(
                    "heatmap", "--query", "tokens.csv", "--causal", "--labels",
                    WORDS, "--width", str(width), "--color", mode).decode()
                self.assertEqual("\x1b[" in text, mode != "none")
                bare = re.sub("\x1b\\[[0-9;]*m", "", text)
                self.assertLessEqual(max(map(len, bare.splitlines())), width)
                self.assertIn("excluded", bare)

    def test_wrong_use_is_one_line_that_tells_the_cure(self):
        (self.folder / "vector.json").write_text("[1, 2, 3]")
        (self.folder / "empty.json").write_text("[[], []]")
        (self.folder / "nan.json").write_text('[[1, "NaN"]]')
        for arguments, wanted in (
            (("vector.json",), ["vector.json", "[3]", "[query_len, key_len]"]),
            (("empty.json",), ["empty.json", "[2, 0]", "nothing to show"]),
            (("nan.json",), ["nan.json", "[0, 1]", "NaN"]),
            (("weights.json", "--labels", "one"),
             ["--labels", "1 label", "query_len is 2", "@FILE"]),
            (("weights.json", "--labels", "@none"), ["none", "opened"]),
            (("weights.json", "--key-labels", "a b"),
             ["--key-labels", "2 labels", "key_len is 3"]),
            (("weights.json", "--head", "2"), ["--head 2", "0 to 1"]),
            (("weights.json", "--item", "1"), ["--item 1", "one batch item"]),
            (("weights.json", "--out", "picture.jpg"),
             ["picture.jpg", ".png", "--format"]),
            (("weights.json", "--format", "jpg"), ["jpg", "png|svg|text"]),
            (("weights.json", "--out", "no/such/f.png"), ["no/such/f.png"]),
            (("weights.json", "--format", "svg", "--width", "90"),
             ["--width", "90", "it takes", "--head"]),
            (("weights.json", "--color-max", "-1"), ["--color-max"]),
            (("weights.json", "--causal"), ["--causal", "MATRIX"]),
            (("--response", "weights.json"), ["weights.json"]),
            ((), ["--query"]),
        ):
            with self.subTest(arguments):
                line = self.attention("heatmap", *arguments, code=2)
                for word in wanted:
                    self.assertIn(word, line)

    def test_a_wrong_name_is_refused_before_anything_is_computed(self):
        self.attention("compute", "--query", "no.csv", "--heatmap", "p.png",
                       code=2)
        line = self.attention("compute", "--query", "tokens.csv", "--heatmap",
                              "p.jpg", code=2)
        self.assertIn("p.jpg", line)

    def test_a_picture_stays_where_the_result_cannot_be_written(self):
        (self.folder / "p.txt").write_text("here before")
        self.attention("compute", "--query", "tokens.csv", "--heatmap", "p.txt",
                       "--out", "no/such/folder.json", code=2)
        self.assertEqual((self.folder / "p.txt").read_text(), "here before")

    def test_the_documents_picture_is_what_its_command_draws(self):
        self.attention(
            "weights", "init", "layer", "--distribution", "linear", "--layout",
            "out-in", "--seed", "123", "--query-width", "3", "--head-dim", "2")
        self.attention(
            "heatmap", "--query", "tokens.csv", "--weight-set", "layer",
            "--causal", "--labels", WORDS, "--out", "drawn.png")
        drawn = png.pixels((self.folder / "drawn.png").read_bytes())
        kept = png.pixels((ROOT / "docs/attention-chapter.png").read_bytes())
        self.assertTrue(np.array_equal(drawn, kept))


if __name__ == "__main__":
    unittest.main()
