"""The option `ciphers`: both kinds of names in one list, and the security level that comes with it."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

import aiotls
from aiotls import _native
from aiotls.constants import DEFAULT_CORE_CIPHER_LIST
from tests.conftest import Run
from tests.support.pairs import Pair, client_options, server_options
from tests.support.peers import needs
from tests.support.pki import Named
from tests.support.servers import echo, serving, to

TLS13 = ["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"]
"""Those that every OpenSSL has on, best first."""
RSA_GCM = "ECDHE-RSA-AES128-GCM-SHA256"
since_3_2 = pytest.mark.skipif(_native.OPENSSL_VERSION_NUMBER < 0x30200000, reason="OpenSSL has them since 3.2")


def suites(ciphers: str, **options: Any) -> list[str]:
    return aiotls.create_secure_context(ciphers=ciphers, **options)._native.cipher_names()


@pytest.mark.parametrize(
    ("ciphers", "names"),
    [
        ("TLS_AES_128_GCM_SHA256:ECDHE-RSA-AES128-GCM-SHA256", ["TLS_AES_128_GCM_SHA256", RSA_GCM]),
        ("ECDHE-RSA-AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256", ["TLS_AES_128_GCM_SHA256", RSA_GCM]),
        ("ECDHE-RSA-AES128-GCM-SHA256, TLS_AES_128_GCM_SHA256", ["TLS_AES_128_GCM_SHA256", RSA_GCM]),
        (
            "TLS_CHACHA20_POLY1305_SHA256 ECDHE-RSA-AES128-GCM-SHA256 TLS_AES_128_GCM_SHA256",
            ["TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256", RSA_GCM],
        ),
        # The names of the RFCs stand for the suites of TLS 1.2 too, since OpenSSL 3.2.
        pytest.param("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", [*TLS13, RSA_GCM], marks=since_3_2),
        (RSA_GCM, [*TLS13, RSA_GCM]),
        ("AESGCM+ECDHE+aRSA:-AES256", [*TLS13, RSA_GCM]),
        ("ALL:!ALL:TLS_AES_128_GCM_SHA256:AES128-SHA256", None),
        ("no-such-cipher:AES128-SHA256", [*TLS13, "AES128-SHA256"]),
        ("AES128-SHA256:@SECLEVEL=0", [*TLS13, "AES128-SHA256"]),
    ],
)
def test_both_kinds_in_one_list(ciphers: str, names: list[str] | None) -> None:
    """Names of TLS 1.3 and OpenSSL's list format, mixed, in the order in which each kind came."""
    if names is None:
        with pytest.raises(aiotls.OptionError, match="no cipher match"):
            suites(ciphers)
        return
    assert suites(ciphers) == names


@pytest.mark.parametrize("ciphers", ["", None])
def test_no_list_is_the_default_list(ciphers: Any) -> None:
    """An empty text means the default list."""
    assert suites(ciphers) == suites(DEFAULT_CORE_CIPHER_LIST)


def test_every_name_that_is_told_can_be_asked_for() -> None:
    """`get_ciphers` names what `ciphers` takes, in upper case."""
    for name in aiotls.get_ciphers():
        tls13 = name.startswith("tls_")
        found = suites(f"{name.upper()}:@SECLEVEL=0")
        assert [suite.lower() for suite in found if suite.startswith("TLS_") == tls13] == [name]


@pytest.mark.parametrize(
    ("ciphers", "versions"),
    [
        ("TLS_AES_128_GCM_SHA256", {"TLSv1.3"}),
        ("TLS_AES_128_GCM_SHA256:@SECLEVEL=1", {"TLSv1.3"}),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", {"TLSv1.2", "TLSv1.3"}),
        ("ECDHE-ECDSA-AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256", {"TLSv1.2", "TLSv1.3"}),
    ],
)
@pytest.mark.parametrize("side", ["client", "server"])
def test_the_versions_that_a_list_allows(ciphers: str, versions: set[str], side: str) -> None:
    """A list with one kind only works; without suites of TLS 1.2 there is no TLS 1.2."""
    make = server_options if side == "server" else client_options
    options = {name: value for name, value in make(ciphers=ciphers).items() if name != "servername"}
    context = aiotls.create_secure_context(**options)
    for version in ("TLSv1.2", "TLSv1.3"):
        pair = Pair(
            client={"context": context} if side == "client" else {"max_version": version},
            server={"context": context} if side == "server" else {"max_version": version},
        )
        pair.run()
        connected = pair.client.connection.phase is pair.server.connection.phase is aiotls.Phase.OPEN
        assert connected == (version in versions)
        if connected:
            assert pair.client.connection.engine.protocol() == version


