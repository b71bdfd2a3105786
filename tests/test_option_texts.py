"""Texts that cannot be: without an encoding, as `os.environ` has them for bytes that are no UTF-8, and with NUL."""

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aiotls
from aiotls.certificate_authorities import get_ca_certificates, set_default_ca_certificates
from tests.conftest import Run
from tests.support import pkcs12
from tests.support.pki import named
from tests.support.servers import serving, to
from tests.support.visits import staying

PLANTED = "planted-words"
TEXTS = {
    "of a byte": f"{PLANTED}\udcff",
    "high": f"{PLANTED}\ud800{PLANTED}",
    "low": f"\udc00{PLANTED}",
}
"""Texts that UTF-8 has no bytes for; the first is what stands for the byte 255 (PEP 383)."""


def own() -> dict[str, Any]:
    return {"cert": named.server_ec.chain_pem}


def encrypted(passphrase: bytes = b"another") -> bytes:
    return named.server_ec.key_pem_encrypted(passphrase)


def framed(label: str, text: str) -> str:
    return f"-----BEGIN {label}-----\n{text}\n-----END {label}-----\n"


PLACES: dict[str, tuple[Callable[[str], object], str]] = {
    "key": (lambda text: aiotls.create_secure_context(key=text, **own()), "key"),
    "key in PEM": (lambda text: aiotls.create_secure_context(key=framed("PRIVATE KEY", text), **own()), "key"),
    "key in a list": (lambda text: aiotls.create_secure_context(key=[text], **own()), "key[0]"),
    "key in a dict": (lambda text: aiotls.create_secure_context(key=[{"pem": text}], **own()), "key[0]['pem']"),
    "key at a URI": (lambda text: aiotls.create_secure_context(key=f"file:/{text}", **own()), "key"),
    "cert": (lambda text: aiotls.create_secure_context(cert=text), "cert"),
    "cert at a URI": (lambda text: aiotls.create_secure_context(cert=f"file:/{text}"), "cert"),
    "ca": (lambda text: aiotls.create_secure_context(ca=text), "ca"),
    "ca in PEM": (lambda text: aiotls.create_secure_context(ca=framed("CERTIFICATE", text)), "ca"),
    "crl": (lambda text: aiotls.create_secure_context(crl=text), "crl"),
    "dhparam": (lambda text: aiotls.create_secure_context(dhparam=text), "dhparam"),
    "ciphers": (lambda text: aiotls.create_secure_context(ciphers=text), "ciphers"),
    "sigalgs": (lambda text: aiotls.create_secure_context(sigalgs=text), "sigalgs"),
    "ecdh_curve": (lambda text: aiotls.create_secure_context(ecdh_curve=text), "ecdh_curve"),
    "session_id_context": (
        lambda text: aiotls.create_secure_context(session_id_context=text),
        "session_id_context",
    ),
    "client_cert_engine": (
        lambda text: aiotls.create_secure_context(client_cert_engine=text),
        "client_cert_engine",
    ),
    "defaults.ciphers": (lambda text: setattr(aiotls.defaults, "ciphers", text), "defaults.ciphers"),
    "defaults.ecdh_curve": (lambda text: setattr(aiotls.defaults, "ecdh_curve", text), "defaults.ecdh_curve"),
    "certificates": (lambda text: set_default_ca_certificates([text]), "certificates"),
    "kind": (lambda text: get_ca_certificates(text), "kind"),  # type: ignore[arg-type]
    "psk_identity_hint": (
        lambda text: aiotls.create_server(psk_callback=lambda *_: None, psk_identity_hint=text),
        "psk_identity_hint",
    ),
}
"""A call with a text, and the option that its error names."""

PASSPHRASES: dict[str, Callable[[str], object]] = {
    "of a key": lambda text: aiotls.create_secure_context(key=encrypted(), passphrase=text, **own()),
    "of a plain key": lambda text: aiotls.create_secure_context(key=named.server_ec.key_pem, passphrase=text, **own()),
    "in a dict": lambda text: aiotls.create_secure_context(key=[{"pem": encrypted(), "passphrase": text}], **own()),
    "of a function": lambda text: aiotls.create_secure_context(key=encrypted(), passphrase=lambda: text, **own()),
    "of a PFX": lambda text: aiotls.create_secure_context(pfx=pkcs12.make(named.server_ec), passphrase=text),
    "of a PFX in a dict": lambda text: aiotls.create_secure_context(
        pfx=[{"buf": pkcs12.make(named.server_ec), "passphrase": text}]
    ),
    "of a PFX, of a function": lambda text: aiotls.create_secure_context(
        pfx=pkcs12.make(named.server_ec), passphrase=lambda: text
    ),
}


