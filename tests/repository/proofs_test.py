"""What ./run prove prints, writes, and ends with."""

import contextlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
import unittest.mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
from proofs import container_contents  # noqa: E402
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
        for broken, claims in (
                (self.WRITE + "sys.exit(3)\n", ["a.d", "a.program"]),
                # As Python ends when nobody catches what is raised.
                (self.WRITE + "sys.exit(1)\n", ["a.d", "a.program"]),
                ("sys.exit(0)\n", ["a.program"])):
            with self.subTest(broken):
                self.claims = Claims()
                self.assertEqual(self.prove_by(broken), claims)
                self.assertFalse(self.claims.hold())

    def run_main(self, body, *arguments):
        """How a program ends whose claims `body` makes."""
        source = (f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r})\n"
                  "from proofs.program import main\n"
                  f"def prove(claims, options):\n  {body}\n"
                  "main(prove)\n")
        return subprocess.run([sys.executable, "-c", source, *arguments],
                              capture_output=True, text=True)

    def test_a_program_ends_as_its_claims_do(self):
        path = self.folder / "claims.json"
        good = 'claims.equal("a", str(options.quick), 1, 1)'
        bad = 'claims.equal("b", "", 1, 2)'
        self.assertEqual(self.run_main(good, "--quick").stdout,
                         "a | True | 1 | 1 | ok\n")
        for body, code, ids in ((good, 0, ["a"]), (good + "; " + bad, 1, ["a", "b"]),
                                (good + "; 1 / 0", 1, ["a"]), ("pass", 1, [])):
            with self.subTest(body):
                done = self.run_main(body, "--json", path)
                self.assertEqual(done.returncode, code)
                self.assertEqual(
                    [claim["id"] for claim in json.loads(path.read_text())], ids)


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


def tar_of(files):
    """A stream of a file system with these files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    stream.seek(0)
    return stream


class ContainerContentsTest(unittest.TestCase):

    BASE = {"usr/bin/sh": b"12", "etc/hosts": b"1"}
    IMAGE = {
        "./usr/bin/sh": b"12", "etc/hosts": b"123",
        "usr/lib/libx.so": b"12345", "usr/lib/liby.so": b"1234567",
        "usr/local/bin/attention": b"123456789",
        "var/lib/dpkg/info/libx1:amd64.list": b"/.\n/usr/lib/libx.so\n",
        "var/lib/dpkg/info/liby.list": b"/lib/liby.so\n"}

    def contents(self, **more):
        return container_contents.read(tar_of(self.IMAGE | more))

    def test_what_is_beyond_the_base_is_told_by_package(self):
        base = container_contents.read(tar_of(self.BASE))
        beyond = self.contents().beyond(base)
        rest = 2 + len("/.\n/usr/lib/libx.so\n" "/lib/liby.so\n")
        self.assertEqual(beyond, {
            "dpkg's records and other files": rest,
            "usr/local/bin/attention": 9, "liby": 7, "libx1": 5})
        self.assertEqual(sum(beyond.values()),
                         self.contents().total() - base.total())

    def test_what_should_not_be_there_is_found(self):
        for pattern, paths in (
            (container_contents.COMPILER,
             ("usr/bin/gcc", "usr/bin/x86_64-linux-gnu-g++-12", "usr/bin/ld.bfd",
              "usr/bin/as", "usr/bin/cmake", "usr/bin/protoc",
              "usr/lib/gcc/x86_64-linux-gnu/12/cc1plus", "usr/include/stdio.h",
              "usr/lib/libattention_client.a",
              "var/lib/dpkg/info/libgrpc++-dev.list",
              "var/lib/dpkg/info/libc6-dev:amd64.list")),
            (container_contents.PACKAGE_LISTS,
             ("var/lib/apt/lists/deb.debian.org_Packages",
              "var/cache/apt/pkgcache.bin",
              "var/cache/debconf/templates.dat-old")),
            (container_contents.SOURCES,
             ("source/run", "installed/packages", "opt/x.cc"))):
            self.assertEqual(self.contents().matching(pattern), [])
            for path in paths:
                with self.subTest(path):
                    self.assertEqual(
                        self.contents(**{path: b"1"}).matching(pattern), [path])


class RuntimePackagesTest(unittest.TestCase):

    def packages_of(self, program):
        return subprocess.run(
            [ROOT / "docker/runtime_packages.sh", program], text=True,
            capture_output=True)

    def test_a_program_needs_the_packages_of_its_libraries(self):
        self.assertEqual(self.packages_of("/bin/bash").stdout,
                         "libc6\nlibtinfo6\n")

    def test_a_library_of_no_package_is_an_error(self):
        with tempfile.TemporaryDirectory() as folder:
            # Found before the system's own.
            shutil.copy(os.path.realpath("/lib/x86_64-linux-gnu/libtinfo.so.6"),
                        f"{folder}/libtinfo.so.6")
            with unittest.mock.patch.dict(os.environ, LD_LIBRARY_PATH=folder):
                done = self.packages_of("/bin/bash")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("libtinfo.so.6 belongs to no package", done.stderr)


class CleanCloneTest(unittest.TestCase):

    def test_tests_are_counted_only_if_all_passed(self):
        self.assertEqual(
            passed_tests("100% tests passed, 0 tests failed out of 412\n"), 412)
        self.assertEqual(
            passed_tests("99% tests passed, 1 tests failed out of 412\n"), 0)
        self.assertEqual(passed_tests("No tests were found!!!\n"), 0)


if __name__ == "__main__":
    unittest.main()
