"""Crypto engines: keys that never leave a token, where OpenSSL has engines, and plain words where it has none."""

import pickle
import shutil
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aiotls
from aiotls import _native
from tests.support.pki import Identity, Named
from tests.test_secrets import forms
from tests.test_server_process import in_process

ENGINES = b"ENGINE_by_id" in Path(str(_native.__file__)).read_bytes()
"""Whether the core calls engines of the machine's OpenSSL; our own OpenSSL is built without."""
NOT_SUPPORTED = "ERR_CRYPTO_CUSTOM_ENGINE_NOT_SUPPORTED"
WORDS = "Custom engines not supported by this OpenSSL"

with_engines = pytest.mark.skipif(not ENGINES, reason="this OpenSSL has no engines")
without_engines = pytest.mark.skipif(ENGINES, reason="this OpenSSL has engines")

MAKERS: list[Callable[..., object]] = [aiotls.create_secure_context, aiotls.create_server]


# ---- types


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("wrong", [0, 1, True, b"engine", [], {}, object()])
def test_opt_03_types(make: Callable[..., object], wrong: Any) -> None:
    """OPT-03: the error names the option and tells the value, whether or not OpenSSL has engines."""
    with pytest.raises(aiotls.OptionTypeError, match="client_cert_engine") as raised:
        make(client_cert_engine=wrong)
    assert raised.value.code == "ERR_INVALID_ARG_TYPE"
    assert raised.value.option == "client_cert_engine"
    told = repr(wrong) if isinstance(wrong, int) else type(wrong).__name__
    assert told in str(raised.value)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("option", ["private_key_engine", "private_key_identifier"])
@pytest.mark.parametrize("wrong", [0, 1, True, b"engine", [], {}])
def test_opt_05_types(make: Callable[..., object], option: str, wrong: Any) -> None:
    """OPT-05: of the two options the one at fault is named, with its value."""
    options: dict[str, Any] = {"private_key_engine": "engine", "private_key_identifier": "key", option: wrong}
    with pytest.raises(aiotls.OptionTypeError, match=option) as raised:
        make(**options)
    assert raised.value.code == "ERR_INVALID_ARG_TYPE"
    assert raised.value.option == option
    told = repr(wrong) if isinstance(wrong, int) else type(wrong).__name__
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("given", "missing"),
    [("private_key_engine", "private_key_identifier"), ("private_key_identifier", "private_key_engine")],
)
def test_one_of_the_two_is_missing(given: str, missing: str) -> None:
    """Neither can do without the other; the error names the one that is not there."""
    alone: list[dict[str, Any]] = [{given: "pkcs11"}, {given: "pkcs11", missing: None}]
    for options in alone:
        with pytest.raises(aiotls.OptionError, match=missing):
            aiotls.create_secure_context(**options)


def test_two_private_keys(pki: Named) -> None:
    """A key beside a key of an engine: one too many."""
    with pytest.raises(aiotls.OptionError, match="key"):
        aiotls.create_secure_context(
            key=pki.server_ec.key_pem,
            cert=pki.server_ec.chain_pem,
            private_key_engine="pkcs11",
            private_key_identifier="pkcs11:object=server",
        )


def test_none_is_absent(pki: Named) -> None:
    """None stands for no engine, and the key that is there is used."""
    aiotls.create_secure_context(
        key=pki.server_ec.key_pem,
        cert=pki.server_ec.chain_pem,
        private_key_engine=None,
        private_key_identifier=None,
        client_cert_engine=None,
    )


# ---- OpenSSL with and without engines

BOTH: list[dict[str, Any]] = [
    {"client_cert_engine": "Cannonmouth"},
    {"private_key_engine": "Cannonmouth", "private_key_identifier": "key"},
]


@without_engines
@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("options", BOTH, ids=["client_cert_engine", "private_key_engine"])
def test_opt_04_no_engines(make: Callable[..., object], options: dict[str, Any]) -> None:
    """OPT-04: its own code and words; nothing is looked for on the machine."""
    with pytest.raises(aiotls.OptionError, match=WORDS) as raised:
        make(**options)
    assert raised.value.code == NOT_SUPPORTED
    assert raised.value.option in options


