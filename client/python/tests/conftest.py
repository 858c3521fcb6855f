"""What the tests share: servers of their own, and both clients."""

import asyncio
import os
import pathlib
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from server_process import PATIENCE, running_server  # noqa: E402

from attention_client import AsyncClient, Client  # noqa: E402


class Blocking:
    """AsyncClient, waited for: what is tested of one client is of the other."""

    def __init__(self, target, **arguments):
        self._loop = asyncio.new_event_loop()
        try:
            self._client = self._wait(self._open(target, arguments))
        except BaseException:
            self._loop.close()
            raise

    async def _open(self, target, arguments):
        return AsyncClient(target, **arguments)

    def _wait(self, coroutine):
        return self._loop.run_until_complete(
            asyncio.wait_for(coroutine, PATIENCE))

    def __getattr__(self, name):
        method = getattr(self._client, name)
        return lambda *args, **options: self._wait(method(*args, **options))

    def compute_many(self, requests, **options):

        async def collect():
            return [answer async for answer in
                    self._client.compute_many(requests, **options)]

        return iter(self._wait(collect()))

    def close(self):
        self._wait(self._client.close())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


CLIENTS = {"blocking": Client, "asyncio": Blocking}


@pytest.fixture(scope="session")
def start_server():
    """Starts a server with flags: a context manager of its address."""
    program = os.environ.get("ATTENTION_SERVER")
    if program is None:
        pytest.exit("set ATTENTION_SERVER to the attention-server to test", 2)
    return lambda *flags: running_server(program, *flags)


@pytest.fixture(scope="session")
def address(start_server):
    with start_server() as (found, _):
        yield found


@pytest.fixture(params=CLIENTS)
def connect(request):
    """Makes clients of either kind, which are closed at the end."""
    opened = []

    def open_client(target, **arguments):
        opened.append(CLIENTS[request.param](target, **arguments))
        return opened[-1]

    yield open_client
    for client in opened:
        client.close()


@pytest.fixture
def client(connect, address):
    return connect(address)


@pytest.fixture
def random():
    return np.random.default_rng(20)


@pytest.fixture
def name(request):
    """A weight set of the test's own."""
    return "".join(c if c.isalnum() else "." for c in request.node.name)
