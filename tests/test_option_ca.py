"""The options `ca` and `allow_partial_trust_chain`: every shape of what is trusted, shown by what is then believed."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aiotls
from aiotls import trust
from tests.conftest import Run
from tests.support.pairs import Pair
from tests.support.peers import needs
from tests.support.pki import Authority, Identity, Named, named
from tests.support.visits import hosting

TRUSTED = None
UNKNOWN_LEAF = "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
UNKNOWN_ISSUER = "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"


def verdict(identity: Identity, **options: Any) -> str | None:
    """The code of the error with which a client refuses a server that shows this identity; None when it believes it."""
    server = aiotls.create_secure_context(cert=identity.chain_pem, key=identity.key_pem)
    client = aiotls.create_secure_context(**options)
    pair = Pair(client={"context": client}, server={"context": server}, hostname="agent10.example.com")
    pair.run()
    if pair.client.connection.phase is aiotls.Phase.OPEN:
        return TRUSTED
    error = pair.client.error
    assert isinstance(error, aiotls.VerificationError)
    return error.code


def chain_b() -> Identity:
    return named.chain_b


def relabelled(pem: bytes, label: str) -> bytes:
    return pem.replace(b"CERTIFICATE", label.encode())


def with_words(pem: bytes) -> bytes:
    """As programs print it: with words around it, which nobody reads."""
    return b"subject=CN = ca2\nissuer=CN = ca2\n" + pem + b"\n# the end\n"


SHAPES: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "str": bytes.decode,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "a part of a memoryview": lambda pem: memoryview(b"xx" + pem + b"xx")[2:-2],
    "list": lambda pem: [pem],
    "tuple": lambda pem: (pem.decode(),),
    "list of each": lambda pem: [bytearray(named.ca_a.cert_pem), memoryview(named.ca_l.cert_pem), pem.decode()],
    "list of the same twice": lambda pem: [pem, pem],
    "CRLF": lambda pem: pem.replace(b"\n", b"\r\n"),
    "no newline at the end": bytes.rstrip,
    "words around it": with_words,
    "X509 CERTIFICATE": lambda pem: relabelled(pem, "X509 CERTIFICATE"),
    "TRUSTED CERTIFICATE": lambda pem: relabelled(pem, "TRUSTED CERTIFICATE"),
    "many in one text": lambda pem: named.ca_a.cert_pem + pem + named.ca_l.cert_pem,
    "many labels in one text": lambda pem: (
        relabelled(named.ca_a.cert_pem, "X509 CERTIFICATE")
        + relabelled(named.ca_l.cert_pem, "TRUSTED CERTIFICATE")
        + with_words(pem)
    ).decode(),
    "many texts of many": lambda pem: [named.ca_a.cert_pem + named.ca_l.cert_pem, named.ca.cert_pem + pem],
    "beside a key": lambda pem: named.ca_b.key_pem + pem,
    "DER": lambda _: named.ca_b.der,
    "DER in a bytearray": lambda _: bytearray(named.ca_b.der),
    "list of DER and PEM": lambda pem: [named.ca_a.der, pem],
    "object of cryptography": lambda _: named.ca_b.certificate,
    "list of objects": lambda pem: [named.ca_a.certificate, named.ca_b.certificate],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape: str) -> None:
    """OPT-01: what is given is trusted, whatever it is given as."""
    assert verdict(chain_b(), ca=SHAPES[shape](named.ca_b.cert_pem)) is TRUSTED


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if "DER" not in shape and "object" not in shape])
def test_another_authority_is_not_trusted(shape: str) -> None:
    """The other half: the same shapes with another certificate in them."""
    assert verdict(chain_b(), ca=SHAPES[shape](named.ca_ec.cert_pem)) is not TRUSTED


@pytest.mark.parametrize("content", ["PEM", "DER", "two in PEM"])
def test_paths(tmp_path: Path, content: str) -> None:
    """A `pathlib.Path` is read; text is never taken for one."""
    path = tmp_path / "ca"
    pem, other = named.ca_b.cert_pem, named.ca_a.cert_pem
    path.write_bytes({"PEM": pem, "DER": named.ca_b.der, "two in PEM": other + pem}[content])
    assert verdict(chain_b(), ca=path) is TRUSTED
    assert verdict(chain_b(), ca=[named.ca_ec.cert_pem, path]) is TRUSTED
    with pytest.raises(aiotls.OptionError, match=r"pathlib\.Path"):
        aiotls.create_secure_context(ca=str(path))


@needs("openssl")
@pytest.mark.parametrize("label", ["TRUSTED CERTIFICATE", "CERTIFICATE", "X509 CERTIFICATE"])
def test_a_trusted_certificate_of_openssl(tmp_path: Path, label: str) -> None:
    """As openssl writes it: behind the certificate stands what it is trusted for."""
    path = tmp_path / "ca.pem"
    path.write_bytes(named.ca_b.cert_pem)
    trusted = openssl("x509", "-in", path, "-trustout", "-addtrust", "serverAuth", "-setalias", "ours")
    assert trusted.startswith(b"-----BEGIN TRUSTED CERTIFICATE-----")
    pem = named.ca_b.cert_pem if label == "CERTIFICATE" else trusted
    if label == "X509 CERTIFICATE":
        pem = relabelled(named.ca_b.cert_pem, label)
    assert verdict(chain_b(), ca=[named.ca_a.cert_pem, pem]) is TRUSTED
    assert verdict(chain_b(), ca=(pem + trusted).decode()) is TRUSTED


@needs("openssl")
@pytest.mark.parametrize("limit", [("-addreject", "serverAuth"), ("-addtrust", "clientAuth")])
def test_what_a_trusted_certificate_is_not_trusted_for(tmp_path: Path, limit: tuple[str, str]) -> None:
    """Its own limits count: an authority for clients alone, or rejected for servers, is none for servers."""
    path = tmp_path / "ca.pem"
    path.write_bytes(named.ca_b.cert_pem)
    assert verdict(chain_b(), ca=openssl("x509", "-in", path, "-trustout", *limit)) is not TRUSTED


# ---- nothing, and the default


@pytest.mark.parametrize("ca", [[], ()])
def test_an_empty_list_trusts_nothing(ca: Any) -> None:
    """``ca=[]`` is no way to ask for the default store."""
    assert verdict(chain_b(), ca=ca) == UNKNOWN_ISSUER
    assert verdict(named.leaf_b, ca=ca) == UNKNOWN_LEAF


@pytest.mark.parametrize("ca", [None, False, "", b"", bytearray()])
def test_what_is_absent_means_the_default_store(ca: Any) -> None:
    """A private root is not in it, and it is one store for all that do not ask for another."""
    assert verdict(chain_b(), ca=ca) == UNKNOWN_ISSUER
    assert verdict(chain_b(), ca=[named.ca_b.cert_pem]) is TRUSTED
    assert verdict(chain_b(), ca=ca) == UNKNOWN_ISSUER


def test_it_replaces_the_default_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is given stands alone: an authority of the default store counts only where nothing is given."""
    monkeypatch.setattr(trust, "_default", trust._Default())  # that of the process stays as it is
    aiotls.set_default_ca_certificates([named.ca_b.cert_pem])
    assert verdict(chain_b()) is TRUSTED
    assert verdict(chain_b(), ca=named.ca_a.cert_pem) == UNKNOWN_ISSUER
    assert verdict(chain_b(), ca=[]) == UNKNOWN_ISSUER
    assert verdict(chain_b(), ca=[named.ca_a.cert_pem, *aiotls.get_ca_certificates()]) is TRUSTED


