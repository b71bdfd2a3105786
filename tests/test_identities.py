"""Who we are: several certificates with their keys at once, wherever each comes from, and which of them a peer gets."""

import asyncio
import gc
import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

import aiotls
from aiotls import _native
from tests.conftest import Run
from tests.hostile.records import plain_record
from tests.support import pkcs12
from tests.support.pairs import tcp_pair
from tests.support.pki import Identity, Named
from tests.support.servers import serving, to
from tests.support.sessions import greet, visit
from tests.support.visits import credentials, hosting, staying


@dataclass(frozen=True)
class Both:
    """An RSA and a P-256 identity for localhost, which peers can tell apart by their common names."""

    rsa: Identity
    ec: Identity

    @classmethod
    def issued(cls, pki: Named) -> "Both":
        names, addresses = ["localhost"], ["127.0.0.1"]
        rsa = pki.ca.issue(names, common_name="the rsa one", ip_addresses=addresses)
        return cls(rsa, pki.ca.issue(names, common_name="the ec one", ip_addresses=addresses, key="ec"))

    def of(self, kind: str) -> Identity:
        return self.rsa if kind == "rsa" else self.ec


@pytest.fixture(scope="module")
def both(pki: Named) -> Both:
    return Both.issued(pki)


SOURCES: dict[str, Callable[[Both], dict[str, Any]]] = {
    "PFX and PEM": lambda both: {"pfx": pkcs12.make(both.rsa), **credentials(both.ec)},
    "PEM and PFX": lambda both: {**credentials(both.rsa), "pfx": pkcs12.make(both.ec)},
    "two PFX": lambda both: {"pfx": [pkcs12.make(both.rsa), pkcs12.make(both.ec)]},
    "two PFX, the other order": lambda both: {"pfx": [pkcs12.make(both.ec), pkcs12.make(both.rsa)]},
    "two PFX in dicts": lambda both: {
        "pfx": [
            {"buf": pkcs12.make(both.ec, b"of its own"), "passphrase": "of its own"},
            {"buf": pkcs12.make(both.rsa)},
        ]
    },
    "one PFX with both": lambda both: {"pfx": pkcs12.merged(both.rsa, both.ec)},
    "one PFX with both, the other order": lambda both: {"pfx": pkcs12.merged(both.ec, both.rsa)},
    "PEM": lambda both: {
        "cert": [both.ec.chain_pem, both.rsa.chain_pem],
        "key": [both.rsa.key_pem, both.ec.key_pem],
    },
    "objects": lambda both: {
        "cert": [both.rsa.certificate, both.ec.certificate],
        "key": [both.ec.key, both.rsa.key],
    },
}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, both: Both) -> dict[str, Any]:
    """Both identities, in each of the ways there are."""
    return options_of(request.param, both)


def options_of(source: str, both: Both) -> dict[str, Any]:
    return {"cert": None, "key": None, "passphrase": "sample", **SOURCES[source](both)}


def wanting(kind: str, version: str) -> dict[str, Any]:
    """A client that can only verify one kind of key; the root is RSA, so its signature is allowed too."""
    if version == "TLSv1.2":
        return {"max_version": version, "ciphers": f"ECDHE-{'RSA' if kind == 'rsa' else 'ECDSA'}-AES128-GCM-SHA256"}
    return {"min_version": version, "sigalgs": f"{'RSA-PSS' if kind == 'rsa' else 'ECDSA'}+SHA256:RSA+SHA256"}


def test_servers(run: Run, both: Both, source: dict[str, Any]) -> None:
    """Each client gets the certificate that it can verify, under both versions."""

    async def main() -> None:
        async with serving(**source) as server:
            for version in ("TLSv1.2", "TLSv1.3"):
                for kind in ("rsa", "ec"):
                    async with staying(to(server, **wanting(kind, version))) as client:
                        assert client.get_peer_certificate().raw == both.of(kind).der  # type: ignore[union-attr]

    run(main)


