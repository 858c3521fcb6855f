"""What is promised holds on every OpenBLAS kernel that this processor can run.

OPENBLAS_CORETYPE chooses the kernel when the library is loaded, so each runs in
processes of its own.
"""

import os
import pathlib
import subprocess
import sys
import unittest

import blas_kernels

BUILD = pathlib.Path(sys.argv.pop(1))

# Prescott does not repeat its bits, and nothing is promised on it.
KERNELS = [kernel for kernel in blas_kernels.that_run() if kernel != "Prescott"]


def run(kernel, program, *arguments):
    return subprocess.run(
        [BUILD / program, *arguments], capture_output=True, text=True,
        env=os.environ | {"OPENBLAS_CORETYPE": kernel})


class BlasKernelsTest(unittest.TestCase):

    def setUp(self):
        self.assertTrue(KERNELS)

    def expect_passes(self, kernel, program, *arguments):
        with self.subTest(kernel=kernel, program=program):
            result = run(kernel, program, *arguments)
            self.assertEqual(result.returncode, 0,
                             result.stdout[-4000:] + result.stderr[-4000:])
            self.assertRegex(result.stdout, r"\[  PASSED  \] [1-9]")

    def test_each_is_the_one_that_was_asked_for(self):
        for kernel in KERNELS:
            with self.subTest(kernel=kernel):
                result = run(kernel, "blas_test",
                             "--gtest_filter=BlasTest.NamesItsKernel")
                self.assertIn(kernel.lower(), result.stdout.lower())

    def test_each_computes_right_and_repeats_its_bits(self):
        for kernel in KERNELS:
            self.expect_passes(kernel, "blas_test")

    def test_an_item_has_the_same_bits_alone_and_among_others(self):
        for kernel in KERNELS:
            self.expect_passes(kernel, "determinism_test")

    def test_results_stay_within_their_bounds(self):
        for kernel in KERNELS:
            self.expect_passes(kernel, "layer_test")
            self.expect_passes(kernel, "golden_test")


if __name__ == "__main__":
    unittest.main()
