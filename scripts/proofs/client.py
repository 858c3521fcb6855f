"""What a client relies on: weight sets that are acknowledged stay."""

import os

from proofs.context import clean_environment

QUICK = "20 kills of the server instead of 200"

TARGETS = ("attention-server", "python_stubs")


def prove(context):
    context.build_targets(*TARGETS)
    prove_kills(context)


def prove_kills(context):
    context.prove_by(
        "client.kill",
        ["/usr/bin/python3", context.root / "tests/python/kill_proof.py"],
        env=clean_environment(
            PYTHONPATH=os.pathsep.join(
                (str(context.build / "generated/python"),
                 str(context.root / "tests"))),
            ATTENTION_SERVER=str(context.build / "server/attention-server")))
