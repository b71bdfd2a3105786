"""Certificate compression (RFC 8879): `certificate_compression` on either side, and what it saves."""

import asyncio
import contextlib
import importlib.util
import itertools
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

import pytest

import aiotls
from aiotls.ciphers import get_certificate_compression_algorithms
from tests.conftest import Run
from tests.interop.capture import recording
from tests.support.pairs import MemoryDuplex, client_options, gone
from tests.support.pki import Identity, Named
from tests.support.servers import port_of, serving, to
from tests.support.visits import credentials, staying

Algorithm = Literal["zlib", "brotli", "zstd"]
NUMBERS = {"zlib": 1, "brotli": 2, "zstd": 3}
"""RFC 8879, section 7.3."""
ALGORITHMS = get_certificate_compression_algorithms()
MAKERS: list[Callable[..., object]] = [aiotls.create_secure_context, aiotls.create_server]

BAD_CERTIFICATE, ILLEGAL_PARAMETER = 42, 47

needs_compression = pytest.mark.skipif(not ALGORITHMS, reason="OpenSSL was built without compression of certificates")


def copies(identity: Identity, count: int, **options: Any) -> dict[str, Any]:
    """A server whose chain is the same certificate again and again."""
    return {"cert": identity.cert_pem * count, "key": identity.key_pem, **options}


# ---- the option


def test_the_algorithms() -> None:
    """KEYS-05: some of the three of RFC 8879, each once, in a list of the caller's own."""
    assert set(ALGORITHMS) <= set(NUMBERS)
    assert len(ALGORITHMS) == len(set(ALGORITHMS))
    aiotls.get_certificate_compression_algorithms().clear()
    assert aiotls.get_certificate_compression_algorithms() == ALGORITHMS


@pytest.mark.parametrize("make", MAKERS)
def test_keys_05_valid(make: Callable[..., object]) -> None:
    """KEYS-05: nothing, each supported algorithm alone, and all of them in any order."""
    make()
    make(certificate_compression=None)
    make(certificate_compression=[])
    make(certificate_compression=[], max_version="TLSv1.2")
    for size in (1, 2, 3):
        for some in itertools.permutations(ALGORITHMS, size):
            make(certificate_compression=list(some))
            make(certificate_compression=some)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("wrong", [True, False, "zlib", "", 1, b"zlib", {"zlib"}, {"zlib": 1}, iter(["zlib"])])
def test_keys_05_no_list(make: Callable[..., object], wrong: Any) -> None:
    """KEYS-05: what is no list, a single name too."""
    with pytest.raises(aiotls.OptionTypeError, match="certificate_compression") as raised:
        make(certificate_compression=wrong)
    assert raised.value.code == "ERR_INVALID_ARG_TYPE"


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("wrong", ["invalid", "ZLIB", "", 1, None, True, b"zlib", ["zlib"]])
def test_keys_05_no_algorithm(make: Callable[..., object], wrong: Any) -> None:
    """KEYS-05: the element is named, and so are the names there are."""
    for given in ([wrong], [*ALGORITHMS, wrong]):
        with pytest.raises(aiotls.OptionError, match="must be 'zlib', 'brotli', or 'zstd'") as raised:
            make(certificate_compression=given)
        assert raised.value.code == "ERR_INVALID_ARG_VALUE"
        assert f"certificate_compression[{len(given) - 1}]" in str(raised.value)
        assert repr(wrong) in str(raised.value)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_keys_05_twice(make: Callable[..., object], algorithm: str) -> None:
    """KEYS-05: the same algorithm cannot stand there twice."""
    for given in ([algorithm, algorithm], [*ALGORITHMS, algorithm]):
        with pytest.raises(aiotls.OptionError, match="certificate_compression") as raised:
            make(certificate_compression=given)
        assert raised.value.code == "ERR_CRYPTO_OPERATION_FAILED"


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("versions", [{"max_version": "TLSv1.2"}, {"secure_protocol": "TLSv1_2_method"}])
def test_keys_05_an_old_version(make: Callable[..., object], versions: dict[str, str]) -> None:
    """KEYS-05: no version below TLS 1.3 knows it."""
    with pytest.raises(aiotls.OptionError, match=r"TLSv1\.3") as raised:
        make(certificate_compression=["zlib"], **versions)
    assert raised.value.code == "ERR_INVALID_ARG_VALUE"
    assert raised.value.option == "certificate_compression"


@pytest.mark.parametrize("algorithm", sorted(NUMBERS.keys() - set(ALGORITHMS)))
def test_an_algorithm_that_openssl_lacks(algorithm: str) -> None:
    """What this OpenSSL cannot do is refused, not passed over."""
    lists: list[Any] = [[algorithm], [*ALGORITHMS, algorithm]]
    for given in lists:
        with pytest.raises(aiotls.OptionError, match="certificate_compression") as raised:
            aiotls.create_secure_context(certificate_compression=given)
        assert algorithm in str(raised.value)


