"""AIOTLS_EXTRA_CA_CERTS: certificates that are trusted besides the default ones."""

import json
import os
import textwrap
from pathlib import Path

import pytest

from tests.support.pki import Identity, Named
from tests.support.programs import ca_certificates, printed, python, visit

CHECKED = """check_server_identity=lambda host, certificate: print("checked", host, certificate.subject["CN"])"""
WELCOME = "checked localhost agent3\nwelcome\n"

NEEDS_THE_DEFAULT = "import aiotls; aiotls.create_secure_context(); aiotls.create_secure_context(); print('went on')"


@pytest.fixture
def extra(pki: Named, tmp_path: Path) -> Path:
    """The file of CA-B."""
    return pki.ca_b.write(tmp_path).cert


def files(identity: Identity, folder: Path) -> tuple[Path, Path]:
    """What the program of `visit` serves."""
    written = identity.write(folder)
    return written.key, written.chain


# ---- the functions


def test_ca_04_it_is_listed(pki: Named, extra: Path) -> None:
    """CA-04: exactly the certificate of the file, as PEM that ends in a newline."""
    (text,) = ca_certificates(AIOTLS_EXTRA_CA_CERTS=extra)["extra"]
    assert text == pki.ca_b.cert_pem.decode()
    assert text.endswith("-----END CERTIFICATE-----\n")


def test_ca_05_it_is_a_default(pki: Named, extra: Path) -> None:
    """CA-05: one extra certificate, and the default has it besides all others."""
    found = ca_certificates(AIOTLS_EXTRA_CA_CERTS=extra)
    assert len(found["extra"]) == 1
    assert found["default"] == [*found["bundled"], *found["extra"]]


@pytest.mark.parametrize("switch", ["--use-system-ca", "--use-openssl-ca"])
def test_besides_the_system(pki: Named, tmp_path: Path, extra: Path, switch: str) -> None:
    ours = pki.ca.write(tmp_path).cert
    empty = tmp_path / "empty"
    empty.mkdir()
    found = ca_certificates(switch, AIOTLS_EXTRA_CA_CERTS=extra, SSL_CERT_FILE=ours, SSL_CERT_DIR=empty)
    others = found["bundled"] if switch == "--use-system-ca" else []
    assert found["default"] == [*others, *found["system"], *found["extra"]]
    assert (len(found["system"]), len(found["extra"])) == (1, 1)


def test_several_in_one_file(pki: Named, tmp_path: Path) -> None:
    """In whatever form OpenSSL reads; what is known already counts once."""
    file = tmp_path / "extra.pem"
    again = printed("from aiotls.certificate_authorities import root_certificates; print(root_certificates[0])")
    renamed = pki.ca_ec.cert_pem.replace(b"N CERT", b"N X509 CERT").replace(b"D CERT", b"D X509 CERT")
    file.write_bytes(b"Some words\n" + pki.ca.cert_pem + again.encode() + renamed + pki.ca.cert_pem)
    found = ca_certificates(AIOTLS_EXTRA_CA_CERTS=file)
    assert found["extra"] == [pki.ca.cert_pem.decode(), found["bundled"][0], pki.ca_ec.cert_pem.decode()]
    assert found["default"] == [*found["bundled"], pki.ca.cert_pem.decode(), pki.ca_ec.cert_pem.decode()]


def test_a_replaced_default_does_not_have_it(extra: Path) -> None:
    """`set_default_ca_certificates` replaces all of it; what was extra remains known."""
    program = """
        from aiotls.certificate_authorities import get_ca_certificates, root_certificates, set_default_ca_certificates
        set_default_ca_certificates(root_certificates[:2])
        print(get_ca_certificates() == [*root_certificates[:2]], len(get_ca_certificates("extra")))
    """
    assert printed(program, AIOTLS_EXTRA_CA_CERTS=extra) == "True 1\n"


