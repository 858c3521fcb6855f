"""TLS and mutual TLS: who may meet whom, and what is said to the others.

Servers, the attention command and a client in Python, with certificates that are
made here. ATTENTION_SERVER and ATTENTION_CLI are the programs.
"""

import datetime
import os
import pathlib
import re
import subprocess
import tempfile
import unittest
from concurrent import futures

import grpc
from cryptography.hazmat.primitives.asymmetric import rsa

from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc
from certificates import DAY, Authority, write_key
from server_process import PATIENCE, last_words, running_server

SERVER = os.environ["ATTENTION_SERVER"]
CLI = os.environ["ATTENTION_CLI"]

OK, REFUSED_FILE, NO_ANSWER = 0, 2, 3


def clean_environment(**additions):
    return {name: value for name, value in os.environ.items()
            if not name.startswith("ATTENTION_")} | additions


def run(program, *arguments, **environment):
    """(exit code, standard output, standard error)."""
    done = subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True,
        timeout=PATIENCE, env=clean_environment(**environment))
    return done.returncode, done.stdout, done.stderr


class TlsCase(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Each path that is shown has a space in it.
        cls.folder = pathlib.Path(cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="attention tls ")))
        cls.authority = Authority(cls.folder)
        cls.stranger = Authority(cls.folder, "stranger")
        cls.cert, cls.key = cls.authority.issue("server", ["127.0.0.1"])


