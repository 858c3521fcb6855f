"""Many requests on one stream, told apart by their place in the order."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

from attention_client import attention_pb2 as pb
from attention_client import errors
from attention_client.attention import AttentionResult

Answer = tuple[int, AttentionResult | errors.AttentionError]


def numbered(
    requests: Iterable[pb.ComputeAttentionRequest],
    failures: list[BaseException],
) -> Iterator[pb.StreamAttentionRequest]:
    """As the stream wants them. What making a request raises ends the stream
    and is kept in `failures`, since gRPC only says that there was something."""
    try:
        for index, request in enumerate(requests):
            yield pb.StreamAttentionRequest(id=index, request=request)
    except GeneratorExit:  # the stream has ended before the requests
        raise
    except BaseException as failure:
        failures.append(failure)
        # Of SystemExit and its like gRPC takes no notice.
        raise RuntimeError("making a request failed") from failure


async def numbered_async(
    requests: (Iterable[pb.ComputeAttentionRequest]
               | AsyncIterable[pb.ComputeAttentionRequest]),
    failures: list[BaseException],
) -> AsyncIterator[pb.StreamAttentionRequest]:
    """The same, for requests that may have to be waited for."""
    try:
        if isinstance(requests, AsyncIterable):
            index = 0
            async for request in requests:
                yield pb.StreamAttentionRequest(id=index, request=request)
                index += 1
        else:
            for index, request in enumerate(requests):
                yield pb.StreamAttentionRequest(id=index, request=request)
    except GeneratorExit:
        raise
    except BaseException as failure:
        failures.append(failure)
        raise


def answer(message: pb.StreamAttentionResponse) -> Answer:
    """(place of the request, its result or why there is none)."""
    if message.HasField("error"):
        return message.id, errors.from_status(message.error)
    return message.id, AttentionResult.from_message(message.response)