def asking_for(kind: str, version: str) -> str:
    """The signature algorithms of a server that can only verify one kind of key."""
    if kind == "rsa":
        return "RSA-PSS+SHA256:RSA+SHA256"
    # In TLS 1.2 the algorithm of the root would let a client sign with its RSA key too.
    return "ECDSA+SHA256" if version == "TLSv1.2" else "ECDSA+SHA256:RSA+SHA256"


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_clients(run: Run, pki: Named, both: Both, source: dict[str, Any], version: str) -> None:
    """A client shows the certificate that the server can verify."""

    async def main() -> None:
        for kind in ("rsa", "ec"):
            host_options = {"request_cert": True, "ca": pki.ca.cert_pem, "sigalgs": asking_for(kind, version)}
            async with hosting(**host_options, **credentials(both.of(kind))) as host:
                seen = await host.visit(**source, max_version=version)
                assert seen.welcome
                assert (seen.welcome.authorized, seen.welcome.certificate) == (True, both.of(kind).der)

    run(main)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_each_has_its_own_chain(run: Run, pki: Named, version: str) -> None:
    """The intermediate of one identity is not sent with the other."""
    rsa, ec = pki.chain_b, pki.chain_ec
    server_options = {"pfx": pkcs12.make(rsa), "passphrase": "sample", **credentials(ec)}

    async def main() -> None:
        async with serving(**server_options) as server:
            for kind, identity, root in (("rsa", rsa, pki.ca_b), ("ec", ec, pki.ca_ec)):
                name = {"servername": "agent10.example.com", "ca": root.cert_pem}
                wish = wanting(kind, version)
                if version == "TLSv1.3" and kind == "ec":
                    wish["sigalgs"] = "ECDSA+SHA256"
                async with staying(to(server, **name, **wish)) as client:
                    chain = client.get_peer_certificate(True)
                    assert chain
                    assert chain.raw == identity.der
                    assert client.authorized is True

    run(main)


def test_three_kinds(run: Run, pki: Named, both: Both, tmp_path: Path) -> None:
    """RSA from a PFX, P-256 from a store, Ed25519 as PEM."""
    stored = tmp_path / "ec.p12"
    stored.write_bytes(pkcs12.make(both.ec))
    options: dict[str, Any] = {
        "pfx": pkcs12.make(both.rsa),
        "key": [pki.server_ed25519.key_pem, f"file:{stored}"],
        "cert": [f"file:{stored}", pki.server_ed25519.chain_pem],
        "passphrase": "sample",
    }

    async def main() -> None:
        async with serving(**options) as server:
            for sigalgs, identity in (
                ("RSA-PSS+SHA256", both.rsa),
                ("ECDSA+SHA256", both.ec),
                ("ed25519", pki.server_ed25519),
            ):
                async with staying(to(server, min_version="TLSv1.3", sigalgs=f"{sigalgs}:RSA+SHA256")) as client:
                    assert client.get_peer_certificate().raw == identity.der  # type: ignore[union-attr]

    run(main)


@pytest.mark.parametrize("way", ["name", "callback", "reload", "key_cert"])
def test_everywhere(run: Run, both: Both, way: str) -> None:
    """Identities of a PFX count wherever a context is given."""
    options: dict[str, Any] = {"pfx": [pkcs12.make(both.rsa), pkcs12.make(both.ec)], "passphrase": "sample"}

    async def main() -> None:
        context = aiotls.create_secure_context(**options)

        def exchange(socket: aiotls.TLSSocket, servername: str | bool, protocols: list[str]) -> str:
            socket.set_key_cert(**options)
            return protocols[0]

        async with serving(
            sni_callback=(lambda name: context) if way == "callback" else None,
            alpn_callback=exchange if way == "key_cert" else None,
        ) as server:
            if way == "name":
                server.add_context("localhost", **options)
            elif way == "reload":
                server.set_secure_context(**options)
            for kind in ("rsa", "ec"):
                async with staying(to(server, alpn_protocols=["x"], **wanting(kind, "TLSv1.2"))) as client:
                    assert client.get_peer_certificate().raw == both.of(kind).der  # type: ignore[union-attr]

    run(main)


def test_set_key_cert_takes_a_pfx_alone(run: Run, both: Both) -> None:
    """A context whose identity comes from a PFX is one with a certificate and a key."""
    context = aiotls.create_secure_context(pfx=pkcs12.make(both.ec), passphrase="sample")

    def exchange(socket: aiotls.TLSSocket, servername: str | bool, protocols: list[str]) -> str:
        socket.set_key_cert(context)
        return protocols[0]

    async def main() -> None:
        async with (
            serving(alpn_callback=exchange) as server,
            staying(to(server, alpn_protocols=["x"])) as client,
        ):
            assert client.get_peer_certificate().raw == both.ec.der  # type: ignore[union-attr]

    run(main)


