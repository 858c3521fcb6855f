"""What the server does about a matrix library with a fault.

tests/faulty_blas.c is put before OpenBLAS; ATTENTION_SERVER,
FAULTY_BLAS_LIBRARY and PYTHONPATH with the stubs come from ctest.
"""

import os
import pathlib
import subprocess
import unittest
import unittest.mock

import grpc

import server_process
from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc

SERVER = os.environ["ATTENTION_SERVER"]
LIBRARY = pathlib.Path(os.environ["FAULTY_BLAS_LIBRARY"])


def with_fault(fault):
    """The environment of a server whose library has this fault, with the kernel
    that the library chooses, whatever the caller's environment says."""
    environment = {name: value for name, value in os.environ.items()
                   if name != "OPENBLAS_CORETYPE"}
    # LD_PRELOAD ends a path at a space; a name is looked for in whole folders.
    environment |= {"LD_PRELOAD": LIBRARY.name,
                    "LD_LIBRARY_PATH": str(LIBRARY.parent),
                    "FAULTY_BLAS": fault}
    return unittest.mock.patch.dict(os.environ, environment, clear=True)


def blas_of_server_with(fault):
    with with_fault(fault), server_process.running_server(SERVER) as (
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

    def test_without_a_fault_the_kernel_stays_and_repeats(self):
        blas = blas_of_server_with("none")
        self.assertFalse(blas.fell_back)
        self.assertTrue(blas.deterministic)
        self.assertEqual(blas.not_deterministic_because, "")

    def test_a_kernel_that_is_wrong_gives_way_to_haswell(self):
        for fault in ("kernel", "crash"):
            with self.subTest(fault=fault):
                blas = blas_of_server_with(fault)
                self.assertTrue(blas.fell_back)
                self.assertEqual(blas.kernel, "Haswell")
                self.assertTrue(blas.deterministic)

    def test_a_library_that_is_always_wrong_is_refused(self):
        code, said = refusal_of_server_with("always")
        self.assertEqual(code, 1)
        self.assertIn("self-test of OpenBLAS failed with kernel Haswell", said)
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
