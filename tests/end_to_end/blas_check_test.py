"""What the server does about a matrix library with a fault.

tests/support/faulty_blas.c is put before OpenBLAS; ATTENTION_SERVER,
FAULTY_BLAS_LIBRARY and PYTHONPATH with the stubs come from ctest.
"""

import os
import pathlib
import subprocess
import tempfile
import unittest
import unittest.mock

import grpc

import blas_kernels
import server_process
from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc

SERVER = os.environ["ATTENTION_SERVER"]
LIBRARY = pathlib.Path(os.environ["FAULTY_BLAS_LIBRARY"])


# What the server tries of a library that does not know the processor.
ORDER = [kernel for kernel in ("SkylakeX", "Haswell", "Prescott")
         if kernel in blas_kernels.that_run()]


def with_fault(fault, kernel=None):
    """The environment of a server whose library has this fault, with the kernel
    that the library chooses unless one is named, whatever the caller's
    environment says."""
    environment = {name: value for name, value in os.environ.items()
                   if name != "OPENBLAS_CORETYPE"}
    # LD_PRELOAD ends a path at a space; a name is looked for in whole folders.
    environment |= {"LD_PRELOAD": LIBRARY.name,
                    "LD_LIBRARY_PATH": str(LIBRARY.parent),
                    "FAULTY_BLAS": fault}
    if kernel is not None:
        environment["OPENBLAS_CORETYPE"] = kernel
    return unittest.mock.patch.dict(os.environ, environment, clear=True)


def blas_of_server_with(fault, kernel=None, log_path=None):
    with with_fault(fault, kernel), server_process.running_server(
            SERVER, log_path=log_path) as (
                address, _), grpc.insecure_channel(address) as channel:
        return attention_pb2_grpc.AttentionServiceStub(channel).GetServerInfo(
            pb.GetServerInfoRequest(), timeout=server_process.PATIENCE).blas


def refusal_of_server_with(fault):
    with with_fault(fault):
        done = subprocess.run(
            [SERVER, "--listen", "127.0.0.1:0", "--store", "memory"],
            capture_output=True, text=True, timeout=server_process.PATIENCE)
    return done.returncode, done.stderr


class BlasCheckTest(unittest.TestCase):

    def test_a_kernel_that_the_processor_deserves_stays_and_repeats(self):
        for kernel in ORDER[:-1]:
            with self.subTest(kernel=kernel):
                blas = blas_of_server_with("none", kernel)
                self.assertEqual(blas.kernel, kernel)
                self.assertEqual(blas.library_kernel, kernel)
                self.assertEqual(blas.kernel_because,
                                 f"OPENBLAS_CORETYPE is {kernel}")
                self.assertFalse(blas.fell_back)
                self.assertTrue(blas.deterministic)
                self.assertEqual(blas.not_deterministic_because, "")

    def test_a_library_that_does_not_know_the_processor_is_told(self):
        with tempfile.TemporaryDirectory() as scratch:
            log = pathlib.Path(scratch) / "log"
            blas = blas_of_server_with("old", log_path=log)
            said = log.read_text()
        self.assertEqual(blas.library_kernel, "Prescott")
        self.assertEqual(blas.kernel, ORDER[0])
        self.assertFalse(blas.fell_back)
        if len(ORDER) > 1:
            self.assertTrue(blas.deterministic)
            self.assertRegex(
                blas.kernel_because,
                "^the processor has AVX.*, of which Prescott, the library's "
                "choice, makes no use$")
        self.assertIn(f" info OpenBLAS took its kernel Prescott and runs {ORDER[0]}:"
                      f" {blas.kernel_because}\n", said)

    def test_an_operator_may_ask_for_any_kernel(self):
        blas = blas_of_server_with("old", "Nehalem")
        self.assertEqual(blas.library_kernel, "Nehalem")
        self.assertEqual(blas.kernel, "Nehalem")
        self.assertEqual(blas.kernel_because, "OPENBLAS_CORETYPE is Nehalem")

    def test_a_wish_for_what_the_library_lacks_is_told_and_is_none(self):
        with_wish, without = (blas_of_server_with("old", kernel)
                              for kernel in ("Hasswell", None))
        self.assertEqual(with_wish.kernel, without.kernel)
        self.assertTrue(with_wish.kernel_because.startswith(
            "OPENBLAS_CORETYPE is Hasswell, which the library does not have; "))

    def test_tests_run_on_the_kernel_that_the_server_takes(self):
        with with_fault("old"):
            done = subprocess.run(
                [os.environ["BLAS_TEST"], "--gtest_filter=*RepeatsItsBits"],
                capture_output=True, text=True, timeout=server_process.PATIENCE)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn(f"OpenBLAS kernel {ORDER[0]}, vector target", done.stdout)
        self.assertIn("OpenBLAS took its kernel Prescott", done.stderr)

    def test_the_self_test_counts_whoever_started_the_server(self):
        # What ends is not waited for where SIGCHLD is ignored, which a program
        # hands on to those it starts.
        with with_fault("always"):
            done = subprocess.run(
                ["/bin/sh", "-c", "trap '' CHLD; exec \"$0\" --store memory "
                 "--listen 127.0.0.1:0", SERVER], capture_output=True,
                text=True, timeout=server_process.PATIENCE)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no kernel of OpenBLAS computes right", done.stderr)

    def test_an_empty_wish_is_none(self):
        # OpenBLAS 0.3.21 takes Cooperlake by it, on any processor.
        wished, none = (blas_of_server_with("none", kernel)
                        for kernel in ("", None))
        self.assertEqual(wished, none)

    def test_the_next_in_order_takes_the_place_of_those_that_are_wrong(self):
        for place in range(1, len(ORDER)):
            wrong = ORDER[:place]
            with self.subTest(wrong=wrong):
                blas = blas_of_server_with(",".join(["old", *wrong]).lower())
                self.assertEqual(blas.library_kernel, "Prescott")
                self.assertEqual(blas.kernel, ORDER[place])
                self.assertTrue(blas.fell_back)
                for kernel in wrong:
                    self.assertRegex(
                        blas.kernel_because,
                        f"; {kernel} failed its self-test: .* wrongly")

    def test_a_kernel_that_is_wrong_gives_way_to_haswell(self):
        self.assertIn("Haswell", ORDER)
        for fault in ("kernel", "crash"):
            with self.subTest(fault=fault):
                # Whatever the library takes of itself; Haswell may be that.
                blas = blas_of_server_with(f"old,{fault}")
                self.assertTrue(blas.fell_back)
                self.assertEqual(blas.kernel, "Haswell")
                self.assertTrue(blas.deterministic)

    def test_a_library_that_is_always_wrong_is_refused(self):
        code, said = refusal_of_server_with("always")
        self.assertEqual(code, 1)
        self.assertIn("no kernel of OpenBLAS computes right: ", said)
        self.assertIn("; Haswell failed its self-test: ", said)
        self.assertIn("install another build of the package "
                      "libopenblas0-pthread", said)

    def test_the_serial_flavour_is_refused(self):
        code, said = refusal_of_server_with("serial")
        self.assertEqual(code, 1)
        self.assertIn("serial flavour", said)
        self.assertIn("install libopenblas0-pthread", said)

    def test_bits_that_do_not_repeat_are_reported_with_the_reason(self):
        blas = blas_of_server_with("drift")
        self.assertFalse(blas.fell_back)
        self.assertFalse(blas.deterministic)
        self.assertRegex(blas.not_deterministic_because,
                         r"rounds the product of float \[\d+, \d+\] by "
                         r"\[\d+, \d+\].* differently at another address")


if __name__ == "__main__":
    unittest.main()
