"""The chapter, replayed: every number of client/chapter.json comes back."""

import json
import unittest

import numpy as np
from google.protobuf import json_format

import service
from attention.v1 import attention_pb2 as pb


def read_chapter():
    return json.loads((service.ROOT / "client" / "chapter.json").read_text())


def mismatch(found, expected, digits):
    """What is wrong with numbers that should be `expected` to some digits, or
    None. Half a unit of the last digit is the rounding of what is printed; the
    rest is what float32 may be off by on numbers of this size (the bound of the
    chapter's results in tests/goldens/chapter.json is below 60 * 2^-24)."""
    limit = 0.5 * 10.0**-digits + 60 * 2.0**-24
    if found.shape != expected.shape:
        return f"shape {found.shape}, not {expected.shape}"
    if not np.all(np.abs(found - expected) <= limit):
        return f"{found.tolist()}, not {expected.tolist()}"
    return None


def compared(reply, case, digits):
    """(what it is, what is wrong with it or None) of each of a case's numbers in
    the reply to its request."""
    for expected in case["expect"]:
        found = service.array(getattr(reply, expected["path"]))
        yield expected["what"], mismatch(
            found[tuple(expected["index"])], np.array(expected["values"]),
            digits)


def set_weights(stub, message):
    request = json_format.ParseDict(message, pb.SetWeightsRequest())
    return stub.SetWeights(request).version


class ChapterTest(service.ServiceTest):

    def set_weights(self, message):
        return set_weights(self.stub, message)

    def test_every_number_comes_back(self):
        chapter = read_chapter()
        self.assertGreater(len(chapter["cases"]), 0)
        for case in chapter["cases"]:
            with self.subTest(case["id"]):
                version = None
                if "set_weights" in case:
                    version = self.set_weights(case["set_weights"])
                if "same_weights_from_seed" in case:
                    seeded = self.set_weights(case["same_weights_from_seed"])
                    self.assertEqual(seeded.sha256, version.sha256)
                request = json_format.ParseDict(
                    case["request"], pb.ComputeAttentionRequest())
                reply = self.stub.ComputeAttention(request)
                self.assertEqual(
                    reply.HasField("weight_set_used"),
                    request.HasField("weight_set"))
                if version is not None:
                    self.assertEqual(reply.weight_set_used, version)
                self.assertGreater(len(case["expect"]), 0)
                for what, wrong in compared(reply, case, chapter["digits"]):
                    self.assertIsNone(wrong, what)

    def test_replaying_appends_no_version(self):
        case = next(
            c for c in read_chapter()["cases"] if "set_weights" in c)
        first = self.set_weights(case["set_weights"])
        self.assertEqual(self.set_weights(case["set_weights"]), first)


class MismatchTest(unittest.TestCase):

    def test_a_wrong_digit_sign_shape_or_nan_is_caught(self):
        expected = np.array([0.1385, -0.2379])
        self.assertIsNone(mismatch(expected + 0.4e-4, expected, 4))
        for wrong in (expected + 1e-4, -expected, expected[:1],
                      expected * np.nan):
            with self.subTest(wrong=wrong):
                self.assertIsNotNone(mismatch(wrong, expected, 4))


if __name__ == "__main__":
    unittest.main()
