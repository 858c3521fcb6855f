"""What is told before the matrix library has been tested, and what waits for it.

tests/support/faulty_blas.c is put before OpenBLAS, so that its self-test waits;
ATTENTION_SERVER, FAULTY_BLAS_LIBRARY and PYTHONPATH with the stubs come from
ctest.
"""

import contextlib
import os
import pathlib
import subprocess
import tempfile
import time
import unittest

import grpc

from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc
from server_process import PATIENCE, last_words, running_server

SERVER = os.environ["ATTENTION_SERVER"]
LIBRARY = pathlib.Path(os.environ["FAULTY_BLAS_LIBRARY"])


def wait_until(condition):
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


class StartTest(unittest.TestCase):

    def setUp(self):
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory()))
        self.gate = self.folder / "gate"
        self.environment = {
            name: value for name, value in os.environ.items()
            if not name.startswith(("ATTENTION_", "OPENBLAS_"))} | {
                "LD_PRELOAD": LIBRARY.name,
                "LD_LIBRARY_PATH": str(LIBRARY.parent),
                "FAULTY_BLAS": "gate", "FAULTY_BLAS_GATE": str(self.gate)}

    @contextlib.contextmanager
    def starting(self, *flags):
        """A server whose self-test lasts until the gate is opened."""
        self.gate.unlink(missing_ok=True)
        process = subprocess.Popen(
            [SERVER, *flags], env=self.environment, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            yield process
        finally:
            self.gate.touch()  # for the child that tests, too
            process.terminate()
            process.communicate()

    def assert_refused(self, words, *flags):
        with self.starting(*flags) as process:
            _, said = process.communicate(timeout=PATIENCE)
            self.assertFalse(self.gate.exists())
        self.assertEqual(process.returncode, 1)
        self.assertIn(words, "".join(last_words(said)))

    def test_what_is_taken_is_told_before_the_library_is_tested(self):
        store = f"sqlite:{self.folder}/weights.db"
        with running_server(SERVER, "--store", store) as (address, process):
            self.assert_refused(
                f"cannot listen on {address}: another process listens there",
                "--store", "memory", "--listen", address)
            self.assert_refused(
                f"--store {store}: another server (process {process.pid}) holds",
                "--store", store, "--listen", "127.0.0.1:0")
        self.assert_refused("the folder /nowhere does not exist",
                            "--store", "sqlite:/nowhere/weights.db",
                            "--listen", "127.0.0.1:0")

    def test_calls_wait_in_the_backlog_and_are_served(self):
        path, port_file = self.folder / "socket", self.folder / "port"
        with self.starting("--store", f"sqlite:{self.folder}/weights.db",
                           "--listen", f"unix:{path},127.0.0.1:0",
                           "--port-file", str(port_file)):
            self.assertTrue(wait_until(path.exists))
            with grpc.insecure_channel(f"unix:{path}") as channel:
                call = attention_pb2_grpc.AttentionServiceStub(
                    channel).GetServerInfo.future(
                        pb.GetServerInfoRequest(), timeout=PATIENCE,
                        wait_for_ready=True)
                with self.assertRaises(grpc.FutureTimeoutError):
                    call.result(timeout=0.5)
                self.assertFalse(port_file.exists(), "it is not ready yet")
                self.gate.touch()
                self.assertNotEqual(call.result(timeout=PATIENCE).version, "")
                self.assertTrue(wait_until(port_file.exists))

    def test_the_child_that_tests_has_none_of_it(self):
        path = self.folder / "socket"
        with self.starting("--store", f"sqlite:{self.folder}/weights.db",
                           "--listen", f"unix:{path}") as process:
            children = pathlib.Path(
                f"/proc/{process.pid}/task/{process.pid}/children")
            self.assertTrue(wait_until(lambda: children.read_text().split()))
            child = children.read_text().split()[0]
            process.kill()
            process.wait()
            held = [os.readlink(f"/proc/{child}/fd/{fd}")
                    for fd in os.listdir(f"/proc/{child}/fd")]
        self.assertEqual([name for name in held if name.startswith("socket")
                          or name.endswith(".lock")], [])


if __name__ == "__main__":
    unittest.main()
