"""Files that people have: what numpy and others write is read, bit for bit, and
they read what is written; through the command line and a real server."""

import os
import pathlib
import resource
import struct
import subprocess
import tempfile
import unittest
import zipfile

import numpy as np

import array_files
import service

CONVERT = os.environ["CONVERT_ARRAY"]

LITTLE_MEMORY = 1 << 29


def with_little_memory():
    """What makes a program end that takes more. AddressSanitizer, which needs
    addresses without end, has a limit of its own."""
    if os.environ["SANITIZED"] == "1":
        return {"env": {**os.environ, "ASAN_OPTIONS":
                        f"max_allocation_size_mb={LITTLE_MEMORY >> 20}"}}
    return {"preexec_fn": lambda: resource.setrlimit(
        resource.RLIMIT_AS, (LITTLE_MEMORY,) * 2)}


class Folder(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory()))


class ConvertTest(Folder):

    def converted(self, source, ending=".npy", **arguments):
        target = self.folder / f"converted{ending}"
        done = array_files.convert(CONVERT, source, target, **arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return array_files.load(target)["x"]

    def refused(self, source, **arguments):
        done = array_files.convert(
            CONVERT, source, self.folder / "refused.npy", **arguments)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)
        return done.stderr

    def test_every_bit_survives_every_format(self):
        trips, differing = array_files.differing_round_trips(
            CONVERT, self.folder)
        self.assertEqual(trips, 60)
        self.assertEqual(differing, [])

    def test_every_number_survives_text(self):
        trips, differing = array_files.differing_text_trips(
            CONVERT, self.folder)
        self.assertEqual(trips, 10)
        self.assertEqual(differing, [])

    def test_every_way_of_numpy_to_save_an_array_is_read(self):
        array = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
        path = self.folder / "x.npy"
        for variant in (array, np.asfortranarray(array), array.T,
                        array.astype(">f8"), array.astype(">f2"),
                        np.asfortranarray(array.astype(">f4"))):
            for version in ((1, 0), (2, 0), (3, 0)):
                with self.subTest(dtype=variant.dtype.str, version=version,
                                  flags=variant.flags.fnc):
                    with open(path, "wb") as file:
                        np.lib.format.write_array(file, variant, version)
                    np.testing.assert_array_equal(
                        self.converted(path), variant)

    def test_what_numpy_pickles_is_refused(self):
        path = self.folder / "x.npy"
        np.save(path, np.array([1, "two"], object), allow_pickle=True)
        self.assertIn("objects are never read", self.refused(path))

    def test_long_header_is_written_as_version_2(self):
        path = self.folder / "x.npz"
        name = "n" * 1000
        np.savez(path, **{name: np.ones(3)})
        done = array_files.convert(
            CONVERT, f"{path}:{name}", self.folder / "y.npy")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_archive_that_lies_about_its_sizes_takes_no_memory(self):
        """Its header asks for 4 GB; 100 bytes follow, or 64 MB where it states
        less."""
        header = self.folder / "x.npy"
        with open(header, "wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "<f4", "fortran_order": False,
                       "shape": (1_000_000_000,)})
        front = header.read_bytes()
        stated = len(front) + 4_000_000_000
        for length, fault in ((100, ""), (1 << 26, "")):
            path = self.folder / "bomb.npz"
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("x.npy", front + bytes(length))
            true_size = struct.pack("<I", len(front) + length)
            for lie in (stated, 1000):
                lying = path.read_bytes().replace(
                    true_size, struct.pack("<I", lie))
                (self.folder / "lying.npz").write_bytes(lying)
                with self.subTest(length=length, lie=lie):
                    self.refused(self.folder / "lying.npz",
                                 **with_little_memory())

    def test_archive_of_large_arrays_is_read(self):
        """Sizes of 64 bits, as numpy writes them beyond 4 GB, and here always."""
        path = self.folder / "x.npz"
        with zipfile.ZipFile(path, "w") as archive:
            with archive.open("x.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ones((2, 2)))
        np.testing.assert_array_equal(self.converted(path), np.ones((2, 2)))


class CommandTest(Folder, service.ServiceTest):

    def command(self, *arguments, code=0, stdin=subprocess.DEVNULL):
        """Runs the command line; returns (stdout, stderr)."""
        done = subprocess.run(
            [os.environ["ATTENTION_CLI"], "--target", self.address,
             *map(str, arguments)],
            check=False, stdin=stdin, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, cwd=self.folder)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout, done.stderr.decode()

    def refused(self, *arguments):
        _, error = self.command(*arguments, code=2)
        self.assertEqual(error.count("\n"), 1, error)
        return error

    def test_every_dtype_goes_in_and_out_of_every_format(self):
        """With one key the output is the value, whatever the query."""
        for name in ("float32", "float64", "float16", "bfloat16"):
            value = np.array([[1, -2.5, 0.0625, 96, -7]], np.float32)
            arrays = {"query": np.ones((3, 4), np.float32),
                      "key": np.ones((1, 4), np.float32), "value": value}
            if name == "bfloat16":  # exact: their lower halves are 0
                arrays = {key: (array.view(np.uint32) >> 16).astype(np.uint16)
                          .view(array_files.BFLOAT16)
                          for key, array in arrays.items()}
            else:
                arrays = {key: array.astype(name)
                          for key, array in arrays.items()}
            for ending in (".npz", ".compressed.npz", ".safetensors"):
                source = self.folder / f"qkv{ending}"
                array_files.save(
                    source, mask=np.array([[True], [True], [False]]),
                    bias=np.zeros((1, 1)), **arrays)
                for target in (".npy", ".npz", ".safetensors"):
                    with self.subTest(dtype=name, source=ending, target=target):
                        out = self.folder / f"out{target}"
                        self.command(
                            "compute", "--query", f"{source}:query", "--key",
                            f"{source}:key", "--value", f"{source}:value",
                            "--attend-mask", f"{source}:mask", "--bias",
                            f"{source}:bias", "--out", out)
                        found = array_files.load(out)
                        found = found["x" if target == ".npy" else "output"]
                        expected = np.concatenate(
                            [arrays["value"]] * 2
                            + [np.zeros(5, arrays["value"].dtype)
                               .reshape(1, 5)])
                        self.assertTrue(
                            array_files.same_bits(found, expected), found)

    def test_everything_in_the_answer_is_in_a_file_of_several(self):
        np.save(self.folder / "x.npy",
                np.random.default_rng(1).standard_normal((4, 3)))

        def answer(*shown):
            found = []
            for file in ("all.npz", "all.safetensors"):
                self.command("compute", "--query", "x.npy", *shown, "--lse",
                             "--out", file)
                found.append(array_files.load(self.folder / file))
            npz, safetensors = found
            for name, array in npz.items():
                self.assertTrue(array_files.same_bits(array, safetensors[name]))
            return npz

        whole = answer("--matrix", "attention-weights")
        self.assertEqual(
            {name: array.shape for name, array in whole.items()},
            {"output": (4, 3), "attention_matrix": (1, 4, 4), "lse": (1, 4)})
        top = answer("--top-k", 2)
        self.assertEqual(
            {name: array.shape for name, array in top.items()},
            {"output": (4, 3), "top_k_weights": (1, 4, 2),
             "top_k_indices": (1, 4, 2), "lse": (1, 4)})
        np.testing.assert_array_equal(
            top["top_k_weights"],
            np.take_along_axis(
                whole["attention_matrix"], top["top_k_indices"], axis=-1))
        self.command("compute", "--query", "x.npy", "--lse", "--matrix",
                     "attention-weights", "--save", "lse", "--out", "lse.npy")
        np.testing.assert_array_equal(
            np.load(self.folder / "lse.npy"), whole["lse"])

    def test_nothing_asked_for_is_left_out_silently(self):
        np.save(self.folder / "x.npy", np.ones((2, 2), np.float32))
        self.assertIn(
            "csv holds one tensor, but there are output, lse; choose one with "
            "--save",
            self.refused("compute", "--query", "x.npy", "--lse", "--out",
                         "y.csv"))
        self.assertIn(
            "--save lse: the answer will have output",
            self.refused("compute", "--query", "x.npy", "--save", "lse"))

    def test_the_standard_input_and_output_take_any_format(self):
        array = np.array([[1.5, -2]], np.float32)
        for ending in array_files.BINARY:
            path = self.folder / f"x{ending}"
            array_files.save(path, x=array)
            with open(path, "rb") as file:
                out, _ = self.command("compute", "--query", "-", "--out", "-",
                                      "--format", "npy", stdin=file)
            (self.folder / "y.npy").write_bytes(out)
            np.testing.assert_array_equal(
                np.load(self.folder / "y.npy"), array)

    def test_named_format_overrules_the_ending(self):
        np.save(self.folder / "x.npy", np.ones((1, 2), np.float32))
        os.rename(self.folder / "x.npy", self.folder / "x.npz")
        self.assertIn("x.npz: is not a .npz file",
                      self.refused("compute", "--query", "x.npz"))
        self.command("compute", "--query", "x.npz", "--input-format", "npy")

    def test_dtype_rounds_what_has_a_type(self):
        np.save(self.folder / "x.npy", np.ones((1, 2), np.float32))
        self.command("compute", "--query", "x.npy", "--dtype", "float16",
                     "--out", "y.npy")
        self.assertEqual(np.load(self.folder / "y.npy").dtype, np.float16)
        self.assertIn(
            "takes 8 bytes, more than --max-tensor-bytes, which is 7",
            self.refused("compute", "--query", "x.npy",
                         "--max-tensor-bytes", 7))

    def test_additive_mask_is_no_attend_mask(self):
        np.save(self.folder / "x.npy", np.zeros((2, 2), np.float32))
        self.assertIn(
            "--attend-mask: x.npy: is float32; a mask is bool, true = attend",
            self.refused("compute", "--query", "x.npy", "--attend-mask",
                         "x.npy"))

    def gpt2(self, width, dtype=np.float32):
        random = np.random.default_rng(3)
        shapes = {"c_attn.weight": (width, 3 * width),
                  "c_attn.bias": (3 * width,),
                  "c_proj.weight": (width, width), "c_proj.bias": (width,)}
        return {f"h.2.attn.{name}": random.standard_normal(shape).astype(dtype)
                for name, shape in shapes.items()}

    def test_gpt2_layer_computes_what_it_should_and_comes_back(self):
        layer = self.gpt2(6)
        array_files.save(self.folder / "model.safetensors", **layer,
                         **{"wte.weight": np.arange(8)})
        self.command("weights", "import", "gpt2", "model.safetensors",
                     "--preset", "gpt2", "--layer", 2, "--heads", 2)
        x = np.random.default_rng(4).standard_normal((5, 6)).astype(np.float32)
        np.save(self.folder / "x.npy", x)
        self.command("compute", "--query", "x.npy", "--weight-set", "gpt2",
                     "--causal", "--out", "y.npy")
        np.testing.assert_allclose(
            np.load(self.folder / "y.npy"), self.causal(layer, x),
            rtol=0, atol=1e-4)

        self.command("weights", "export", "gpt2", "out.safetensors",
                     "--preset", "gpt2", "--layer", 2)
        found = array_files.load(self.folder / "out.safetensors")
        self.assertEqual(found.pop(None), {"format": "pt"})
        self.assertEqual(set(found), set(layer))
        for name, array in layer.items():
            self.assertTrue(array_files.same_bits(found[name], array), name)

    @staticmethod
    def causal(layer, x):
        """A layer of GPT-2 with 2 heads, in double."""
        x = x.astype(np.float64)
        query, key, value = (
            part.reshape(len(x), 2, -1).swapaxes(0, 1)
            for part in np.split(
                x @ layer["h.2.attn.c_attn.weight"]
                + layer["h.2.attn.c_attn.bias"], 3, axis=1))
        scores = query @ key.swapaxes(1, 2) / np.sqrt(query.shape[-1])
        scores[:, ~np.tri(len(x), dtype=bool)] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        heads = (weights @ value).swapaxes(0, 1).reshape(len(x), -1)
        return (heads @ layer["h.2.attn.c_proj.weight"]
                + layer["h.2.attn.c_proj.bias"])

    def test_exported_set_is_the_same_version_when_it_is_read(self):
        """The SHA-256 tells: every tensor, head count and layout is the same."""
        array_files.save(self.folder / "model.safetensors", **self.gpt2(4))
        line, _ = self.command(
            "weights", "import", "a", "model.safetensors", "--preset", "gpt2",
            "--layer", 2, "--heads", 2)
        sha256 = line.split()[-1]
        for file, read in (
            ("a.safetensors", ("import", "b", "a.safetensors")),
            ("a.safetensors", ("set", "c", "--file", "a.safetensors")),
            ("a.npz", ("import", "d", "a.npz", "--heads", 2, "--layout",
                       "in-out")),
            ("a.npz", ("set", "e", "--file", "a.npz", "--heads", 2, "--layout",
                       "in-out")),
            ("a.json", ("set", "f", "--file", "a.json")),
        ):
            with self.subTest(read=read):
                self.command("weights", "get", "a", "--out", file)
                line, _ = self.command("weights", *read)
                self.assertEqual(line.split()[-1], sha256)
        for ending in ("npz", "safetensors"):
            self.command("weights", "export", "a", f"plain.{ending}")
            self.assertEqual(
                (self.folder / f"plain.{ending}").read_bytes(),
                (self.folder / f"a.{ending}").read_bytes())

    def test_tensors_of_a_set_come_from_any_files(self):
        width = 3
        weight = np.random.default_rng(5).standard_normal(
            (width, width)).astype(np.float16)
        for ending in array_files.BINARY:
            array_files.save(self.folder / f"w{ending}", x=weight)
        array_files.save(self.folder / "bias.npz",
                         bias=np.ones((1, width), np.float16))
        self.command("weights", "set", "mixed", "--layout", "out-in",
                     "--query-weight", "w.npy", "--key-weight", "w.npz:x",
                     "--value-weight", "w.compressed.npz",
                     "--output-weight", "w.safetensors:x",
                     "--output-bias", "bias.npz:bias")
        self.command("weights", "export", "mixed", "mixed.npz")
        found = array_files.load(self.folder / "mixed.npz")
        for name in ("query", "key", "value", "output"):
            self.assertTrue(
                array_files.same_bits(found[f"{name}.weight"], weight))
        self.assertEqual(found["output.bias"].shape, (width,))

    def test_mismatch_names_the_tensor_and_both_shapes(self):
        layer = self.gpt2(6)
        layer["h.2.attn.c_attn.weight"] = np.ones((6, 17), np.float32)
        array_files.save(self.folder / "model.safetensors", **layer)
        arguments = ("weights", "import", "gpt2", "model.safetensors",
                     "--preset", "gpt2")
        self.assertIn(
            'model.safetensors: tensor "h.2.attn.c_attn.weight" has shape '
            "[6, 17]; expected [6, 3 * 6]",
            self.refused(*arguments, "--layer", 2, "--heads", 2))
        self.assertIn("needs --layer", self.refused(*arguments, "--heads", 2))
        self.assertIn("add --heads", self.refused(*arguments, "--layer", 2))
        self.assertIn("leave out --query",
                      self.refused(*arguments, "--layer", 2, "--heads", 2,
                                   "--query", "x"))


if __name__ == "__main__":
    unittest.main()
