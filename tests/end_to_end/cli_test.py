"""The attention command line in a shell: exit codes, errors, JSON, standard
streams, signals and the environment."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import unittest
from concurrent import futures

import grpc

import cli_examples
from cli_examples import CLI
from server_process import PATIENCE, running_server

SERVER = os.environ["ATTENTION_SERVER"]
REQUEST = json.dumps({"query": {"dtype": "DATA_TYPE_FLOAT32", "shape": [2, 1],
                                "values": [0, 1]}})
# Of the server: num_heads does not divide the width.
REFUSED = ("compute", "--query", "tokens.csv", "--heads", "2")


@contextlib.contextmanager
def silent_server():
    """The address of one that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def nobody():
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


class CliTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.address, _ = cls.enterClassContext(running_server(SERVER))

    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        cli_examples.write_files(self.folder)

    def run_cli(self, *arguments, target=None, variables=None, **how):
        how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **how}
        if "input" in how:
            del how["stdin"]
        return subprocess.run(
            [CLI, *arguments], cwd=self.folder, text=True, timeout=PATIENCE,
            stderr=subprocess.PIPE, env=cli_examples.environment(
                target or self.address, **(variables or {})), **how)

    def fails(self, code, *arguments, **how):
        """Runs what must end with `code`; returns the one line it says."""
        done = self.run_cli(*arguments, **how)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertRegex(done.stderr, r"\A[^\n]+\n\Z")
        return done.stderr

    def refuses_as_json(self, code, *arguments, **how):
        return json.loads(self.fails(code, *arguments, "--json", **how))


class ExitCodeTest(CliTest):

    def test_done_is_0(self):
        for arguments in (["health"], ["--help"], ["--version"],
                          ["weights", "set", "--help"]):
            with self.subTest(arguments=arguments):
                done = self.run_cli(*arguments)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertNotEqual(done.stdout, "")

    def test_refused_by_the_server_is_1(self):
        self.assertIn("INVALID_ARGUMENT: query.shape", self.fails(1, *REFUSED))
        self.assertIn("NOT_FOUND", self.fails(1, "weights", "get", "nothing"))

    def test_a_number_that_is_off_is_1(self):
        root = pathlib.Path(__file__).resolve().parents[2]
        chapter = json.loads((root / "client" / "chapter.json").read_text())
        chapter["cases"] = chapter["cases"][:1]
        chapter["cases"][0]["expect"][0]["values"][0] = 0.9
        self.assertIn(
            "attention_matrix[0][1][0] is 0.1385, expected 0.9000",
            self.fails(1, "demo", "--chapter", "-", input=json.dumps(chapter)))

    def test_the_command_line_and_files_are_2(self):
        for arguments, words in (
            ([], "attention: which command?"),
            (["nonsense"], "\"nonsense\" is no command of attention"),
            (["weights", "nonsense"], "no command of attention weights"),
            (["compute", "--query", "tokens.csv", "--key-lengths", ""],
             "--key-lengths: is empty"),
            (["weights", "delete", "x", "--expected-version", ""],
             "--expected-version: is empty"),
            (["compute", "--query", "tokens.csv", "--dropout", "0.5", "--seed",
              "-1"], "--seed: is -1; expected a number of at least 0"),
            (["heatmap", "tokens.csv", "--color-max", "nan"],
             "--color-max: is nan; expected a number above 0"),
            (["health", "--target", "127.0.0.1:65537"],
             "--target: has port 65537; expected 1 to 65535"),
            (["health", "--target", ""], "--target: is empty"),
            (["compute", "--stream", ".", "--query", "tokens.csv"],
             ".: cannot be read"),
            (["compute", "--nonsense"],
             "--nonsense is no flag of attention compute (see attention "
             "compute --help)"),
            (["heatmap", "--query", "tokens.csv", "--nonsense", "a,b"],
             "--nonsense is no flag of attention heatmap"),
            (["weights", "init"], "attention weights init --help"),
            (["compute", "--query", "none.csv"], "none.csv: cannot be opened"),
            (["compute", "--query", "tokens.csv", "--dtype", "int"],
             "--dtype: is \"int\"; expected bfloat16|float16|float32|float64"),
            (["compute", "--query", "tokens.csv", "--out", "no/where"],
             "no/where: cannot be written"),
            (["weights", "get", "a@b"], "version \"b\" is not a number"),
        ):
            with self.subTest(arguments=arguments):
                self.assertIn(words, self.fails(2, *arguments))

    def test_no_answer_is_3(self):
        target = nobody()
        line = self.fails(3, "health", "--target", target)
        self.assertIn("UNAVAILABLE", line)
        self.assertIn(f"is a server running at {target}?", line)
        with silent_server() as silent:
            line = self.fails(3, "info", "--deadline", "100ms", target=silent)
        self.assertIn("DEADLINE_EXCEEDED", line)
        self.assertIn("--deadline", line)

    def test_interrupted_is_130_and_the_call_is_given_up(self):
        # Of one call at a time, the next is let in when this one is gone.
        address, _ = self.enterContext(
            running_server(SERVER, "--max-requests-in-flight", "1"))
        for flags, said in (((), "attention: interrupted\n"),
                            (("--json",), json.dumps(
                                {"code": "CANCELLED", "message": "interrupted",
                                 "violations": []}, separators=(",", ":")) +
                             "\n")):
            with self.subTest(flags=flags):
                shell = self.start_long_call(address, flags)
                while self.health(address) == 0:
                    # It may have met that call, and been refused for it.
                    if shell.poll() is not None:
                        shell.communicate()
                        shell = self.start_long_call(address, flags)
                children = pathlib.Path(
                    f"/proc/{shell.pid}/task/{shell.pid}/children")
                os.kill(int(children.read_text().split()[0]), signal.SIGINT)
                printed, errors = shell.communicate(timeout=PATIENCE)
                self.assertEqual((printed, errors), ("code 130\n", said))
                self.wait_until(lambda: self.health(address) == 0)

    def start_long_call(self, address, flags):
        """A shell that runs the command line and prints its exit code."""
        return subprocess.Popen(
            ["/bin/bash", "-c", '"$@"; echo "code $?"', "bash", CLI, "bench",
             "--shape", "4,12000,64", "--duration", "60", *flags],
            env=cli_examples.environment(address), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def health(self, address):
        """The exit code of a small computation."""
        return self.run_cli("compute", "--query", "tokens.csv",
                            target=address).returncode

    def wait_until(self, reached):
        end = time.monotonic() + PATIENCE
        while not reached():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)


