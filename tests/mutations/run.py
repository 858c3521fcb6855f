"""Plants deliberate mistakes, one at a time, and tells which of them the tests
catch.

Each *.patch beside this file is one mistake. The text above its first line of
"diff" says what it gets wrong and, in lines of

    Caught-by: <test program> <gtest filter>

which tests must catch it; each of them has to. The patches are applied to a copy
of the tree under build/mutations, whose build stays there, so that a mistake
recompiles a few files and a second run less. A patch that no longer applies,
does not compile or names tests that do not exist is a failure, as is a test
named by any patch that fails without it.

    tests/mutations/run.py [--quick] [--json FILE] [NAME...]

prints one line per mistake (scripts/proofs); NAME is that of a patch. --quick
takes every fifth patch. The tree needs what ./run packages build test installs.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
from proofs.program import main  # noqa: E402

# How many mistakes there have to be.
AT_LEAST = 15

# A test that hangs on a mistake has caught it; none of them takes a minute.
PATIENCE = 600


class Unfit(Exception):
    """The patch, or a test it names, cannot be judged."""


@dataclasses.dataclass(frozen=True, order=True)
class Witness:
    """Tests that must catch a mistake."""

    program: str
    filter: str

    def __str__(self):
        return f"{self.program} {self.filter}"


@dataclasses.dataclass(frozen=True)
class Mutation:
    name: str
    mistake: str
    witnesses: tuple
    patch: str

    @staticmethod
    def read(path):
        text = path.read_text()
        header = text[:text.find("diff --git")].splitlines()
        witnesses = tuple(
            Witness(*line.split()[1:]) for line in header
            if re.fullmatch(r"Caught-by: \S+ \S+", line))
        mistake = " ".join(
            line for line in header if line and not line.startswith("Caught-by"))
        if "diff --git" not in text or not witnesses or not mistake:
            raise Unfit(f"{path.name} needs a mistake, a Caught-by line and a "
                        "diff")
        return Mutation(path.stem, mistake, witnesses, text)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Which witnesses caught a mutation; `why` it could not be judged."""

    mutation: Mutation
    caught: tuple = ()
    why: str = ""

    def ok(self):
        return not self.why and self.caught == self.mutation.witnesses

    def text(self):
        if self.why:
            return f"{self.mutation.mistake}: {self.why}"
        missed = [str(witness) for witness in self.mutation.witnesses
                  if witness not in self.caught]
        if missed:
            return f"{self.mutation.mistake}: SURVIVED {', '.join(missed)}"
        return (f"{self.mutation.mistake}: caught by "
                f"{', '.join(map(str, self.caught))}")


def output_end(result):
    return "\n".join((result.stdout + result.stderr).splitlines()[-20:])


