"""Encrypted private keys: every shape with its passphrase, every mistake at once, and never a prompt."""

import contextlib
import os
import pty
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

import aiotls
from tests.conftest import Run
from tests.support import pkcs12
from tests.support.peers import needs
from tests.support.pki import Identity, Named
from tests.support.servers import serving, to
from tests.support.visits import hosting, staying

ROOT = Path(__file__).parent.parent

KINDS = ("PKCS#8", "traditional")


def encrypted(identity: Identity, kind: str, passphrase: bytes = b"password") -> bytes:
    return identity.key_pem_encrypted(passphrase, traditional=kind == "traditional")


def keys_04(pki: Named, key: Any, passphrase: Any = None, **options: Any) -> dict[str, Any]:
    """One side of KEYS-04: SELF, which is also what both sides trust."""
    own = {"cert": pki.self_rsa.cert_pem, "key": key, "passphrase": passphrase}
    return {**own, "ca": [pki.self_rsa.cert_pem], **options}


# ---- KEYS-04


def works(key: bytes, plain: bytes) -> dict[str, tuple[Any, Any]]:
    """Each shape of KEYS-04 that works, with the passphrase beside it."""
    shapes: dict[str, tuple[Any, Any]] = {}
    for name, pem, passphrase in (
        ("encrypted", key, "password"),
        ("plain", plain, None),
        ("plain, ignored", plain, "ignored"),
    ):
        shapes[f"{name}, bytes"] = pem, passphrase
        shapes[f"{name}, list of bytes"] = [pem], passphrase
        shapes[f"{name}, str"] = pem.decode(), passphrase
        shapes[f"{name}, list of str"] = [pem.decode()], passphrase
    for kind, value in (("bytes", key), ("str", key.decode())):
        shapes[f"inner, {kind}"] = [{"pem": value, "passphrase": "password"}], None
        shapes[f"inner before outer, {kind}"] = [{"pem": value, "passphrase": "password"}], "invalid"
        shapes[f"outer, {kind}"] = [{"pem": value}], "password"
    for kind, value in (("bytes", plain), ("str", plain.decode())):
        shapes[f"plain in a dict, {kind}"] = [{"pem": value}], None
        shapes[f"plain, inner ignored, {kind}"] = [{"pem": value, "passphrase": "ignored"}], None
        shapes[f"plain, outer ignored, {kind}"] = [{"pem": value}], "ignored"
    return shapes


@pytest.mark.parametrize("kind", KINDS)
def test_keys_04_what_connects(run: Run, pki: Named, kind: str) -> None:
    """KEYS-04: a server with an encrypted key, and clients with theirs in each shape."""
    key = encrypted(pki.self_rsa, kind)

    async def main() -> None:
        async with hosting(**keys_04(pki, key, "password", request_cert=True)) as host:
            for name, (shape, passphrase) in works(key, pki.self_rsa.key_pem).items():
                visit = await host.visit(**keys_04(pki, shape, passphrase, servername="agent2"))
                assert visit.verdict == (True, None), name
                assert visit.error is None, name

    run(main)


