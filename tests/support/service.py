"""What the Python tests share: a server of their own, and tensors of numpy."""

import os
import pathlib
import unittest

import grpc
import numpy as np

import server_process
from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc
from google.rpc import error_details_pb2, status_pb2
from server_process import PATIENCE

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

DTYPES = {
    np.dtype(np.float32): pb.DATA_TYPE_FLOAT32,
    np.dtype(np.float64): pb.DATA_TYPE_FLOAT64,
    np.dtype(np.float16): pb.DATA_TYPE_FLOAT16,
    np.dtype(bool): pb.DATA_TYPE_BOOL,
}
NUMPY = {wire: dtype for dtype, wire in DTYPES.items()}


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


def running_server(*flags, **arguments):
    """Starts the server on a free loopback port; yields (address, process)."""
    return server_process.running_server(
        os.environ["ATTENTION_SERVER"], *flags, **arguments)


def channel(address, max_receive_bytes=-1, ca=None):
    """A channel with a connection of its own; -1 lifts gRPC's limit of 4 MiB on
    what a client receives. `ca` is the file of an authority: with TLS."""
    options = [("grpc.max_receive_message_length", max_receive_bytes),
               ("grpc.max_send_message_length", -1),
               ("grpc.use_local_subchannel_pool", 1)]
    if ca is None:
        return grpc.insecure_channel(address, options=options)
    return grpc.secure_channel(
        address, grpc.ssl_channel_credentials(pathlib.Path(ca).read_bytes()),
        options=options)


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