class JsonTest(CliTest):

    def test_an_error_is_one_line_of_json(self):
        refused = self.refuses_as_json(1, *REFUSED)
        self.assertEqual(list(refused), ["code", "message", "violations"])
        self.assertEqual(refused["code"], "INVALID_ARGUMENT")
        self.assertEqual(refused["violations"][0]["field"], "query.shape[1]")
        self.assertIn("query.shape", refused["message"])
        for code, name, arguments, how in (
            (2, "USAGE", ["compute"], {}),
            (2, "USAGE", ["compute", "--nonsense"], {}),
            (2, "USAGE", ["nonsense"], {}),
            (2, "USAGE", ["weights", "get", "a@b"], {}),
            (1, "NOT_FOUND", ["weights", "get", "nothing"], {}),
            (3, "UNAVAILABLE", ["health"], {"target": nobody()}),
        ):
            with self.subTest(arguments=arguments):
                error = self.refuses_as_json(code, *arguments, **how)
                self.assertEqual(error["code"], name)
                self.assertTrue(error["message"])

    def test_health_waits_for_a_server_that_starts(self):
        waiting, done = subprocess.Popen(
            [CLI, "health", "--wait", str(PATIENCE)], text=True,
            env=cli_examples.environment(target := nobody()),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE), None
        with self.assertRaises(subprocess.TimeoutExpired):
            waiting.wait(0.5)  # nothing is there yet
        with running_server(SERVER, "--listen", target):
            done = waiting.communicate(timeout=PATIENCE)
        self.assertEqual((waiting.returncode, *done), (0, "SERVING\n", ""))

    def test_health_tells_what_was_answered_last(self):
        not_serving = grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health",
            {"Check": grpc.unary_unary_rpc_method_handler(
                lambda request, context: b"\x08\x02")})
        server = grpc.server(futures.ThreadPoolExecutor(1))
        server.add_generic_rpc_handlers((not_serving,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self.addCleanup(lambda: server.stop(0).wait())
        for wait in ([], ["--wait", "300ms"]):
            self.assertIn("the server is NOT_SERVING", self.fails(
                1, "health", *wait, target=f"127.0.0.1:{port}"))

    def test_health_does_not_wait_for_ever(self):
        self.assertIn("UNAVAILABLE: no answer in 0.3 s: ", self.fails(
            3, "health", "--wait", "300ms", target=nobody()))
        with silent_server() as silent:
            for deadline in ([], ["--deadline", "50ms"]):
                self.assertIn("no answer in 0.3 s", self.fails(
                    3, "health", "--wait", "0.3", *deadline, target=silent))

    def test_health_says_so(self):
        self.assertEqual(json.loads(self.run_cli("health", "--json").stdout),
                         {"status": "SERVING"})

    def test_a_stream_has_json_too(self):
        done = self.run_cli("compute", "--stream", "-", "--json", input=(
            f"{REQUEST}\n{{}}\n"))
        answers = {line["id"]: line for line in
                   map(json.loads, done.stdout.splitlines())}
        self.assertIn("response", answers[1])
        self.assertEqual(answers[2]["error"]["code"], "INVALID_ARGUMENT")
        self.assertEqual(
            answers[2]["error"]["violations"][0]["field"], "query")
        self.assertEqual(json.loads(done.stderr)["code"], "CHECK")
        self.assertEqual(done.returncode, 1)

    def test_a_stream_that_fails_leaves_the_file_of_answers_as_it_was(self):
        kept = pathlib.Path(self.folder) / "kept"
        kept.write_text("kept")
        self.fails(2, "compute", "--stream", "-", "--out", "kept",
                   input="{bad\n")
        self.assertEqual(kept.read_text(), "kept")

    def test_a_stream_does_not_answer_into_its_requests(self):
        requests = pathlib.Path(self.folder) / "requests"
        requests.write_text(f"{REQUEST}\n")
        self.assertIn("expected another file", self.fails(
            2, "compute", "--stream", "requests", "--out", "requests"))
        self.assertEqual(requests.read_text(), f"{REQUEST}\n")

    def test_a_stream_whose_input_cannot_be_read_is_an_error(self):
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            self.assertIn("the standard input: cannot be read", self.fails(
                2, "compute", "--stream", "-", stdin=folder))
        finally:
            os.close(folder)

    def test_bench_reports_in_one_document(self):
        done = self.run_cli("bench", "--duration", "0.1", "--warmup", "0",
                            "--json")
        self.assertGreater(len(json.loads(done.stdout)), 3)


class StandardStreamsTest(CliTest):

    # What prints, each in a way of its own.
    PRINTING = (
        ["--help"], ["--version"], ["health"], ["info", "--json"],
        ["compute", "--query", "tokens.csv"],
        ["compute", "--query", "tokens.csv", "--out", "-"],
        ["compute", "--stream", "requests.jsonl", "--query", "tokens.csv"],
        ["weights", "list"], ["demo"], ["demo", "--json"],
        ["bench", "--duration", "0.1", "--format", "csv"], ["generate", "bash"])

    def test_a_full_disk_is_an_error(self):
        for arguments in self.PRINTING:
            with self.subTest(arguments=arguments), open("/dev/full", "w") as full:
                line = self.fails(2, *arguments, stdout=full)
                self.assertIn("cannot be written", line)

    def test_a_reader_that_has_gone_is_an_error(self):
        for arguments in self.PRINTING:
            with self.subTest(arguments=arguments):
                reader, writer = os.pipe()
                os.close(reader)
                line = self.fails(2, *arguments, stdout=writer)
                os.close(writer)
                self.assertIn("cannot be written", line)

    def test_a_closed_output_is_an_error(self):
        for arguments in self.PRINTING:
            with self.subTest(arguments=arguments):
                done = subprocess.run(
                    ["/bin/bash", "-c", 'exec "$@" >&-', "bash", CLI,
                     *arguments], cwd=self.folder, text=True,
                    stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                    env=cli_examples.environment(self.address))
                self.assertEqual(done.returncode, 2)
                self.assertRegex(done.stderr, r"\A[^\n]*be written[^\n]*\n\Z")

    def test_the_reason_is_told(self):
        with open("/dev/full", "w") as full:
            self.assertIn("No space left on device",
                          self.fails(2, "demo", stdout=full))

    def test_a_dash_is_the_standard_input(self):
        rows = cli_examples.FILES["tokens.csv"]
        by_file = self.run_cli("compute", "--query", "tokens.csv", "--format",
                               "csv").stdout
        self.assertEqual(len(by_file.splitlines()), 6)
        for arguments in (["--query", "-"], ["--query", "tokens.csv", "--key",
                                             "-"]):
            with self.subTest(arguments=arguments):
                done = self.run_cli("compute", *arguments, "--format", "csv",
                                    input=rows)
                self.assertEqual(done.stdout, by_file)
        self.assertEqual(self.run_cli(
            "compute", "--request", "-", input=REQUEST).returncode, 0)
        stored = self.run_cli(
            "weights", "set", "dash", "--layout", "in-out", "--query-weight",
            "-", "--key-weight", "key.csv", "--value-weight", "value.csv",
            input=cli_examples.FILES["query.csv"])
        self.assertIn("dash@1", stored.stdout, stored.stderr)
        whole = self.run_cli("weights", "get", "dash", "--out", "-")
        again = self.run_cli("weights", "set", "dash", "--file", "-",
                             input=whole.stdout)
        self.assertEqual(again.stdout.split()[-1], stored.stdout.split()[-1])
        # What was read once cannot be read twice.
        self.assertIn("--key", self.fails(
            2, "compute", "--query", "-", "--key", "-", input=rows))
        self.assertIn("--query-weight and --key-bias are both -", self.fails(
            2, "weights", "set", "dash", "--layout", "in-out",
            "--query-weight", "-", "--key-bias", "-", input=rows))

    def test_a_dash_is_the_standard_output(self):
        for arguments in (["compute", "--query", "tokens.csv"],
                          ["compute", "--stream", "requests.jsonl", "--query",
                           "tokens.csv"],
                          ["bench", "--duration", "0.1", "--format", "csv"]):
            with self.subTest(arguments=arguments):
                done = self.run_cli(*arguments, "--out", "-")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertNotEqual(done.stdout, "")
                self.assertNotIn("-", os.listdir(self.folder))


class EnvironmentTest(CliTest):

    def test_the_target_comes_from_flag_then_environment(self):
        self.assertEqual(self.run_cli("health").returncode, 0)
        target = nobody()
        self.assertIn(target, self.fails(3, "health", target=target))
        self.assertEqual(
            self.run_cli("health", "--target", self.address,
                         target=target).returncode, 0)

    def test_the_deadline_comes_from_flag_then_environment(self):
        with silent_server() as silent:
            for variables, arguments in (
                ({"ATTENTION_DEADLINE": "0.1"}, []),
                ({"ATTENTION_DEADLINE": "100ms"}, []),
                ({"ATTENTION_DEADLINE": "1000"}, ["--deadline", "0.1"]),
                ({}, ["--deadline=100ms"]),
            ):
                with self.subTest(variables=variables, arguments=arguments):
                    self.assertIn("DEADLINE_EXCEEDED", self.fails(
                        3, "health", *arguments, variables=variables,
                        target=silent))

    def test_what_is_wrong_names_where_it_came_from(self):
        for value in ("soon", "0", "-1", "1e300", "inf", "nan"):
            with self.subTest(value=value):
                line = self.fails(2, "health",
                                  variables={"ATTENTION_DEADLINE": value})
                self.assertIn("--deadline", line)
                self.assertIn("(from ATTENTION_DEADLINE)", line)
                line = self.fails(2, "health", f"--deadline={value}",
                                  variables={"ATTENTION_DEADLINE": "1"})
                self.assertNotIn("from", line)


if __name__ == "__main__":
    unittest.main()
