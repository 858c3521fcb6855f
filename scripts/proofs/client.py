"""What people get in their hands: weight sets that stay, files of every format,
sets larger than a message, pictures."""

from proofs.file_fuzz import prove_fuzz
from proofs.file_round_trips import prove_round_trips
from proofs.pictures import prove_pictures
from proofs.transfer import prove_transfer

QUICK = ("20 kills of the server instead of 200, 5 s of fuzzing for each reader "
         "instead of 60, a weight set of 64 MiB instead of 1 GiB")

TARGETS = ("attention-server", "python_stubs")


def prove(context):
    prove_kills(context)
    prove_round_trips(context)
    prove_fuzz(context)
    prove_transfer(context)
    prove_pictures(context)


def prove_kills(context):
    context.build_targets(*TARGETS)
    context.prove_by_script("client.kill", "kill_proof.py")