# ---- what does not fit together


def test_keys_01_values(pki: Named) -> None:
    """KEYS-01: a key of the same kind that belongs to another certificate."""
    for make in (aiotls.create_secure_context, aiotls.create_server):
        with pytest.raises(aiotls.OptionError, match="key values mismatch") as raised:
            make(key=pki.leaf_a.key_pem, cert=pki.self_rsa.cert_pem)
        assert raised.value.code == "ERR_OSSL_X509_KEY_VALUES_MISMATCH"
        assert raised.value.reason == "key values mismatch"
        assert raised.value.option == "key"


@pytest.mark.parametrize(("key", "certificate"), [("self_ec", "self_rsa"), ("self_rsa", "self_ec")])
def test_keys_01_kinds(pki: Named, key: str, certificate: str) -> None:
    """KEYS-01: a key of another kind than the certificate leaves no identity: an error too."""
    with pytest.raises(aiotls.OptionError, match="belongs to no certificate") as raised:
        aiotls.create_secure_context(key=getattr(pki, key).key_pem, cert=getattr(pki, certificate).cert_pem)
    assert raised.value.option == "key"
    assert raised.value.code == "ERR_OSSL_X509_KEY_VALUES_MISMATCH"
    assert raised.value.reason == "key values mismatch"


def test_keys_01_a_chain_in_the_wrong_order(pki: Named) -> None:
    """KEYS-01: the certificate of the key stands in the chain, but not first; the words say where it has to stand."""
    own = pki.chain_ec
    chain = b"".join(own.chain_pem.partition(own.cert_pem)[::-1])
    assert chain.endswith(own.cert_pem)
    assert len(chain) == len(own.chain_pem) > len(own.cert_pem)
    with pytest.raises(aiotls.OptionError, match="stands first in its chain") as raised:
        aiotls.create_secure_context(key=own.key_pem, cert=chain)
    assert (raised.value.option, raised.value.code) == ("key", "ERR_OSSL_X509_KEY_VALUES_MISMATCH")


def test_keys_01_beside_a_pfx(pki: Named, both: Both) -> None:
    """KEYS-01: what is complete in a PFX does not excuse a key and a certificate that do not fit."""
    pfx: dict[str, Any] = {"pfx": pkcs12.make(both.rsa), "passphrase": "sample"}
    mistakes: list[dict[str, Any]] = [
        {"key": pki.server_ec.key_pem},
        {"key": both.ec.key_pem, "cert": pki.server_ec.cert_pem},
        {"key": [both.ec.key_pem, pki.server_ed25519.key_pem], "cert": both.ec.cert_pem},
    ]
    for options in mistakes:
        with pytest.raises(aiotls.OptionError, match="key") as raised:
            aiotls.create_secure_context(**pfx, **options)
        assert (raised.value.option or "").startswith("key")


def test_the_key_of_a_pfx_again(run: Run, both: Both) -> None:
    """The same identity twice, from a PFX and as PEM, is that identity."""

    async def main() -> None:
        options = {"pfx": pkcs12.make(both.ec), "passphrase": "sample", **credentials(both.ec)}
        async with serving(**options) as server, staying(to(server)) as client:
            assert client.get_peer_certificate().raw == both.ec.der  # type: ignore[union-attr]

    run(main)


def test_two_of_a_kind(run: Run, pki: Named, both: Both) -> None:
    """OpenSSL keeps one identity of each kind of key: one of them is shown, with its own key."""

    async def main() -> None:
        options: dict[str, Any] = {"pfx": [pkcs12.make(both.ec), pkcs12.make(pki.server_ec)], "passphrase": "sample"}
        async with (
            serving(cert=None, key=None, **options) as server,
            staying(to(server)) as client,
        ):
            assert client.get_peer_certificate().raw in (both.ec.der, pki.server_ec.der)  # type: ignore[union-attr]

    run(main)


