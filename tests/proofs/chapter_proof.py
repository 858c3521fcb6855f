"""Replays the chapter against a server that runs already, and says as a claim
(scripts/proofs) how many of its numbers come back. Runs where the Python tests
run: PYTHONPATH has the stubs."""

import argparse
import sys

from google.protobuf import json_format

import service
from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc
from chapter_test import compared, read_chapter, set_weights

sys.path.insert(0, str(service.ROOT / "scripts"))
from proofs.program import main  # noqa: E402


def replay(stub):
    """What is wrong, or None, of each number of the chapter."""
    chapter = read_chapter()
    for case in chapter["cases"]:
        if "set_weights" in case:
            set_weights(stub, case["set_weights"])
        reply = stub.ComputeAttention(
            json_format.ParseDict(
                case["request"], pb.ComputeAttentionRequest()),
            timeout=service.PATIENCE)
        for _, wrong in compared(reply, case, chapter["digits"]):
            yield wrong


def prove(claims, options):
    with service.channel(options.address) as channel:
        wrong = list(replay(attention_pb2_grpc.AttentionServiceStub(channel)))
    right = wrong.count(None)
    claims.add(
        "container.chapter",
        "results of the chapter that a client in Python gets as they are "
        "printed", right, len(wrong), 0 < right == len(wrong))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    main(prove, parser)
