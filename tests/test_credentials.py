"""Keys and certificates in every accepted shape."""

import pathlib
from typing import Any

import pytest

from aiotls.credentials import KeySource, read_ca, read_chains, read_keys
from aiotls.errors import OptionError, OptionTypeError
from tests.support.pki import Named


def shapes(pem: bytes) -> list[object]:
    return [pem, pem.decode(), bytearray(pem), memoryview(pem)]


def test_key_shapes(pki: Named) -> None:
    pem = pki.client_ec.key_pem
    for shape in shapes(pem):
        for given in (shape, [shape], (shape,), [{"pem": shape}], [{"pem": shape, "passphrase": None}]):
            assert [key.contents for key in read_keys(given, None)] == [pem]
    assert len(read_keys([pem, pem.decode(), {"pem": pem}], None)) == 3


def test_certificate_shapes(pki: Named) -> None:
    pem = pki.client_ec.cert_pem
    for shape in shapes(pem):
        for read in (read_chains, read_ca):
            assert read(shape) == (pem,)
            assert read([shape, shape]) == (pem, pem)


@pytest.mark.parametrize("absent", [None, False, "", b"", 0])
def test_absent(absent: object) -> None:
    assert read_keys(absent, None) == ()
    assert read_chains(absent) == ()
    assert read_ca(absent) is None


def test_an_empty_list_of_ca_is_not_the_default() -> None:
    assert read_ca([]) == ()
    assert read_keys([], None) == ()
    assert read_chains([]) == ()


@pytest.mark.parametrize(
    ("value", "where", "what"),
    [
        (True, "key", "True"),
        ({"pem": "x"}, "key", "dict"),
        ([True], r"key\[0\]", "True"),
        ([True, False], r"key\[0\]", "True"),
        (["PEM", None], r"key\[1\]", "None"),
        ([{"pem": 5}], r"key\[0\]\['pem'\]", "5"),
        ([{}], r"key\[0\]\['pem'\]", "None"),
        (1, "key", "1"),
        (object(), "key", "object"),
    ],
)
def test_refused_keys(pki: Named, value: Any, where: str, what: str) -> None:
    if isinstance(value, list):
        value = [pki.client_ec.key_pem if item == "PEM" else item for item in value]
    with pytest.raises(OptionTypeError, match=f"{where} must be a str or a bytes-like object, not .*{what}") as caught:
        read_keys(value, None)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"


REFUSED_CERTIFICATES = [True, 1, {}, {"pem": ""}, [True, "PEM"], ["PEM", True], ["PEM", None], ["PEM", False]]


@pytest.mark.parametrize("option", ["cert", "ca"])
@pytest.mark.parametrize(
    "value", [True, 1, {}, {"pem": ""}, [True, "PEM"], ["PEM", True], ["PEM", None], ["PEM", False]]
)
def test_refused_certificates(pki: Named, option: str, value: Any) -> None:
    if isinstance(value, list):
        value = [pki.client_ec.cert_pem if item == "PEM" else item for item in value]
    read = read_chains if option == "cert" else read_ca
    with pytest.raises(OptionTypeError, match=option):
        read(value)


def test_what_is_no_pem_is_refused_with_advice(pki: Named) -> None:
    for read in (read_chains, read_ca, lambda value: read_keys(value, None)):
        for value in ("server.pem", ["server.pem"], [""]):
            with pytest.raises(OptionError, match="Path"):
                read(value)
    with pytest.raises(OptionError, match="holds no PEM private key"):
        read_keys(pki.client_ec.cert_pem, None)
    with pytest.raises(OptionError, match="holds no PEM certificate"):
        read_chains(pki.client_ec.key_pem)


def test_paths_are_read(pki: Named, tmp_path: pathlib.Path) -> None:
    files = pki.client_ec.write(tmp_path)
    assert read_keys(files.key, None)[0].contents == pki.client_ec.key_pem
    assert read_keys([{"pem": files.key}], None)[0].contents == pki.client_ec.key_pem
    assert read_chains(files.cert) == (pki.client_ec.cert_pem,)
    assert read_ca([files.cert]) == (pki.client_ec.cert_pem,)
    with pytest.raises(OptionError, match=r"cert\[0\]: cannot read .*No such file") as caught:
        read_chains([tmp_path / "missing.pem"])
    assert caught.value.code == "ENOENT"


def test_der_and_objects_of_cryptography(pki: Named) -> None:
    identity = pki.client_ec
    assert read_ca(identity.certificate) == (identity.cert_pem,)
    assert read_chains([identity.certificate]) == (identity.cert_pem,)
    assert read_keys(identity.key, None)[0].contents == identity.key_pem
    (armoured,) = read_ca(identity.der) or ()
    assert b"".join(armoured.split()) == b"".join(identity.cert_pem.split())
    with pytest.raises(OptionTypeError, match="cert"):
        read_chains(identity.key.public_key())


def test_labels_of_certificates(pki: Named) -> None:
    for label in (b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"):
        pem = pki.client_ec.cert_pem.replace(b"CERTIFICATE", label)
        assert read_ca(pem) == (pem,)


class TestPassphrase:
    @pytest.mark.parametrize("traditional", [True, False])
    def test_only_an_encrypted_key_asks(self, pki: Named, traditional: bool) -> None:
        asked: list[str] = []

        def ask() -> str:
            asked.append("passphrase")
            return "password"

        assert read_keys(pki.client_ec.key_pem, ask)[0].unlock() is None
        assert asked == []
        encrypted = pki.client_ec.key_pem_encrypted(b"password", traditional=traditional)
        assert read_keys(encrypted, ask)[0].unlock() == b"password"
        assert asked == ["passphrase"]

    def test_the_inner_one_goes_before_the_outer_one(self, pki: Named) -> None:
        pem = pki.client_ec.key_pem_encrypted(b"password")
        inner, outer = read_keys([{"pem": pem, "passphrase": "inner"}, {"pem": pem}], b"outer")
        assert (inner.unlock(), outer.unlock()) == (b"inner", b"outer")

    @pytest.mark.parametrize("passphrase", [1, 1.5, True, [], {}])
    def test_a_wrong_type_is_refused_without_showing_it(self, pki: Named, passphrase: Any) -> None:
        with pytest.raises(OptionTypeError, match="passphrase must be a str, bytes or a callable") as caught:
            read_keys(pki.client_ec.key_pem, passphrase)
        assert caught.value.code == "ERR_INVALID_ARG_TYPE"
        assert str(passphrase) not in caught.value.message

    def test_what_a_callable_answers_is_checked(self, pki: Named) -> None:
        source = read_keys(pki.client_ec.key_pem_encrypted(b"password"), lambda: 5)[0]
        with pytest.raises(OptionTypeError, match="passphrase"):
            source.unlock()

    def test_an_unknown_entry_is_refused(self, pki: Named) -> None:
        with pytest.raises(OptionError, match="passphase"):
            read_keys([{"pem": pki.client_ec.key_pem, "passphase": "x"}], None)


def test_no_secret_is_shown() -> None:
    assert repr(KeySource(b"SECRET", b"WORD", "key[0]")) == "KeySource(option='key[0]')"


@pytest.mark.parametrize("cut", [1, 40])
def test_a_key_that_is_cut_off(pki: Named, cut: int) -> None:
    """Beside a whole one it is not skipped."""
    whole = pki.client_ec.key_pem
    with pytest.raises(OptionError, match="key: one of the private keys in it has no end"):
        read_keys(whole + whole[: len(whole) - cut - 10], None)