def test_a_suite_of_each_kind_is_used(run: Run) -> None:
    """One list decides for both versions."""

    async def main() -> None:
        own = "TLS_CHACHA20_POLY1305_SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
        async with serving(echo, ciphers=own) as server:
            for version, suite in (("TLSv1.3", own.split(":")[0]), ("TLSv1.2", own.split(":")[1])):
                async with to(server, max_version=version) as client:
                    cipher = client.get_cipher()
                    assert cipher is not None
                    assert cipher.name == suite

    run(main)


# ---- the security level


@needs("openssl")
@pytest.mark.parametrize("make", [aiotls.create_server, aiotls.create_secure_context])
def test_a_key_of_512_bits(run: Run, make: Any, tmp_path: Path) -> None:
    """CIPH-02: the cipher string, with its security level, is applied before the key and the certificate are loaded."""
    weak = weak_identity(tmp_path)
    for ciphers in ({"ciphers": "DEFAULT"}, {}, {"ciphers": None}, {"ciphers": "DEFAULT:@SECLEVEL=1"}):
        with pytest.raises(aiotls.OptionError, match="key too small") as caught:
            make(**weak, **ciphers)
        assert caught.value.code == "ERR_SSL_EE_KEY_TOO_SMALL"
        assert caught.value.option == "cert"

    async def main() -> None:
        own = {**weak, "ciphers": "DEFAULT:@SECLEVEL=0", "max_version": "TLSv1.2"}
        if make is aiotls.create_secure_context:
            own = {"secure_context": make(**own), "cert": None, "key": None}
        client: dict[str, Any] = {"ca": weak["cert"], "max_version": "TLSv1.2"}
        async with serving(echo, **own) as server:
            async with to(server, **client, ciphers="DEFAULT:@SECLEVEL=0") as socket:
                assert socket.authorized
            with pytest.raises(aiotls.VerificationError) as refused:
                await to(server, **client, ciphers="DEFAULT:@SECLEVEL=1")
            assert refused.value.code == "EE_KEY_TOO_SMALL"

    run(main)


@pytest.mark.parametrize("ciphers", ["HIGH:@SECLEVEL=3", "@SECLEVEL=3:TLS_AES_128_GCM_SHA256"])
def test_a_level_that_our_own_key_does_not_reach(pki: Named, ciphers: str) -> None:
    """Level 3 asks for RSA keys of 3072 bits, also where only suites of TLS 1.3 are named."""
    with pytest.raises(aiotls.OptionError, match="key too small"):
        aiotls.create_secure_context(cert=pki.server.cert_pem, key=pki.server.key_pem, ciphers=ciphers)
    strong = aiotls.create_secure_context(cert=pki.server_ec.cert_pem, key=pki.server_ec.key_pem, ciphers=ciphers)
    assert isinstance(strong, aiotls.SecureContext)


@pytest.mark.parametrize(("level", "code"), [(2, None), (3, "CA_KEY_TOO_SMALL")])
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_a_level_that_the_peer_does_not_reach(run: Run, level: int, code: str | None, version: str) -> None:
    """The level of a client counts for the whole chain: the root here has an RSA key of 2048 bits."""

    async def main() -> None:
        async with serving(echo, max_version=version) as server:
            client = to(server, ciphers=f"HIGH:TLS_AES_128_GCM_SHA256:@SECLEVEL={level}")
            if code is None:
                async with client as socket:
                    assert socket.authorized
                return
            with pytest.raises(aiotls.VerificationError) as refused:
                await client
            assert refused.value.code == code

    run(main)


def weak_identity(folder: Path) -> dict[str, Any]:
    """A certificate for localhost with an RSA key of 512 bits, which is its own authority."""
    files = {"cert": folder / "weak.pem", "key": folder / "weak-key.pem"}
    command = ["openssl", "req", "-x509", "-newkey", "rsa:512", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    places = ["-keyout", str(files["key"]), "-out", str(files["cert"])]
    names = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *names, *places], check=True, capture_output=True, timeout=10)
    return {option: path.read_bytes() for option, path in files.items()}