# ---- the ClientHello


async def hello_of(**options: Any) -> tuple[bytes, dict[int, bytes]]:
    """The legacy compression methods and the extensions in the ClientHello of a client."""
    near, far = MemoryDuplex.pair()
    client = aiotls.connect(socket=near, **client_options(**options))
    data = await far.read(65536)
    await gone(client)
    body = data[9:]
    at = 34
    at += 1 + body[at]  # the session identifier
    at += 2 + int.from_bytes(body[at : at + 2], "big")  # cipher suites
    methods = body[at + 1 : at + 1 + body[at]]
    at += 1 + body[at] + 2
    extensions: dict[int, bytes] = {}
    while at < len(body):
        kind, size = (int.from_bytes(body[at + offset : at + offset + 2], "big") for offset in (0, 2))
        extensions[kind] = body[at + 4 : at + 4 + size]
        at += 4 + size
    return methods, extensions


COMPRESS_CERTIFICATE = 27


@needs_compression
def test_keys_05_no_compression_of_records(run: Run) -> None:
    """KEYS-05: the legacy list is exactly the null method; the extension has the algorithms in the order given."""

    async def main() -> None:
        for some in itertools.permutations(ALGORITHMS):
            methods, extensions = await hello_of(certificate_compression=some)
            assert methods == b"\0"
            numbers = b"".join(NUMBERS[each].to_bytes(2, "big") for each in some)
            assert extensions[COMPRESS_CERTIFICATE] == bytes([len(numbers)]) + numbers

    run(main)


@pytest.mark.parametrize("option", [{}, {"certificate_compression": None}, {"certificate_compression": []}])
def test_off_unless_it_is_asked_for(run: Run, option: dict[str, Any]) -> None:
    """Without the option there is no such extension, whatever OpenSSL was built with."""

    async def main() -> None:
        methods, extensions = await hello_of(**option)
        assert methods == b"\0"
        assert COMPRESS_CERTIFICATE not in extensions

    run(main)


# ---- what it saves


async def weight(server: aiotls.Server, *, from_client: bool | None = None, **options: Any) -> int:
    """How many bytes a connection takes that does nothing but shake hands; all, or those of one direction."""
    async with recording(port_of(server)) as recorder:
        client = aiotls.connect("127.0.0.1", recorder.port, **client_options(**options))
        async with client:
            assert client.get_protocol() == options.get("max_version", "TLSv1.3")
            assert await client.read() == b""
        await recorder.ended.wait()
    return sum(len(data) for sender, data in recorder.segments if from_client in (None, sender))


def end(socket: aiotls.TLSSocket) -> None:
    socket.end()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_keys_05_bytes(run: Run, pki: Named, algorithm: Algorithm) -> None:
    """KEYS-05: with it on both sides less than half the bytes of a handshake without; on one side it does nothing."""
    both: Any = {"certificate_compression": [algorithm]}

    async def main() -> None:
        weights: list[int] = []
        sides: list[Any] = [{}, both]
        for server_side in sides:
            async with serving(end, **copies(pki.server, 20), **server_side) as server:
                weights += [await weight(server), await weight(server, **both)]
        plain, client_only, server_only, compressed = weights
        assert plain > 15_000
        assert compressed < plain / 2
        for one_side in (client_only, server_only):
            assert abs(one_side - plain) < 500

    run(main)


@pytest.mark.skipif(len(ALGORITHMS) < 2, reason="needs two algorithms")
def test_keys_05_nothing_in_common(run: Run, pki: Named) -> None:
    """KEYS-05: each has another algorithm: the handshake succeeds, uncompressed."""

    async def main() -> None:
        for one, other in itertools.permutations(ALGORITHMS, 2):
            async with serving(end, **copies(pki.server, 20), certificate_compression=[one]) as server:
                assert await weight(server, certificate_compression=[other]) > 15_000

    run(main)


@needs_compression
def test_one_of_several_in_common(run: Run, pki: Named) -> None:
    """Both have lists; what is in both is used, whatever stands before it."""

    async def main() -> None:
        for one in ALGORITHMS:
            async with serving(end, **copies(pki.server, 20), certificate_compression=ALGORITHMS) as server:
                assert await weight(server, certificate_compression=[one]) < 7_500
            async with serving(end, **copies(pki.server, 20), certificate_compression=[one]) as server:
                assert await weight(server, certificate_compression=ALGORITHMS[::-1]) < 7_500

    run(main)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("way", ["callback", "async callback", "name", "wildcard"])
