"""Which CA certificates there are: `root_certificates`, `get_ca_certificates`."""

import json
import re
import ssl
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import certifi
import pytest
from cryptography import x509

import aiotls
from aiotls.certificate_authorities import get_ca_certificates, root_certificates
from tests.support.peers import needs
from tests.support.pki import Identity, Named
from tests.support.programs import SHOW, ca_certificates, printed, python, visit

KINDS = ("default", "bundled", "system", "extra")

LONE_LEAF = "UNABLE_TO_VERIFY_LEAF_SIGNATURE\n"


def parsed(pems: list[str]) -> list[x509.Certificate]:
    return [x509.load_pem_x509_certificate(pem.encode()) for pem in pems]


def write(path: Path, *identities: Identity) -> Path:
    """A file of certificates."""
    path.write_bytes(b"\n".join(identity.cert_pem for identity in identities))
    return path


@pytest.fixture(scope="module")
def plain() -> dict[str, list[str]]:
    """What there is where nothing was chosen."""
    return ca_certificates()


# ---- what there is


def test_the_bundle_is_that_of_certifi() -> None:
    """Every certificate of it, each a text of its own and nothing else; nobody can change it."""
    assert isinstance(root_certificates, tuple)
    assert get_ca_certificates("bundled") == [*root_certificates]
    frames = re.findall("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", certifi.contents(), re.DOTALL)
    assert [ssl.PEM_cert_to_DER_cert(pem) for pem in root_certificates] == [*map(ssl.PEM_cert_to_DER_cert, frames)]
    assert len(set(root_certificates)) == len(root_certificates) > 100
    for pem in root_certificates:
        assert pem.startswith("-----BEGIN CERTIFICATE-----\n")
        assert pem.endswith("\n-----END CERTIFICATE-----\n")
        assert pem.count("-----") == 4
        assert max(map(len, pem.splitlines())) == 64


def test_each_call_gives_a_list_of_its_own() -> None:
    for kind in KINDS:
        first = get_ca_certificates(kind)  # type: ignore[arg-type]
        first.append("words")
        assert "words" not in get_ca_certificates(kind)  # type: ignore[arg-type]
    assert get_ca_certificates() == get_ca_certificates("default")


def test_what_is_no_name_of_the_module() -> None:
    from aiotls import certificate_authorities

    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        certificate_authorities.nothing_of_this_name  # noqa: B018


@pytest.mark.parametrize("kind", [1, None, print, True, b"system", ["system"]], ids=repr)
def test_ca_02_no_text(kind: Any) -> None:
    """CA-02: a type that is no text; None, given, is none either."""
    with pytest.raises(aiotls.OptionTypeError, match="kind must be a str") as caught:
        get_ca_certificates(kind)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"


@pytest.mark.parametrize("kind", ["test", "", "Default", "default "])
def test_ca_02_no_kind(kind: Any) -> None:
    """CA-02: a text that names no kind; the error lists those that there are."""
    with pytest.raises(aiotls.OptionError, match="default, bundled, system, extra") as caught:
        get_ca_certificates(kind)
    assert caught.value.code == "ERR_INVALID_ARG_VALUE"
    assert caught.value.option == "kind"
    assert not isinstance(caught.value, TypeError)


def test_ca_01_the_default(plain: dict[str, list[str]]) -> None:
    """CA-01: it is the bundle."""
    assert plain["default"] == plain["bundled"]


def test_ca_03_no_extra(plain: dict[str, list[str]]) -> None:
    """CA-03: without AIOTLS_EXTRA_CA_CERTS there is none; an empty value is none."""
    assert plain["extra"] == []
    assert ca_certificates(AIOTLS_EXTRA_CA_CERTS="")["extra"] == []


@pytest.mark.parametrize("choices", [{}, {"SSL_CERT_FILE": ""}, {"SSL_CERT_DIR": ""}], ids=str)
def test_the_system_is_what_openssl_looks_at(choices: dict[str, str], plain: dict[str, list[str]]) -> None:
    """It holds at least what Python's own ssl loads from the same places, each certificate once."""
    paths = ssl.get_default_verify_paths()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if Path(paths.openssl_cafile).is_file():
        context.load_verify_locations(paths.openssl_cafile)
    system = ca_certificates(**choices)["system"]
    assert {ssl.DER_cert_to_PEM_cert(der) for der in context.get_ca_certs(True)} <= set(system)
    assert len(set(system)) == len(system)
    assert system == plain["system"]


