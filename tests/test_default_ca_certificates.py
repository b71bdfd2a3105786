"""`set_default_ca_certificates`: what is trusted where `ca` is not given, changed while the program runs."""

import concurrent.futures
import itertools
import threading
from typing import Any

import pytest
from cryptography import x509

import aiotls
from aiotls import trust
from aiotls.certificate_authorities import get_ca_certificates, root_certificates, set_default_ca_certificates
from tests.conftest import Run
from tests.support.pairs import gone
from tests.support.pki import Authority, Identity, Named
from tests.support.programs import CHOICES
from tests.support.servers import port_of, serving
from tests.support.sessions import greet, witness
from tests.support.visits import Check, credentials, hosting

LONE_LEAF = "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
NO_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
NO_BASE64 = "-----BEGIN CERTIFICATE-----\n?words?\n-----END CERTIFICATE-----\n"


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default of the process is another one during a test: that without any choice."""
    for name in CHOICES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(trust, "_default", trust._Default())


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def identified(pems: list[str]) -> set[tuple[Any, ...]]:
    """By serial, issuer and subject; root certificates with odd serial numbers are left out."""
    found: set[tuple[Any, ...]] = set()
    for pem in pems:
        if pem not in root_certificates:
            certificate = x509.load_pem_x509_certificate(pem.encode())
            found.add((certificate.serial_number, certificate.issuer, certificate.subject))
        else:
            found.add((pem,))
    return found


def pem_of(identity: Identity) -> str:
    return identity.cert_pem.decode()


# ---- what is set is what there is


@pytest.mark.parametrize("choice", ["one private root", "nothing", "the bundle", "both", "three of the bundle"])
def test_ca_08_what_is_set(pki: Named, choice: str) -> None:
    """CA-08: "default" is the set that was given, each time it is asked for; nothing else changes."""
    private = pem_of(pki.ca_l)
    certificates = {
        "one private root": [private],
        "nothing": [],
        "the bundle": [*root_certificates],
        "both": [*root_certificates, private],
        "three of the bundle": [*root_certificates[:3]],
    }[choice]
    others = get_ca_certificates("bundled"), get_ca_certificates("system"), get_ca_certificates("extra")
    set_default_ca_certificates(certificates)
    for _ in range(2):
        for found in (get_ca_certificates("default"), get_ca_certificates()):
            assert identified(found) == identified(certificates)
            assert len(found) == len(certificates)
    assert others == (get_ca_certificates("bundled"), get_ca_certificates("system"), get_ca_certificates("extra"))


def test_ca_08_copies_count_once(pki: Named) -> None:
    """CA-08: three copies of one certificate; the text around them does not matter."""
    pem = pem_of(pki.ca_l)
    set_default_ca_certificates([pem, f"Some words\n{pem}", pem.replace("\n", "\r\n")])
    assert get_ca_certificates() == [pem]


@pytest.mark.parametrize("kind", [bytes, bytearray, lambda data: memoryview(bytearray(data))])
def test_ca_09_bytes(pki: Named, kind: Any) -> None:
    """CA-09: elements may be bytes, bytearray or memoryview as well; an empty list makes the default empty."""
    set_default_ca_certificates([kind(pki.ca_l.cert_pem), pem_of(pki.ca_ec)])
    assert get_ca_certificates() == [pem_of(pki.ca_l), pem_of(pki.ca_ec)]
    set_default_ca_certificates([])
    assert get_ca_certificates() == []


def test_a_tuple() -> None:
    """`root_certificates` is one."""
    set_default_ca_certificates(root_certificates)
    assert get_ca_certificates() == [*root_certificates]


# ---- what is refused


@pytest.fixture(params=["untouched", "replaced"])
def before(request: pytest.FixtureRequest) -> list[str]:
    """The default as it was, and must stay."""
    if request.param == "replaced":
        set_default_ca_certificates(root_certificates[:3])
    return get_ca_certificates()


@pytest.mark.parametrize(
    "certificates", [None, "string", b"string", 42, {}, True, iter(())], ids=lambda value: type(value).__name__
)
def test_ca_10_no_list(before: list[str], certificates: Any) -> None:
    """CA-10: the argument is no list; the message names it and says what it must be."""
    with pytest.raises(aiotls.OptionTypeError, match="certificates must be a list") as caught:
        set_default_ca_certificates(certificates)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"
    assert caught.value.option == "certificates"
    assert get_ca_certificates() == before


def test_ca_10_missing(before: list[str]) -> None:
    """CA-10: no argument at all."""
    with pytest.raises(TypeError, match="certificates"):
        set_default_ca_certificates()  # type: ignore[call-arg]
    assert get_ca_certificates() == before


@pytest.mark.parametrize("element", [None, 42, {}, True], ids=repr)
@pytest.mark.parametrize("position", [0, 1])
def test_ca_10_an_element(pki: Named, before: list[str], element: Any, position: int) -> None:
    """CA-10: an element of the wrong type is named by its position, and nothing of the list is taken."""
    certificates = [*[pem_of(pki.ca_l)] * position, element]
    with pytest.raises(aiotls.OptionTypeError, match=rf"certificates\[{position}\] must be a str or a bytes") as caught:
        set_default_ca_certificates(certificates)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"
    assert caught.value.option == f"certificates[{position}]"
    assert get_ca_certificates() == before


@pytest.mark.parametrize("certificates", [["not a valid certificate"], [""], [b""], ["words", ""]])
def test_ca_11_no_certificate_at_all(before: list[str], certificates: list[Any]) -> None:
    """CA-11: texts without any certificate."""
    with pytest.raises(aiotls.OptionError, match="No valid certificates found in the provided array") as caught:
        set_default_ca_certificates(certificates)
    assert caught.value.code == "ERR_CRYPTO_OPERATION_FAILED"
    assert caught.value.option == "certificates"
    assert get_ca_certificates() == before


@pytest.mark.parametrize(
    ("broken", "code"),
    [(NO_CERTIFICATE, "ERR_OSSL_PEM_ASN1_LIB"), (NO_BASE64, "ERR_OSSL_PEM_BAD_BASE64_DECODE")],
    ids=["no certificate", "no base64"],
)
@pytest.mark.parametrize("position", [0, 1])
def test_ca_11_a_broken_one(pki: Named, before: list[str], broken: str, code: str, position: int) -> None:
    """CA-11: what is no certificate, and what is no base64; a valid one beside it is not taken."""
    certificates = [pem_of(pki.ca_l)]
    certificates.insert(position, broken)
    with pytest.raises(aiotls.OptionError, match=rf"certificates\[{position}\]") as caught:
        set_default_ca_certificates(certificates)
    assert caught.value.code == code
    assert caught.value.option == f"certificates[{position}]"
    assert not isinstance(caught.value, TypeError)
    assert get_ca_certificates() == before


def test_ca_11_a_broken_one_behind_a_good_one(pki: Named, before: list[str]) -> None:
    """CA-11: in one text, too."""
    with pytest.raises(aiotls.OptionError) as caught:
        set_default_ca_certificates([pem_of(pki.ca_l) + NO_CERTIFICATE])
    assert caught.value.code == "ERR_OSSL_PEM_ASN1_LIB"
    assert get_ca_certificates() == before


def test_ca_11_text_without_a_frame(pki: Named) -> None:
    """CA-11: beside a certificate, a text without any is ignored."""
    set_default_ca_certificates([pem_of(pki.ca_l), "words", "", pki.ca.key_pem])
    assert get_ca_certificates() == [pem_of(pki.ca_l)]


def test_ca_11_two_in_one_text(pki: Named) -> None:
    """CA-11: one string with two certificates counts as two."""
    set_default_ca_certificates([pem_of(pki.ca_l) + "words\n" + pem_of(pki.ca_ec)])
    assert get_ca_certificates() == [pem_of(pki.ca_l), pem_of(pki.ca_ec)]


# ---- connections


async def verdict(server: aiotls.Server, **options: Any) -> str:
    """``"welcome"``, or the code of the client's error."""
    client = aiotls.connect("127.0.0.1", port_of(server), servername="localhost", **options)
    try:
        await client
        return (await client.read()).decode()
    except aiotls.TLSError as error:
        return error.code
    finally:
        await gone(client)


