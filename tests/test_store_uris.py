"""`key` and `cert` as store URIs: files of every kind through OpenSSL's stores, and stores that are not there."""

import contextlib
import gc
import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

import aiotls
from tests.conftest import Run, open_descriptors
from tests.support import pkcs12
from tests.support.pki import Identity, Named
from tests.support.servers import serving, to
from tests.support.visits import hosting, staying
from tests.test_crl import resident
from tests.test_secrets import forms

BAD_DECRYPT = "ERR_OSSL_BAD_DECRYPT"


def write_all(identity: Identity, folder: Path) -> None:
    """The identity in every kind of file; what is encrypted has the passphrase "sample"."""
    folder.mkdir(exist_ok=True)
    key, sample = identity.key, BestAvailableEncryption(b"sample")
    contents = {
        "key.pem": identity.key_pem,
        "traditional.pem": key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        "key.der": key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        "traditional.der": key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        "encrypted.pem": identity.key_pem_encrypted(b"sample"),
        "encrypted traditional.pem": identity.key_pem_encrypted(b"sample", traditional=True),
        "encrypted.der": key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, sample),
        "cert.pem": identity.cert_pem,
        "cert.der": identity.der,
        "chain.pem": identity.chain_pem,
        "both.pem": identity.chain_pem + identity.key_pem,
        "both, key first.pem": identity.key_pem + identity.chain_pem,
        "identity.p12": pkcs12.make(identity),
        "open.p12": pkcs12.make(identity, None),
        "old.p12": pkcs12.make(identity, old=True),
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)


@pytest.fixture
def folder(pki: Named, tmp_path: Path) -> Path:
    """CHAIN-EC, whose intermediate has to be sent, in files."""
    write_all(pki.chain_ec, tmp_path)
    return tmp_path


def uri(path: Path) -> str:
    return f"file:{path}"


def verifying(pki: Named, **options: Any) -> dict[str, Any]:
    """A client that trusts the root of CHAIN-EC alone."""
    return {"ca": pki.ca_ec.cert_pem, "servername": "agent10.example.com", **options}


async def assert_shows_chain_ec(pki: Named, **options: Any) -> None:
    async with serving(**options) as server:
        for version in ("TLSv1.2", "TLSv1.3"):
            async with staying(to(server, **verifying(pki, max_version=version))) as client:
                assert client.authorized is True


# ---- what works


@pytest.mark.parametrize(
    ("name", "passphrase"),
    [
        ("key.pem", None),
        ("key.pem", "in vain"),
        ("traditional.pem", None),
        ("key.der", None),
        ("traditional.der", None),
        ("encrypted.pem", "sample"),
        ("encrypted.pem", b"sample"),
        ("encrypted.pem", lambda: "sample"),
        ("encrypted traditional.pem", "sample"),
        ("encrypted.der", "sample"),
        ("both.pem", None),
        ("both, key first.pem", None),
        ("identity.p12", "sample"),
        ("identity.p12", lambda: "sample"),
        ("open.p12", None),
        ("open.p12", ""),
        ("old.p12", "sample"),
    ],
)
def test_keys(run: Run, pki: Named, folder: Path, name: str, passphrase: Any) -> None:
    """A key from each kind of file, beside its chain as PEM."""
    options = {"key": uri(folder / name), "passphrase": passphrase, "cert": pki.chain_ec.chain_pem}
    run(lambda: assert_shows_chain_ec(pki, **options))


@pytest.mark.parametrize(
    ("name", "passphrase"),
    [
        ("chain.pem", None),
        ("both.pem", None),
        ("both, key first.pem", None),
        ("identity.p12", "sample"),
        ("identity.p12", lambda: "sample"),
        ("open.p12", None),
        ("old.p12", b"sample"),
    ],
)
def test_chains(run: Run, pki: Named, folder: Path, name: str, passphrase: Any) -> None:
    """Leaf and intermediate from each kind of file, beside the key as PEM."""
    options = {"cert": uri(folder / name), "passphrase": passphrase, "key": pki.chain_ec.key_pem}
    run(lambda: assert_shows_chain_ec(pki, **options))


