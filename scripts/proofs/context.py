"""What every proof is handed, and how it runs other programs."""

import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from proofs.claims import Claims

# What programs that were told to stop get before they are killed.
LAST_SECONDS = 20


def say(text):
    print(f"attention: {text}", file=sys.stderr, flush=True)


def clean_environment(**additions):
    """This process's environment without settings of the project itself."""
    environment = {
        name: value for name, value in os.environ.items()
        if not name.startswith("ATTENTION_")}
    return environment | additions


@contextlib.contextmanager
def started(command, **arguments):
    """A program that does not outlive the block, nor do its children."""
    process = subprocess.Popen(command, start_new_session=True, **arguments)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LAST_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclasses.dataclass(frozen=True)
class Outcome:
    code: int
    output: str  # standard output and standard error
    seconds: float


def run(what, command, **arguments):
    """Runs a command without showing its output; of one that fails the end is
    shown, and all of it kept in a file that is named."""
    say(f"{what} ...")
    begun = time.monotonic()
    handle, path = tempfile.mkstemp(prefix="attention-prove-", suffix=".log")
    log = pathlib.Path(path)
    try:
        with os.fdopen(handle, "w") as file:
            with started(command, stdin=subprocess.DEVNULL, stdout=file,
                         stderr=subprocess.STDOUT, **arguments) as process:
                code = process.wait()
    except BaseException:
        log.unlink()
        raise
    output = log.read_text(errors="replace")
    seconds = time.monotonic() - begun
    say(f"{what}: exit {code} after {seconds:.0f} s")
    if code == 0:
        log.unlink()
    else:
        sys.stderr.write("".join(output.splitlines(keepends=True)[-20:]))
        say(f"all of it is in {log}")
    return Outcome(code, output, seconds)


@dataclasses.dataclass(frozen=True)
class Context:
    root: pathlib.Path  # the checkout
    build: pathlib.Path  # where it is built with its tests
    quick: bool
    claims: Claims

    def build_targets(self, *targets):
        if run("building", ["ninja", "-C", self.build, *targets]).code != 0:
            sys.exit("attention: it does not build")

    def prove_by(self, id, command, **arguments):
        """Adds the claims of another program, which prints them and takes
        --quick and --json as ./run prove does."""
        with tempfile.TemporaryDirectory() as scratch:
            path = pathlib.Path(scratch) / "claims.json"
            command = [*command, "--json", path]
            if self.quick:
                command.append("--quick")
            with started(command, stdin=subprocess.DEVNULL,
                         **arguments) as process:
                code = process.wait()
            said = Claims()
            if path.exists():
                said.read(path)
            self.claims.claims += said.claims
            # One that broke may have made claims before, all of which hold.
            if code != (0 if said.hold() else 1):
                self.claims.add(
                    id, "exit code of the program that proves it", code, 0,
                    False)

    def prove_by_script(self, id, script, *arguments, **environment):
        """The same of a program in tests/proofs, which runs where the Python
        tests do, with what has been built."""
        self.prove_by(
            id, ["/usr/bin/python3", "-B", self.root / "tests/proofs" / script,
                 *arguments],
            env=clean_environment(
                PYTHONPATH=os.pathsep.join(
                    (str(self.build / "generated/python"),
                     str(self.root / "tests/support"))),
                ATTENTION_SERVER=str(self.build / "server/attention-server"),
                ATTENTION_CLI=str(self.build / "client/cpp/attention"),
                **environment))
