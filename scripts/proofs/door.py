"""The door: what clients do, and what an operator does, loses no call and silences
nobody."""

import os

from proofs.context import clean_environment

QUICK = ("3 restarts under load instead of 100, and 1 instead of 20 with retries "
         "off; descriptors run out twice instead of five times; one attack "
         "instead of twelve, for a second; 500 requests against the ledger "
         "instead of 10,000")

TARGETS = ("attention-server", "attention", "python_stubs")


def prove(context):
    context.build_targets(*TARGETS)
    prove_by(context, "rolls", "roll_proof.py")
    prove_by(context, "descriptors", "descriptors_proof.py")
    prove_by(context, "attacks", "attack_proof.py")
    prove_by(context, "ledger", "ledger_proof.py")


def prove_by(context, id, program):
    """Claims of a program in tests/proofs, which runs where the Python tests
    do."""
    context.prove_by(
        f"door.{id}.finished",
        ["/usr/bin/python3", "-B", context.root / "tests/proofs" / program],
        env=clean_environment(
            PYTHONPATH=os.pathsep.join(
                (str(context.build / "generated/python"),
                 str(context.root / "tests/support"))),
            ATTENTION_SERVER=str(context.build / "server/attention-server"),
            ATTENTION_CLI=str(context.build / "client/cpp/attention")))