@pytest.mark.parametrize("name", ["cert.pem", "cert.der"])
def test_lone_certificates(run: Run, pki: Named, tmp_path: Path, name: str) -> None:
    """A file with the leaf only, as text and as it travels."""
    write_all(pki.server_ec, tmp_path)

    async def main() -> None:
        async with (
            serving(cert=uri(tmp_path / name), key=uri(tmp_path / "key.der")) as server,
            staying(to(server)) as client,
        ):
            assert client.get_peer_certificate().raw == pki.server_ec.der  # type: ignore[union-attr]

    run(main)


@pytest.mark.parametrize("shape", ["plain", "list", "dict", "dict, own passphrase", "dict, callable", "mixed"])
def test_shapes(run: Run, pki: Named, folder: Path, shape: str) -> None:
    """Alone, in a list, in a dict with a passphrase of its own, beside PEM."""
    key, chain = uri(folder / "encrypted.pem"), uri(folder / "chain.pem")
    shapes: dict[str, dict[str, Any]] = {
        "plain": {"key": key, "cert": chain, "passphrase": "sample"},
        "list": {"key": [key], "cert": [chain], "passphrase": "sample"},
        "dict": {"key": [{"pem": key}], "cert": chain, "passphrase": "sample"},
        "dict, own passphrase": {"key": [{"pem": key, "passphrase": b"sample"}], "cert": chain, "passphrase": "outer"},
        "dict, callable": {"key": [{"pem": key, "passphrase": lambda: "sample"}], "cert": chain},
        "mixed": {
            "key": [pki.server.key_pem, key],
            "cert": [chain, pki.server.chain_pem],
            "passphrase": "sample",
        },
    }
    options = shapes[shape]

    async def main() -> None:
        async with serving(**options) as server:
            ecdsa = {"ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256", "max_version": "TLSv1.2"}
            async with staying(to(server, **verifying(pki, **ecdsa))) as client:
                assert client.get_peer_certificate().raw == pki.chain_ec.der  # type: ignore[union-attr]
            if shape == "mixed":
                rsa = {"ciphers": "ECDHE-RSA-AES128-GCM-SHA256", "max_version": "TLSv1.2"}
                async with staying(to(server, **rsa)) as client:
                    assert client.get_peer_certificate().raw == pki.server.der  # type: ignore[union-attr]

    run(main)


def test_several_keys_behind_one_uri(run: Run, pki: Named, tmp_path: Path) -> None:
    """All of them count."""
    both = tmp_path / "keys.pem"
    both.write_bytes(pki.server.key_pem + pki.server_ec.key_pem)
    options: Any = {"key": uri(both), "cert": [pki.server_ec.chain_pem, pki.server.chain_pem]}

    async def main() -> None:
        async with serving(**options) as server:
            for kind, identity in (("RSA", pki.server), ("ECDSA", pki.server_ec)):
                wish = {"ciphers": f"ECDHE-{kind}-AES128-GCM-SHA256", "max_version": "TLSv1.2"}
                async with staying(to(server, **wish)) as client:
                    assert client.get_peer_certificate().raw == identity.der  # type: ignore[union-attr]

    run(main)


def test_a_client(run: Run, pki: Named, tmp_path: Path) -> None:
    """A client shows what a store has."""
    write_all(pki.client, tmp_path)
    own = {"key": uri(tmp_path / "identity.p12"), "cert": uri(tmp_path / "identity.p12"), "passphrase": "sample"}

    async def main() -> None:
        async with hosting(request_cert=True, ca=pki.ca.cert_pem) as host:
            visit = await host.visit(**own)
            assert visit.welcome
            assert visit.welcome.authorized is True
            assert visit.welcome.certificate == pki.client.der

    run(main)


def test_a_file_that_changes(run: Run, pki: Named, tmp_path: Path) -> None:
    """CVE-2026-56850: each context reads anew; the same URI may be another identity the next time."""
    identities = [pki.server_ec, pki.server, pki.server_ed25519]

    async def main() -> None:
        async with serving() as server:
            for identity in identities:
                (tmp_path / "identity.pem").write_bytes(identity.chain_pem + identity.key_pem)
                here = uri(tmp_path / "identity.pem")
                server.set_secure_context(key=here, cert=here)
                async with staying(to(server)) as client:
                    assert client.get_peer_certificate().raw == identity.der  # type: ignore[union-attr]

    run(main)


# ---- how a URI is written