@with_engines
@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("options", BOTH, ids=["client_cert_engine", "private_key_engine"])
def test_opt_04_no_such_engine(make: Callable[..., object], options: dict[str, Any]) -> None:
    """OPT-04: where there are engines but not this one, OpenSSL says that it cannot load it."""
    with pytest.raises(aiotls.OptionError) as raised:
        make(**options)
    error = raised.value
    assert error.code != NOT_SUPPORTED
    assert error.option in options
    assert "could not load the shared library" in f"{error} {error.openssl_error_stack}"


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_names_that_are_none(name: str) -> None:
    """An empty name, and one with a NUL, is refused before anything is loaded."""
    for options in ({"client_cert_engine": name}, {"private_key_engine": name, "private_key_identifier": "key"}):
        with pytest.raises(aiotls.OptionError) as raised:
            aiotls.create_secure_context(**options)  # type: ignore[arg-type]
        assert raised.value.option in options


PLANTED = "planted-pin-of-a-token"


def test_secrets(pki: Named) -> None:
    """Failure model 30: the identifier may hold a PIN: it stands in no error."""
    identifier = f"pkcs11:token=none;object=none;pin-value={PLANTED}"
    options: dict[str, Any] = {"private_key_engine": "Cannonmouth", "private_key_identifier": identifier}
    for more in ({}, {"passphrase": PLANTED}, {"cert": pki.server_ec.chain_pem}, {"key": pki.server_ec.key_pem}):
        with pytest.raises(aiotls.OptionError) as raised:
            aiotls.create_secure_context(**options, **more)
        error = raised.value
        texts = [str(error), repr(error), repr(error.args), repr(vars(error)), pickle.dumps(error).decode("latin-1")]
        assert not [form for form in forms(PLANTED.encode()) if any(form.decode() in text for text in texts)]
    with pytest.raises(aiotls.OptionTypeError) as refused:
        aiotls.create_secure_context(private_key_engine="x", private_key_identifier=[identifier])  # type: ignore[arg-type]
    assert PLANTED not in str(refused.value)


# ---- a token

SOFTHSM = next(
    (
        path
        for path in map(Path, ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm.so"))
        if path.exists()
    ),
    None,
)


def engine_of_tokens() -> bool:
    """Whether the machine's OpenSSL finds the engine pkcs11."""
    if shutil.which("openssl") is None or shutil.which("softhsm2-util") is None or SOFTHSM is None:
        return False
    done = subprocess.run(["openssl", "engine", "-t", "pkcs11"], capture_output=True, text=True, check=False)
    return "[ available ]" in done.stdout


needs_token = pytest.mark.skipif(
    not (ENGINES and engine_of_tokens()), reason="needs SoftHSM, the engine pkcs11, and the machine's own OpenSSL"
)


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Identity], None]:
    """Puts private keys into a new token, whose PIN is 1234; they are called "server"."""
    (tmp_path / "tokens").mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nobjectstore.backend = file\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    monkeypatch.setenv("PKCS11_MODULE_PATH", str(SOFTHSM))
    _softhsm("--init-token", "--free", "--label", "aiotls", "--so-pin", "567890")

    def put(identity: Identity) -> None:
        key = tmp_path / "key.pem"
        key.write_bytes(identity.key_pem)
        _softhsm("--import", str(key), "--token", "aiotls", "--label", "server", "--id", "a1")
        key.unlink()

    return put


def _softhsm(*arguments: str) -> None:
    subprocess.run(["softhsm2-util", *arguments, "--pin", "1234"], capture_output=True, timeout=10, check=True)


HANDSHAKES = """
    import asyncio, os, sys
    import aiotls

    def pin():
        return "1234"

    async def main():
        identifier, passphrase = sys.argv[1:]
        own = {
            "cert": os.environ["TEST_CERT"],
            "private_key_engine": "pkcs11",
            "private_key_identifier": identifier,
            "passphrase": pin if passphrase == "callable" else passphrase or None,
        }
        seen = []

        def listener(socket):
            seen.append((socket.get_protocol(), socket.authorized))
            socket.end(b"signed by a token")

        ca = {"ca": os.environ["TEST_CA"]}
        server = aiotls.create_server(listener, request_cert=True, **own, **ca)
        async with server:
            await server.listen(0, "127.0.0.1")
            port = server.address().port
            for version in ("TLSv1.2", "TLSv1.3"):
                options = {"servername": "localhost", "max_version": version, **ca}
                async with aiotls.connect("127.0.0.1", port, **options, **own) as client:
                    assert await client.read() == b"signed by a token"
        print(seen)

    asyncio.run(main())
"""