# ---- nobody else's


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("shape", ["bytes", "dicts", "one buffer", "path"])
def test_two_files_are_two_identities(run: Run, pki: Named, tmp_path: Path, version: str, shape: str) -> None:
    """CVE-2026-56850: clients that differ in nothing but their PFX are different clients to a server."""
    clients = [pki.ca.issue(common_name=f"client {number}", key="ec", purposes=["client"]) for number in range(4)]
    files = [pkcs12.make(each) for each in clients]
    buffer = bytearray()
    path = tmp_path / "identity.p12"

    def given(number: int) -> Any:
        if shape == "path":
            path.write_bytes(files[number])
            return path
        if shape == "one buffer":
            buffer[:] = files[number]
            return buffer
        return files[number] if shape == "bytes" else [{"buf": files[number], "passphrase": "sample"}]

    async def main() -> None:
        async with hosting(request_cert=True, ca=pki.ca.cert_pem) as host:
            for number in (0, 1, 0, 2, 3, 1):
                seen = await host.visit(pfx=given(number), passphrase="sample", max_version=version)
                assert seen.welcome
                assert seen.welcome.certificate == clients[number].der
                assert seen.welcome.resumed is False
                gc.collect()  # so that objects of the next turn may take the places of these

    run(main)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_a_session_of_another_identity(run: Run, pki: Named, version: str) -> None:
    """CVE-2026-56850, CVE-2026-48934: a session made with one PFX is not offered with another one."""
    one, other = (pkcs12.make(each) for each in (pki.client_ec, pki.client))

    async def main() -> None:
        async with serving(greet, max_version=version, request_cert=True, ca=pki.ca.cert_pem) as server:
            first = await visit(server, pfx=one, passphrase="sample")
            stranger = await visit(server, pfx=other, passphrase="sample", session=first.last)
            nobody_options: dict[str, Any] = {"session": first.last}
            with pytest.raises(aiotls.TLSError):
                await visit(server, **nobody_options)
            again = await visit(server, pfx=one, passphrase="sample", session=first.last)
            assert (stranger.reused, again.reused) == (False, True)

    run(main)


# ---- the RSA key exchange

VERSION = b"\x03\x03"


def padded(kind: str, size: int) -> bytes:
    """A premaster secret, padded rightly (PKCS #1 v1.5) or wrongly; random octets but for what the kind says."""
    secret = (b"\x03\x02" if kind == "another version" else VERSION) + os.urandom(46)
    if kind == "short secret":
        secret = VERSION + os.urandom(8)
    filling = bytes(1 + octet % 255 for octet in os.urandom(size - 3 - len(secret)))
    heads = {"another type": b"\0\1", "no leading zero": b"\1\2"}
    separator = b"\1" if kind == "no separator" else b"\0"
    if kind == "early separator":
        filling = filling[:3] + b"\0" + filling[4:]
    return heads.get(kind, b"\0\2") + filling + separator + (secret if kind != "no separator" else b"\1" * len(secret))


async def alert_for(kind: str, end: socket.socket, identity: Identity) -> bytes:
    """What a server answers to a premaster secret of this kind, by somebody who does not know it."""
    loop = asyncio.get_running_loop()
    extension = b"\x00\x0d\x00\x04\x00\x02\x04\x01"
    hello = VERSION + os.urandom(32) + b"\0\0\2\x00\x9c\1\0" + len(extension).to_bytes(2, "big") + extension
    await loop.sock_sendall(end, plain_record(22, b"\1" + len(hello).to_bytes(3, "big") + hello))
    heard = b""
    while not heard.endswith(b"\x0e\0\0\0"):  # ServerHelloDone
        heard += await loop.sock_recv(end, 65536)
    public = identity.key.public_key()
    assert isinstance(public, RSAPublicKey)
    numbers = public.public_numbers()
    size = (numbers.n.bit_length() + 7) // 8
    number = pow(int.from_bytes(padded(kind, size), "big") % numbers.n, numbers.e, numbers.n)
    exchange = size.to_bytes(2, "big") + number.to_bytes(size, "big")
    message = b"\x10" + len(exchange).to_bytes(3, "big") + exchange
    flight = plain_record(22, message) + plain_record(20, b"\1") + plain_record(22, os.urandom(40))
    await loop.sock_sendall(end, flight)
    answer = b""
    while data := await loop.sock_recv(end, 65536):
        answer += data
    return answer