FAILS: dict[str, tuple[Callable[[bytes], Any], Any]] = {
    **{
        f"{name} {passphrase!r}": (shape, passphrase)
        for passphrase in (None, "", "invalid")
        for name, shape in (
            ("bytes,", lambda key: key),
            ("str,", lambda key: key.decode()),
            ("list,", lambda key: [key]),
            ("dict,", lambda key: [{"pem": key}]),
        )
    },
    "inner empty": (lambda key: [{"pem": key, "passphrase": ""}], None),
    "inner invalid": (lambda key: [{"pem": key, "passphrase": "invalid"}], None),
    "inner invalid, outer right": (lambda key: [{"pem": key, "passphrase": "invalid"}], "password"),
    "inner empty, outer right": (lambda key: [{"pem": key, "passphrase": ""}], "password"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FAILS)
def test_keys_04_what_does_not(run: Run, pki: Named, kind: str, name: str) -> None:
    """KEYS-04, failure model 32: raised by `connect` at once, by a code; the passphrase stands in no word of it."""
    shape, passphrase = FAILS[name]
    own = keys_04(pki, shape(encrypted(pki.self_rsa, kind)), passphrase)
    options = {**own, "servername": "agent2"}

    async def main() -> None:
        for make in (lambda: aiotls.connect("127.0.0.1", 9, **options), lambda: aiotls.create_server(**own)):
            with pytest.raises(aiotls.OptionError) as raised:
                make()
            assert raised.value.code == "ERR_OSSL_BAD_DECRYPT"
            assert (raised.value.option or "").startswith("key")
            assert "invalid" not in f"{raised.value} {raised.value!r} {raised.value.openssl_error_stack}"

    run(main)


@pytest.mark.parametrize("wrong", [1, 0, 1.5, True])
def test_keys_04_a_number(run: Run, pki: Named, wrong: Any) -> None:
    """KEYS-04: a number is no passphrase, whether or not the key needs one."""

    async def main() -> None:
        for key in (pki.self_rsa.key_pem, encrypted(pki.self_rsa, "PKCS#8")):
            for options in (keys_04(pki, key, wrong), keys_04(pki, [{"pem": key, "passphrase": wrong}])):
                with pytest.raises(aiotls.OptionTypeError, match="passphrase") as raised:
                    aiotls.connect("127.0.0.1", 9, **options)
                assert raised.value.code == "ERR_INVALID_ARG_TYPE"

    run(main)


# ---- passphrases of every kind


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "passphrase",
    ["пароль £ 🔑", "with a\0NUL", " spaces ", "-----BEGIN", "long" * 200],
    ids=["words of all the world", "NUL", "spaces", "PEM", "long"],
)
def test_odd_passphrases(pki: Named, kind: str, passphrase: str) -> None:
    """Each counts as it is, to its last octet: one that is shorter does not do."""
    key = encrypted(pki.server_ec, kind, passphrase.encode())
    for right in (passphrase, passphrase.encode(), bytearray(passphrase.encode()), lambda: passphrase):
        aiotls.create_secure_context(cert=pki.server_ec.chain_pem, key=key, passphrase=right)
    # Only what adds NULs at the end is the same passphrase under PKCS#8: HMAC fills its key up with them.
    for wrong in (passphrase[:-1], passphrase.partition("\0")[0] + "x", passphrase + "x", passphrase.strip() + "  "):
        with pytest.raises(aiotls.OptionError) as raised:
            aiotls.create_secure_context(cert=pki.server_ec.chain_pem, key=key, passphrase=wrong)
        assert raised.value.code == "ERR_OSSL_BAD_DECRYPT"


def test_a_passphrase_that_is_too_long_is_not_cut(pki: Named) -> None:
    """OpenSSL reads 1024 octets at most: what begins like the passphrase is not the passphrase."""
    key = encrypted(pki.server_ec, "PKCS#8", b"p" * 1023)
    aiotls.create_secure_context(cert=pki.server_ec.chain_pem, key=key, passphrase="p" * 1023)
    for size in (1022, 1024, 1025, 5000):
        with pytest.raises(aiotls.OptionError):
            aiotls.create_secure_context(cert=pki.server_ec.chain_pem, key=key, passphrase="p" * size)


def test_several_keys(run: Run, pki: Named) -> None:
    """Each has its own passphrase; a callable is asked for the one that needs it, once."""
    asked: list[str] = []

    def ask() -> bytes:
        asked.append("asked")
        return b"outer"

    keys: Any = [
        {"pem": encrypted(pki.server, "traditional", b"first"), "passphrase": "first"},
        {"pem": encrypted(pki.server_ed25519, "PKCS#8", b"second"), "passphrase": lambda: "second"},
        encrypted(pki.server_ec, "PKCS#8", b"outer"),
    ]
    certificates = [each.chain_pem for each in (pki.server_ec, pki.server, pki.server_ed25519)]

    async def main() -> None:
        async with serving(cert=certificates, key=keys, passphrase=ask) as server:
            for identity, sigalgs in (
                (pki.server, "RSA-PSS+SHA256:RSA+SHA256"),
                (pki.server_ec, "ECDSA+SHA256:RSA+SHA256"),
                (pki.server_ed25519, "ed25519:RSA+SHA256"),
            ):
                async with staying(to(server, min_version="TLSv1.3", sigalgs=sigalgs)) as client:
                    assert client.get_peer_certificate().raw == identity.der  # type: ignore[union-attr]
        assert asked == ["asked"]

    run(main)


