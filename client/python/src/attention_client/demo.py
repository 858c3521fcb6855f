"""The chapter against a server: what is computed, and whether it is right."""

from __future__ import annotations

import textwrap

import numpy as np

from attention_client.chapter import Example, examples
from attention_client.client import Client

_WIDTH = 79


def replay(client: Client, *, timeout: float | None = None) -> int:
    """Computes every example and prints it; returns how many differ from the
    chapter.

    Raises:
        AttentionError: the server refused one of them, or was not reached.
    """
    differing = checked = 0
    for number, example in enumerate(examples(), 1):
        print(f"\n{number}. {example.title}\n")
        print(textwrap.fill(example.explanation, _WIDTH, initial_indent="   ",
                            subsequent_indent="   "))
        for what, right in _checks(client, example, timeout):
            checked += 1
            differing += not right
            print(f"\n   {'ok' if right else 'DIFFERS'}: {what}")
    print(f"\n{checked - differing} of {checked} agree with the chapter.")
    return differing


def _checks(
    client: Client, example: Example, timeout: float | None
) -> list[tuple[str, bool]]:
    """(what came, whether it is what the chapter says) of one example."""
    checks = []
    versions = [
        client.set_weights(asked.name, asked.weights, timeout=timeout,
                           idempotency_key=asked.idempotency_key)
        for asked in (example.set_weights, example.same_weights)
        if asked is not None
    ]
    if len(versions) == 2:
        checks.append((f"{versions[1].name} has the SHA-256 of "
                       f"{versions[0].name}",
                       versions[0].sha256 == versions[1].sha256))
    result = client.compute_request(example.request, timeout=timeout)
    for expected in example.expectations:
        found = expected.found(result)
        numbers = np.array2string(found, precision=4, suppress_small=True)
        checks.append((f"{expected.what}\n{textwrap.indent(numbers, '   ')}",
                       expected.holds(found)))
    return checks