@needs_token
@pytest.mark.parametrize("kind", ["rsa", "ec"])
@pytest.mark.parametrize("pin", ["identifier", "passphrase", "callable"])
def test_keys_of_a_token(pki: Named, token: Callable[[Identity], None], kind: str, pin: str) -> None:
    """Server and client sign with a key that only the token has, under both versions."""
    identity = pki.ca.issue(["localhost"], key="ec" if kind == "ec" else "rsa")
    token(identity)
    public = Identity(identity.certificate, pki.server_ed25519.key)  # the child must not be handed the key
    identifier = "pkcs11:token=aiotls;object=server;type=private" + (";pin-value=1234" if pin == "identifier" else "")
    passphrase = {"identifier": "", "passphrase": "1234", "callable": "callable"}[pin]
    said = in_process(HANDSHAKES, public, identifier, passphrase)
    assert said.strip() == "[('TLSv1.2', True), ('TLSv1.3', True)]"


MISTAKES = """
    import os, sys
    import aiotls

    # The engine itself (libp11) tells of its failures on the error stream, which nobody can keep it from.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

    def attempt(**options):
        try:
            aiotls.create_secure_context(cert=os.environ["TEST_CERT"], private_key_engine="pkcs11", **options)
        except aiotls.OptionError as error:
            assert error.option in ("private_key_engine", "private_key_identifier"), error.option
            assert "9876" not in f"{error} {error!r} {error.openssl_error_stack}"
            print("refused")
        else:
            print("taken")

    here = "pkcs11:token=aiotls;object=server;type=private"
    attempt(private_key_identifier=f"{here};pin-value=9876")
    attempt(private_key_identifier=here, passphrase="9876")
    attempt(private_key_identifier=here, passphrase=lambda: "9876")
    attempt(private_key_identifier=here)
    attempt(private_key_identifier="pkcs11:token=aiotls;object=nobody;pin-value=1234")
    attempt(private_key_identifier="pkcs11:token=elsewhere;object=server;pin-value=1234")
    attempt(private_key_identifier="nonsense", passphrase="1234")
    try:
        aiotls.create_secure_context(client_cert_engine="pkcs11")
    except aiotls.OptionError as error:
        assert error.option == "client_cert_engine"
        print("refused")
"""


@needs_token
def test_mistakes_with_a_token(pki: Named, token: Callable[[Identity], None]) -> None:
    """Failure model 32: a wrong or missing PIN, and a key that is not there: errors without the PIN, no prompt."""
    token(pki.server_ec)
    said = in_process(MISTAKES, Identity(pki.server_ec.certificate, pki.server_ed25519.key))
    assert said.split() == ["refused"] * 8


ANOTHER_KEY = """
    import os
    import aiotls

    try:
        aiotls.create_secure_context(
            cert=os.environ["TEST_CERT"],
            private_key_engine="pkcs11",
            private_key_identifier="pkcs11:token=aiotls;object=server;pin-value=1234",
        )
    except aiotls.OptionError as error:
        print(error.option, error.code)
"""


@needs_token
def test_keys_01_another_key(pki: Named, token: Callable[[Identity], None]) -> None:
    """KEYS-01: a key of a token that does not belong to the certificate is an error at creation."""
    token(pki.ca.issue(["localhost"], key="ec"))
    said = in_process(ANOTHER_KEY, Identity(pki.server_ec.certificate, pki.server_ed25519.key))
    assert said.split() == ["private_key_identifier", "ERR_OSSL_X509_KEY_VALUES_MISMATCH"]


@without_engines
@pytest.mark.skipif(not engine_of_tokens(), reason="needs SoftHSM and the engine pkcs11")
def test_an_engine_of_another_openssl_is_not_loaded(pki: Named, token: Callable[[Identity], None]) -> None:
    """An engine is linked with the machine's OpenSSL: our own one leaves it alone, and tells why."""
    token(pki.server_ec)
    look = 'from pathlib import Path\nprint("pkcs11.so" in Path("/proc/self/maps").read_text())\n'
    said = in_process(textwrap.dedent(ANOTHER_KEY) + look, Identity(pki.server_ec.certificate, pki.server_ed25519.key))
    assert said.split() == ["private_key_engine", NOT_SUPPORTED, "False"]
