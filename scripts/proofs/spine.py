"""One request's whole path: exact, deterministic, tested, and two commands."""

from proofs import clean_clone, pristine_debian
from proofs.context import clean_environment

QUICK = ("demo and test once on the clean clone, not twice; no pristine Debian; "
         "5 stops instead of 20; every fifth mistake; a tenth of the random "
         "computations")

TARGETS = ("attention-server", "python_stubs", "spine_proof")


def prove(context):
    clean_clone.check_head(context.root)
    if not context.quick:
        pristine_debian.check_possible()
    context.build_targets(*TARGETS)
    prove_stops(context)
    prove_exactness(context)
    prove_mutations(context)
    clean_clone.prove(context)
    if not context.quick:
        pristine_debian.prove(context)


def prove_stops(context):
    context.prove_by_script("spine.stop", "stop_proof.py")


def prove_exactness(context):
    context.prove_by(
        "spine.proof", [context.build / "tests/spine_proof"],
        env=clean_environment())


def prove_mutations(context):
    context.prove_by(
        "spine.mutations.finished",
        ["/usr/bin/python3", context.root / "tests/mutations/run.py"],
        env=clean_environment())
