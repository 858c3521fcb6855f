"""The door: what clients do, and what an operator does, loses no call and silences
nobody."""

QUICK = ("3 restarts under load instead of 100, and 1 instead of 20 with retries "
         "off; descriptors run out twice instead of five times; one attack "
         "instead of twelve, for a second; 500 requests against the ledger "
         "instead of 10,000")

TARGETS = ("attention-server", "attention", "python_stubs")

PARTS = ("roll", "descriptors", "attack", "ledger", "bounded", "responsive")


def prove(context):
    context.build_targets(*TARGETS)
    for part in PARTS:
        context.prove_by_script(f"door.{part}.finished", f"{part}_proof.py")
