"""Protocol versions: which one two sides agree on, under every default, or what each side is told when there is none.

What is expected follows from the ranges of the two sides alone, which stand here as data.  `ROWS` are those that the
behaviours spell out; they hold the rule itself to its word.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import Pair, gone
from tests.support.pki import named
from tests.support.servers import serving, to

VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
ALL = "ALL@SECLEVEL=0"
"""TLS 1.0 and 1.1 sign with SHA-1, which higher security levels refuse."""


class Defaults(NamedTuple):
    """The default range."""

    minimum: str
    maximum: str


DEFAULTS = {
    "VER-02": Defaults("TLSv1.2", "TLSv1.2"),
    "VER-03": Defaults("TLSv1.2", "TLSv1.3"),
    "VER-05": Defaults("TLSv1", "TLSv1.3"),
    "VER-06": Defaults("TLSv1.1", "TLSv1.3"),
    "VER-07": Defaults("TLSv1.2", "TLSv1.3"),
    "VER-08": Defaults("TLSv1.3", "TLSv1.3"),
}
OUT_OF_THE_BOX = DEFAULTS["VER-03"]


class Wish(NamedTuple):
    """What one side was made with."""

    minimum: str | None = None
    maximum: str | None = None
    method: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        named_options = {"min_version": self.minimum, "max_version": self.maximum, "secure_protocol": self.method}
        return {option: value for option, value in named_options.items() if value is not None}

    def versions(self, defaults: Defaults) -> range:
        """What it accepts, as places in `VERSIONS`; an empty range accepts nothing."""
        if self.method is None:
            first, last = self.minimum or defaults.minimum, self.maximum or defaults.maximum
        elif self.method == "SSLv23_method":
            first, last = defaults.minimum, "TLSv1.2"
        else:
            first, last = METHODS[self.method]
        return range(VERSIONS.index(first), VERSIONS.index(last) + 1)

    def __str__(self) -> str:
        return self.method or (f"{self.minimum or ''}..{self.maximum or ''}" if self.options else "default")


METHODS = {
    "TLS_method": ("TLSv1", "TLSv1.3"),
    "TLSv1_method": ("TLSv1", "TLSv1"),
    "TLSv1_1_method": ("TLSv1.1", "TLSv1.1"),
    "TLSv1_2_method": ("TLSv1.2", "TLSv1.2"),
}

WISHES = (
    Wish(),
    *(Wish(method=method) for method in ("SSLv23_method", *METHODS)),
    *(Wish(minimum, maximum) for at, minimum in enumerate(VERSIONS) for maximum in VERSIONS[at:]),
    *(Wish(minimum=version) for version in VERSIONS),
    *(Wish(maximum=version) for version in VERSIONS),
)

ALERT = "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION"
UNSUPPORTED = "ERR_SSL_UNSUPPORTED_PROTOCOL"
WRONG_NUMBER = "ERR_SSL_WRONG_VERSION_NUMBER"
NOTHING = "ERR_SSL_NO_PROTOCOLS_AVAILABLE"
UNEXPECTED = "ERR_SSL_UNEXPECTED_MESSAGE"

Outcome = tuple[str, str]
"""The version, or the code of the error, of the client and of the server."""


def expected(client: range, server: range) -> Outcome:
    """The highest version of both; without one, the first side that notices names the reason."""
    if not client:
        # The server gets an alert where a ClientHello should be; with nothing to offer itself it does not look.
        return NOTHING, UNEXPECTED if server else NOTHING
    if not server:
        return ALERT, NOTHING
    shared = set(client) & set(server)
    if shared:
        return VERSIONS[max(shared)], VERSIONS[max(shared)]
    tls13 = VERSIONS.index("TLSv1.3")
    if client[-1] < server[0] or client[-1] == tls13:
        # The server knows the whole range: from the version of the hello, or from supported_versions.
        return ALERT, UNSUPPORTED
    # A hello without supported_versions tells only the highest version: the server goes lower, the client refuses.
    return UNSUPPORTED, WRONG_NUMBER


def method(name: str) -> Wish:
    return Wish(method=f"{name}_method")


def between(minimum: str, maximum: str) -> Wish:
    return Wish(f"TLSv{minimum}", f"TLSv{maximum}")


DEFAULT, SSLV23, TLS = Wish(), method("SSLv23"), method("TLS")
ONE_0, ONE_1, ONE_2 = method("TLSv1"), method("TLSv1_1"), method("TLSv1_2")
TOO_LOW, TOO_HIGH = (ALERT, UNSUPPORTED), (UNSUPPORTED, WRONG_NUMBER)


def agreed(version: str) -> Outcome:
    return f"TLSv{version}", f"TLSv{version}"


ALWAYS: tuple[tuple[Wish, Wish, Outcome], ...] = (
    *(
        (client, server, agreed(version))
        for version, own in (("1.2", ONE_2), ("1.1", ONE_1), ("1", ONE_0))
        for client, server in (
            (own, own),
            (TLS, own),
            (own, TLS),
            (between("1", "1.2"), own),
            (own, between("1", "1.2")),
        )
    ),
    (between("1", "1.2"), TLS, agreed("1.2")),
    (TLS, between("1", "1.2"), agreed("1.2")),
    (between("1", "1.1"), between("1", "1.3"), agreed("1.1")),
    (between("1", "1.2"), between("1", "1.1"), agreed("1.1")),
    (between("1", "1.3"), between("1", "1.1"), agreed("1.1")),
    (between("1", "1"), between("1", "1.1"), agreed("1")),
    (between("1", "1.3"), between("1", "1"), agreed("1")),
    (between("1.1", "1.1"), between("1", "1.2"), agreed("1.1")),
    (between("1", "1.2"), between("1", "1.3"), agreed("1.2")),
    (between("1", "1.3"), between("1.3", "1.3"), agreed("1.3")),
    (between("1", "1.3"), between("1.2", "1.3"), agreed("1.3")),
    (between("1", "1.3"), between("1.2", "1.2"), agreed("1.2")),
    *((between(version, version), between("1", "1.3"), agreed(version)) for version in ("1.3", "1.2", "1.1", "1")),
    (between("1.2", "1.2"), between("1.3", "1.3"), TOO_LOW),
    (between("1.3", "1.3"), between("1.2", "1.2"), TOO_LOW),
    (between("1", "1.1"), between("1.3", "1.3"), TOO_LOW),
    (between("1.3", "1.3"), between("1", "1.1"), TOO_LOW),
)
"""Client, server, and what becomes of it under every default."""

EMPTY_SERVER, EMPTY_CLIENT = (ALERT, NOTHING), (NOTHING, UNEXPECTED)
UNTIL_2 = ((SSLV23, SSLV23, agreed("1.2")), (SSLV23, TLS, agreed("1.2")), (TLS, SSLV23, agreed("1.2")))
FROM_1_2 = (
    *UNTIL_2,
    (ONE_2, SSLV23, agreed("1.2")),
    *((old, server, TOO_LOW) for old in (ONE_1, ONE_0) for server in (SSLV23, DEFAULT)),
    *((SSLV23, old, TOO_HIGH) for old in (ONE_1, ONE_0)),
)
ROWS: dict[str, tuple[tuple[Wish, Wish, Outcome], ...]] = {
    "VER-02": (*FROM_1_2, (DEFAULT, DEFAULT, agreed("1.2")), (DEFAULT, ONE_1, TOO_HIGH), (DEFAULT, ONE_0, TOO_HIGH)),
    "VER-03": (*FROM_1_2, (DEFAULT, DEFAULT, agreed("1.3")), (DEFAULT, ONE_1, TOO_LOW), (DEFAULT, ONE_0, TOO_LOW)),
    "VER-05": (
        *UNTIL_2,
        (DEFAULT, DEFAULT, agreed("1.3")),
        *(
            (client, server, agreed(version))
            for version, own in (("1.2", ONE_2), ("1.1", ONE_1), ("1", ONE_0))
            for client, server in ((own, SSLV23), (SSLV23, own), (own, DEFAULT), (DEFAULT, own))
        ),
    ),
    "VER-06": (
        *UNTIL_2,
        (DEFAULT, DEFAULT, agreed("1.3")),
        *(
            (client, server, agreed(version))
            for version, own in (("1.2", ONE_2), ("1.1", ONE_1))
            for client, server in ((own, SSLV23), (SSLV23, own), (own, DEFAULT), (DEFAULT, own))
        ),
        *((ONE_0, server, TOO_LOW) for server in (SSLV23, DEFAULT)),
        (SSLV23, ONE_0, TOO_HIGH),
        (DEFAULT, ONE_0, TOO_LOW),
    ),
    "VER-08": (
        (DEFAULT, DEFAULT, agreed("1.3")),
        *((client, SSLV23, EMPTY_SERVER) for client in (ONE_2, ONE_1, ONE_0, TLS)),
        *((SSLV23, server, EMPTY_CLIENT) for server in (ONE_2, ONE_1, ONE_0, TLS)),
        *((old, DEFAULT, TOO_LOW) for old in (ONE_2, ONE_1, ONE_0)),
        *((DEFAULT, old, TOO_LOW) for old in (ONE_2, ONE_1, ONE_0)),
    ),
}
ROWS["VER-07"] = ROWS["VER-03"]
"""The same under one default each."""


@contextlib.contextmanager
def assigned(defaults: Defaults) -> Iterator[None]:
    """The module's defaults, for a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aiotls.defaults, "min_version", defaults.minimum)
        patch.setattr(aiotls.defaults, "max_version", defaults.maximum)
        yield


