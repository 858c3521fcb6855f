"""What becomes of calls and connections when the server is told to stop, and of
other signals.

ATTENTION_SERVER is the program; PYTHONPATH has the stubs.
"""

import contextlib
import os
import pathlib
import signal
import socket
import tempfile
import time
import unittest

import grpc

import http2
from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc
from server_process import PATIENCE, running_server

SERVER = os.environ["ATTENTION_SERVER"]
INFO = "/attention.v1.AttentionService/GetServerInfo"

# Longer than any test waits: what ends within PATIENCE did not wait for it.
FOR_EVER = "3600s"


def open_channel(address):
    """A channel with a connection of its own, which is never made anew."""
    return grpc.insecure_channel(
        address, options=[("grpc.use_local_subchannel_pool", 1),
                          ("grpc.enable_retries", 0)])


def ask(channel):
    return attention_pb2_grpc.AttentionServiceStub(channel).GetServerInfo(
        pb.GetServerInfoRequest(), timeout=PATIENCE)


def wait_until(condition):
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def is_refused(address):
    host, _, port = address.rpartition(":")
    with contextlib.suppress(ConnectionError):
        socket.create_connection((host, int(port)), PATIENCE).close()
        return False
    return True


def status_of(frames):
    """grpc-status of a call, as gRPC's trailers have it."""
    trailers = b"".join(payload for kind, _, _, payload in frames
                        if kind == http2.HEADERS)
    at = trailers.find(b"grpc-status")
    return trailers[at + 12:at + 13] if at >= 0 else None


class ShutdownTest(unittest.TestCase):

    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.log = pathlib.Path(folder) / "log"

    def start(self, *flags):
        return self.enterContext(
            running_server(SERVER, *flags, log_path=self.log))

    def assert_ends(self, process, *said):
        self.assertEqual(process.wait(PATIENCE), 0)
        log = self.log.read_text()
        for words in said:
            self.assertIn(words, log)

    def test_a_request_that_is_still_arriving_is_answered(self):
        address, process = self.start("--shutdown-grace", FOR_EVER)
        body = http2.message(b"")
        with http2.Connection(address) as connection:
            stream = connection.start(INFO)
            connection.data(stream, body[:3])
            # An answered ping tells that the call's headers have been read.
            connection.send(http2.frame(http2.PING, payload=b"12345678"))
            connection.read_until(
                lambda kind, flags, _: kind == http2.PING and flags)
            process.terminate()
            self.assertTrue(wait_until(lambda: is_refused(address)))
            time.sleep(0.5)  # the server has every chance to go
            connection.data(stream, body[3:], end=True)
            frames = connection.read_until(
                lambda kind, flags, of: of == stream
                and flags & http2.END_STREAM)
        self.assertEqual(status_of(frames), b"0", frames)
        self.assert_ends(process, "Terminated received")

    def test_connections_are_served_until_they_have_left(self):
        address, process = self.start("--drain-delay", FOR_EVER)
        with open_channel(address) as channel:
            ask(channel)
            process.terminate()
            self.assertTrue(wait_until(lambda: is_refused(address)))
            for _ in range(3):
                ask(channel)
            self.assertIsNone(process.poll())
        self.assert_ends(process, "every connection has left")

    def test_connections_leave_by_their_age(self):
        address, process = self.start("--drain-delay", FOR_EVER,
                                      "--max-connection-age", "1s")
        with open_channel(address) as channel:
            ask(channel)
            process.terminate()
            self.assert_ends(process, "every connection has left")

    def test_what_has_not_left_gets_the_grace(self):
        address, process = self.start("--drain-delay", "200ms")
        with open_channel(address) as channel:
            ask(channel)
            process.terminate()
            self.assert_ends(process,
                             "--drain-delay is over: 1 connections remain")

    def test_a_second_signal_ends_the_waiting(self):
        for flag in ("--drain-delay", "--shutdown-grace"):
            with self.subTest(flag), http2.Connection(
                    (started := self.start(flag, FOR_EVER))[0]) as connection:
                address, process = started
                connection.data(connection.start(INFO),
                                http2.message(b"")[:3])
                connection.send(http2.frame(http2.PING, payload=b"12345678"))
                connection.read_until(
                    lambda kind, flags, _: kind == http2.PING and flags)
                process.terminate()
                self.assertTrue(wait_until(lambda: is_refused(address)))
                process.terminate()
                self.assert_ends(process, "told to stop again")

    def test_other_signals_end_nothing(self):
        address, process = self.start()
        with open_channel(address) as channel:
            for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1,
                           signal.SIGUSR2, signal.SIGPIPE):
                process.send_signal(number)
                ask(channel)
        process.terminate()
        self.assert_ends(process)

    def test_a_log_that_nobody_reads_keeps_neither_calls_nor_the_end(self):
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        os.set_blocking(write, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(write, b"x" * 4096)
        os.set_blocking(write, True)
        with running_server(
                SERVER, "--log-level", "debug",
                preexec_fn=lambda: os.dup2(write, 2)) as (address, process):
            os.close(write)
            with open_channel(address) as channel:
                for _ in range(100):
                    ask(channel)
            process.terminate()
            self.assertEqual(process.wait(PATIENCE), 0)


if __name__ == "__main__":
    unittest.main()
