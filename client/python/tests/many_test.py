"""Many requests on one stream."""

import asyncio
import itertools

import numpy as np
import pytest

from attention_client import (
    AsyncClient,
    AttentionError,
    AttentionResult,
    Client,
    DeadlineExceededError,
    InvalidArgumentError,
    attention_request,
)


def inputs(count):
    random = np.random.default_rng(3)
    return [random.standard_normal((1 + i % 5, 4)).astype(np.float32)
            for i in range(count)]


def test_answers_have_the_bits_of_single_calls(client):
    arrays = inputs(200)
    answers = dict(client.compute_many(
        attention_request(x, causal=True) for x in arrays))
    assert sorted(answers) == list(range(200))
    for index, result in answers.items():
        alone = client.compute(arrays[index], causal=True)
        assert result.output.tobytes() == alone.output.tobytes()


def test_no_requests_no_answers(client):
    assert list(client.compute_many([])) == []


def test_a_refusal_does_not_end_the_others(client):
    good = np.ones((2, 2), np.float32)
    answers = dict(client.compute_many([
        attention_request(good),
        attention_request(good, np.ones((2, 3), np.float32)),
        attention_request(good)]))
    assert isinstance(answers[1], InvalidArgumentError)
    assert answers[1].violations[0].field == "key.shape[1]"
    for index in (0, 2):
        assert isinstance(answers[index], AttentionResult)


@pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt])
def test_an_exit_while_a_request_is_made_comes_out(address, ending):
    def requests():
        yield attention_request(inputs(1)[0])
        raise ending

    with Client(address) as client, pytest.raises(ending):
        list(client.compute_many(requests(), timeout=20))


class Ending(BaseException):
    """As SystemExit, but none that an event loop knows."""


@pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt, Ending,
                                    asyncio.CancelledError])
@pytest.mark.parametrize("awaited", [False, True])
def test_an_exit_while_a_request_is_awaited_comes_out(address, ending, awaited):
    def requests():
        yield attention_request(inputs(1)[0])
        raise ending

    async def awaited_requests():
        for request in requests():
            yield request

    async def run():
        async with AsyncClient(address) as client:
            made = awaited_requests() if awaited else requests()
            with pytest.raises(ending):
                async for _ in client.compute_many(made, timeout=20):
                    pass
            return (await client.compute(np.ones((1, 1), np.float32))).output

    assert asyncio.run(run()) == 1


def test_what_making_a_request_raises_comes_out(client):

    def requests():
        yield attention_request(np.ones((1, 1), np.float32))
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(client.compute_many(requests()))
    assert client.compute(np.ones((1, 1), np.float32)).output == 1


def test_a_timeout_is_for_all_of_them(client):
    large = attention_request(np.zeros((8192, 128), np.float32))
    with pytest.raises(DeadlineExceededError):
        list(client.compute_many([large], timeout=0.05))


def test_an_endless_supply_is_taken_as_needed(address):
    """The reader stops after ten; the supply was not drained, and the client
    still answers."""
    taken = itertools.count()
    request = attention_request(np.ones((1, 1), np.float32))

    def endless():
        while True:
            next(taken)
            yield request

    with Client(address) as client:
        answers = client.compute_many(endless())
        assert len(list(itertools.islice(answers, 10))) == 10
        answers.close()
        assert client.compute(np.ones((1, 1), np.float32)).output == 1
    assert next(taken) < 10**6


def test_requests_may_have_to_be_awaited(address):

    async def requests():
        for x in inputs(5):
            await asyncio.sleep(0)
            yield attention_request(x)

    async def failing():
        yield attention_request(inputs(1)[0])
        raise LookupError("no more")

    async def run():
        async with AsyncClient(address) as client:
            answers = [answer async for answer in client.compute_many(requests())]
            with pytest.raises(LookupError, match="no more"):
                async for _ in client.compute_many(failing()):
                    pass
            return answers

    answers = asyncio.run(run())
    assert sorted(index for index, _ in answers) == list(range(5))
    assert not any(isinstance(result, AttentionError) for _, result in answers)