def test_keys_05_another_context(run: Run, pki: Named, algorithm: Algorithm, way: str) -> None:
    """KEYS-05: the same saving when only the context has it that `sni_callback` answers with, or `add_context` took."""
    compressing = copies(pki.server, 20, certificate_compression=[algorithm])

    async def main() -> None:
        context = aiotls.create_secure_context(**compressing)

        def choose(name: str) -> aiotls.SecureContext | None:
            return context if name == "small.example.com" else None

        async def choose_later(name: str) -> aiotls.SecureContext | None:
            await asyncio.sleep(0)
            return choose(name)

        callback = {"callback": choose, "async callback": choose_later}.get(way)
        async with serving(end, **copies(pki.server, 20), sni_callback=callback) as server:
            if callback is None:
                server.add_context("small.example.com" if way == "name" else "*.example.com", **compressing)
            both: Any = {"certificate_compression": [algorithm]}
            assert await weight(server, **both) > 15_000
            assert await weight(server, servername="small.example.com", **both) < 7_500
            assert await weight(server, servername="small.example.com") > 15_000

    run(main)


@needs_compression
def test_not_in_the_other_context(run: Run, pki: Named) -> None:
    """The context of a name that has none of it compresses nothing, although that of the server does."""

    async def main() -> None:
        both: Any = {"certificate_compression": ALGORITHMS}
        async with serving(end, **copies(pki.server, 20, **both)) as server:
            server.add_context("large.example.com", **copies(pki.server, 20))
            assert await weight(server, **both) < 7_500
            assert await weight(server, servername="large.example.com", **both) > 15_000

    run(main)


@needs_compression
def test_after_a_reload(run: Run, pki: Named) -> None:
    """`set_secure_context` turns it on and off for later connections, and the new certificate is the one sent."""

    async def main() -> None:
        both: Any = {"certificate_compression": ALGORITHMS}
        async with serving(end, **copies(pki.server, 20)) as server:
            assert await weight(server, **both) > 15_000
            server.set_secure_context(**copies(pki.server_ec, 20, **both))
            assert await weight(server, **both) < 7_500
            async with staying(to(server, **both)) as client:
                assert client.get_peer_certificate().raw == pki.server_ec.der  # type: ignore[union-attr]
            server.set_secure_context(**copies(pki.server, 20))
            assert await weight(server, **both) > 15_000

    run(main)


@needs_compression
@pytest.mark.parametrize("exchanged", [True, False])
def test_an_exchanged_certificate(run: Run, pki: Named, exchanged: bool) -> None:
    """`set_key_cert`: nothing that was compressed before is sent for the new certificate, whoever compresses."""
    both: Any = {"certificate_compression": ALGORITHMS}
    new = copies(pki.server_ec, 20, **(both if exchanged else {}))

    def exchange(socket: aiotls.TLSSocket, servername: str | bool, protocols: list[str]) -> str:
        socket.set_key_cert(**new)
        return protocols[0]

    async def main() -> None:
        async with (
            serving(**copies(pki.server, 20, **both), alpn_callback=exchange) as server,
            staying(to(server, alpn_protocols=["x"], **both)) as client,
        ):
            assert client.authorized is True
            assert client.get_peer_certificate().raw == pki.server_ec.der  # type: ignore[union-attr]

    run(main)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_certificates_of_clients(run: Run, pki: Named, algorithm: Algorithm) -> None:
    """What a client shows is compressed too when both sides want it, and the server verifies it."""
    both: Any = {"certificate_compression": [algorithm]}
    own = copies(pki.client, 20)
    wanting: Any = {"request_cert": True, "ca": pki.ca.cert_pem}

    async def main() -> None:
        authorized: list[bool] = []

        def listener(socket: aiotls.TLSSocket) -> None:
            authorized.append(socket.authorized)
            socket.end()

        async with serving(listener, **wanting, **both) as server:
            plain = await weight(server, from_client=True, **own)
            assert plain > 15_000
            assert await weight(server, from_client=True, **own, **both) < plain / 2
        assert authorized == [True, True]

    run(main)


@needs_compression
@pytest.mark.parametrize("kind", ["server", "server_ec", "server_ed25519"])
def test_what_is_verified(run: Run, pki: Named, kind: str) -> None:
    """The certificate that arrives is the one that was sent; an untrusted one is refused as ever."""
    identity: Identity = getattr(pki, kind)
    both: Any = {"certificate_compression": ALGORITHMS}

    async def main() -> None:
        async with serving(**credentials(identity), **both) as server:
            server.on("tls_client_error", lambda *_: None)
            async with staying(to(server, **both)) as client:
                assert client.authorized is True
                assert client.get_peer_certificate().raw == identity.der  # type: ignore[union-attr]
            with pytest.raises(aiotls.VerificationError) as raised:
                await to(server, **both, ca=pki.ca_b.cert_pem)
            assert raised.value.code == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"

    run(main)


