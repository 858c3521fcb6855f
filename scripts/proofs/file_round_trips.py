"""Files of arrays: every format and dtype there and back, and the memory it
takes."""

from proofs.context import clean_environment


def prove_round_trips(context):
    context.build_targets("convert_array")
    context.prove_by(
        "client.files.finished",
        ["/usr/bin/python3", "-B", context.root / "tests/proofs/files_proof.py"],
        env=clean_environment(
            CONVERT_ARRAY=str(context.build / "tests/convert_array")))
