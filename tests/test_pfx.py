"""`pfx`: keys and certificates from PKCS#12, in every form; what cannot be used is refused in words."""

import asyncio
import gc
import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support import pkcs12
from tests.support.pairs import client_options, server_options, tcp_pair, until
from tests.support.peers import needs
from tests.support.pki import Identity, Named
from tests.support.servers import port_of, serving, to
from tests.support.stapling import Stapler, agent1, asking, stapled
from tests.support.visits import hosting, staying
from tests.test_crl import resident
from tests.test_secrets import forms

WORDS = "пароль £ 🔑"
FAILED = "ERR_CRYPTO_OPERATION_FAILED"


def only(pfx: Any, passphrase: Any = "sample", **options: Any) -> dict[str, Any]:
    """The options of a side that has nothing but this."""
    return {"cert": None, "key": None, "pfx": pfx, "passphrase": passphrase, **options}


def of_chain_ec(**options: Any) -> dict[str, Any]:
    """A client that trusts the root of CHAIN-EC alone, so the intermediate has to be sent."""
    return {"ca": options.pop("pki").ca_ec.cert_pem, "servername": "agent10.example.com", **options}


async def assert_shows_chain_ec(pki: Named, **options: Any) -> None:
    """A server with these options shows CHAIN-EC, leaf and intermediate, under both versions."""
    async with serving(**options) as server:
        for version in ("TLSv1.2", "TLSv1.3"):
            async with staying(to(server, **of_chain_ec(pki=pki, max_version=version))) as client:
                assert client.authorized is True
                peer = client.get_peer_certificate()
                assert peer
                assert peer.raw == pki.chain_ec.der


# ---- what works


def indefinite(data: bytes) -> bytes:
    """The same in BER, as older programs write it: the length of the outermost element is told by its end."""
    assert data[:2] == b"\x30\x82"
    return b"\x30\x80" + data[4:] + b"\0\0"