@pytest.mark.parametrize("name", ["plain", "with space", "100%", "a%20b", "ключ", "a+b&c=d;e", "a#b?c", "'quotes\""])
def test_the_uri_of_a_path(pki: Named, tmp_path: Path, name: str) -> None:
    """What `pathlib.Path.as_uri` gives is found, whatever the name: percent-encoding is undone, once."""
    write_all(pki.chain_ec, tmp_path / name)
    for scheme in ("file:", "FILE:"):
        key, cert = (
            scheme + (tmp_path / name / file).as_uri().removeprefix("file:")
            for file in ("encrypted traditional.pem", "chain.pem")
        )
        aiotls.create_secure_context(key=key, cert=cert, passphrase="sample")


def test_forms_of_the_uri(pki: Named, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An absolute path with one slash or three, and for localhost; a relative one is no URI of a file (RFC 8089)."""
    monkeypatch.chdir(folder)
    for written in (f"file:{folder}/key.pem", f"file://{folder}/key.pem", f"file://localhost{folder}/key.pem"):
        aiotls.create_secure_context(key=written, cert=pki.chain_ec.chain_pem)
    with pytest.raises(aiotls.OptionError, match="path must be absolute"):
        aiotls.create_secure_context(key="file:key.pem", cert=pki.chain_ec.chain_pem)


def test_pem_that_looks_like_a_uri(pki: Named) -> None:
    """Text in front of a PEM is text in front of a PEM."""
    for words in ("Subject: CN=localhost\n", "file:key.pem\n", "key:value\n"):
        options = {"key": words + pki.server_ec.key_pem.decode(), "cert": words + pki.server_ec.chain_pem.decode()}
        aiotls.create_secure_context(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["key", "cert"])
@pytest.mark.parametrize("text", ["server.pem", "/etc/server.pem", "./a:b", "file", ":", "no PEM: at all"])
def test_what_is_no_uri(option: str, text: str) -> None:
    """A path as text is still answered with the advice to give a `pathlib.Path`."""
    with pytest.raises(aiotls.OptionError, match="Path"):
        aiotls.create_secure_context(**{option: text})  # type: ignore[arg-type]


def test_bytes_are_no_uri(folder: Path) -> None:
    """Bytes are contents, always."""
    with pytest.raises(aiotls.OptionError, match="PEM"):
        aiotls.create_secure_context(key=uri(folder / "key.pem").encode())


# ---- what does not work


@pytest.mark.parametrize("name", ["encrypted.pem", "encrypted traditional.pem", "encrypted.der", "identity.p12"])
@pytest.mark.parametrize("passphrase", [None, "", "guessed wrongly", lambda: "guessed wrongly", lambda: None])
def test_wrong_passphrases(pki: Named, folder: Path, name: str, passphrase: Any) -> None:
    """Failure model 32: the error names the option and tells no passphrase."""
    with pytest.raises(aiotls.OptionError) as raised:
        aiotls.create_secure_context(key=uri(folder / name), cert=pki.chain_ec.chain_pem, passphrase=passphrase)
    error = raised.value
    assert error.option == "key"
    assert "passphrase" in error.message or "mac verify failure" in error.message
    assert "guessed" not in f"{error} {error!r} {error.openssl_error_stack}"


def test_wrong_passphrase_of_a_chain(pki: Named, folder: Path) -> None:
    """Certificates may be encrypted too."""
    for passphrase in (None, "wrong"):
        with pytest.raises(aiotls.OptionError) as raised:
            aiotls.create_secure_context(
                cert=uri(folder / "identity.p12"), key=pki.chain_ec.key_pem, passphrase=passphrase
            )
        assert (raised.value.option or "").startswith("cert")


@pytest.mark.parametrize("make", [aiotls.create_secure_context, aiotls.create_server])
def test_missing_files(pki: Named, folder: Path, make: Callable[..., object]) -> None:
    """The error names the option and says that there is no such file."""
    for missing in (folder / "missing.pem", folder / "missing" / "key.pem", folder / "no such, with space"):
        for written in (uri(missing), missing.as_uri()):
            for options in ({"key": written, "cert": pki.chain_ec.chain_pem}, {"cert": written}):
                with pytest.raises(aiotls.OptionError, match="No such file or directory") as raised:
                    make(**options)
                assert (raised.value.option or "").startswith("key" if "key" in options else "cert")


def test_files_with_something_else(pki: Named, folder: Path) -> None:
    """A file without what is looked for, and one with nothing that OpenSSL knows, is an error."""
    (folder / "empty").write_bytes(b"")
    (folder / "junk").write_bytes(os.urandom(3000))
    (folder / "text").write_bytes(b"no key at all\n" * 100)
    (folder / "broken.pem").write_bytes(pki.chain_ec.key_pem[:100] + b"\n-----END PRIVATE KEY-----\n")
    (folder / "public.pem").write_bytes(
        pki.chain_ec.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    for name in ("empty", "junk", "text", "broken.pem", "public.pem", "cert.pem", "cert.der"):
        with pytest.raises(aiotls.OptionError) as raised:
            aiotls.create_secure_context(key=uri(folder / name), cert=pki.chain_ec.chain_pem)
        assert raised.value.option == "key"
    for name in ("empty", "junk", "text", "broken.pem", "public.pem", "key.pem", "key.der"):
        with pytest.raises(aiotls.OptionError) as raised:
            aiotls.create_secure_context(cert=uri(folder / name), key=pki.chain_ec.key_pem)
        assert (raised.value.option or "").startswith("cert")


@pytest.mark.parametrize("traditional", [False, True])
def test_certificates_beside_a_locked_key(run: Run, pki: Named, folder: Path, traditional: bool) -> None:
    """Whoever wants the certificates needs no passphrase, wherever the key stands and however it is encrypted."""
    own = pki.chain_ec
    locked = own.key_pem_encrypted(b"sample", traditional=traditional)
    between = own.cert_pem + locked + own.chain_pem.removeprefix(own.cert_pem)

    async def main() -> None:
        for contents in (own.chain_pem + locked, locked + own.chain_pem, between):
            (folder / "locked.pem").write_bytes(contents)
            await assert_shows_chain_ec(pki, cert=uri(folder / "locked.pem"), key=own.key_pem)

    run(main)


@pytest.mark.parametrize("option", ["key", "cert"])
def test_a_folder(pki: Named, folder: Path, option: str) -> None:
    """The words say so."""
    own: dict[str, Any] = {"cert": pki.chain_ec.chain_pem, "key": pki.chain_ec.key_pem}
    for written in (uri(folder), folder.as_uri()):
        with pytest.raises(aiotls.OptionError, match=r"it is a folder|there is no (private key|certificate)") as raised:
            aiotls.create_secure_context(**{**own, option: written})
        assert (raised.value.option or "").startswith(option)


def test_keys_01_another_key(pki: Named, folder: Path) -> None:
    """KEYS-01: a key that belongs to no certificate is refused, wherever it comes from."""
    with pytest.raises(aiotls.OptionError, match=r"key (values|type) mismatch") as raised:
        aiotls.create_secure_context(key=uri(folder / "key.pem"), cert=pki.server_ec.chain_pem)
    assert raised.value.option == "key"


def test_another_machine(pki: Named, folder: Path) -> None:
    """A file URI for another host is not looked up here."""
    with pytest.raises(aiotls.OptionError) as raised:
        aiotls.create_secure_context(key=f"file://elsewhere{folder}/key.pem", cert=pki.chain_ec.chain_pem)
    assert raised.value.option == "key"


def test_nul(pki: Named, folder: Path) -> None:
    """A NUL does not cut the name short, however it is written."""
    for written in (uri(folder / "key.pem") + "\0.txt", uri(folder / "key.pem") + "%00.txt"):
        with pytest.raises(aiotls.OptionError) as raised:
            aiotls.create_secure_context(key=written, cert=pki.chain_ec.chain_pem)
        assert raised.value.option == "key"
        assert "None" not in str(raised.value)


# ---- stores that are not there

PLANTED = "planted-pin-of-a-token"
TOKEN = f"pkcs11:token=aiotls;object=server;type=private;pin-value={PLANTED}"


@pytest.mark.parametrize("option", ["key", "cert", "dict"])
def test_no_provider_for_tokens(pki: Named, option: str) -> None:
    """Without a provider for PKCS #11 the error says so, and how OpenSSL is told of one; it does not tell the PIN."""
    shapes: dict[str, Any] = {"key": TOKEN, "cert": TOKEN, "dict": [{"pem": TOKEN, "passphrase": PLANTED}]}
    options = {"key": shapes[option], "cert": pki.server_ec.chain_pem} if option != "cert" else {"cert": TOKEN}
    with pytest.raises(aiotls.OptionError, match="provider for pkcs11") as raised:
        aiotls.create_secure_context(**options)
    assert (raised.value.option or "").startswith("cert" if option == "cert" else "key")
    assert "OPENSSL_CONF" in str(raised.value)
    assert_silent(raised.value, PLANTED)


@pytest.mark.parametrize("scheme", ["https", "data", "engine", "x-unknown", "ldap", "../../evil", "a.b"])
def test_other_schemes(pki: Named, scheme: str) -> None:
    """Nothing is fetched from anywhere: what OpenSSL has no store for is an error that names the option."""
    with pytest.raises(aiotls.OptionError) as raised:
        aiotls.create_secure_context(key=f"{scheme}://127.0.0.1:9/{PLANTED}", cert=pki.server_ec.chain_pem)
    assert (raised.value.option or "") == "key"


def assert_silent(error: BaseException, secret: str) -> None:
    """Failure model 30: neither words nor attributes, traceback or pickle of an error tell a secret."""
    error.__traceback__ = None  # the lines of the test are in it
    texts = ["".join(traceback.format_exception(error)), pickle.dumps(error).decode("latin-1")]
    each: BaseException | None = error
    while each is not None:
        texts += [str(each), repr(each), repr(each.args), repr(vars(each))]
        each = each.__cause__ or each.__context__
    shown = [form.decode() for form in forms(secret.encode())]
    assert not [form for form in shown if any(form in text for text in texts)]


def test_secrets(pki: Named, folder: Path) -> None:
    """Failure model 30: passphrases and PINs of URIs stand in no error and no repr."""
    cert = pki.chain_ec.chain_pem
    mistakes: list[dict[str, Any]] = [
        {"key": uri(folder / "encrypted.pem"), "passphrase": PLANTED},
        {"key": uri(folder / "identity.p12"), "passphrase": PLANTED},
        {"key": [{"pem": uri(folder / "encrypted.der"), "passphrase": PLANTED}]},
        {"key": [{"pem": uri(folder / "missing"), "passphrase": PLANTED}]},
        {"key": [{"pem": uri(folder / "key.pem"), "passphrase": [PLANTED]}]},
        {"key": [{"pem": {"uri": TOKEN}}]},
        {"key": {"pem": TOKEN}},
        {"key": f"https://127.0.0.1:9/?pin-value={PLANTED}"},
        {"key": f"file:/missing?pin={PLANTED}"},
        {"key": f"file:///missing?pin={PLANTED}"},
        {"key": f"file:relative?pin={PLANTED}"},
        {"key": f"file:///miss%20ing?pin={PLANTED}"},
    ]
    for options in mistakes:
        with pytest.raises(aiotls.OptionError) as raised:
            aiotls.create_secure_context(cert=cert, **options)
        assert_silent(raised.value, PLANTED)
    good = aiotls.create_secure_context(key=uri(folder / "encrypted.pem"), cert=cert, passphrase="sample")
    assert "sample" not in repr(good)


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")
def test_stores_are_freed(pki: Named, folder: Path) -> None:
    """CVE-2018-1000807, CVE-2018-1000808: files are read through stores again and again; the memory does not grow."""
    many = [pki.ca_ec.issue([f"{number}.example.com"], key="ec").certificate for number in range(30)]
    data = pkcs12.pack(pki.server_ec.key, pki.server_ec.certificate, many)
    (folder / "large.p12").write_bytes(data)
    large = uri(folder / "large.p12")

    def load(times: int) -> None:
        for _ in range(times):
            aiotls.create_secure_context(key=large, cert=large, passphrase="sample")
            for options in ({"key": large, "cert": large, "passphrase": "wrong"}, {"cert": uri(folder / "missing")}):
                with pytest.raises(aiotls.OptionError):
                    aiotls.create_secure_context(**options)  # type: ignore[arg-type]
        gc.collect()

    load(30)
    before = resident()
    load(100)
    assert resident() - before < 2 << 20, "each file holds about 40 KiB"


def test_no_file_stays_open(pki: Named, folder: Path) -> None:
    """What was read is closed, after an error too."""
    before = open_descriptors()
    for name in ("key.pem", "cert.pem", "identity.p12", "missing"):
        with contextlib.suppress(aiotls.OptionError):
            aiotls.create_secure_context(key=uri(folder / name), cert=pki.chain_ec.chain_pem)
    assert open_descriptors() == before