def test_ca_12_ca_of_the_connection(run: Run, pki: Named, version: str) -> None:
    """CA-12: with an empty default, a connection that brings its own `ca` succeeds."""

    async def main() -> None:
        set_default_ca_certificates([])
        async with serving(greet, **credentials(pki.leaf_local), max_version=version) as server:
            assert await verdict(server, ca=pki.ca_l.cert_pem) == "welcome"
            assert await verdict(server) == LONE_LEAF

    run(main)


def test_ca_13_added(run: Run, pki: Named, version: str) -> None:
    """CA-13: with the bundle the server is not known; with its root added, the very next connection succeeds."""

    async def main() -> None:
        set_default_ca_certificates(root_certificates)
        async with serving(greet, **credentials(pki.leaf_local), max_version=version) as server:
            assert await verdict(server) == LONE_LEAF
            set_default_ca_certificates([*get_ca_certificates("bundled"), pem_of(pki.ca_l)])
            assert await verdict(server) == "welcome"

    run(main)


def test_ca_14_removed(run: Run, pki: Named, version: str) -> None:
    """CA-14: with the root alone a connection succeeds; with an empty default, the next one fails."""

    async def main() -> None:
        set_default_ca_certificates([])
        async with serving(greet, **credentials(pki.leaf_local), max_version=version) as server:
            set_default_ca_certificates([pem_of(pki.ca_l)])
            assert await verdict(server) == "welcome"
            set_default_ca_certificates([])
            assert await verdict(server) == LONE_LEAF

    run(main)