FORMS: dict[str, tuple[Callable[[Identity], bytes], Any]] = {
    "AES-256": (pkcs12.make, "sample"),
    "triple DES": (lambda identity: pkcs12.make(identity, old=True), "sample"),
    "passphrase as bytes": (pkcs12.make, b"sample"),
    "passphrase as view": (pkcs12.make, memoryview(b"sample")),
    "no passphrase": (lambda identity: pkcs12.make(identity, None), None),
    "no passphrase, an empty one given": (lambda identity: pkcs12.make(identity, None), ""),
    "no passphrase, an empty one given as bytes": (lambda identity: pkcs12.make(identity, None), b""),
    "neither passphrase nor MAC": (lambda identity: pkcs12.merged(identity), None),
    "neither passphrase nor MAC, one given": (lambda identity: pkcs12.merged(identity), "in vain"),
    "words of all the world": (lambda identity: pkcs12.make(identity, WORDS.encode()), WORDS),
    "words of all the world as bytes": (lambda identity: pkcs12.make(identity, WORDS.encode()), WORDS.encode()),
    "words of all the world, triple DES": (lambda identity: pkcs12.make(identity, WORDS.encode(), old=True), WORDS),
    "a long passphrase": (lambda identity: pkcs12.make(identity, b"long" * 200), "long" * 200),
    "of indefinite length": (lambda identity: indefinite(pkcs12.make(identity)), "sample"),
    "leaf last": (pkcs12.leaf_last, "sample"),
    "leaf last, no passphrase": (lambda identity: pkcs12.leaf_last(identity, None), None),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(run: Run, pki: Named, form: str) -> None:
    """The key, its certificate and the further certificates, which complete the chain."""
    make, passphrase = FORMS[form]
    run(lambda: assert_shows_chain_ec(pki, **only(make(pki.chain_ec), passphrase)))


@pytest.mark.parametrize("shape", ["bytes", "bytearray", "view", "path", "list", "tuple", "dict", "dict of a path"])
def test_shapes(run: Run, pki: Named, tmp_path: Path, shape: str) -> None:
    """Bytes of every kind are contents, a path is read; each alone, in a list or in a dict."""
    data = pkcs12.make(pki.chain_ec)
    path = tmp_path / "identity.p12"
    path.write_bytes(data)
    shapes: dict[str, Any] = {
        "bytes": data,
        "bytearray": bytearray(data),
        "view": memoryview(data),
        "path": path,
        "list": [data],
        "tuple": (path,),
        "dict": [{"buf": data}],
        "dict of a path": [{"buf": path, "passphrase": None}],
    }
    run(lambda: assert_shows_chain_ec(pki, **only(shapes[shape])))


@pytest.mark.parametrize("absent", [None, False, b"", []])
def test_absent(absent: Any) -> None:
    """The option as a whole may be empty: then there is none."""
    aiotls.create_secure_context(pfx=absent, passphrase="in vain")


# ---- whose passphrase


def test_a_passphrase_of_its_own(run: Run, pki: Named) -> None:
    """What stands in the dict goes before what stands beside it; without one the outer one counts."""
    data = pkcs12.make(pki.chain_ec, b"inner")

    async def main() -> None:
        for entry, outer in (
            ({"buf": data, "passphrase": "inner"}, None),
            ({"buf": data, "passphrase": b"inner"}, "outer"),
            ({"buf": data, "passphrase": lambda: "inner"}, "outer"),
            ({"buf": data}, "inner"),
            ({"buf": data, "passphrase": None}, lambda: b"inner"),
        ):
            await assert_shows_chain_ec(pki, **only([entry], outer))
        with pytest.raises(aiotls.OptionError, match="mac verify failure"):
            aiotls.create_secure_context(pfx=[{"buf": data, "passphrase": "outer"}], passphrase="inner")

    run(main)


def test_a_callable_is_asked_when_it_is_needed(pki: Named) -> None:
    """Once for the file that needs it, and never for one that has no passphrase or one of its own."""
    asked: list[str] = []

    def ask() -> str:
        asked.append("asked")
        return "sample"

    aiotls.create_secure_context(pfx=pkcs12.make(pki.chain_ec, None), passphrase=ask)
    aiotls.create_secure_context(pfx=[{"buf": pkcs12.make(pki.chain_ec), "passphrase": "sample"}], passphrase=ask)
    assert asked == []
    aiotls.create_secure_context(pfx=pkcs12.make(pki.chain_ec), passphrase=ask)
    assert asked == ["asked"]


@pytest.mark.parametrize(("answer", "kind"), [(5, aiotls.OptionTypeError), (None, aiotls.OptionError)])
def test_what_a_callable_answers(pki: Named, answer: Any, kind: type[Exception]) -> None:
    """A wrong type is refused; None is no passphrase."""
    with pytest.raises(kind):
        aiotls.create_secure_context(pfx=pkcs12.make(pki.chain_ec), passphrase=lambda: answer)


def test_a_callable_that_raises(pki: Named) -> None:
    """Its exception passes unchanged."""
    wrong = PermissionError("the key ring is locked")

    def ask() -> str:
        raise wrong

    with pytest.raises(PermissionError) as raised:
        aiotls.create_secure_context(pfx=pkcs12.make(pki.chain_ec), passphrase=ask)
    assert raised.value is wrong


@pytest.mark.parametrize("passphrase", ["a\0b", b"a\0b", "a\0"])
def test_a_passphrase_is_not_cut_at_nul(pki: Named, passphrase: Any) -> None:
    """What stands behind a NUL counts too."""
    with pytest.raises(aiotls.OptionError):
        aiotls.create_secure_context(pfx=pkcs12.make(pki.chain_ec, b"a"), passphrase=passphrase)


# ---- what does not work

MISTAKES: dict[str, tuple[Callable[[Named], bytes], Any, str, str]] = {
    "no key": (
        lambda pki: pkcs12.without_key(pki.server_ec, b"test"),
        "test",
        "Unable to load private key from PFX data",
        FAILED,
    ),
    "no certificate": (
        lambda pki: pkcs12.without_certificate(pki.server_ec, b"test"),
        "test",
        "Unable to load certificate from PFX data",
        FAILED,
    ),
    "wrong passphrase": (lambda pki: pkcs12.make(pki.server_ec), "guessed wrongly", "mac verify failure", ""),
    "wrong passphrase, triple DES": (
        lambda pki: pkcs12.make(pki.server_ec, old=True),
        "guessed wrongly",
        "mac verify failure",
        "",
    ),
    "missing passphrase": (lambda pki: pkcs12.make(pki.server_ec), None, "mac verify failure", ""),
    "empty passphrase": (lambda pki: pkcs12.make(pki.server_ec), "", "mac verify failure", ""),
    "a passphrase for none": (lambda pki: pkcs12.make(pki.server_ec, None), "guessed wrongly", "mac verify", ""),
    "no PKCS#12": (lambda pki: b"sample", "guessed wrongly", "not enough data", ""),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_keys_02_mistakes(run: Run, pki: Named, mistake: str) -> None:
    """KEYS-02, failure model 32: raised at once wherever there are options; it names `pfx` and tells no passphrase."""
    make, passphrase, words, code = MISTAKES[mistake]
    options: dict[str, Any] = {"pfx": make(pki), "passphrase": passphrase}

    async def main() -> None:
        near, far = await tcp_pair()
        async with serving() as server:
            entries: list[Callable[[], object]] = [
                lambda: aiotls.create_secure_context(**options),
                lambda: aiotls.create_server(**options),
                lambda: aiotls.connect("127.0.0.1", port_of(server), **options),
                lambda: aiotls.TLSSocket(near, **options),
                lambda: aiotls.TLSSocket(far, is_server=True, **options),
                lambda: server.add_context("localhost", **options),
                lambda: server.set_secure_context(**options),
            ]
            for entry in entries:
                with pytest.raises(aiotls.OptionError, match=words) as raised:
                    entry()
                assert raised.value.option == "pfx"
                assert "pfx" in str(raised.value)
                assert not code or raised.value.code == code
                assert "guessed" not in f"{raised.value} {raised.value!r}"
            async with staying(to(server)):
                pass
        near.close()
        far.close()

    run(main)


@needs("openssl")
@pytest.mark.parametrize("bags", ["certificates", "key", "both"])
def test_keys_03_old_algorithms(pki: Named, bags: str) -> None:
    """KEYS-03: RC2-40, which OpenSSL reads only with its legacy provider."""
    rc2 = "PBE-SHA1-RC2-40"
    arguments = {"certificates": ("-certpbe", rc2), "key": ("-keypbe", rc2), "both": ("-certpbe", rc2, "-keypbe", rc2)}
    old = pkcs12.by_openssl(pki.server_ec, b"sample", "-legacy", "-macalg", "sha1", *arguments[bags])
    with pytest.raises(aiotls.OptionError, match="Unsupported PKCS12 PFX data") as raised:
        aiotls.create_secure_context(pfx=old, passphrase="sample")
    assert raised.value.code == "ERR_CRYPTO_UNSUPPORTED_OPERATION"
    assert raised.value.option == "pfx"


def test_what_is_no_pkcs_12(pki: Named) -> None:
    """Junk, other formats, and a file that breaks off or was changed at any place: an error that names the option."""
    good = pkcs12.make(pki.server_ec)
    ends = [good[:size] for size in range(1, len(good), 7)]
    flips = [good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :] for at in range(0, len(good), 29)]
    for junk in (
        pki.server_ec.cert_pem,
        pki.server_ec.der,
        bytes(100),
        b"\x30\x80",
        b"\x30\x84\xff\xff\xff\xff",
        *ends,
    ):
        with pytest.raises(aiotls.OptionError, match="pfx"):
            aiotls.create_secure_context(pfx=junk, passphrase="sample")
    refused = [error.option for error in map(refusal, flips) if error is not None]
    assert set(refused) == {"pfx"}
    assert len(refused) > len(flips) * 3 // 4, "only what says nothing may be changed"


def refusal(pfx: bytes) -> aiotls.OptionError | None:
    try:
        aiotls.create_secure_context(pfx=pfx, passphrase="sample")
    except aiotls.OptionError as error:
        return error
    return None


def test_the_entry_of_a_list(pki: Named, tmp_path: Path) -> None:
    """The error says which one is at fault."""
    good = pkcs12.make(pki.server_ec)
    mistakes: list[Any] = [b"sample", {"buf": good, "passphrase": "wrong"}, pkcs12.without_key(pki.server)]
    for wrong in (*mistakes, tmp_path / "missing"):
        with pytest.raises(aiotls.OptionError) as raised:
            aiotls.create_secure_context(pfx=[good, wrong], passphrase="sample")
        assert (raised.value.option or "").startswith("pfx[1]")
        assert "pfx[1]" in str(raised.value)


@pytest.mark.parametrize("wrong", [True, 1, 1.5, "text", {"buf": b"data"}, object(), [None], [True], ["text"], [{}]])
def test_wrong_types(wrong: Any) -> None:
    """A bare dict, text and what is no contents are refused."""
    with pytest.raises(aiotls.OptionTypeError, match="pfx") as raised:
        aiotls.create_secure_context(pfx=wrong)
    assert raised.value.code == "ERR_INVALID_ARG_TYPE"


def test_an_unknown_entry(pki: Named) -> None:
    """A dict with a misspelt name says which."""
    with pytest.raises(aiotls.OptionError, match="passphase"):
        aiotls.create_secure_context(pfx=[{"buf": pkcs12.make(pki.server_ec), "passphase": "sample"}])  # type: ignore[list-item]


# ---- whom it trusts: nobody


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_auth_13_self_signed(run: Run, pki: Named, version: str) -> None:
    """AUTH-13: both sides show the same self-signed certificate, and neither trusts it."""
    data = pkcs12.make(pki.self_localhost)

    async def main() -> None:
        both = only(data, ca=None, reject_unauthorized=False, max_version=version)
        accepted: asyncio.Queue[aiotls.TLSSocket] = asyncio.Queue()
        async with (
            serving(accepted.put_nowait, request_cert=True, **both) as server,
            staying(to(server, **both)) as client,
        ):
            socket = await accepted.get()
            for side in (client, socket):
                assert side.authorized is False
                assert side.authorization_error == "DEPTH_ZERO_SELF_SIGNED_CERT"
                assert side.get_peer_certificate().raw == pki.self_localhost.der  # type: ignore[union-attr]

    run(main)


def test_its_certificates_are_not_trusted(run: Run, pki: Named) -> None:
    """Intermediate and root in the file let nobody in, on neither side."""
    leaf, root = pki.chain_ec, pki.ca_ec.certificate
    data = pkcs12.pack(leaf.key, leaf.certificate, (*leaf.intermediates, root))

    async def main() -> None:
        async with hosting(request_cert=True, **only(data)) as host:
            own = only(data, servername="agent10.example.com")
            visit = await host.visit(**own, ca=pki.ca_ec.cert_pem)
            assert isinstance(visit.refusal, aiotls.VerificationError)
            visit = await host.visit(**own, ca=None)
            assert isinstance(visit.error, aiotls.VerificationError)

    run(main)


# ---- OCSP-01


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("issuer", ["ca", "file"])
def test_ocsp_01_from_a_pfx(run: Run, pki: Named, version: str, issuer: str) -> None:
    """OCSP-01: the identity is that of a PFX; the issuer comes from `ca`, or from the file."""
    leaf = pki.leaf_a
    data = pkcs12.pack(leaf.key, leaf.certificate, (pki.ca_a.certificate,) if issuer == "file" else ())
    ca = [pki.ca_a.cert_pem] if issuer == "ca" else None

    async def main() -> None:
        stapler = Stapler(b"hello pfx")
        secure: list[aiotls.TLSSocket] = []
        errors: asyncio.Queue[Any] = asyncio.Queue()
        async with serving(secure.append, **only(data, ca=ca)) as server:
            server.on("ocsp_request", stapler.listener)
            server.on("tls_client_error", lambda error, _: errors.put_nowait(error))
            assert await stapled(server, **agent1(pki, max_version=version)) == b"hello pfx"
            assert stapler.calls == [(leaf.der, pki.ca_a.der)]
            await until(lambda: secure)
            client = asking(server, **agent1(pki, max_version=version))
            client.socket.on("ocsp_response", lambda _: client.socket.destroy())
            assert await client.socket.wait_for("close") is False
            assert client.events == [(b"hello pfx", True)]
            assert (await errors.get()).code == "ECONNRESET"
            assert len(secure) == 1

    run(main)


# ---- secrets and memory

SECRET = "planted-passphrase-of-a-file"


def secrets(identity: Identity, data: bytes) -> list[str]:
    """How the passphrase, the key and the file may look in a text."""
    number = identity.key.private_numbers().private_value.to_bytes(32, "big")  # type: ignore[union-attr]
    middle = data[len(data) // 2 :][:30]
    shown = [form.decode("latin-1") for secret in (SECRET.encode(), number, middle) for form in forms(secret)]
    return [*shown, repr(number)[2:-1], repr(middle)[2:-1]]


def test_secrets_of_errors(pki: Named) -> None:
    """Failure model 30, failure model 32: no error tells passphrase, key or file, nor do its traceback and pickle."""
    identity = pki.server_ec
    data = pkcs12.make(identity, SECRET.encode())
    wrong: list[dict[str, Any]] = [
        {"pfx": pkcs12.make(identity, b"another"), "passphrase": SECRET},
        {"pfx": data},
        {"pfx": data[:-5], "passphrase": SECRET},
        {"pfx": data.hex(), "passphrase": SECRET},
        {"pfx": {"buf": data, "passphrase": SECRET}},
        {"pfx": [{"buf": data, "passphrase": [SECRET]}]},
        {"pfx": [{"buf": data, "passphrase": SECRET, "pass": SECRET}]},
        {"pfx": pkcs12.without_key(identity, SECRET.encode()), "passphrase": SECRET},
        {"pfx": pkcs12.without_certificate(identity, SECRET.encode()), "passphrase": SECRET},
        {"cert": data, "passphrase": SECRET},
        {"key": data, "passphrase": SECRET},
        {"pfx": data, "passphrase": SECRET, "key": pki.server.key_pem, "ciphers": "none"},
    ]
    for options in wrong:
        with pytest.raises(aiotls.OptionError) as raised:
            aiotls.create_secure_context(**options)
        error: BaseException | None = raised.value
        raised.value.__traceback__ = None  # the lines of this very test are in it
        texts = ["".join(traceback.format_exception(raised.value)), pickle.dumps(raised.value).decode("latin-1")]
        while error is not None:
            texts += [str(error), repr(error), repr(error.args), repr(vars(error))]
            error = error.__cause__ or error.__context__
        assert not [each for each in secrets(identity, data) if any(each in text for text in texts)]


def test_secrets_of_objects(run: Run, pki: Named) -> None:
    """Failure model 30: whatever is held while a server serves is silent, and no secret is pickled."""
    identity = pki.server_ec
    data = pkcs12.make(identity, SECRET.encode())
    planted = secrets(identity, data)

    async def main() -> None:
        others = {id(each) for each in gc.get_objects()}
        entries: Any = [{"buf": data, "passphrase": SECRET}]
        context = aiotls.create_secure_context(pfx=entries)
        async with (
            serving(**only(data, SECRET)) as server,
            staying(to(server, pfx=entries, passphrase=SECRET)) as client,
        ):
            for each in gc.get_objects():
                if str(type(each).__module__).partition(".")[0] == "aiotls" and id(each) not in others:
                    text = f"{each!r} {each}"
                    assert not [secret for secret in planted if secret in text], type(each)
            for holder in (context, server, client):
                with pytest.raises(TypeError):
                    pickle.dumps(holder)

    run(main)


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")
def test_files_are_freed(pki: Named) -> None:
    """CVE-2018-1000807, CVE-2018-1000808: good and bad files are loaded again and again; the memory does not grow."""
    many = [pki.ca_ec.issue([f"{number}.example.com"], key="ec").certificate for number in range(30)]
    good = pkcs12.pack(pki.server_ec.key, pki.server_ec.certificate, many)
    keyless = pkcs12.pack(None, pki.server_ec.certificate, many)
    bad: list[dict[str, Any]] = [
        {"pfx": [good, good], "passphrase": "wrong"},
        {"pfx": [good, good[:-1]], "passphrase": "sample"},
        {"pfx": [good, keyless], "passphrase": "sample"},
        {"pfx": good, "passphrase": "sample", "key": pki.server.key_pem, "cert": pki.server_ec.cert_pem},
    ]

    def load(times: int) -> None:
        for _ in range(times):
            aiotls.create_secure_context(pfx=[good, {"buf": good, "passphrase": lambda: "sample"}], passphrase="sample")
            for options in bad:
                with pytest.raises(aiotls.OptionError):
                    aiotls.create_secure_context(**options)
        gc.collect()

    load(30)
    before = resident()
    load(100)
    assert resident() - before < 2 << 20, "each file holds about 40 KiB"


def test_a_context_outlives_its_data(run: Run, pki: Named) -> None:
    """What was given may be overwritten afterwards, and files may go."""
    data = bytearray(pkcs12.make(pki.server_ec))
    context = aiotls.create_secure_context(pfx=memoryview(data), passphrase="sample")
    data[:] = bytes(len(data))

    async def main() -> None:
        async with serving(**server_options()) as server:
            server.set_secure_context(pfx=pkcs12.make(pki.server), passphrase="sample")
            server.add_context("localhost", context)
            async with staying(aiotls.connect("127.0.0.1", port_of(server), **client_options())) as client:
                assert client.get_peer_certificate().raw == pki.server_ec.der  # type: ignore[union-attr]

    run(main)