@needs_compression
def test_tls_1_2_goes_without(run: Run, pki: Named) -> None:
    """A client that knows no TLS 1.3 is served by a server that has the option."""

    async def main() -> None:
        async with serving(end, **copies(pki.server, 20), certificate_compression=ALGORITHMS) as server:
            assert await weight(server, max_version="TLSv1.2") > 15_000

    run(main)


# ---- too much


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, None])
def test_keys_05_a_chain_above_the_limit(run: Run, pki: Named, algorithm: Algorithm | None) -> None:
    """KEYS-05: 200 certificates are more than a client takes, however small they were made."""
    both: Any = {"certificate_compression": [algorithm]} if algorithm else {}

    async def main() -> None:
        secure: list[aiotls.TLSSocket] = []
        refusals: asyncio.Queue[Any] = asyncio.Queue()
        async with serving(secure.append, **copies(pki.server, 200), **both) as server:
            server.on("tls_client_error", lambda error, _: refusals.put_nowait(error))
            with pytest.raises(aiotls.ProtocolError) as raised:
                await to(server, min_version="TLSv1.3", **both)
            assert raised.value.code == "ERR_SSL_EXCESSIVE_MESSAGE_SIZE"
            refusal = await refusals.get()
            assert refusal.alert == (BAD_CERTIFICATE if algorithm else ILLEGAL_PARAMETER)
            assert (secure, refusals.empty()) == ([], True)

    run(main)


# ---- another implementation

TLSLITE = """
    import socket, sys
    from tlslite.api import X509CertChain, parsePEMKey, TLSConnection
    from tlslite.handshakesettings import HandshakeSettings

    role, algorithm, port, chain, key = sys.argv[1:]
    settings = HandshakeSettings()
    settings.minVersion = (3, 4)
    settings.certificate_compression_send = settings.certificate_compression_receive = [algorithm] if algorithm else []
    if role == "server":
        with socket.create_server(("127.0.0.1", 0)) as listening:
            print(listening.getsockname()[1], flush=True)
            connection = TLSConnection(listening.accept()[0])
        certificates = X509CertChain()
        certificates.parsePemList(chain)
        private = parsePEMKey(key, private=True, implementations=["python"])
        connection.handshakeServer(certChain=certificates, privateKey=private, settings=settings)
        connection.read(1, 1)
        connection.write(b"done")
        assert connection.read() == b""
        connection.close()
    else:
        connection = TLSConnection(socket.create_connection(("127.0.0.1", int(port))))
        connection.handshakeClientCert(settings=settings, serverName="localhost")
        print(len(connection.session.serverCertChain.x509List), connection.read(1, 1).decode())
        connection.close()
"""

needs_tlslite = pytest.mark.skipif(
    importlib.util.find_spec("tlslite") is None or "zlib" not in ALGORITHMS, reason="needs tlslite-ng, and zlib"
)


@contextlib.asynccontextmanager
async def tlslite(role: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    program = ("-c", textwrap.dedent(TLSLITE), role, *arguments)
    process = await asyncio.create_subprocess_exec(sys.executable, *program, stdout=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


@needs_tlslite
def test_a_client_of_tlslite(run: Run, pki: Named) -> None:
    """It reads what we compressed, and without the extension it gets the certificates as they are."""

    async def main() -> None:
        weights: list[int] = []
        options = copies(pki.server, 20, certificate_compression=["zlib"])
        async with serving(lambda socket: socket.end(b"!"), **options) as server:
            for algorithm in ("", "zlib"):
                async with (
                    recording(port_of(server)) as recorder,
                    tlslite("client", algorithm, str(recorder.port), "", "") as peer,
                ):
                    assert peer.stdout
                    assert await peer.stdout.readline() == b"20 !\n"
                    await recorder.ended.wait()
                weights.append(sum(len(data) for _, data in recorder.segments))
        assert weights[1] < weights[0] / 2

    run(main)


@needs_tlslite
def test_a_server_of_tlslite(run: Run, pki: Named) -> None:
    """We read what it compressed, and it compresses only for a client that asks."""
    chain, key = (pki.server.cert_pem * 20).decode(), pki.server.key_pem.decode()

    async def main() -> None:
        weights: list[int] = []
        wishes: list[Any] = [[], ["zlib"]]
        for wish in wishes:
            async with tlslite("server", "zlib", "0", chain, key) as peer:
                assert peer.stdout
                async with recording(int(await peer.stdout.readline())) as recorder:
                    options = client_options(certificate_compression=wish)
                    async with aiotls.connect("127.0.0.1", recorder.port, **options) as client:
                        client.write(b"?")
                        assert await client.readexactly(4) == b"done"
                    await recorder.ended.wait()
            weights.append(sum(len(data) for _, data in recorder.segments))
        assert weights[1] < weights[0] / 2

    run(main)
