"""The script that plants mistakes tells caught from survived, and the patches it
has fit the tree."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "mutations"))
import run  # noqa: E402

# Two "programs" of a tree without a build: as a GoogleTest program they say how
# many tests ran and end with 1 if one failed.
CHECK = """#!/bin/sh
if [ "$1" = --gtest_filter=Nothing.Here ]; then
  echo '[==========] Running 0 tests from 0 test suites.'; exit 0
fi
echo '[==========] Running 1 test from 1 test suite.'
grep -q %s "$(dirname "$0")/../../../colour"
"""


def patch(change, *witnesses):
    return ("The colour is wrong.\n\n"
            + "".join(f"Caught-by: {witness}\n" for witness in witnesses)
            + "\ndiff --git a/colour b/colour\n--- a/colour\n+++ b/colour\n"
            + change)


RED = "@@ -1,2 +1,2 @@\n-blue\n+red\n sky\n"
MORE_BLUE = "@@ -1,2 +1,2 @@\n blue\n-sky\n+sea\n"
BLUE = "looks_blue Colour.IsBlue"
ANY = "looks_any Colour.IsThere"


class FakeTree(run.Tree):
    """Compiles whatever does not contain "broken"."""

    def build(self, programs):
        if "broken" in (self.root / "colour").read_text():
            raise run.Unfit("DOES NOT COMPILE")


class JudgeTest(unittest.TestCase):

    def setUp(self):
        scratch = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory()))
        # Inside a repository, as build/mutations is.
        subprocess.run(["git", "init", "--quiet", scratch], check=True)
        self.tree = FakeTree(ROOT, scratch / "tree")
        tests = self.tree.build_folder / "tests"
        tests.mkdir(parents=True)
        self.colour = self.tree.root / "colour"
        self.colour.write_text("blue\nsky\n")
        for name, expected in (("looks_blue", "blue"), ("looks_any", ".")):
            program = tests / name
            program.write_text(CHECK % expected)
            program.chmod(0o755)

    def judge(self, text):
        path = self.tree.root / "wrong.patch"
        path.write_text(text)
        verdict = run.judge(run.Mutation.read(path), self.tree)
        self.assertEqual(self.colour.read_text(), "blue\nsky\n", "put back")
        return verdict

    def test_what_makes_the_test_fail_is_caught(self):
        verdict = self.judge(patch(RED, BLUE))
        self.assertTrue(verdict.ok())
        self.assertIn("The colour is wrong.: caught by looks_blue", verdict.text())

    def test_what_changes_nothing_that_is_tested_survives(self):
        verdict = self.judge(patch(MORE_BLUE, BLUE))
        self.assertFalse(verdict.ok())
        self.assertIn("SURVIVED looks_blue Colour.IsBlue", verdict.text())

    def test_every_named_test_has_to_fail(self):
        verdict = self.judge(patch(RED, BLUE, ANY))
        self.assertFalse(verdict.ok())
        self.assertIn("SURVIVED looks_any Colour.IsThere", verdict.text())

    def test_a_patch_that_no_longer_applies_is_a_failure(self):
        verdict = self.judge(patch(RED.replace("blue", "green"), BLUE))
        self.assertFalse(verdict.ok())
        self.assertIn("NO LONGER APPLIES", verdict.text())

    def test_a_patch_that_does_not_compile_is_a_failure(self):
        verdict = self.judge(patch(RED.replace("red", "broken"), BLUE))
        self.assertFalse(verdict.ok())
        self.assertIn("DOES NOT COMPILE", verdict.text())

    def test_a_filter_that_matches_no_test_is_a_failure(self):
        verdict = self.judge(patch(RED, "looks_blue Nothing.Here"))
        self.assertFalse(verdict.ok())
        self.assertIn("DOES NOT RUN", verdict.text())

    def test_a_patch_must_say_who_catches_it(self):
        with self.assertRaises(run.Unfit):
            self.judge(patch(RED))

    def test_a_test_that_fails_without_the_mistake_is_named(self):
        self.colour.write_text("red\nsky\n")
        path = self.tree.root / "wrong.patch"
        path.write_text(patch(RED, BLUE, ANY))
        self.assertEqual(
            [str(witness) for witness in
             run.failing_without([run.Mutation.read(path)], self.tree)], [BLUE])


class PatchesTest(unittest.TestCase):

    def test_each_applies_and_names_tests_there_are(self):
        patches = sorted((ROOT / "tests" / "mutations").glob("*.patch"))
        self.assertGreaterEqual(len(patches), run.AT_LEAST)
        tree = run.Tree(ROOT, ROOT)
        for path in patches:
            with self.subTest(path.stem):
                mutation = run.Mutation.read(path)
                tree.apply(mutation.patch, "--check")
                for witness in mutation.witnesses:
                    (source,) = (ROOT / "tests").rglob(
                        f"{witness.program}.cc")
                    suite = witness.filter.split(".")[0]
                    self.assertTrue(source.is_file(), source)
                    if suite.isidentifier():
                        self.assertIn(f"{suite},", source.read_text())


if __name__ == "__main__":
    unittest.main()
