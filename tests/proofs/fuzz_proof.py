"""Proves that no bytes bring a method down, or are refused but by name.

Sends to every method, health and reflection among them, all messages that the
generator of broken ones makes, and random ones (message_fuzz.cc says how both are
made and judged). One line per claim (scripts/proofs). PYTHONPATH has the stubs and
tests/support, ATTENTION_SERVER the server, MESSAGE_FUZZ tests/message_fuzz.
--quick sends a few hundred to each.
"""

import json
import os
import subprocess
import sys

import grpc

import service
from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc

sys.path.insert(0, str(service.ROOT / "scripts"))
from proofs.program import main  # noqa: E402

MESSAGE_FUZZ = os.environ["MESSAGE_FUZZ"]
CASES, QUICK_CASES = 100_000, 300  # of each method
BROKEN = 400  # at least, of all


def prove(claims, options):
    cases = QUICK_CASES if options.quick else CASES
    with service.running_server("--log-level", "error") as (address, process):
        lines = subprocess.run(
            [MESSAGE_FUZZ, address, str(cases)], check=True, text=True,
            stdout=subprocess.PIPE).stdout.splitlines()
        for line in lines[:-1]:
            print(f"attention: {line}", file=sys.stderr)
        said = json.loads(lines[-1])
        alive = process.poll() is None
        if alive:
            with service.channel(address) as channel:
                attention_pb2_grpc.AttentionServiceStub(channel).GetServerInfo(
                    pb.GetServerInfoRequest(), timeout=service.PATIENCE)
    named = {code.value[0]: code.name for code in grpc.StatusCode}
    codes = ", ".join(f"{count} {named[int(code)]}" for code, count
                      in sorted(said["codes"].items(), key=lambda one: -one[1]))
    claims.at_least("door.fuzz.broken", "broken messages that a generator made, "
                    "one fault each", said["broken"], BROKEN)
    claims.equal("door.fuzz.random", f"random messages to {said['methods']} "
                 f"methods, {said['seconds']:.0f} s", said["random"],
                 cases * said["methods"])
    claims.equal("door.fuzz.findings", "of both that were answered otherwise "
                 "than with an answer, or a refusal that has words, one "
                 f"ErrorInfo of the list, and the field ({codes})",
                 said["findings"], 0)
    claims.equal("door.fuzz.lives", "the server is there after it (1)",
                 int(alive), 1)


if __name__ == "__main__":
    main(prove)