def test_a_callable_that_raises(pki: Named) -> None:
    """Its exception passes unchanged, and a key that needs no passphrase does not ask."""
    wrong = PermissionError("the key ring is locked")

    def ask() -> str:
        raise wrong

    aiotls.create_secure_context(cert=pki.server_ec.chain_pem, key=pki.server_ec.key_pem, passphrase=ask)
    for kind in KINDS:
        with pytest.raises(PermissionError) as raised:
            aiotls.create_secure_context(
                cert=pki.server_ec.chain_pem, key=encrypted(pki.server_ec, kind), passphrase=ask
            )
        assert raised.value is wrong


@needs("openssl")
@pytest.mark.parametrize(
    "command",
    [
        ("pkcs8", "-topk8", "-v2", "aes-256-cbc"),
        ("pkcs8", "-topk8", "-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512"),
        ("pkcs8", "-topk8", "-v2", "des3", "-v2prf", "hmacWithSHA1"),
        ("pkcs8", "-topk8", "-scrypt"),
        ("pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES"),
        ("rsa", "-traditional", "-aes128"),
        ("rsa", "-traditional", "-aes-256-cbc"),
        ("rsa", "-traditional", "-des3"),
        ("rsa", "-aes256"),
    ],
    ids=" ".join,
)
def test_as_openssl_writes_them(pki: Named, command: tuple[str, ...]) -> None:
    """The ciphers that are in use, new and old."""
    key = written(pki.server, command)
    aiotls.create_secure_context(cert=pki.server.chain_pem, key=key, passphrase="password")
    for wrong in ("wrong", None):
        with pytest.raises(aiotls.OptionError) as raised:
            aiotls.create_secure_context(cert=pki.server.chain_pem, key=key, passphrase=wrong)
        assert raised.value.code == "ERR_OSSL_BAD_DECRYPT"


@needs("openssl")
def test_an_old_cipher_that_is_gone(pki: Named) -> None:
    """What only the legacy provider reads is an error that names the option, with the right passphrase too."""
    command = ("pkcs8", "-topk8", "-v1", "PBE-MD5-DES", "-provider", "legacy", "-provider", "default")
    key = written(pki.server, command)
    with pytest.raises(aiotls.OptionError) as raised:
        aiotls.create_secure_context(cert=pki.server.chain_pem, key=key, passphrase="password")
    assert raised.value.option == "key"
    assert "wrong" not in str(raised.value)


def written(identity: Identity, command: tuple[str, ...]) -> bytes:
    done = subprocess.run(
        ["openssl", *command, "-passout", "pass:password"],
        input=identity.key_pem,
        capture_output=True,
        timeout=10,
        check=True,
    )
    return done.stdout


# ---- never a prompt

BEGINNING = """
    import fcntl, os, sys, termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    REPORT = int(sys.argv[2])
"""

