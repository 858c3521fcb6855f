"""Fuzz of what reads files: no bytes bring it down, and what is refused is
refused by name (tests/fuzz/check.h)."""

import pathlib
import re
import sys
import tempfile

from proofs.context import clean_environment, run

READERS = ("npy", "npz", "safetensors", "json", "csv")
SECONDS, QUICK_SECONDS = 60, 5

# More than the corpus alone, and few enough for a slow and busy machine.
LEAST_PER_SECOND = 100

COUNTS = re.compile(r"^accepted (\d+), rejected (\d+)$", re.MULTILINE)
EXECUTIONS = re.compile(r"^stat::number_of_executed_units: (\d+)$",
                        re.MULTILINE)


def prove_fuzz(context):
    seconds = QUICK_SECONDS if context.quick else SECONDS
    build = build_fuzzers(context)
    for reader in READERS:
        prove_reader(context, build, reader, seconds)


def build_fuzzers(context):
    """Beside the other builds; clang with libFuzzer compiles little."""
    build = context.build.parent / "fuzz"
    for what, command in (
        ("configuring the fuzzers",
         ["cmake", "-S", context.root, "-B", build, "--preset", "fuzz",
          "-DATTENTION_TESTS=ON"]),
        ("building the fuzzers",
         ["ninja", "-C", build, *(f"{reader}_fuzz" for reader in READERS)]),
    ):
        if run(what, command, cwd=context.root).code != 0:
            sys.exit("attention: the fuzzers do not build")
    return build


def prove_reader(context, build, reader, seconds):
    corpus = context.root / "tests/fuzz/corpus" / reader
    with tempfile.TemporaryDirectory() as scratch:
        found = pathlib.Path(scratch) / "found"
        found.mkdir()
        outcome = run(
            f"fuzzing {reader} for {seconds} s",
            [build / "tests" / f"{reader}_fuzz",
             f"-max_total_time={seconds}", "-print_final_stats=1",
             "-rss_limit_mb=2048", "-timeout=10",
             f"-artifact_prefix={build}/finding-{reader}-", found, corpus],
            env=clean_environment(UBSAN_OPTIONS="print_stacktrace=1"))
    executions = sum(map(int, EXECUTIONS.findall(outcome.output)))
    accepted, rejected = (
        map(int, counts[-1]) if (counts := COUNTS.findall(outcome.output))
        else (0, 0))
    context.claims.equal(
        f"client.fuzz.{reader}",
        f"exit code after {seconds} s of made up {reader} files: no crash, no "
        f"error of a sanitizer, every refusal one line that names the fault, "
        f"and what was accepted survives being written and read",
        outcome.code, 0)
    context.claims.at_least(
        f"client.fuzz.{reader}.executions",
        f"files tried; {accepted} reads were accepted and {rejected} refused, "
        f"at least one each",
        executions if accepted and rejected else 0,
        LEAST_PER_SECOND * seconds)