def test_ca_06_the_system_whatever_is_trusted(plain: dict[str, list[str]]) -> None:
    """CA-06: it is the same list whether or not it is trusted by default."""
    assert ca_certificates("--use-system-ca")["system"] == plain["system"]
    assert ca_certificates("--use-openssl-ca")["system"] == plain["system"]
    assert ca_certificates(AIOTLS_USE_SYSTEM_CA="1")["system"] == plain["system"]


def test_ca_07_the_system_as_well(pki: Named, tmp_path: Path) -> None:
    """CA-07: by the switch and by the variable: all of the bundle and all of the system, none twice."""
    known = root_file(tmp_path / "known.pem", 2)
    folder = tmp_path / "certs"
    folder.mkdir()
    write(folder / "00000001.0", pki.ca, pki.ca_ec)
    places: dict[str, Any] = {"SSL_CERT_FILE": known, "SSL_CERT_DIR": folder}
    by_variable = ca_certificates(AIOTLS_USE_SYSTEM_CA="1", **places)
    by_switch = ca_certificates("--use-system-ca", **places)
    assert by_variable == by_switch
    assert len(by_switch["system"]) == 4
    assert set(by_switch["default"]) == {*by_switch["bundled"], *by_switch["system"]}
    assert len(by_switch["default"]) == len(by_switch["bundled"]) + 2


def test_ca_07_the_machines_own(plain: dict[str, list[str]]) -> None:
    """CA-07: with the certificates of this machine, by the launcher."""
    done = python("-m", "aiotls", "run", "--use-system-ca", "-", stdin=textwrap.dedent(SHOW))
    by_switch = json.loads(done.stdout)
    assert by_switch == ca_certificates(AIOTLS_USE_SYSTEM_CA="1")
    assert set(by_switch["default"]) == {*plain["bundled"], *plain["system"]}


@pytest.mark.parametrize("value", ["", "0"])
def test_the_system_is_not_wanted(value: str, plain: dict[str, list[str]]) -> None:
    assert ca_certificates(AIOTLS_USE_SYSTEM_CA=value) == plain


@pytest.mark.parametrize("value", ["yes", "true", " 1", "2"])
def test_a_value_that_says_nothing(value: str) -> None:
    """It is an error that names the variable, as soon as the default is needed, each time; what is given is not."""
    program = """
        import aiotls
        aiotls.create_secure_context(ca=[])
        for _ in range(2):
            try:
                aiotls.create_secure_context()
            except aiotls.OptionError as error:
                print(error.option, error.code, error.message)
    """
    message = f"AIOTLS_USE_SYSTEM_CA ERR_INVALID_ARG_VALUE AIOTLS_USE_SYSTEM_CA must be 1 or 0, not {value!r}\n"
    assert printed(program, AIOTLS_USE_SYSTEM_CA=value) == 2 * message


# ---- the system's, instead of the bundle


@pytest.mark.parametrize("switches", [(), ("--use-openssl-ca",), ("--use-openssl-ca", "--use-system-ca")], ids=str)
def test_ssl_cert_file_and_dir(pki: Named, tmp_path: Path, switches: tuple[str, ...]) -> None:
    """Where they are set, what they hold is trusted instead of the bundle; of all folders, none twice.

    Of a folder the files with names of OpenSSL's form count, as in OpenSSL: the others may have been taken out of use.
    """
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    write(first / "00000001.0", pki.ca_b)
    write(first / "00000001.12", pki.ca_b, pki.ca)
    write(second / "abcdef09.0", pki.ca_ec)
    for name in ("other.pem", "abcdef09.0.bak", "ABCDEF09.0", "abcdef09.r0", "abcdef0.0", "abcdef09"):
        write(second / name, pki.ca_l)
    file = write(tmp_path / "file.pem", pki.ca, pki.ca_a)
    found = ca_certificates(*switches, SSL_CERT_FILE=file, SSL_CERT_DIR=f"{first}:{second}:{tmp_path / 'missing'}:")
    assert parsed(found["default"]) == [each.certificate for each in (pki.ca, pki.ca_a, pki.ca_b, pki.ca_ec)]
    assert found["system"] == found["default"]
    assert len(found["bundled"]) > 100


