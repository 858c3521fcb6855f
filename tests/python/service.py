"""What the Python tests share: a server of their own, and tensors of numpy."""

import contextlib
import os
import pathlib
import subprocess
import tempfile
import time
import unittest

import grpc
import numpy as np

from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc
from google.rpc import error_details_pb2, status_pb2

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

DTYPES = {
    np.dtype(np.float32): pb.DATA_TYPE_FLOAT32,
    np.dtype(np.float64): pb.DATA_TYPE_FLOAT64,
    np.dtype(np.float16): pb.DATA_TYPE_FLOAT16,
    np.dtype(bool): pb.DATA_TYPE_BOOL,
}
NUMPY = {wire: dtype for dtype, wire in DTYPES.items()}

# How long to wait for what takes milliseconds, on a machine that is busy.
PATIENCE = 60


def tensor(array):
    """A numpy array as it goes over the wire: its own bytes."""
    array = np.ascontiguousarray(array)
    return pb.Tensor(
        dtype=DTYPES[array.dtype], shape=array.shape, data=array.tobytes())


def array(tensor):
    """A tensor of the wire as a numpy array."""
    dtype = NUMPY[tensor.dtype]
    if tensor.values:
        return np.array(tensor.values, dtype=dtype).reshape(tensor.shape)
    return np.frombuffer(tensor.data, dtype=dtype).reshape(tensor.shape)


@contextlib.contextmanager
def running_server(*flags):
    """Starts the server on a free loopback port; yields (address, process)."""
    # Settings of whoever runs the tests are not the tests'.
    environment = {
        name: value for name, value in os.environ.items()
        if not name.startswith("ATTENTION_")}
    with tempfile.TemporaryDirectory() as scratch:
        port_file = pathlib.Path(scratch) / "port"
        log_path = pathlib.Path(scratch) / "log"
        with open(log_path, "w") as log:
            process = subprocess.Popen(
                [os.environ["ATTENTION_SERVER"], "--listen", "127.0.0.1:0",
                 "--port-file", str(port_file), *flags],
                stdout=log, stderr=log, env=environment)
        try:
            waited_until = time.monotonic() + PATIENCE
            while not (port_file.exists() and port_file.read_text().strip()):
                if process.poll() is not None or time.monotonic() > waited_until:
                    raise AssertionError(
                        "no server:\n" + log_path.read_text())
                time.sleep(0.02)
            yield f"127.0.0.1:{port_file.read_text().strip()}", process
            if process.poll() not in (None, 0):
                raise AssertionError("server ended:\n" + log_path.read_text())
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(PATIENCE)


def channel(address, max_receive_bytes=-1):
    """A channel; -1 lifts gRPC's limit of 4 MiB on what a client receives."""
    return grpc.insecure_channel(
        address, options=[
            ("grpc.max_receive_message_length", max_receive_bytes),
            ("grpc.max_send_message_length", -1)])


def violations(error):
    """The (field, description) pairs of an error's BadRequest detail."""
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        status = status_pb2.Status.FromString(value)
        assert status.code == error.code().value[0]
        assert status.message == error.details()
        for detail in status.details:
            bad_request = error_details_pb2.BadRequest()
            if detail.Unpack(bad_request):
                return [(v.field, v.description)
                        for v in bad_request.field_violations]
    return []


class ServiceTest(unittest.TestCase):
    """Tests that share one server of their class."""

    SERVER_FLAGS = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.address, cls.process = cls.enterClassContext(
            running_server(*cls.SERVER_FLAGS))
        cls.channel = cls.enterClassContext(channel(cls.address))
        cls.stub = attention_pb2_grpc.AttentionServiceStub(cls.channel)

    def refused(self, code, call, request, **arguments):
        """Makes a call that must fail with `code`; returns the error."""
        with self.assertRaises(grpc.RpcError) as raised:
            response = call(request, timeout=PATIENCE, **arguments)
            if not hasattr(response, "SerializeToString"):
                list(response)  # a stream fails when it is read
        error = raised.exception
        self.assertEqual(error.code(), code, error.details())
        return error