def test_it_is_read_when_it_is_needed(tmp_path: Path, extra: Path) -> None:
    """Not before; a program may set the variable itself."""
    program = f"""
        import os, aiotls
        from aiotls.certificate_authorities import get_ca_certificates
        aiotls.create_secure_context(ca=[])
        os.environ["AIOTLS_EXTRA_CA_CERTS"] = {str(extra)!r}
        print(len(get_ca_certificates("extra")))
    """
    assert printed(program, AIOTLS_EXTRA_CA_CERTS=tmp_path / "missing") == "1\n"


# ---- connections


def test_ca_15_alone(pki: Named, tmp_path: Path, extra: Path) -> None:
    """CA-15: a server whose authority stands only there is verified, its identity checked once."""
    served = files(pki.leaf_b, tmp_path)
    assert printed(visit(CHECKED), *served, AIOTLS_EXTRA_CA_CERTS=extra) == WELCOME
    assert printed(visit(CHECKED), *served) == "UNABLE_TO_VERIFY_LEAF_SIGNATURE\n"


def test_ca_15_with_a_crl(pki: Named, tmp_path: Path, extra: Path) -> None:
    """CA-15: it still applies where the client passes a revocation list, which counts."""
    (tmp_path / "crl.pem").write_bytes(pki.crl_b)
    client = f"crl=Path({str(tmp_path / 'crl.pem')!r}), {CHECKED}"
    assert printed(visit(client), *files(pki.leaf_b, tmp_path), AIOTLS_EXTRA_CA_CERTS=extra) == WELCOME
    revoked = pki.ca_b.crl([pki.leaf_b])
    (tmp_path / "crl.pem").write_bytes(revoked)
    assert printed(visit(client), *files(pki.leaf_b, tmp_path), AIOTLS_EXTRA_CA_CERTS=extra) == "CERT_REVOKED\n"


def test_ca_15_with_a_pfx(pki: Named, tmp_path: Path, extra: Path) -> None:
    """CA-15: it still applies where the client passes a PFX with a passphrase."""
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

    data = pkcs12.serialize_key_and_certificates(
        b"client", pki.client_ec.key, pki.client_ec.certificate, [pki.ca.certificate], BestAvailableEncryption(b"words")
    )
    (tmp_path / "client.pfx").write_bytes(data)
    client = f'pfx=Path({str(tmp_path / "client.pfx")!r}), passphrase="words", {CHECKED}'
    assert printed(visit(client), *files(pki.leaf_b, tmp_path), AIOTLS_EXTRA_CA_CERTS=extra) == WELCOME


def test_ca_15_not_with_ca(pki: Named, tmp_path: Path, extra: Path) -> None:
    """CA-15: `ca` replaces it like all that is trusted by default; nobody's identity is checked then."""
    ca_a = pki.ca_a.write(tmp_path).cert
    program = visit(f"ca=Path({str(ca_a)!r}), {CHECKED}")
    served = files(pki.leaf_b, tmp_path)
    assert printed(program, *served, AIOTLS_EXTRA_CA_CERTS=extra) == "UNABLE_TO_VERIFY_LEAF_SIGNATURE\n"


def test_clients_of_a_server(pki: Named, tmp_path: Path, extra: Path) -> None:
    """It counts for client certificates, too."""
    client = pki.leaf_b.write(tmp_path)
    program = visit(f"ca=[cert.read_bytes()], cert=Path({str(client.cert)!r}), key=Path({str(client.key)!r})")
    program = program.replace("ca=[])", "request_cert=True)")
    served = files(pki.self_localhost, tmp_path)
    assert printed(program, *served, AIOTLS_EXTRA_CA_CERTS=extra) == "welcome\n"
    assert printed(program, *served) != "welcome\n"


