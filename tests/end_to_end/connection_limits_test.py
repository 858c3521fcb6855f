"""What one server allows connections, on the wire: pings, headers, streams, and
how long one may last.

ATTENTION_SERVER is the program; PYTHONPATH has the stubs.
"""

import os
import struct
import unittest

import grpc

import http2
from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc
from server_process import PATIENCE, running_server

SERVER = os.environ["ATTENTION_SERVER"]

KIB = 1 << 10


def settings_of(connection):
    """What the server tells of itself first."""
    *_, (_, _, _, payload) = connection.read_until(
        lambda kind, flags, _: kind == http2.SETTINGS and not flags)
    return dict(struct.iter_unpack(">HI", payload))


def pings(address, count):
    """The pings that come back of `count`, and what the server said at the end
    if it closed the connection."""
    answered, goodbye = 0, b""
    with http2.Connection(address) as connection:
        for i in range(count):
            # Where that fails, what the server said is still to be read.
            connection.send(http2.frame(
                http2.PING, payload=struct.pack(">Q", i)))
            frames = connection.read_until(
                lambda kind, flags, _: kind == http2.GOAWAY
                or kind == http2.PING and flags & http2.ACK)
            if not frames or frames[-1][0] == http2.GOAWAY:
                goodbye = frames[-1][3] if frames else b""
                break
            answered += 1
    return answered, goodbye


class ConnectionLimitsTest(unittest.TestCase):

    def serve(self, *flags):
        return self.enterContext(running_server(SERVER, *flags))[0]

    def ask(self, address, header_bytes):
        """Asks for the server's facts with a header so long."""
        with grpc.insecure_channel(address, options=[
                ("grpc.max_metadata_size", 1 << 20)]) as channel:
            return attention_pb2_grpc.AttentionServiceStub(
                channel).GetServerInfo(
                    pb.GetServerInfoRequest(), timeout=PATIENCE,
                    metadata=[("x-long", "x" * header_bytes)])

    def test_pings_without_calls_are_accepted_down_to_the_interval(self):
        self.assertEqual(
            pings(self.serve("--min-ping-interval", "1ms"), 1), (1, b""))
        # Each waits for the one before, but the clock of the server may stand.
        answered, goodbye = pings(self.serve("--min-ping-interval", "60min"), 10)
        self.assertLess(answered, 10)
        self.assertIn(b"too_many_pings", goodbye)

    def test_headers_may_be_as_long_as_the_limit_and_no_longer(self):
        address = self.serve()
        limits = self.ask(address, 62 * KIB).limits
        self.assertEqual(limits.max_header_bytes, 64 * KIB)
        with self.assertRaises(grpc.RpcError):
            self.ask(address, 66 * KIB)
        with self.assertRaises(grpc.RpcError):
            self.ask(self.serve("--max-header-bytes", "4KiB"), 5 * KIB)

    def test_a_client_is_told_of_headers_and_streams(self):
        with http2.Connection(self.serve()) as connection:
            told = settings_of(connection)
        self.assertEqual(told[http2.MAX_CONCURRENT_STREAMS], 1024)
        self.assertEqual(told[http2.MAX_HEADER_LIST_SIZE], 64 * KIB)
        address = self.serve("--max-streams-per-connection", "7")
        with http2.Connection(address) as connection:
            self.assertEqual(
                settings_of(connection)[http2.MAX_CONCURRENT_STREAMS], 7)

    def test_a_connection_that_says_nothing_is_closed(self):
        address = self.serve("--handshake-timeout", "100ms")
        with http2.Connection(address, greet=False) as connection:
            while connection.read() is not None:
                pass

    def assert_sent_away(self, address):
        """It is told to leave, and closed once it has answered."""
        with http2.Connection(address) as connection:
            kinds = [one[0] for one in connection.read_until(lambda *_: False)]
        self.assertIn(http2.GOAWAY, kinds)

    def test_an_idle_connection_is_closed(self):
        self.assert_sent_away(self.serve("--max-connection-idle", "100ms"))

    def test_an_old_connection_is_sent_away(self):
        self.assert_sent_away(self.serve("--max-connection-age", "100ms"))

    def test_a_call_outlives_the_age_of_its_connection(self):
        address = self.serve("--max-connection-age", "100ms")
        with grpc.insecure_channel(address) as channel:
            stream = attention_pb2_grpc.AttentionServiceStub(
                channel).StreamAttention(self.requests(address),
                                         timeout=PATIENCE)
            answers = [answer.id for answer in stream]
        self.assertEqual(answers, [1, 2])

    def requests(self, address):
        """Two, and between them the whole life of another connection, which is
        as old as the stream's."""
        query = pb.Tensor(dtype=pb.DATA_TYPE_FLOAT32, shape=[1, 1],
                          data=struct.pack("<f", 1))
        request = pb.ComputeAttentionRequest(query=query)
        yield pb.StreamAttentionRequest(id=1, request=request)
        for _ in range(3):
            self.assert_sent_away(address)
        yield pb.StreamAttentionRequest(id=2, request=request)

    def test_what_is_in_force_is_told(self):
        limits = self.ask(self.serve(
            "--max-connections", "12", "--max-header-bytes", "15KiB",
            "--max-streams-per-connection", "16", "--max-connection-age",
            "17s", "--max-connection-idle", "18s", "--handshake-timeout",
            "19s"), 1).limits
        self.assertEqual(limits.max_connections, 12)
        self.assertEqual(limits.max_header_bytes, 15 * KIB)
        self.assertEqual(limits.max_streams_per_connection, 16)
        self.assertEqual(limits.max_connection_age.seconds, 17)
        self.assertEqual(limits.max_connection_idle.seconds, 18)
        self.assertEqual(limits.handshake_timeout.seconds, 19)


if __name__ == "__main__":
    unittest.main()
