"""cmake --install gives another project all it needs, wherever it is put."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

from server_process import running_server

BUILD = pathlib.Path(os.environ["ATTENTION_BUILD"])
CMAKE = os.environ["CMAKE"]
HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parents[2]

INSTALLED = (
    "bin/attention",
    "bin/attention-server",
    "include/attention/client.h",
    "include/attention/status.h",
    "include/attention/stream.h",
    "include/attention/tensor.h",
    "include/attention/tls.h",
    "include/attention/v1/attention.grpc.pb.h",
    "include/attention/v1/attention.pb.h",
    "include/google/rpc/status.pb.h",
    "share/attention/proto/attention/v1/attention.proto",
    "share/attention/proto/google/rpc/error_details.proto",
    "share/attention/proto/google/rpc/status.proto",
    "share/attention/proto/grpc/health/v1/health.proto",
    "share/bash-completion/completions/attention",
    "share/bash-completion/completions/attention-server",
    "share/doc/attention/LICENSE",
    "share/man/man1/attention-server.1",
    "share/zsh/site-functions/_attention",
    "share/zsh/site-functions/_attention-server",
)
# Below the library directory, which differs between systems.
PACKAGE = {"attentionConfig.cmake", "attentionConfigVersion.cmake",
           "attentionTargets.cmake"}


def man_pages():
    """A page for each command of the command line."""
    tree = json.loads(run(BUILD / "client" / "cpp" / "attention", "generate",
                          "json"))
    return {f"share/man/man1/{'-'.join(command['path'])}.1"
            for command in commands(tree)}


def commands(tree):
    yield tree
    for below in tree["commands"]:
        yield from commands(below)


def run(*command, **arguments):
    """Runs a command; returns its output, or fails with all it printed."""
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **arguments)
    if done.returncode != 0:
        raise AssertionError(f"{command}\n{done.stdout}")
    return done.stdout


class InstallTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        # Installed as a packager does it, below DESTDIR, and used from there: so
        # no file may know the prefix. Every path has a space in it.
        cls.scratch = pathlib.Path(cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="attention install ")))
        run(CMAKE, "--install", BUILD, "--prefix", "/opt/attention service",
            env={**os.environ, "DESTDIR": str(cls.scratch / "root")})
        cls.prefix = cls.scratch / "root" / "opt" / "attention service"

    def files(self):
        return [p for p in self.prefix.rglob("*") if p.is_file()]

    def test_everything_is_installed_and_nothing_else(self):
        found = {p.relative_to(self.prefix).as_posix() for p in self.files()}
        libraries = {p for p in found if p.startswith("lib")}
        self.assertEqual(found - libraries, set(INSTALLED) | man_pages())
        names = {pathlib.PurePath(p).name for p in libraries}
        self.assertLessEqual(PACKAGE | {"libattention_client.a"}, names)

    def test_no_path_of_source_or_build_leaks(self):
        for path in self.files():
            if path.suffix in (".cmake", ".h"):
                text = path.read_text()
                for leaked in (SOURCE, BUILD):
                    self.assertNotIn(str(leaked), text, path)

    def test_an_outside_project_gets_the_chapters_numbers(self):
        build = self.scratch / "journey"
        run(CMAKE, "-S", HERE / "project", "-B", build, "-G", "Ninja",
            f"-DCMAKE_PREFIX_PATH={self.prefix}")
        self.assertIn(f"attention_DIR:PATH={self.prefix}",
                      (build / "CMakeCache.txt").read_text())
        run(CMAKE, "--build", build)
        server = self.prefix / "bin" / "attention-server"
        with running_server(server) as (address, _):
            self.assertEqual(run(build / "journey", address),
                             "0.4419 0.6515 0.5683\n")

    def test_the_programs_run_from_there(self):
        server = self.prefix / "bin" / "attention-server"
        with running_server(server) as (address, _):
            # Ends non-zero if a number is off.
            self.assertIn("as expected", run(
                self.prefix / "bin" / "attention", "demo", "--target", address))


if __name__ == "__main__":
    unittest.main()