def refusal(call: Callable[[str], object], text: str) -> aiotls.OptionError:
    """The error for a text, in which nothing of it may stand."""
    with pytest.raises(aiotls.OptionError) as caught:
        call(text)
    error = caught.value
    error.__traceback__ = None  # the lines of the test are in it
    each: BaseException | None = error
    told = ["".join(traceback.format_exception(error))]
    while each is not None:
        assert not isinstance(each, UnicodeError)
        told += [str(each), repr(each), repr(each.args), repr(vars(each))]
        each = each.__cause__ or each.__context__
    assert [words for words in told if PLANTED in words] == []
    return error


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("place", PLACES)
def test_what_has_no_encoding(place: str, text: str) -> None:
    """Failure model 30: an error that names the option, and does not tell what was given."""
    call, option = PLACES[place]
    before = repr(aiotls.defaults)
    assert (refusal(call, TEXTS[text]).option or "").startswith(option)
    assert repr(aiotls.defaults) == before


@pytest.mark.parametrize("text", ["high", "low"])
@pytest.mark.parametrize("place", PASSPHRASES)
def test_a_passphrase_without_an_encoding(place: str, text: str) -> None:
    """Failure model 30: a secret least of all."""
    assert "passphrase" in (refusal(PASSPHRASES[place], TEXTS[text]).option or "")


@pytest.mark.parametrize("place", [place for place in PASSPHRASES if "plain" not in place])
def test_a_wrong_passphrase_of_a_byte(place: str) -> None:
    """Failure model 30: it is tried, and is as wrong as another."""
    assert "passphrase" in str(refusal(PASSPHRASES[place], TEXTS["of a byte"])) or "mac verify" in str(
        refusal(PASSPHRASES[place], TEXTS["of a byte"])
    )


@pytest.mark.parametrize("way", ["key", "traditional", "function", "dict", "PFX"])
def test_a_passphrase_of_bytes_that_are_no_utf_8(run: Run, way: str) -> None:
    """It works as `os.environ` gives it."""
    secret = b"s\xe9cret \xff"
    given = os.fsdecode(secret)
    assert not given.isprintable()
    key = named.server_ec.key_pem_encrypted(secret, traditional=way == "traditional")
    options: dict[str, Any] = {**own(), "key": key, "passphrase": given}
    if way == "function":
        options["passphrase"] = lambda: given
    elif way == "dict":
        options = {**own(), "key": [{"pem": key, "passphrase": given}]}
    elif way == "PFX":
        options = {"pfx": [{"buf": pkcs12.by_openssl(named.server_ec, secret), "passphrase": given}]}
    context = aiotls.create_secure_context(**options)

    async def main() -> None:
        async with (
            serving(cert=None, key=None, secure_context=context) as server,
            staying(to(server)) as client,
        ):
            certificate = client.get_peer_certificate()
            assert certificate
            assert certificate.raw == named.server_ec.der

    run(main)


@pytest.mark.parametrize("option", ["key", "cert", "ca", "crl", "dhparam", "pfx"])
@pytest.mark.parametrize("shape", ["lone", "list"])
@pytest.mark.parametrize("name", ["/a\0b", "a\0", "\ud800"])
def test_a_path_that_cannot_be(option: str, shape: str, name: str) -> None:
    """No system has such a name: an error that names the option."""
    if shape == "list" and option == "dhparam":
        pytest.skip("it takes one value")
    path = Path(name)
    options: dict[str, Any] = {option: path if shape == "lone" else [path]}
    with pytest.raises(aiotls.OptionError) as caught:
        aiotls.create_secure_context(**options)
    assert caught.value.option == (option if shape == "lone" else f"{option}[0]")
    assert "name of a file" in caught.value.message