class Tree:
    """A copy of the tracked files of a checkout, to be changed and built."""

    def __init__(self, source, target):
        self.source = source
        self.root = target
        self.build_folder = target / "build" / "release"
        self.environment = {
            name: value for name, value in os.environ.items()
            if not name.startswith(("ATTENTION_", "GIT_"))}
        self.environment |= {
            # No repository above is taken for the one to patch.
            "GIT_CEILING_DIRECTORIES": str(target.parent),
            "CCACHE_BASEDIR": str(target),
            "CCACHE_NOHASHDIR": "1",
            # A tenth of the random computations sees each mistake.
            "ATTENTION_TEST_SCALE": "0.1",
        }

    def execute(self, *command, **arguments):
        return subprocess.run(
            command, cwd=self.root, env=self.environment, capture_output=True,
            text=True, errors="replace", **arguments)

    def copy(self):
        """Makes the tree equal to its source. What is equal already keeps its
        time, so that it is not compiled again."""
        listed = subprocess.run(
            ["git", "-C", self.source, "ls-files", "-z", "--cached", "--others",
             "--exclude-standard"], check=True, capture_output=True, text=True)
        wanted = {name for name in listed.stdout.split("\0")
                  if name and (self.source / name).is_file()}
        for name in wanted:
            source, target = self.source / name, self.root / name
            if target.exists() and target.read_bytes() == source.read_bytes():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        for path in self.root.rglob("*"):
            name = path.relative_to(self.root)
            if (path.is_file() and name.parts[0] != "build"
                    and name.as_posix() not in wanted):
                path.unlink()

    def apply(self, patch, *options):
        result = self.execute("git", "apply", *options, "-", input=patch)
        if result.returncode != 0:
            raise Unfit(f"NO LONGER APPLIES: {output_end(result)}")

    def revert(self, patch):
        self.apply(patch, "--reverse")

    def build(self, programs):
        if not (self.build_folder / "build.ninja").exists():
            launcher = shutil.which("ccache") or ""
            configured = self.execute(
                "cmake", "-S", self.root, "-B", self.build_folder, "-G", "Ninja",
                "-DCMAKE_BUILD_TYPE=Release", "-DATTENTION_TESTS=ON",
                f"-DCMAKE_CXX_COMPILER_LAUNCHER={launcher}")
            if configured.returncode != 0:
                raise Unfit(f"IS NOT CONFIGURED: {output_end(configured)}")
        built = self.execute("ninja", "-C", self.build_folder, *programs)
        if built.returncode != 0:
            raise Unfit(f"DOES NOT COMPILE: {output_end(built)}")

    def fails(self, witness):
        """Whether one of the witness's tests fails."""
        program = self.build_folder / "tests" / witness.program
        try:
            result = self.execute(
                program, f"--gtest_filter={witness.filter}", timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return True
        if result.returncode < 0:  # it crashed
            return True
        ran = re.search(r"^\[=+\] Running ([1-9]\d*) tests? from",
                        result.stdout, re.MULTILINE)
        if ran is None or result.returncode not in (0, 1):
            raise Unfit(f"{witness} DOES NOT RUN: {output_end(result)}")
        return result.returncode == 1


def judge(mutation, tree):
    """Plants one mistake in the tree, and takes it out again."""
    try:
        tree.apply(mutation.patch)
    except Unfit as why:
        return Verdict(mutation, why=str(why))
    try:
        tree.build(sorted({witness.program for witness in mutation.witnesses}))
        return Verdict(mutation, tuple(
            witness for witness in mutation.witnesses if tree.fails(witness)))
    except Unfit as why:
        return Verdict(mutation, why=str(why))
    finally:
        tree.revert(mutation.patch)


def failing_without(mutations, tree):
    """The witnesses that fail without any mistake, and prove nothing."""
    witnesses = sorted(
        {witness for mutation in mutations for witness in mutation.witnesses})
    tree.build(sorted({witness.program for witness in witnesses}))
    return [witness for witness in witnesses if tree.fails(witness)]


def prove_mutations(claims, mutations, tree):
    """Claims about all of the mutations."""
    tree.copy()
    failing = failing_without(mutations, tree)
    claims.equal(
        "spine.mutations.unpatched",
        "tests that fail without any mistake: "
        + (", ".join(map(str, failing)) or "none"), len(failing), 0)
    verdicts = []
    for mutation in mutations:
        verdicts.append(judge(mutation, tree))
        claims.add(
            f"spine.mutations.{mutation.name}", verdicts[-1].text(),
            len(verdicts[-1].caught), len(mutation.witnesses),
            verdicts[-1].ok())
    claims.equal(
        "spine.mutations", "deliberate mistakes that the tests catch",
        sum(verdict.ok() for verdict in verdicts), len(mutations))


def chosen(claims, options):
    """The mutations that the command line asks for."""
    mutations = [Mutation.read(path) for path in sorted(HERE.glob("*.patch"))]
    if options.names:
        mutations = [m for m in mutations if m.name in options.names]
        if len(mutations) < len(set(options.names)):
            raise Unfit("there is no patch of one of these names")
    else:
        claims.at_least("spine.mutations.count", "deliberate mistakes",
                        len(mutations), AT_LEAST)
    return mutations[::5] if options.quick else mutations


def prove(claims, options):
    try:
        prove_mutations(claims, chosen(claims, options),
                        Tree(ROOT, ROOT / "build" / "mutations" / "tree"))
    except Unfit as why:
        print(f"attention: {why}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("names", metavar="NAME", nargs="*")
    main(prove, parser)
