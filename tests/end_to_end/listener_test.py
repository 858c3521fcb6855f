"""Where the server listens, and what more connections than it can have do to it.

ATTENTION_SERVER and ATTENTION_CLI are the programs.
"""

import contextlib
import os
import pathlib
import resource
import socket
import subprocess
import tempfile
import unittest

import certificates
from server_process import PATIENCE, last_words, running_server

SERVER = os.environ["ATTENTION_SERVER"]
CLI = os.environ["ATTENTION_CLI"]

# So few open files that connections take all of them: the bursts are longer.
DESCRIPTORS, BURST, BURSTS = 64, 120, 5


def only_so_many_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


def connect(address):
    """An idle connection, or None if it is refused."""
    is_unix = address.startswith("unix:")
    one = socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET)
    one.settimeout(PATIENCE)
    try:
        if is_unix:
            one.connect(address.removeprefix("unix:"))
        else:
            host, _, port = address.rpartition(":")
            one.connect((host, int(port)))
    except OSError:
        one.close()
        return None
    return one


def is_closed(connection):
    """Whether the server has closed it; it has at once, or does not."""
    connection.settimeout(0.05)
    try:
        while connection.recv(1 << 16):  # its settings
            pass
    except TimeoutError:
        return False
    return True


class ListenerTest(unittest.TestCase):

    def setUp(self):
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory()))

    def health(self, target, *flags, wait="30s"):
        return subprocess.run(
            [CLI, "health", "--target", target, "--wait", wait, *flags],
            capture_output=True, text=True, timeout=PATIENCE)

    def assert_serving(self, *arguments):
        done = self.health(*arguments)
        self.assertEqual((done.returncode, done.stdout), (0, "SERVING\n"),
                         done.stderr)

    def burst(self, address):
        with contextlib.ExitStack() as open_ones:
            for _ in range(BURST):
                one = connect(address)
                self.assertIsNotNone(one)
                open_ones.enter_context(one)

    def check_bursts(self, address, *flags):
        for _ in range(BURSTS):
            self.burst(address)
            self.assert_serving(address, *flags)

    def test_a_burst_of_connections_does_not_silence_it(self):
        path = f"unix:{self.folder}/socket"
        with running_server(SERVER, "--listen", path,
                            preexec_fn=only_so_many_descriptors) as (tcp, _):
            self.check_bursts(tcp)
            self.check_bursts(path)

    def test_nor_does_it_with_tls(self):
        authority = certificates.Authority(self.folder)
        cert, key = authority.issue("server", ["127.0.0.1"])
        with running_server(SERVER, "--tls-cert", cert, "--tls-key", key,
                            preexec_fn=only_so_many_descriptors) as (tcp, _):
            self.check_bursts(tcp, "--tls-ca", authority.ca)

    def test_a_call_is_answered_while_others_hold_all_connections(self):
        log = self.folder / "log"
        with running_server(SERVER, "--max-connections", "10",
                            log_path=log) as (tcp, _), \
                contextlib.ExitStack() as open_ones:
            held = [open_ones.enter_context(connect(tcp)) for _ in range(10)]
            self.assert_serving(tcp)
            self.assertEqual(sum(map(is_closed, held)), 1)
        self.assertIn("--max-connections 10 were open and others came: closed 1",
                      log.read_text())

    def test_every_address_is_served(self):
        path = f"unix:{self.folder}/socket:70000"  # which is no port
        with running_server(SERVER, "--listen", f"{path},[::1]:0") as (tcp, _):
            self.assert_serving(tcp)
            self.assert_serving(path)
            self.assertEqual(
                (self.folder / "socket:70000").stat().st_mode & 0o777, 0o600)
        self.assertEqual(list(self.folder.iterdir()), [])

    def refused(self, *flags, **arguments):
        done = subprocess.run(
            [SERVER, "--store", "memory", *flags], capture_output=True,
            text=True, timeout=PATIENCE, **arguments)
        self.assertNotEqual(done.returncode, 0)
        (said,) = last_words(done.stderr)
        return said

    def test_what_it_cannot_listen_on_is_named(self):
        path = f"unix:{self.folder}/socket"
        with running_server(SERVER, "--listen", path) as (tcp, _):
            for address in (tcp, path):
                self.assertIn(f"cannot listen on {address}: another process "
                              "listens there",
                              self.refused("--listen", address))
        self.assertIn("there are Unix sockets only",
                      self.refused("--listen", path, "--port-file", "port"))
        self.assertIn(
            "--max-connections 1000 takes 2040 open files and this process may "
            "have 64; raise that limit",
            self.refused("--listen", "127.0.0.1:0", "--max-connections", "1000",
                         preexec_fn=only_so_many_descriptors))


if __name__ == "__main__":
    unittest.main()