def test_premaster_secrets_cannot_be_told_apart(run: Run, pki: Named) -> None:
    """CVE-2023-46809: whatever is wrong with the padding, or nothing, the server says the same, and only at the end."""
    wrong = ("another version", "another type", "no leading zero", "no separator", "early separator", "short secret")

    async def main() -> None:
        refusals: asyncio.Queue[Any] = asyncio.Queue()
        only_rsa = {"ciphers": "AES128-GCM-SHA256", "max_version": "TLSv1.2", **credentials(pki.server)}
        async with serving(**only_rsa) as server:
            server.on("tls_client_error", lambda error, _: refusals.put_nowait(error))
            for kind in ("good", *wrong):
                near, far = await tcp_pair()
                server.handle_connection(far)
                with near:
                    assert await alert_for(kind, near, pki.server) == b"\x15\x03\x03\0\2\2\x14", kind
                assert (await refusals.get()).code == "ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC"

    run(main)


def test_openssl_is_new_enough() -> None:
    """CVE-2023-46809: our own OpenSSL hides wrong padding itself (3.2); the machine's is its distribution's to mend.

    And nothing of ours decrypts with RSA.
    """
    own = b"libcrypto.so" not in Path(str(_native.__file__)).read_bytes()
    oldest = 0x30200000 if own else 0x30000000
    assert oldest <= _native.OPENSSL_VERSION_NUMBER
    sources = (Path(__file__).parent.parent / "native" / "src").rglob("*.rs")
    calls = re.compile(r"private_decrypt|PKEY_decrypt|PKEY_CTX_set_rsa_padding|Decrypter")
    assert [path.name for path in sources if calls.search(path.read_text())] == []


# ---- several keys in one text


def joined(both: Both, shape: str) -> bytes:
    """Both keys in one PEM text."""
    rsa, ec = both.rsa.key_pem, both.ec.key_pem
    return {
        "both": rsa + ec,
        "turned": ec + rsa,
        "certificates between": ec + both.ec.chain_pem + rsa + both.rsa.chain_pem,
        "words around": b"the first\n" + ec + b"\nthe second\n" + rsa + b"the end\n",
        "no newlines": ec.strip() + b"\n" + rsa.strip(),
        "CRLF": (ec + rsa).replace(b"\n", b"\r\n"),
        "traditional": both.rsa.key_pem_encrypted(b"sample", traditional=True) + ec,
        "one encrypted": ec + both.rsa.key_pem_encrypted(b"sample"),
        "both encrypted": both.rsa.key_pem_encrypted(b"sample") + both.ec.key_pem_encrypted(b"sample"),
    }[shape]


@pytest.mark.parametrize(
    "shape",
    [
        *("both", "turned", "certificates between", "words around", "no newlines", "CRLF"),
        *("traditional", "one encrypted", "both encrypted"),
    ],
)
def test_several_keys_in_one_text(run: Run, both: Both, shape: str) -> None:
    """None of them is skipped: each client gets the certificate that it can verify."""
    options: dict[str, Any] = {"cert": [both.rsa.chain_pem, both.ec.chain_pem], "passphrase": "sample"}

    async def main() -> None:
        async with serving(**options, key=joined(both, shape)) as server:
            for kind, ciphers in (("rsa", "ECDHE+aRSA"), ("ec", "ECDHE+aECDSA")):
                async with staying(to(server, ciphers=ciphers, max_version="TLSv1.2")) as client:
                    assert client.get_peer_certificate().raw == both.of(kind).der  # type: ignore[union-attr]

    run(main)


def test_one_key_too_many_in_a_text(pki: Named, both: Both) -> None:
    """KEYS-01: each of them has to belong to a certificate, and to be one."""
    stranger, broken = pki.server_ed25519.key_pem, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    for key in (both.ec.key_pem + stranger, stranger + both.ec.key_pem, both.ec.key_pem + broken):
        with pytest.raises(aiotls.OptionError) as raised:
            aiotls.create_secure_context(key=key, cert=both.ec.chain_pem)
        assert raised.value.option == "key"
    locked = both.rsa.key_pem_encrypted(b"sample")
    with pytest.raises(aiotls.OptionError, match="no passphrase") as raised:
        aiotls.create_secure_context(key=both.ec.key_pem + locked, cert=[both.rsa.chain_pem, both.ec.chain_pem])
    assert raised.value.option == "key"
