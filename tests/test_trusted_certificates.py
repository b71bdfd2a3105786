"""``TRUSTED CERTIFICATE`` in the default store: what it says that it is trusted for counts there as in `ca`."""

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

import aiotls
from aiotls import _native, trust
from aiotls.ca_sources import Authorities
from aiotls.certificate_authorities import get_ca_certificates, set_default_ca_certificates
from tests.conftest import Run
from tests.support.pki import Identity, Named
from tests.support.programs import CHOICES, ca_certificates, printed, visit
from tests.support.servers import port_of, serving
from tests.support.sessions import greet, witness
from tests.support.visits import credentials
from tests.test_option_ca import TRUSTED, chain_b, verdict

SERVER_AUTH = bytes.fromhex("06082b06010505070301")
EMAIL_PROTECTION = bytes.fromhex("06082b06010505070304")

REFUSED = "INVALID_PURPOSE"


def with_settings(identity: Identity, *, trusted: bytes = b"", rejected: bytes = b"") -> bytes:
    """The certificate with what it is trusted for and what not, as ``openssl x509 -trustout`` writes it."""
    lists = b"".join(bytes((tag, len(oids))) + oids for tag, oids in ((0x30, trusted), (0xA0, rejected)) if oids)
    der = identity.certificate.public_bytes(Encoding.DER) + bytes((0x30, len(lists))) + lists
    return b"-----BEGIN TRUSTED CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END TRUSTED CERTIFICATE-----\n"


def forms(identity: Identity) -> dict[str, bytes]:
    """A certificate in its forms: without settings, and with those that let it speak for servers, or not."""
    return {
        "plain": identity.cert_pem,
        "trusting": with_settings(identity, trusted=SERVER_AUTH),
        "rejecting": with_settings(identity, rejected=SERVER_AUTH),
        "e-mail": with_settings(identity, trusted=EMAIL_PROTECTION),
    }


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default of the process is another one during a test: that without any choice."""
    for name in CHOICES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(trust, "_default", trust._Default())


@pytest.mark.parametrize(
    ("order", "believed"),
    [
        ("plain", TRUSTED),
        ("trusting", TRUSTED),
        ("rejecting", REFUSED),
        ("e-mail", REFUSED),
        ("rejecting, plain", REFUSED),
        ("plain, rejecting", REFUSED),
        ("e-mail, plain", REFUSED),
        ("plain, e-mail, plain", REFUSED),
        ("rejecting, trusting", REFUSED),
        ("rejecting, plain, trusting", REFUSED),
        ("plain, rejecting, trusting", REFUSED),
        ("trusting, plain", TRUSTED),
    ],
)
def test_whatever_the_order(pki: Named, order: str, believed: str | None) -> None:
    """Of one certificate that comes twice the first with settings counts, as one text and as many."""
    pems = [forms(pki.ca_b)[name] for name in order.split(", ")]
    for given in (pems, [b"".join(pems)]):
        set_default_ca_certificates(given)
        assert verdict(chain_b()) == believed
        assert len(get_ca_certificates()) == 1


@pytest.mark.parametrize("name", ["trusting", "rejecting", "e-mail"])
def test_the_text_keeps_its_settings(pki: Named, name: str) -> None:
    """What `get_ca_certificates` tells can be given back, and is trusted for no more than before."""
    pem = forms(pki.ca_b)[name]
    set_default_ca_certificates([pem, pki.ca.cert_pem])
    before = verdict(chain_b())
    told = get_ca_certificates()
    assert [text.splitlines()[0] for text in told] == [
        "-----BEGIN TRUSTED CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----",
    ]
    body = "".join(told[0].splitlines()[1:-1])
    assert body == b"".join(pem.splitlines()[1:-1]).decode()
    assert told[0].endswith("\n-----END TRUSTED CERTIFICATE-----\n")
    assert verdict(chain_b(), ca=told) == before
    set_default_ca_certificates(told)
    assert verdict(chain_b()) == before
    assert get_ca_certificates() == told


def test_the_digest_tells_them_apart(pki: Named) -> None:
    """Equal for the same certificates with the same settings, and for no others."""

    def digest(*pems: bytes) -> bytes:
        return Authorities(each for pem in pems for each in _native.Certificate.from_pem(pem)).digest

    each = forms(pki.ca_b)
    digests = {digest(pem, pki.ca.cert_pem) for pem in each.values()}
    assert len(digests) == len(each)
    assert digest(pki.ca.cert_pem, each["rejecting"]) in digests
    assert digest(each["plain"], each["rejecting"]) == digest(each["rejecting"])


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_sessions_end_with_the_trust(run: Run, pki: Named, version: str) -> None:
    """A session that was made while an authority spoke for servers is not resumed when it does not any more."""
    each = forms(pki.ca)

    async def main() -> None:
        async with serving(greet, max_version=version, **credentials(pki.server_ec)) as server:

            def client(**options: Any) -> aiotls.TLSSocket:
                return aiotls.connect("127.0.0.1", port_of(server), servername="localhost", **options)

            set_default_ca_certificates([each["plain"]])
            first = await witness(client(allow_half_open=True))
            assert (first.reused, first.authorized) == (False, True)
            set_default_ca_certificates([each["rejecting"]])
            with pytest.raises(aiotls.VerificationError) as refusal:
                await client(session=first.last)
            assert refusal.value.code == REFUSED
            set_default_ca_certificates([each["plain"]])
            again = await witness(client(session=first.last, allow_half_open=True))
            assert (again.reused, again.authorized) == (True, True)

    run(main)


@pytest.mark.parametrize("order", ["rejecting, plain", "plain, rejecting", "rejecting, trusting"])
def test_those_of_the_system(pki: Named, tmp_path: Path, order: str) -> None:
    """SSL_CERT_FILE with such a certificate, as on systems that keep those that they distrust in their bundle."""
    server = pki.server_ec.write(tmp_path)
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"".join(forms(pki.ca)[name] for name in order.split(", ")))
    choices = {"SSL_CERT_FILE": bundle, "SSL_CERT_DIR": tmp_path / "missing"}
    assert printed(visit(), server.key, server.chain, **choices) == f"{REFUSED}\n"
    (told,) = ca_certificates(**choices)["default"]
    assert told.startswith("-----BEGIN TRUSTED CERTIFICATE-----\n")