def test_openssls_store_alone(plain: dict[str, list[str]]) -> None:
    """``--use-openssl-ca`` without variables: what the machine has."""
    found = ca_certificates("--use-openssl-ca")
    assert found["default"] == plain["system"]


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_each_replaces_its_own_half(pki: Named, tmp_path: Path, name: str, plain: dict[str, list[str]]) -> None:
    """As in OpenSSL: the other half stays that of the machine."""
    write(tmp_path / "ours.pem", pki.ca)
    write(tmp_path / "00000001.0", pki.ca)
    place = tmp_path / "ours.pem" if name == "SSL_CERT_FILE" else tmp_path
    found = ca_certificates(**{name: place})
    ours = pki.ca.cert_pem.decode()
    assert ours in found["default"]
    assert {*found["default"]} <= {ours, *plain["system"]}
    both = ca_certificates(SSL_CERT_FILE=tmp_path / "ours.pem", SSL_CERT_DIR=tmp_path)
    assert both["default"] == [ours]


def test_nothing_where_they_point(tmp_path: Path) -> None:
    """Nothing is trusted then, and nothing breaks."""
    found = ca_certificates(SSL_CERT_FILE=tmp_path / "missing", SSL_CERT_DIR=tmp_path / "missing too")
    assert found["default"] == found["system"] == []


def test_broken_files_are_skipped(pki: Named, tmp_path: Path) -> None:
    """What can be read of a folder counts, whatever else lies in it."""
    folder = tmp_path / "certs"
    (folder / "folder").mkdir(parents=True)
    broken = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    (folder / "00000000.0").write_bytes(broken)
    (folder / "00000001.0").write_bytes(pki.ca.cert_pem + broken.replace(b"MIIB", b"????") + pki.ca_b.cert_pem)
    (folder / "00000002.0").write_bytes(pki.ca.key_pem)
    (folder / "00000003.0").write_bytes(pki.crl)
    (folder / "00000004.0").write_bytes(pki.ca_ec.der)
    (folder / "00000005.0").write_bytes(b"words\xff\0words")
    (folder / "00000006.0").touch()
    (folder / "00000007.0").symlink_to("nowhere")
    (folder / "00000008.0").symlink_to(write(tmp_path / "linked.pem", pki.ca_a))
    (folder / "00000009.0").write_bytes(pki.ca_l.cert_pem.replace(b"\n", b"\r\n"))
    subprocess.run(["mkfifo", folder / "00000010.0"], check=True)
    found = ca_certificates(SSL_CERT_FILE=folder / "folder", SSL_CERT_DIR=folder)
    assert parsed(found["system"]) == [each.certificate for each in (pki.ca, pki.ca_b, pki.ca_a, pki.ca_l)]


@needs("openssl")
@pytest.mark.parametrize("place", ["file", "folder", "second folder"])
def test_a_connection_trusts_them(pki: Named, tmp_path: Path, place: str) -> None:
    """SSL_CERT_FILE and SSL_CERT_DIR decide whom a client trusts, as they do with Python's own ssl."""
    server = pki.leaf_local.write(tmp_path)
    folder, empty = tmp_path / "certs", tmp_path / "empty"
    folder.mkdir()
    empty.mkdir()
    write(folder / "local.pem", pki.ca_l)
    choices: dict[str, Any] = {"SSL_CERT_FILE": tmp_path / "missing", "SSL_CERT_DIR": folder}
    if place == "file":
        choices = {"SSL_CERT_FILE": folder / "local.pem", "SSL_CERT_DIR": empty}
    else:
        assert printed(visit(), server.key, server.chain, **choices) == LONE_LEAF
        command = ["openssl", "x509", "-hash", "-noout", "-in", str(folder / "local.pem")]
        name = subprocess.check_output(command, text=True).strip()
        (folder / "local.pem").rename(folder / f"{name}.0")
    if place == "second folder":
        choices["SSL_CERT_DIR"] = f"{empty}:{folder}"
    assert printed(visit(), server.key, server.chain, **choices) == "welcome\n"
    assert printed(visit(), server.key, server.chain) == LONE_LEAF
    nothing: dict[str, Any] = {"SSL_CERT_FILE": tmp_path / "missing", "SSL_CERT_DIR": empty}
    assert printed(visit(), server.key, server.chain, **nothing) == LONE_LEAF
    assert printed(visit("ca=[]"), server.key, server.chain, **choices) == LONE_LEAF


def root_file(path: Path, count: int) -> Path:
    """A file of the first certificates of the bundle."""
    path.write_text("".join(root_certificates[:count]))
    return path