def test_contexts_that_are_there_stay(run: Run, pki: Named) -> None:
    """A context keeps what was trusted when it was made, as do running connections."""

    async def main() -> None:
        set_default_ca_certificates([pem_of(pki.ca_l)])
        trusting = aiotls.create_secure_context()
        set_default_ca_certificates([])
        wary = aiotls.create_secure_context()
        set_default_ca_certificates(root_certificates)
        async with serving(greet, **credentials(pki.leaf_local)) as server:
            assert await verdict(server, secure_context=trusting) == "welcome"
            assert await verdict(server, secure_context=wary) == LONE_LEAF

    run(main)


@pytest.mark.parametrize("chain", ["lone leaf", "with its intermediate"])
def test_auth_10_ca_replaces_the_default(run: Run, pki: Named, version: str, chain: str) -> None:
    """AUTH-10: the default verifies, in a fresh context as well; `ca` replaces it, and may add to it by a list."""

    async def main() -> None:
        lone = chain == "lone leaf"
        root: Authority = pki.ca_l if lone else pki.ca_a
        identity = pki.leaf_local if lone else pki.int_a.issue(["localhost"], key="ec")
        code = LONE_LEAF if lone else "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"
        server_options = {**credentials(identity), "ca": [], "max_version": version}
        set_default_ca_certificates([*root_certificates, pem_of(root)])
        async with serving(greet, **server_options) as server:
            assert await verdict(server) == "welcome"
            assert await verdict(server, secure_context=aiotls.create_secure_context()) == "welcome"
            assert await verdict(server, ca=pki.ca_b.cert_pem) == code
            assert await verdict(server, ca=[]) == code
            set_default_ca_certificates(root_certificates)
            assert await verdict(server) == code
            added = [*get_ca_certificates(), pem_of(root)]
            assert await verdict(server, ca=added) == "welcome"

    run(main)


def test_with_a_revocation_list(run: Run, pki: Named) -> None:
    """A context with `crl` trusts the default of its time, as others do."""

    async def main() -> None:
        good, revoked = pki.ca_l.crl([]), pki.ca_l.crl([pki.leaf_local])
        async with serving(greet, **credentials(pki.leaf_local), ca=[]) as server:
            set_default_ca_certificates([*root_certificates, pem_of(pki.ca_l)])
            assert await verdict(server, crl=good) == "welcome"
            assert await verdict(server, crl=revoked) == "CERT_REVOKED"
            # The store that others share has learnt nothing of the list.
            assert await verdict(server) == "welcome"
            set_default_ca_certificates(root_certificates)
            assert await verdict(server, crl=good) == LONE_LEAF

    run(main)


