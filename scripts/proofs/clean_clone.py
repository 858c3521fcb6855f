"""./run demo and ./run test on a clean clone, in a path with a space."""

import pathlib
import re
import subprocess
import tempfile

from proofs.context import clean_environment, run, say


def check_head(root):
    """Says so where the checkout differs from what a clone gets."""
    changed = subprocess.run(
        ["git", "-C", root, "status", "--porcelain"], check=True,
        capture_output=True, text=True).stdout
    if changed:
        say("uncommitted changes are not in the clones that are proven")


def clone(root, target):
    """The commit that is checked out at `root`, as a repository of its own."""
    subprocess.run(["git", "clone", "--quiet", root, target], check=True)


def passed_tests(output):
    """How many tests ctest counts; 0 if it names no count."""
    found = re.search(r"tests passed, 0 tests failed out of (\d+)", output)
    return int(found.group(1)) if found else 0


def prove(context):
    times = 1 if context.quick else 2
    with tempfile.TemporaryDirectory(prefix="attention prove ") as scratch:
        checkout = pathlib.Path(scratch) / "clean clone"
        clone(context.root, checkout)

        def repeat(command):
            return [
                run(f"./run {command} on a clean clone, {turn + 1} of {times}",
                    ["./run", command], cwd=checkout, env=clean_environment())
                for turn in range(times)]

        demos = repeat("demo")
        context.claims.equal(
            "spine.demo_twice",
            "./run demo on a clean clone in a path with a space: times it ends "
            f"with 0, in {seconds(demos)}",
            sum(demo.code == 0 for demo in demos), times)
        if times > 1:
            context.claims.equal(
                "spine.demo_again_is_quiet",
                "lines that ./run demo says about installing and building "
                "where nothing is to do",
                demos[-1].output.count("attention: "), 0)
        tests = repeat("test")
        context.claims.equal(
            "spine.test_twice",
            f"./run test there, {passed_tests(tests[-1].output)} tests: times "
            f"it ends with 0, in {seconds(tests)}",
            sum(test.code == 0 and passed_tests(test.output) > 0
                for test in tests), times)


def seconds(outcomes):
    return " and ".join(f"{outcome.seconds:.0f} s" for outcome in outcomes)
