"""A client that asks nobody about a certificate with the very name of the server asks about every other one."""

from collections.abc import Callable

import pytest

from aiotls import Connection, Phase, notices
from aiotls.errors import ServerIdentityError
from aiotls.identity import plain_name
from tests.support.pairs import Pair, Side
from tests.support.pki import Identity
from tests.test_identity_certificates import dns, email, ip, issued

VERSIONS = ["TLSv1.2", "TLSv1.3"]


def asked(host: str, identity: Identity, version: str, *, ask_always: bool = False) -> tuple[bool, Pair]:
    """Whether the client asked, and what became of it."""
    pair = Pair(
        client={"max_version": version},
        server={"cert": identity.cert_pem, "key": identity.key_pem},
        hostname=host,
        servername=None,
        ask_always=ask_always,
    )
    pair.run()
    return notices.ASKING in [kind for kind, _ in pair.client.notices], pair


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("host", ["a.example", "A.Example", "a.example."])
@pytest.mark.parametrize(
    "identity",
    [
        lambda: issued(dns("a.example")),
        lambda: issued(dns("A.eXample")),
        lambda: issued(dns(b"\xff"), email(b"a@b.example"), dns("b.example"), ip("127.0.0.1"), dns("a.example")),
    ],
)
def test_the_very_name(identity: Callable[[], Identity], host: str, version: str) -> None:
    question, pair = asked(host, identity(), version)
    assert not question
    assert pair.client.connection.phase is Phase.OPEN
    assert pair.client.connection.authorized


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("host", "identity"),
    [
        ("a.b.example", lambda: issued(dns("*.b.example"))),
        ("a.example", lambda: issued(dns("a.example."))),
        ("a.example", lambda: issued(cn="a.example")),
        ("127.0.0.1", lambda: issued(ip("127.0.0.1"))),
    ],
)
def test_what_has_to_be_weighed(host: str, identity: Callable[[], Identity], version: str) -> None:
    question, pair = asked(host, identity(), version)
    assert question
    assert pair.client.connection.authorized


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("host", "identity"),
    [
        ("a.example", lambda: issued(dns("b.example"), cn="a.example")),
        ("a.example", lambda: issued(email(b"a.example"))),
        ("a.example", lambda: issued(dns("a.example\0.evil.example"))),
        ("127.0.0.1", lambda: issued(dns("127.0.0.1"))),
        ("1.2", lambda: issued(dns("1.2"))),
        ("*.b.example", lambda: issued(dns("*.b.example"))),
    ],
)
def test_others_are_refused(host: str, identity: Callable[[], Identity], version: str) -> None:
    question, pair = asked(host, identity(), version)
    assert question
    assert pair.client.connection.phase is Phase.FAILED
    assert isinstance(pair.client.error, ServerIdentityError)


def test_who_wants_to_be_asked_is() -> None:
    question, pair = asked("a.example", issued(dns("a.example")), "TLSv1.3", ask_always=True)
    assert question
    assert pair.client.connection.authorized


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("name", "question"), [("b.a.example", False), ("*.a.example", True)])
def test_a_resumed_session(version: str, name: str, question: bool) -> None:
    """It holds the certificate, which is looked at as in a full handshake."""
    _, pair = asked("b.a.example", issued(dns(name)), version)
    session = pair.client.connection.client_session()
    assert session is not None
    near, far = pair.client.connection.settings, pair.server.connection.settings
    pair.client = Side(Connection(near, hostname="b.a.example", ask_always=False))
    pair.client.connection.offer_session(session)
    pair.server = Side(Connection(far))
    pair.run()
    assert pair.client.connection.engine.session_reused()
    assert pair.client.connection.authorized
    assert (notices.ASKING in [kind for kind, _ in pair.client.notices]) is question


def test_plain_names() -> None:
    assert plain_name("A.example.") == "a.example"
    assert plain_name("bücher.example") == "xn--bcher-kva.example"
    for host in ("127.0.0.1", "::1", "*.a.example", "a..example", "0x7f.1", "fe80::1%eth0", "[::1]", ""):
        assert plain_name(host) is None