# ---- partial chains


@pytest.mark.parametrize(
    ("ca", "partial", "code"),
    [
        ("intermediate", True, TRUSTED),
        ("intermediate", False, "UNABLE_TO_GET_ISSUER_CERT"),
        ("intermediate", None, "UNABLE_TO_GET_ISSUER_CERT"),
        ("leaf", True, TRUSTED),
        ("leaf", False, UNKNOWN_ISSUER),
        ("root", True, TRUSTED),
        ("root", False, TRUSTED),
        ("another intermediate", True, UNKNOWN_ISSUER),
    ],
)
@pytest.mark.parametrize("server", ["chain_b", "chain_ec"])
def test_partial_chains(pki: Named, ca: str, partial: bool | None, code: str | None, server: str) -> None:
    """`allow_partial_trust_chain`: what is given is trusted like a root, be it an intermediate or the leaf itself."""
    identity: Identity = getattr(pki, server)
    root: Authority = pki.ca_b if server == "chain_b" else pki.ca_ec
    above = {
        "intermediate": identity.intermediates[0],
        "leaf": identity.certificate,
        "root": root.certificate,
        "another intermediate": pki.int_a.certificate,
    }
    assert verdict(identity, ca=above[ca], allow_partial_trust_chain=partial) == code


@pytest.mark.parametrize(("partial", "code"), [(True, TRUSTED), (False, "UNABLE_TO_GET_ISSUER_CERT")])
def test_partial_chains_of_clients(run: Run, pki: Named, partial: bool, code: str | None) -> None:
    """A server's context reads the option in the same way."""

    async def main() -> None:
        own: dict[str, Any] = {"request_cert": True, "ca": pki.int_b.cert_pem, "allow_partial_trust_chain": partial}
        async with hosting(**own) as host:
            visit = await host.visit(cert=pki.chain_b.chain_pem, key=pki.chain_b.key_pem)
            assert visit.verdict == ((True, None) if code is TRUSTED else code)

    run(main)


# ---- what is broken


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "ERR_OSSL_"),
        (b"-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n", "ERR_OSSL_PEM_"),
        (b"-----BEGIN CERTIFICATE-----\nMIIB", "ERR_OSSL_PEM_"),
        (b"\x30\x82\x01\x00", "ERR_OSSL_"),
        (b"words", "ERR_INVALID_ARG_VALUE"),
        (b"", "ERR_INVALID_ARG_VALUE"),
    ],
)
def test_an_entry_that_cannot_be_parsed(place: int, broken: bytes, code: str) -> None:
    """An error here, where the reference skips it; it names the entry, wherever it stands."""
    entries: list[bytes] = [named.ca_a.cert_pem, named.ca_b.cert_pem]
    entries.insert(place, broken)
    with pytest.raises(aiotls.OptionError, match=rf"ca\[{place}\]") as caught:
        aiotls.create_secure_context(ca=entries)
    assert caught.value.code.startswith(code)
    assert caught.value.option == f"ca[{place}]"


def test_a_broken_certificate_among_good_ones_in_one_text() -> None:
    """A text is good as a whole or not at all."""
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    for text in (named.ca_a.cert_pem + broken, broken + named.ca_a.cert_pem):
        with pytest.raises(aiotls.OptionError, match="ca"):
            aiotls.create_secure_context(ca=text)


def openssl(*arguments: str | Path) -> bytes:
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, timeout=10).stdout