CHILD = """
    from pathlib import Path
    import aiotls

    folder = Path(sys.argv[1])
    assert os.isatty(0)
    os.close(os.open("/dev/tty", os.O_RDWR))  # there is somebody who could be asked
    cert = (folder / "cert.pem").read_bytes()

    def uri(name):
        return f"file:{folder / name}"

    mistakes = {
        "PKCS#8": {"cert": cert, "key": folder / "pkcs8.pem"},
        "traditional": {"cert": cert, "key": folder / "traditional.pem"},
        "empty": {"cert": cert, "key": folder / "pkcs8.pem", "passphrase": ""},
        "wrong": {"cert": cert, "key": folder / "traditional.pem", "passphrase": "wrong"},
        "callable": {"cert": cert, "key": folder / "pkcs8.pem", "passphrase": lambda: None},
        "certificate": {"cert": folder / "pkcs8.pem"},
        "ca": {"ca": folder / "traditional.pem"},
        "crl": {"crl": folder / "traditional.pem"},
        "dhparam": {"dhparam": folder / "traditional.pem"},
        "encrypted certificate": {"cert": folder / "framed CERTIFICATE.pem"},
        "encrypted ca": {"ca": folder / "framed CERTIFICATE.pem"},
        "encrypted trusted ca": {"ca": folder / "framed TRUSTED CERTIFICATE.pem"},
        "encrypted crl": {"crl": folder / "framed X509 CRL.pem"},
        "encrypted crl of a text": {"crl": (folder / "framed X509 CRL.pem").read_text()},
        "encrypted dhparam": {"dhparam": folder / "framed DH PARAMETERS.pem"},
        "PFX": {"pfx": folder / "identity.p12"},
        "PFX, wrong": {"pfx": folder / "identity.p12", "passphrase": "wrong"},
        "store": {"cert": cert, "key": uri("pkcs8.pem")},
        "store, traditional": {"cert": cert, "key": uri("traditional.pem")},
        "store, DER": {"cert": cert, "key": uri("pkcs8.der")},
        "store, wrong": {"cert": cert, "key": uri("pkcs8.pem"), "passphrase": "wrong"},
        "store, PFX": {"cert": cert, "key": uri("identity.p12")},
        "store, PFX, wrong": {"cert": cert, "key": uri("identity.p12"), "passphrase": "wrong"},
        "store, certificate": {"cert": uri("identity.p12")},
    }
    for name, options in mistakes.items():
        try:
            aiotls.create_secure_context(**options)
        except aiotls.OptionError as error:
            assert "planted" not in str(error), name
            os.write(REPORT, f"{name}: refused\\n".encode())
        else:
            os.write(REPORT, f"{name}: taken\\n".encode())
    os.write(REPORT, b"done\\n")
"""

ASKING = """
    import ssl

    os.write(REPORT, b"asking\\n")
    files = [f"{sys.argv[1]}/{name}.pem" for name in ("cert", "pkcs8")]
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(*files)
"""


@pytest.fixture
def folder(pki: Named, tmp_path: Path) -> Path:
    """Encrypted keys in files."""
    identity = pki.server_ec
    (tmp_path / "cert.pem").write_bytes(identity.chain_pem)
    (tmp_path / "pkcs8.pem").write_bytes(encrypted(identity, "PKCS#8", b"planted"))
    (tmp_path / "traditional.pem").write_bytes(encrypted(identity, "traditional", b"planted"))
    (tmp_path / "identity.p12").write_bytes(pkcs12.make(identity, b"planted"))
    # A key that was encrypted in the traditional way, under the labels of what is never encrypted.
    for label in ("CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CRL", "DH PARAMETERS"):
        framed = re.sub(rb"[A-Z]+ PRIVATE KEY", label.encode(), encrypted(identity, "traditional", b"planted"))
        (tmp_path / f"framed {label}.pem").write_bytes(framed)
    form = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"planted")
    (tmp_path / "pkcs8.der").write_bytes(identity.key.private_bytes(serialization.Encoding.DER, *form))
    return tmp_path


def test_nobody_is_asked(folder: Path) -> None:
    """Failure model 32: every mistake is an error at once, on a terminal too, and not a word appears there."""
    said, shown = on_a_terminal(CHILD, folder)
    lines = said.splitlines()
    assert lines[-1:] == ["done"], said + shown
    assert [line for line in lines[:-1] if not line.endswith(": refused")] == []
    assert shown == ""


def test_the_terminal_of_these_tests_would_be_used(folder: Path) -> None:
    """Python's own ssl does ask on it, so silence means something."""
    said, shown = on_a_terminal(ASKING, folder)
    assert said == "asking\n"
    assert "pass phrase" in shown


def on_a_terminal(program: str, folder: Path) -> tuple[str, str]:
    """Runs a program whose controlling terminal, input, output and errors are a pseudo-terminal.

    Returns:
        What it wrote on the descriptor `REPORT`, and what appeared on its terminal: all of it, or up to a question.
    """
    terminal, end = pty.openpty()
    words, report = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(BEGINNING) + textwrap.dedent(program), str(folder), str(report)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=end,
        stdout=end,
        stderr=end,
        pass_fds=[report],
        start_new_session=True,
    )
    os.close(end)
    os.close(report)
    shown = b""
    with child, contextlib.suppress(OSError):  # EIO: the child has ended
        while not re.search(rb"phrase|password", shown, re.IGNORECASE):
            shown += os.read(terminal, 4096)
        child.kill()
    os.close(terminal)
    with open(words, "rb") as pipe:
        return pipe.read().decode(), shown.decode()
