"""What this processor can run, and what is taken of it: each kernel of OpenBLAS
and each instruction set of our own kernels is right, which of them repeat their
bits, and how fast they are."""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import unittest.mock

from proofs.context import clean_environment, say

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[1:1] = [str(ROOT / "bench"), str(ROOT / "tests/support")]
import blas_kernels  # noqa: E402
import server_process  # noqa: E402
from workers import Process, Worker, WorkerError  # noqa: E402

QUICK = "3 rounds instead of 15, whose speeds are told and held to nothing"

ROUNDS, QUICK_ROUNDS = 15, 3
SECONDS = 0.1  # of one measurement

# What is taken is taken by a fixed order and not by its speed; it has to be
# within a fifth of the best all the same. Kernels that use the same instructions
# lie within a tenth of each other on the processors measured so far.
FAST_ENOUGH = 0.8

# One thread of OpenBLAS, and our kernel; names of bench/core_bench.cc.
SGEMM, ATTENTION = "sgemm/1", "kernel/1x12x1024x64"

RIGHT, DETERMINISTIC = ("golden_test", "layer_test"), ("determinism_test",)


def prove(context):
    context.build_targets("attention-server", "attention", "core_bench",
                          *RIGHT, *DETERMINISTIC)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            prove_blas(context, pathlib.Path(scratch))
            prove_vectors(context, pathlib.Path(scratch))
        finally:
            for process in reversed(Process.started):
                process.end()


def prove_blas(context, scratch):
    info = server_info(context)["blas"]
    kernels = blas_kernels.that_run()
    if info["kernel"] not in kernels:
        kernels.append(info["kernel"])
    workers = {kernel: start(context, scratch, OPENBLAS_CORETYPE=kernel)
               for kernel in kernels}
    for kernel, worker in workers.items():
        check_runs(worker, 1, kernel)
    fractions = fractions_of_best(context, workers, SGEMM)
    for kernel, worker in workers.items():
        right, repeats = said_of_blas(worker)
        add_line(
            context, f"processors.blas.{kernel}", f"OpenBLAS's kernel {kernel}",
            info["kernel_because"] if kernel == info["kernel"] else None,
            right and passes(context, RIGHT, OPENBLAS_CORETYPE=kernel),
            repeats and passes(context, DETERMINISTIC,
                               OPENBLAS_CORETYPE=kernel),
            fractions[kernel])


def prove_vectors(context, scratch):
    targets = start(context, scratch).ask("vector_targets").split()
    workers = {target: start(context, scratch) for target in targets}
    for target, worker in workers.items():
        worker.ask("use_vector_target", target)
        check_runs(worker, 0, target)
    fractions = fractions_of_best(context, workers, ATTENTION)
    for target in targets:
        this = {"ATTENTION_TEST_VECTOR_TARGET": target}
        add_line(
            context, f"processors.vectors.{target}",
            f"instruction set {target} of our kernels",
            "the best that this processor has" if target == targets[0] else None,
            passes(context, RIGHT, **this),
            passes(context, DETERMINISTIC, **this), fractions[target])


def check_runs(worker, place, name):
    """That a line is about what it says."""
    runs = worker.ask("kernels").split()[place]
    if runs != name:
        raise WorkerError(f"{name} is not to be had: core_bench runs {runs}")


def said_of_blas(worker):
    """Whether the matrix library is right, and repeats its bits; neither if it
    crashed."""
    try:
        right, repeats, *_ = worker.ask("blas").split()
    except WorkerError as error:
        say(str(error))
        return False, False
    return right == "1", repeats == "1"


def server_info(context):
    """What the server says that it is."""
    with unittest.mock.patch.dict(
            os.environ, without_blas_settings(), clear=True), \
            server_process.running_server(
                context.build / "server/attention-server") as (address, _):
        return json.loads(subprocess.run(
            [context.build / "client/cpp/attention", "--target", address,
             "info", "--json"], check=True, capture_output=True).stdout)


def start(context, scratch, **environment):
    """A worker whose log is its own."""
    return Worker([context.build / "bench/core_bench", "--serve"],
                  scratch / f"{len(Process.started)}.log", env=environment)


def fractions_of_best(context, workers, benchmark):
    """{name: median speed as a fraction of the best one's}, in turns; 0 of one
    that crashed."""
    speeds = {name: [] for name in workers}
    for _ in range(QUICK_ROUNDS if context.quick else ROUNDS):
        for name, worker in workers.items():
            try:
                speeds[name].append(
                    worker.numbers("time", benchmark, SECONDS)[1])
            except WorkerError as error:
                say(f"{name}: {error}")
                speeds[name].append(0)
    medians = {name: statistics.median(of) for name, of in speeds.items()}
    best = max(medians.values())
    return {name: speed / best for name, speed in medians.items()}


def without_blas_settings():
    """An environment in which the library takes what it takes of itself."""
    return {name: value for name, value in clean_environment().items()
            if not name.startswith("OPENBLAS_")}


def passes(context, programs, **environment):
    """Whether these tests pass on what the environment says."""
    return all(
        subprocess.run(
            [context.build / "tests" / program], check=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=without_blas_settings() | environment).returncode == 0
        for program in programs)


def add_line(context, id, what, chosen, right, deterministic, fraction):
    """One line; `chosen` is why, or None. All have to be right, and what is
    chosen has to repeat its bits and be fast."""
    bound = FAST_ENOUGH if chosen and not context.quick else 0
    context.claims.add(
        id,
        f"{what}, {f'chosen: {chosen}' if chosen else 'not chosen'}; "
        f"{'right' if right else 'WRONG'}, "
        f"{'' if deterministic else 'not '}deterministic; speed as a fraction "
        "of the best",
        fraction, bound,
        right and (deterministic or not chosen) and fraction >= bound)