def test_clients_of_a_server(run: Run, pki: Named, version: str) -> None:
    """Servers verify their clients by the default of the moment at which they were made, or given a context."""

    async def main() -> None:
        own: dict[str, Any] = {"ca": pki.ca.cert_pem, "max_version": version, **credentials(pki.leaf_b)}
        options = {**credentials(pki.server_ec), "request_cert": True}
        set_default_ca_certificates([pem_of(pki.ca_b)])
        check = Check("plain")
        async with hosting(**options, check_client_identity=check.function) as host:
            assert (await host.visit(**own)).verdict == (True, None)
            set_default_ca_certificates([])
            assert (await host.visit(**own)).verdict == (True, None)
            assert len(check.calls) == 2
            host.server.set_secure_context(**credentials(pki.server_ec))
            assert (await host.visit(**own)).verdict == LONE_LEAF
            assert len(check.calls) == 2

    run(main)


# ---- sessions


def test_sessions_of_clients_end_with_the_default(run: Run, pki: Named, version: str) -> None:
    """A session is not resumed where another set is trusted: a full handshake verifies the server again."""

    async def main() -> None:
        async with serving(greet, **credentials(pki.leaf_local), max_version=version) as server:

            async def visit(session: bytes | None = None) -> tuple[bool | None, bytes]:
                client = aiotls.connect(
                    "127.0.0.1", port_of(server), servername="localhost", allow_half_open=True, session=session
                )
                seen = await witness(client)
                return seen.reused, seen.last

            set_default_ca_certificates([*root_certificates, pem_of(pki.ca_l)])
            reused, session = await visit()
            assert reused is False
            # The same set in another order is the same trust.
            set_default_ca_certificates([pem_of(pki.ca_l), *root_certificates])
            reused, session = await visit(session)
            assert reused is True
            set_default_ca_certificates([pem_of(pki.ca_l)])
            reused, later = await visit(session)
            assert reused is False
            reused, later = await visit(later)
            assert reused is True
            set_default_ca_certificates(root_certificates)
            with pytest.raises(aiotls.VerificationError, match=LONE_LEAF):
                await visit(later)

    run(main)


def test_sessions_of_servers_end_with_the_default(run: Run, pki: Named, version: str) -> None:
    """A client whose authority is no longer trusted does not come in by its session."""

    async def main() -> None:
        own: dict[str, Any] = {"ca": pki.ca.cert_pem, "max_version": version, **credentials(pki.leaf_b)}
        options = credentials(pki.server_ec)
        set_default_ca_certificates([pem_of(pki.ca_b)])
        async with hosting(**options, request_cert=True) as host:
            first = await host.visit(**own)
            assert first.verdict == (True, None)
            set_default_ca_certificates([pem_of(pki.ca_b)])
            host.server.set_secure_context(**options)
            again = await host.visit(**own, session=first.sessions[-1])
            assert again.welcome is not None
            assert again.welcome.resumed is True
            set_default_ca_certificates(root_certificates)
            host.server.set_secure_context(**options)
            session = (again.sessions or first.sessions)[-1]
            refused = await host.visit(**own, session=session)
            assert refused.welcome is None
            assert refused.verdict == LONE_LEAF

    run(main)


# ---- threads


def test_from_many_threads(pki: Named) -> None:
    """Whoever looks meanwhile finds one of the sets, whole."""
    sets = [[pem_of(each) for each in group] for group in ((pki.ca, pki.ca_a), (pki.ca_b, pki.ca_ec, pki.ca_l), ())]
    set_default_ca_certificates(sets[0])
    done = threading.Event()

    def change(number: int) -> None:
        for chosen in itertools.islice(itertools.cycle(sets), number, number + 150):
            set_default_ca_certificates(chosen)

    def look() -> int:
        count = 0
        while not done.is_set():
            assert get_ca_certificates() in sets
            aiotls.create_secure_context()
            count += 1
        return count

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        looking = [threads.submit(look) for _ in range(2)]
        changing = [threads.submit(change, number) for number in range(2)]
        try:
            for each in changing:
                each.result()
        finally:
            done.set()
        assert all(each.result() > 0 for each in looking)
