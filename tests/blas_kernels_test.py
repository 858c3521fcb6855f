"""What is promised holds on every OpenBLAS kernel that this processor can run.

OPENBLAS_CORETYPE chooses the kernel when the library is loaded, so each runs in
processes of its own.
"""

import os
import pathlib
import re
import subprocess
import sys
import unittest

BUILD = pathlib.Path(sys.argv.pop(1))

# Kernel -> what a processor must have for it.
KERNELS = {
    "Nehalem": {"sse4_2"},
    "Sandybridge": {"avx"},
    "Haswell": {"avx2", "fma"},
    "Zen": {"avx2", "fma"},
    "SkylakeX": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
}


def processor_flags():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    return set(re.search(r"^flags\s*: (.*)$", text, re.MULTILINE)[1].split())


def run(kernel, program, *arguments):
    return subprocess.run(
        [BUILD / program, *arguments], capture_output=True, text=True,
        env=os.environ | {"OPENBLAS_CORETYPE": kernel,
                          "OPENBLAS_NUM_THREADS": "1"})


class BlasKernelsTest(unittest.TestCase):

    def setUp(self):
        self.kernels = [name for name, needs in KERNELS.items()
                        if needs <= processor_flags()]
        self.assertTrue(self.kernels)

    def expect_passes(self, kernel, program, *arguments):
        with self.subTest(kernel=kernel, program=program):
            result = run(kernel, program, *arguments)
            self.assertEqual(result.returncode, 0,
                             result.stdout[-4000:] + result.stderr[-4000:])
            self.assertRegex(result.stdout, r"\[  PASSED  \] [1-9]")

    def test_each_is_the_one_that_was_asked_for(self):
        for kernel in self.kernels:
            with self.subTest(kernel=kernel):
                result = run(kernel, "blas_test",
                             "--gtest_filter=BlasTest.NamesItsKernel")
                self.assertIn(kernel.lower(), result.stdout.lower())

    def test_each_computes_right_and_repeats_its_bits(self):
        for kernel in self.kernels:
            self.expect_passes(kernel, "blas_test")

    def test_an_item_has_the_same_bits_alone_and_among_others(self):
        for kernel in self.kernels:
            self.expect_passes(kernel, "determinism_test")

    def test_results_stay_within_their_bounds(self):
        for kernel in self.kernels:
            self.expect_passes(kernel, "layer_test")
            self.expect_passes(kernel, "golden_test")


if __name__ == "__main__":
    unittest.main()