def client_context(wish: Wish, ciphers: str = ALL) -> aiotls.SecureContext:
    return aiotls.create_secure_context(ca=named.ca_a.cert_pem, ciphers=ciphers, **wish.options)


def server_context(wish: Wish, ciphers: str = ALL) -> aiotls.SecureContext:
    own = named.chain_a
    return aiotls.create_secure_context(cert=own.chain_pem, key=own.key_pem, ciphers=ciphers, **wish.options)


def negotiated(client: aiotls.SecureContext, server: aiotls.SecureContext) -> Outcome:
    """What becomes of a handshake; the certificate has no name that could be asked for."""
    pair = Pair(client={"context": client, "reject_unauthorized": False}, server={"context": server})
    pair.run()
    return told(pair.client), told(pair.server)


def told(side: Any) -> str:
    if side.connection.phase is aiotls.Phase.OPEN:
        return str(side.connection.engine.protocol())
    return str(side.error.code)


# VER-07 has the defaults of VER-03.
@pytest.mark.parametrize("entry", [entry for entry in DEFAULTS if entry != "VER-07"])
@pytest.mark.parametrize("client", WISHES, ids=str)
def test_every_client_with_every_server(entry: str, client: Wish) -> None:
    """VER-01, VER-02, VER-03, VER-05, VER-06, VER-07, VER-08: the highest version of both, seen on both ends."""
    defaults = DEFAULTS[entry]
    with assigned(defaults):
        ours = client_context(client)
        outcomes = {str(server): negotiated(ours, server_context(server)) for server in WISHES}
    assert outcomes == {
        str(server): expected(client.versions(defaults), server.versions(defaults)) for server in WISHES
    }


