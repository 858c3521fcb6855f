"""What mypy must understand of the clients; checked, not run."""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from attention_client import (
    AsyncClient,
    AttentionError,
    AttentionResult,
    Client,
    StoredWeightSet,
    WeightSetSummary,
    WeightSetVersion,
    attention_request,
)


def blocking(client: Client) -> None:
    result = client.compute([[1.0]], causal=True, alignment="top_left", timeout=1.0)
    assert_type(result, AttentionResult)
    client.compute([[1.0]], alignment="left")  # type: ignore[arg-type]
    client.compute([[1.0]], casual=True)  # type: ignore[call-arg]
    client.compute([[1.0]], weights={})  # type: ignore[arg-type]
    client.compute()  # type: ignore[call-arg]
    assert_type(client.set_label("name", "label", 1), WeightSetVersion)
    assert_type(client.list_weights("name"), list[WeightSetSummary])
    assert_type(
        client.compute_many([attention_request([[1.0]])]),
        Iterator[tuple[int, AttentionResult | AttentionError]])


async def awaiting(client: AsyncClient) -> None:
    assert_type(await client.compute([[1.0]], top_k=2), AttentionResult)
    await client.compute([[1.0]], casual=True)  # type: ignore[call-arg]
    assert_type(await client.get_weights("name"), StoredWeightSet)
    assert_type(
        client.compute_many([attention_request([[1.0]])]),
        AsyncIterator[tuple[int, AttentionResult | AttentionError]])
