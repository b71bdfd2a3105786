"""Copies of what belongs to an event loop: refused in a few words, while the original goes on."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import client_options, server_options, tls_pair
from tests.support.servers import echo, serving, to
from tests.support.visits import staying

pytestmark = pytest.mark.filterwarnings("ignore:create_secure_pair is deprecated:DeprecationWarning")

WAYS: dict[str, Callable[[Any], object]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "deepcopy of a list": lambda each: copy.deepcopy([each]),
    "pickle": pickle.dumps,
    "old pickle": lambda each: pickle.dumps(each, 0),
}


def assert_refused(way: str, original: object) -> None:
    with pytest.raises(TypeError) as caught:
        WAYS[way](original)
    words = f"a {type(original).__name__} belongs to its event loop and cannot be copied or pickled"
    assert str(caught.value) == words
    assert caught.value.__context__ is None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["tcp", "duplex"])
def test_a_socket(run: Run, way: str, kind: str) -> None:
    async def main() -> None:
        async with tls_pair(kind) as (client, server):
            for each in (client, server):
                assert_refused(way, each)
            client.write(b"still there")
            assert await server.readexactly(11) == b"still there"

    run(main)


@pytest.mark.parametrize("way", WAYS)
def test_a_server(run: Run, way: str) -> None:
    async def main() -> None:
        assert_refused(way, aiotls.create_server(**server_options()))
        async with serving(echo) as server:
            assert_refused(way, server)
            async with staying(to(server)) as client:
                client.write(b"x")
                assert await client.readexactly(1) == b"x"

    run(main)


@pytest.mark.parametrize("way", WAYS)
def test_a_secure_pair(run: Run, way: str) -> None:
    async def main() -> None:
        pair = aiotls.create_secure_pair(**client_options())
        assert_refused(way, pair)
        pair.destroy()
        await pair.cleartext.wait_closed()

    run(main)


@pytest.mark.parametrize("side", ["client", "server"])
def test_how_a_secure_pair_is_printed(run: Run, side: str) -> None:
    """By its side and its state."""

    async def main() -> None:
        options = client_options() if side == "client" else {"is_server": True, **server_options()}
        pair = aiotls.create_secure_pair(**options)
        first = repr(pair)
        assert first == f"<SecurePair {pair.cleartext!r}>"
        assert f"TLSSocket {side}" in first
        pair.destroy()
        assert repr(pair) != first
        assert "closed" in repr(pair)
        await pair.cleartext.wait_closed()

    run(main)
