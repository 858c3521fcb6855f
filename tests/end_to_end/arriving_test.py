"""What a connection may have sent that belongs to no complete call.

ATTENTION_SERVER and ATTENTION_CLI are the programs.
"""

import json
import os
import subprocess
import time
import unittest

from http2 import (CANCEL, CONTINUATION, HEADERS, RESET, Connection,
                   call_headers, frame, header, message)
from server_process import PATIENCE, running_server

SERVER = os.environ["ATTENTION_SERVER"]
CLI = os.environ["ATTENTION_CLI"]
COMPUTE = "/attention.v1.AttentionService/ComputeAttention"
MIB = 1 << 20


def memory(address):
    done = subprocess.run(
        [CLI, "info", "--json", "--target", address], capture_output=True,
        text=True, timeout=PATIENCE, check=True)
    return {name: int(value) for name, value in
            json.loads(done.stdout)["memory"].items()}


def half_send(connection, method, sent, length):
    """A call of which `sent` bytes of a message of `length` come."""
    stream = connection.start(method)
    connection.data(stream, message(b"x" * sent, length))
    return stream


def wait_until(condition):
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            return False
    return True


class ArrivingTest(unittest.TestCase):

    def start(self, *flags):
        return self.enterContext(running_server(SERVER, *flags))[0]

    def connect(self, address):
        return self.enterContext(Connection(address))

    def assert_ended(self, connection):
        self.assertTrue(connection.wait_until_closed(PATIENCE))

    def test_half_sent_message_is_in_the_ledger_and_ended_when_it_stands_still(
            self):
        address = self.start("--receive-idle", "4s")
        before = memory(address)
        connection = self.connect(address)
        half_send(connection, COMPUTE, 4 * MIB, 8 * MIB)
        self.assertTrue(wait_until(
            lambda: memory(address).get("arriving", 0) > 3 * MIB))
        self.assert_ended(connection)
        self.assertEqual(memory(address).get("held", 0), before.get("held", 0))

    def test_one_that_is_not_half_sent_is_not_ended(self):
        address = self.start("--receive-idle", "200ms")
        connection = self.connect(address)
        half_send(connection, COMPUTE, 100_000, MIB)
        self.assertFalse(connection.wait_until_closed(2))

    def test_more_than_may_arrive_ends_the_connection(self):
        address = self.start("--max-arriving-bytes", "1MiB")
        connection = self.connect(address)
        half_send(connection, COMPUTE, 16 * MIB, 32 * MIB)
        self.assert_ended(connection)
        self.assertEqual(memory(address).get("arriving", 0), 0)

    def test_headers_without_an_end_are_ended(self):
        address = self.start("--max-arriving-bytes", "1MiB")
        connection = self.connect(address)
        connection.send(frame(HEADERS, 0, 1, call_headers(COMPUTE)))
        filler = b"".join(header(f"x-{i}", "y" * 1000) for i in range(15))
        for _ in range(4096):
            if not connection.send(frame(CONTINUATION, 0, 1, filler)):
                break
        self.assert_ended(connection)

    def test_calls_that_end_early_are_forgotten(self):
        # A client that gives up in the middle of a message, again and again, on
        # a connection that others use.
        address = self.start("--max-arriving-bytes", "4MiB",
                             "--receive-idle", "1s")
        connection = self.connect(address)
        for _ in range(10):
            stream = half_send(connection, COMPUTE, MIB, 2 * MIB)
            connection.send(frame(RESET, 0, stream, CANCEL))
        self.assertFalse(connection.wait_until_closed(4))


if __name__ == "__main__":
    unittest.main()