# ---- a file that cannot be loaded


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_ca_16_a_missing_file(tmp_path: Path, locale: str) -> None:
    """CA-16: one warning with the path, which is not ASCII, and why; the program goes on."""
    path = tmp_path / "äöü 中文.pem"
    done = python("-c", NEEDS_THE_DEFAULT, AIOTLS_EXTRA_CA_CERTS=path, LC_ALL=locale)
    assert (done.returncode, done.stdout) == (0, "went on\n")
    assert done.stderr.count("SecurityWarning") == 1
    warning = done.stderr.encode().decode("unicode_escape") if "\\x" in done.stderr else done.stderr
    assert f"ignoring extra certs from {path}, load failed: No such file or directory" in warning
    assert "AIOTLS_EXTRA_CA_CERTS" in warning


def test_ca_16_nobody_needs_it(tmp_path: Path) -> None:
    """CA-16: a program that needs no default CA certificates stays silent."""
    program = "import aiotls; aiotls.create_secure_context(ca=[]); print('went on')"
    assert printed(program, AIOTLS_EXTRA_CA_CERTS=tmp_path / "missing") == "went on\n"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it holds no certificate"),
        (b"words", "it holds no certificate"),
        (b"-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n", "bad base64 decode"),
        (b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "header too long"),
        (None, "Is a directory"),
        (b"FIFO", "it holds no certificate"),
    ],
)
def test_ca_16_a_broken_file(pki: Named, tmp_path: Path, content: bytes | None, why: str) -> None:
    """CA-16: the same for what is no file of certificates; nothing of it is trusted, and a pipe is not waited for."""
    path = tmp_path / "extra.pem"
    if content is None:
        path.mkdir()
    elif content == b"FIFO":
        os.mkfifo(path)
    elif b"BEGIN" in content:
        path.write_bytes(pki.ca.cert_pem + content)
    else:
        path.write_bytes(content)
    program = """
        import json, aiotls
        from aiotls.certificate_authorities import get_ca_certificates
        aiotls.create_secure_context()
        print(json.dumps([get_ca_certificates("extra"), get_ca_certificates() == get_ca_certificates("bundled")]))
    """
    done = python("-c", textwrap.dedent(program), AIOTLS_EXTRA_CA_CERTS=path)
    assert done.returncode == 0
    assert json.loads(done.stdout) == [[], True]
    assert done.stderr.count("SecurityWarning") == 1
    assert f"ignoring extra certs from {path}, load failed: {why}" in done.stderr


def test_many_threads_warn_once(tmp_path: Path) -> None:
    """Whoever of them is first."""
    program = """
        import concurrent.futures, threading, warnings, aiotls
        warnings.simplefilter("always")
        ready = threading.Barrier(8)
        def make(_):
            ready.wait()
            aiotls.create_secure_context()
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            list(threads.map(make, range(8)))
    """
    done = python("-c", textwrap.dedent(program), AIOTLS_EXTRA_CA_CERTS=tmp_path / "missing")
    assert done.returncode == 0
    assert done.stderr.count("SecurityWarning") == 1


def test_a_listener_of_warnings_may_make_contexts(tmp_path: Path) -> None:
    """It is told when the file has been dealt with, not in the midst of it."""
    program = """
        import warnings, aiotls
        def show(message, category, *rest):
            aiotls.create_secure_context()
            print(category.__name__)
        warnings.simplefilter("always")
        warnings.showwarning = show
        aiotls.create_secure_context()
    """
    done = python("-c", textwrap.dedent(program), AIOTLS_EXTRA_CA_CERTS=tmp_path / "missing")
    assert (done.returncode, done.stdout, done.stderr) == (0, "SecurityWarning\n", "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_ca_16_a_file_that_may_not_be_read(extra: Path) -> None:
    """CA-16: permission denied is a warning, too."""
    extra.chmod(0)
    done = python("-c", NEEDS_THE_DEFAULT, AIOTLS_EXTRA_CA_CERTS=extra)
    assert (done.returncode, done.stdout) == (0, "went on\n")
    assert "load failed: Permission denied" in done.stderr