class MeetingTest(TlsCase):
    """A server and clients, with and without TLS."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        identity = ("--tls-cert", cls.cert, "--tls-key", cls.key)
        cls.mine = cls.authority.issue("client")
        cls.plain, _ = cls.enterClassContext(running_server(SERVER))
        cls.tls, _ = cls.enterClassContext(running_server(SERVER, *identity))
        cls.mutual, _ = cls.enterClassContext(running_server(
            SERVER, *identity, "--tls-client-ca", cls.authority.ca))

    def health(self, address, *flags, **environment):
        return run(CLI, "health", "--target", address, "--deadline", PATIENCE,
                   *flags, **environment)

    def assert_served(self, answer):
        self.assertEqual(answer, (OK, "SERVING\n", ""))

    def assert_no_answer(self, answer, *words):
        code, output, error = answer
        self.assertEqual((code, output, error.count("\n")), (NO_ANSWER, "", 1),
                         error)
        for word in words:
            self.assertIn(word, error)
        self.assertNotIn("is a server running", error)

    def test_a_client_that_knows_the_authority_is_served(self):
        self.assert_served(self.health(self.tls, "--tls-ca", self.authority.ca))

    def test_a_client_with_a_certificate_is_served_where_one_is_asked_for(self):
        cert, key = self.mine
        flags = ("--tls-ca", self.authority.ca, "--tls-cert", cert, "--tls-key",
                 key)
        self.assert_served(self.health(self.mutual, *flags))
        # And where none is.
        self.assert_served(self.health(self.tls, *flags))

    def test_the_environment_says_the_same(self):
        cert, key = map(str, self.mine)
        settings = {"ATTENTION_TLS_CA": str(self.authority.ca),
                    "ATTENTION_TLS_CLIENT_CERT": cert,
                    "ATTENTION_TLS_CLIENT_KEY": key}
        self.assert_served(self.health(self.mutual, **settings))
        # Those of a server in the same environment are the server's.
        self.assert_no_answer(
            self.health(
                self.mutual, ATTENTION_TLS_CA=str(self.authority.ca),
                ATTENTION_TLS_CERT=cert, ATTENTION_TLS_KEY=key),
            "client certificate")

    def test_a_plain_client_is_told_to_speak_tls(self):
        for address in (self.tls, self.mutual):
            self.assert_no_answer(
                self.health(address), "does it speak TLS", "--tls-ca")

    def test_a_tls_client_is_told_that_the_server_is_plain(self):
        for flags in (("--tls",), ("--tls-ca", self.authority.ca),
                      ("--tls-server-name", "a.example")):
            self.assert_no_answer(
                self.health(self.plain, *flags),
                "the server does not speak TLS", "leave out the --tls flags")

    def test_a_server_of_an_unknown_authority_is_not_trusted(self):
        for flags in (("--tls",), ("--tls-ca", self.stranger.ca)):
            self.assert_no_answer(
                self.health(self.tls, *flags), "not from an authority",
                "--tls-ca")

    def test_a_client_without_certificate_is_refused(self):
        self.assert_no_answer(
            self.health(self.mutual, "--tls-ca", self.authority.ca),
            "does it want a client certificate", "--tls-cert and --tls-key")

    def test_a_client_of_another_authority_is_refused(self):
        cert, key = self.stranger.issue("client of a stranger")
        self.assert_no_answer(
            self.health(self.mutual, "--tls-ca", self.authority.ca,
                        "--tls-cert", cert, "--tls-key", key),
            "one from another authority")

    def test_a_name_must_be_the_certificates(self):
        port = self.tls.rpartition(":")[2]
        ca = ("--tls-ca", self.authority.ca)
        self.assert_no_answer(
            self.health(f"localhost:{port}", *ca),
            "the server's certificate is for another name",
            "--tls-server-name")
        self.assert_served(self.health(
            f"localhost:{port}", *ca, "--tls-server-name", "127.0.0.1"))
        self.assert_no_answer(
            self.health(self.tls, *ca, "--tls-server-name", "a.example"),
            "is for another name")

    def test_every_command_speaks_tls(self):
        cert, key = self.mine
        code, output, error = run(
            CLI, "demo", "--target", self.mutual, "--tls-ca", self.authority.ca,
            "--tls-cert", cert, "--tls-key", key)
        self.assertEqual((code, error), (OK, ""))
        self.assertIn("as expected", output)

    def python_client(self, address, **pem):
        channel = self.enterContext(grpc.secure_channel(
            address, grpc.ssl_channel_credentials(**pem)))
        stub = attention_pb2_grpc.AttentionServiceStub(channel)
        return stub.ComputeAttention(
            pb.ComputeAttentionRequest(query=pb.Tensor(
                dtype=pb.DATA_TYPE_FLOAT32, shape=[1, 2], values=[3, 4])),
            timeout=PATIENCE)

    def test_a_client_in_python_is_served(self):
        ca = self.authority.ca.read_bytes()
        cert, key = (path.read_bytes() for path in self.mine)
        for address, pem in (
            (self.tls, {"root_certificates": ca}),
            (self.mutual, {"root_certificates": ca, "private_key": key,
                           "certificate_chain": cert})):
            reply = self.python_client(address, **pem)
            self.assertEqual(list(reply.output.values), [3, 4])

    def test_a_client_in_python_without_certificate_is_refused(self):
        with self.assertRaises(grpc.RpcError) as raised:
            self.python_client(
                self.mutual, root_certificates=self.authority.ca.read_bytes())
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNAVAILABLE)

    def test_a_certificate_that_has_expired_since_is_not_trusted(self):
        # This project's server would not start with it.
        cert, key = self.authority.issue("expired", ["127.0.0.1"], -2 * DAY,
                                         -DAY)
        other = grpc.server(futures.ThreadPoolExecutor(1))
        port = other.add_secure_port(
            "127.0.0.1:0", grpc.ssl_server_credentials(
                [(key.read_bytes(), cert.read_bytes())]))
        other.start()
        self.addCleanup(lambda: other.stop(0).wait())
        self.assert_no_answer(
            self.health(f"127.0.0.1:{port}", "--tls-ca", self.authority.ca),
            "is not valid now")


class StartTest(TlsCase):
    """What a server, and a client, says of files and flags it cannot use."""

    def start(self, *flags, listen="127.0.0.1:0"):
        return run(SERVER, "--listen", listen, "--store", "memory", *flags)

    def assert_does_not_start(self, words, *flags, code=1, **arguments):
        found, output, error = self.start(*flags, **arguments)
        self.assertEqual((found, output), (code, ""), error)
        told = last_words(error)
        self.assertEqual(len(told), 1, error)
        self.assertRegex(told[0], words)

    def assert_identity_refused(self, words, cert, key):
        """By the server, and for the same reason by the client."""
        self.assert_does_not_start(words, "--tls-cert", cert, "--tls-key", key)
        code, output, error = run(
            CLI, "health", "--tls-cert", cert, "--tls-key", key)
        self.assertEqual((code, output, error.count("\n")),
                         (REFUSED_FILE, "", 1))
        self.assertRegex(error, words)

    def test_files_that_cannot_be_read_are_named(self):
        for path, why in ((self.folder / "absent.pem", "No such file"),
                          (self.folder, "Is a directory"),
                          ("/dev/zero", "more than 4 MiB")):
            name = re.escape(str(path))
            self.assert_identity_refused(
                f"certificate file {name} .*{why}", path, self.key)
            self.assert_identity_refused(
                f"key file {name} .*{why}", self.cert, path)
            self.assert_does_not_start(
                f"certificate file {name} .*{why}", "--tls-cert", self.cert,
                "--tls-key", self.key, "--tls-client-ca", path)

    def test_files_of_another_kind_are_named(self):
        self.assert_identity_refused(
            "server.key has no certificate", self.key, self.key)
        self.assert_identity_refused(
            "server.pem has no private key", self.cert, self.cert)
        damaged = self.folder / "damaged.pem"
        whole = self.cert.read_text()
        damaged.write_text(whole.replace("MI", "!!", 1))
        self.assert_identity_refused(
            "damaged.pem is damaged", damaged, self.key)
        # A chain whose second certificate is cut off.
        damaged.write_text(whole + whole[:len(whole) // 2])
        self.assert_identity_refused(
            "damaged.pem is damaged", damaged, self.key)

    def test_the_key_of_another_certificate_is_refused(self):
        _, other = self.authority.issue("other")
        self.assert_identity_refused(
            "other.key does not belong to the certificate in .*server.pem",
            self.cert, other)

    def test_an_encrypted_key_is_refused(self):
        path = self.folder / "encrypted.key"
        key = rsa.generate_private_key(65537, 2048)
        cert, _ = self.authority.issue("encrypted", key=key)
        write_key(path, key, b"secret")
        self.assert_identity_refused("encrypted.key is encrypted", cert, path)

    def test_a_certificate_out_of_its_time_is_refused(self):
        cert, key = self.authority.issue("past", ["127.0.0.1"], -2 * DAY, -DAY)
        self.assert_identity_refused(
            r"past.pem expired on \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", cert,
            key)
        cert, key = self.authority.issue("future", ["127.0.0.1"], DAY, 2 * DAY)
        self.assert_identity_refused("future.pem is not valid before", cert,
                                     key)

    def test_of_a_chain_every_certificate_counts(self):
        past, _ = self.authority.issue("intermediate", (), -2 * DAY, -DAY)
        chain = self.folder / "chain.pem"
        chain.write_text(self.cert.read_text() + past.read_text())
        self.assert_identity_refused("chain.pem expired on", chain, self.key)

    def test_of_authorities_one_is_enough(self):
        past, _ = self.authority.issue("old authority", (), -2 * DAY, -DAY)
        flags = ("--tls-cert", self.cert, "--tls-key", self.key,
                 "--tls-client-ca")
        self.assert_does_not_start("old authority.pem expired", *flags, past)
        both = self.folder / "bundle.pem"
        both.write_text(past.read_text() + self.authority.ca.read_text())
        with running_server(SERVER, *flags, both):
            pass

    def test_a_weak_key_is_refused_by_name(self):
        cert, key = self.authority.issue(
            "weak", ["127.0.0.1"], key=rsa.generate_private_key(65537, 1024))
        self.assert_identity_refused(
            "weak.pem is refused by OpenSSL: ee key too small", cert, key)

    def test_flags_that_do_not_go_together_are_refused(self):
        cert = ("--tls-cert", self.cert)
        key = ("--tls-key", self.key)
        ca = ("--tls-client-ca", self.authority.ca)
        for flags, words in (
            (cert, "--tls-cert is given without --tls-key"),
            (key, "--tls-key is given without --tls-cert"),
            (ca, "--tls-client-ca is given without --tls-cert and --tls-key"),
            (cert + key + ("--insecure",), "--insecure and --tls-cert")):
            self.assert_does_not_start(words, *flags, code=2)
        for flags, words in (
            (cert, "certificate file is given without its key"),
            (key, "key file is given without its certificate")):
            code, _, error = run(CLI, "health", *flags)
            self.assertEqual(code, REFUSED_FILE)
            self.assertIn(words, error)

    def test_beyond_loopback_it_takes_tls_or_a_word(self):
        # Of TEST-NET-1, so no address of this machine: nothing is opened.
        beyond = "192.0.2.1:0"
        self.assert_does_not_start(
            "can be reached from other machines: give --tls-cert",
            listen=beyond, code=2)
        for flags in (("--insecure",),
                      ("--tls-cert", self.cert, "--tls-key", self.key)):
            code, _, error = self.start(*flags, listen=beyond)
            self.assertEqual(code, 1)
            self.assertIn("cannot listen on 192.0.2.1:0", error)

    def log_of(self, *flags):
        """Of a server that other machines could reach, until it fails for want
        of a place for its port."""
        return self.start(*flags, "--port-file", self.folder / "none/port",
                          listen="0.0.0.0:0")[2]

    def test_what_is_unwise_is_warned_of(self):
        warnings = {
            "by every user": "can be read by every user",
            "soon": "expires in 1.0 days",
            "everyone": "--tls-client-ca asks callers"}
        cert, key = self.authority.issue(
            "soon", ends=DAY + datetime.timedelta(minutes=1))
        key.chmod(0o644)
        unwise = self.log_of("--tls-cert", cert, "--tls-key", key)
        wise = self.log_of("--tls-cert", self.cert, "--tls-key", self.key,
                           "--tls-client-ca", self.authority.ca)
        for what, warning in warnings.items():
            with self.subTest(what):
                self.assertIn(warning, unwise)
                self.assertNotIn(warning, wise)


if __name__ == "__main__":
    unittest.main()