@pytest.mark.parametrize("entry", DEFAULTS)
def test_the_rule_gives_the_rows_that_are_spelt_out(entry: str) -> None:
    """VER-01: what `expected` computes is what the behaviours name, for each default."""
    defaults = DEFAULTS[entry]
    for client, server, outcome in (*ALWAYS, *ROWS[entry]):
        assert expected(client.versions(defaults), server.versions(defaults)) == outcome, (client, server)


@pytest.mark.parametrize("ciphers", ["DEFAULT@SECLEVEL=0", None])
def test_other_ciphers(ciphers: str | None) -> None:
    """VER-01: the outcome is the same under the ciphers that let TLS 1.0 be offered, and in TLS 1.2 under our own."""
    given: dict[str, Any] = {} if ciphers is None else {"ciphers": ciphers}
    own = {"cert": named.chain_a.chain_pem, "key": named.chain_a.key_pem, **given}
    for client, server, outcome in ROWS["VER-03"] if ciphers else UNTIL_2:
        contexts = (
            aiotls.create_secure_context(ca=named.ca_a.cert_pem, **given, **client.options),
            aiotls.create_secure_context(**own, **server.options),
        )
        assert negotiated(*contexts) == outcome, (client, server)


# ---- the same over the network


SAMPLES = {
    "VER-02": [(DEFAULT, DEFAULT), (DEFAULT, ONE_1), (ONE_1, DEFAULT), (TLS, DEFAULT)],
    "VER-03": [(DEFAULT, DEFAULT), (DEFAULT, ONE_1), (ONE_1, DEFAULT), (SSLV23, ONE_0), (TLS, ONE_0)],
    "VER-05": [(DEFAULT, DEFAULT), (ONE_0, DEFAULT), (DEFAULT, ONE_0)],
    "VER-06": [(DEFAULT, DEFAULT), (ONE_1, DEFAULT), (ONE_0, DEFAULT)],
    "VER-07": [(between("1", "1.2"), between("1", "1.1")), (between("1.3", "1.3"), between("1.2", "1.2"))],
    "VER-08": [(DEFAULT, DEFAULT), (TLS, SSLV23), (SSLV23, TLS)],
}


@pytest.mark.parametrize("entry", SAMPLES)
def test_connect_and_create_server(run: Run, entry: str) -> None:
    """VER-01: `connect` and `create_server` read the defaults, and tell both users the same as the table."""

    async def main() -> None:
        defaults = DEFAULTS[entry]
        for client, server in SAMPLES[entry]:
            with assigned(defaults):
                outcome = await over_tcp(client, server)
            wanted = expected(client.versions(defaults), server.versions(defaults))
            # A hang-up may come before the alert of a client that has no version at all.
            assert outcome == wanted or (wanted == EMPTY_CLIENT and outcome == (NOTHING, "ECONNRESET")), (
                client,
                server,
            )

    run(main)


async def over_tcp(client: Wish, server: Wish) -> Outcome:
    """What becomes of a connection, as its user and the server's user see it."""
    book: asyncio.Queue[Any] = asyncio.Queue()
    own: dict[str, Any] = {"cert": named.chain_a.chain_pem, "key": named.chain_a.key_pem, "ciphers": ALL}
    async with serving(lambda socket: book.put_nowait(str(socket.get_protocol())), **own, **server.options) as running:
        running.on("tls_client_error", lambda error, _socket: book.put_nowait(getattr(error, "code", error)))
        socket = to(running, ca=named.ca_a.cert_pem, reject_unauthorized=False, ciphers=ALL, **client.options)
        try:
            seen = str((await socket).get_protocol())
        except aiotls.TLSError as error:
            seen = error.code
        outcome = seen, await book.get()
        await gone(socket)
        return outcome
