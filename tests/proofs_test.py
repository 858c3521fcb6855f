"""What ./run prove prints, writes, and ends with."""

import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
from proofs.claims import Claims  # noqa: E402
from proofs.clean_clone import passed_tests  # noqa: E402
from proofs.context import Context, run, started  # noqa: E402


class ClaimsTest(unittest.TestCase):

    def setUp(self):
        self.printed = self.enterContext(
            contextlib.redirect_stdout(io.StringIO()))
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory()))
        self.claims = Claims()

    def test_a_claim_is_a_line_and_an_object(self):
        self.claims.at_most("a.b", "seconds", 0.25, 1)
        self.claims.equal("a.c", "times", 1, 2)
        self.assertEqual(
            self.printed.getvalue(),
            "a.b | seconds | 0.25 | 1 | ok\na.c | times | 1 | 2 | FAILED\n")
        path = self.folder / "claims.json"
        self.claims.write(path)
        self.assertEqual(json.loads(path.read_text()), [
            {"id": "a.b", "claim": "seconds", "value": 0.25, "bound": 1,
             "ok": True},
            {"id": "a.c", "claim": "times", "value": 1, "bound": 2,
             "ok": False}])

    def test_one_that_falls_short_is_enough(self):
        self.assertFalse(self.claims.hold(), "no claim is no proof")
        self.claims.at_least("a", "times", 2, 2)
        self.assertTrue(self.claims.hold())
        self.claims.at_most("b", "seconds", float("nan"), 1)
        self.claims.at_least("c", "times", 3, 2)
        self.assertFalse(self.claims.hold())

    def prove_by(self, program):
        path = self.folder / "program.py"
        path.write_text("import json, sys\n" + program)
        context = Context(self.folder, self.folder, True, self.claims)
        context.prove_by("a.program", [sys.executable, str(path)])
        return [claim.id for claim in self.claims.claims]

    WRITE = ('json.dump([{"id": "a.d", "claim": "", "value": 1, "bound": 1, '
             '"ok": True}], open(sys.argv[sys.argv.index("--json") + 1], "w"))\n')

    def test_claims_of_another_program_are_taken_over(self):
        self.assertEqual(self.prove_by(self.WRITE), ["a.d"])
        self.assertTrue(self.claims.hold())

    def test_a_program_that_breaks_is_a_claim_that_falls_short(self):
        for broken in (self.WRITE + "sys.exit(3)\n", "sys.exit(0)\n"):
            with self.subTest(broken):
                self.claims = Claims()
                self.assertEqual(self.prove_by(broken), ["a.program"])
                self.assertFalse(self.claims.hold())


class RunTest(unittest.TestCase):

    def setUp(self):
        self.said = self.enterContext(
            contextlib.redirect_stderr(io.StringIO()))

    def test_of_what_fails_everything_is_kept(self):
        outcome = run("counting", ["sh", "-c", "seq 100; echo no >&2; exit 3"])
        self.assertEqual(outcome.code, 3)
        self.assertEqual(outcome.output.splitlines()[0], "1")
        self.assertIn("exit 3", self.said.getvalue())
        self.assertIn("\nno\n", self.said.getvalue())
        self.assertNotIn("\n1\n", self.said.getvalue())
        log = pathlib.Path(self.said.getvalue().split()[-1])
        self.assertEqual(log.read_text(), outcome.output)
        log.unlink()

    def test_what_was_started_ends_with_its_children(self):
        with self.assertRaises(KeyboardInterrupt):
            with started(["sh", "-c", "sleep 600 & echo $!; wait"],
                         stdout=subprocess.PIPE, text=True) as process:
                child = int(process.stdout.readline())
                os.kill(child, 0)
                raise KeyboardInterrupt
        process.stdout.close()
        # It has been told to end; nobody may have collected it when it has.
        until = time.monotonic() + 60
        while runs(child) and time.monotonic() < until:
            time.sleep(0.01)
        self.assertFalse(runs(child))


def runs(process):
    try:
        stat = pathlib.Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return " Z " not in stat


class CleanCloneTest(unittest.TestCase):

    def test_tests_are_counted_only_if_all_passed(self):
        self.assertEqual(
            passed_tests("100% tests passed, 0 tests failed out of 412\n"), 412)
        self.assertEqual(
            passed_tests("99% tests passed, 1 tests failed out of 412\n"), 0)
        self.assertEqual(passed_tests("No tests were found!!!\n"), 0)


if __name__ == "__main__":
    unittest.main()
