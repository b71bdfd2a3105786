"""Certificate revocation lists: who stands in one is refused, on both sides; a list that is missing counts too."""

import gc
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pki import Authority, Identity, Named
from tests.support.visits import (
    BAD_CERTIFICATE,
    CERTIFICATE_EXPIRED,
    CERTIFICATE_REVOKED,
    UNKNOWN_CA,
    Visit,
    credentials,
    hosting,
)

DECRYPT_ERROR = 51
LONE_LEAF = "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
NONE_RETURNED = "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def assert_refused(visit: Visit, code: str, alert: int) -> None:
    assert visit.welcome is None
    assert isinstance(visit.refusal, aiotls.VerificationError)
    assert visit.refusal.code == code
    assert visit.error.alert == alert


# ---- the clients of a server


@pytest.mark.parametrize(
    ("client", "verdict", "alert"),
    [
        ("leaf_b", (True, None), None),
        ("leaf_b_revoked", "CERT_REVOKED", CERTIFICATE_REVOKED),
        ("leaf_a", LONE_LEAF, UNKNOWN_CA),
        ("self_rsa", "UNABLE_TO_GET_CRL", UNKNOWN_CA),
        (None, NONE_RETURNED, None),
    ],
)
def test_auth_04_clients(run: Run, pki: Named, version: str, client: str | None, verdict: Any, alert: int) -> None:
    """AUTH-04: a server with the list of CA-B; of several errors the last one counts."""

    async def main() -> None:
        server = {**credentials(pki.self_rsa), "ca": pki.ca_b.cert_pem, "crl": pki.crl_b, "request_cert": True}
        own = {"max_version": version, **credentials(getattr(pki, client) if client else None)}
        async with hosting(**server) as host:
            visit = await host.visit(reject_unauthorized=False, **own)
            assert visit.verdict == verdict
            if alert is not None:
                assert_refused(visit, verdict, alert)

    run(main)


@pytest.mark.parametrize(
    ("client", "error"),
    [
        ("leaf_b", None),
        ("leaf_b_revoked", "CERT_REVOKED"),
        ("leaf_a", LONE_LEAF),
        ("self_rsa", "UNABLE_TO_GET_CRL"),
        (None, "UNABLE_TO_GET_ISSUER_CERT"),
    ],
)
def test_clients_that_are_not_rejected(
    run: Run, pki: Named, version: str, client: str | None, error: str | None
) -> None:
    """With `reject_unauthorized=False` the truth stands in `authorization_error`."""

    async def main() -> None:
        server = {"ca": pki.ca_b.cert_pem, "crl": pki.crl_b, "request_cert": True, "reject_unauthorized": False}
        async with hosting(**server) as host:
            visit = await host.visit(max_version=version, **credentials(getattr(pki, client) if client else None))
            assert visit.verdict == (error is None, error)

    run(main)


def test_a_list_for_one_name(run: Run, pki: Named, version: str) -> None:
    """`add_context` has a list of its own; the other names go without."""

    async def main() -> None:
        async with hosting(request_cert=True, ca=pki.ca.cert_pem) as host:
            host.server.add_context("strict.example.com", ca=pki.ca.cert_pem, crl=pki.crl, **credentials(pki.server_ec))
            own = {"max_version": version, **credentials(pki.client_revoked)}
            assert (await host.visit(**own)).verdict == (True, None)
            visit = await host.visit(servername="strict.example.com", **own)
            assert_refused(visit, "CERT_REVOKED", CERTIFICATE_REVOKED)

    run(main)


def test_a_list_that_comes_later(run: Run, pki: Named, version: str) -> None:
    """After `set_secure_context` the new list counts, for later connections."""

    async def main() -> None:
        async with hosting(request_cert=True, ca=pki.ca.cert_pem, crl=pki.ca.crl()) as host:
            own = {"max_version": version, **credentials(pki.client_revoked)}
            assert (await host.visit(**own)).verdict == (True, None)
            host.server.set_secure_context(ca=pki.ca.cert_pem, crl=pki.crl, **credentials(pki.server_ec))
            assert_refused(await host.visit(**own), "CERT_REVOKED", CERTIFICATE_REVOKED)
            assert (await host.visit(max_version=version, **credentials(pki.client_ec))).verdict == (True, None)

    run(main)


# ---- the server of a client


def test_a_revoked_server(run: Run, pki: Named, version: str) -> None:
    """badssl "revoked": the client refuses with CERT_REVOKED and the alert certificate_revoked."""
    revoked = pki.ca.issue(["localhost"], key="ec")
    lists: dict[str, Any] = {"crl": pki.ca.crl([revoked]), "max_version": version}

    async def main() -> None:
        async with hosting(**credentials(revoked)) as host:
            visit = await host.visit(**lists)
            assert visit.error.code == "CERT_REVOKED"
            assert isinstance(visit.refusal, aiotls.AlertReceived)
            assert visit.refusal.alert == CERTIFICATE_REVOKED
            assert not visit.secure
            assert (await host.visit(**lists, reject_unauthorized=False)).error is None
            assert (await host.visit(max_version=version)).error is None
        async with hosting() as host:
            assert (await host.visit(**lists)).error is None

    run(main)


# ---- the lists themselves


def stranger_with_the_same_name(pki: Named) -> bytes:
    return Authority.root("ca2").crl()


LISTS: dict[str, Any] = {
    "good": (lambda pki: pki.ca_b.crl(), None, None),
    "expired": (lambda pki: pki.ca_b.crl(expired=True), "CRL_HAS_EXPIRED", CERTIFICATE_EXPIRED),
    "not yet valid": (lambda pki: pki.ca_b.crl(not_yet_valid=True), "CRL_NOT_YET_VALID", BAD_CERTIFICATE),
    "signed by another": (stranger_with_the_same_name, "CRL_SIGNATURE_FAILURE", DECRYPT_ERROR),
    "of another": (lambda pki: pki.ca_a.crl(), "UNABLE_TO_GET_CRL", UNKNOWN_CA),
    "of both": (lambda pki: [pki.ca_a.crl(), pki.ca_b.crl()], None, None),
}


@pytest.mark.parametrize("name", list(LISTS))
def test_what_is_wrong_with_a_list(run: Run, pki: Named, version: str, name: str) -> None:
    """A list that is stale, forged or missing lets nobody in."""
    make, code, alert = LISTS[name]

    async def main() -> None:
        async with hosting(request_cert=True, ca=pki.ca_b.cert_pem, crl=make(pki)) as host:
            visit = await host.visit(max_version=version, **credentials(pki.leaf_b))
            if code is None:
                assert visit.verdict == (True, None)
            else:
                assert_refused(visit, code, alert)

    run(main)


def test_chains(run: Run, pki: Named, version: str) -> None:
    """Every certificate of the chain needs a list of its issuer, and a revoked intermediate is no way in."""
    own = {"max_version": version, **credentials(pki.chain_ec)}
    intermediate = Identity(pki.int_ec.certificate, pki.int_ec.key)
    cases: list[tuple[list[bytes], Any]] = [
        ([pki.ca_ec.crl(), pki.int_ec.crl()], (True, None)),
        ([pki.ca_ec.crl()], "UNABLE_TO_GET_CRL"),
        ([pki.int_ec.crl()], "UNABLE_TO_GET_CRL"),
        ([pki.ca_ec.crl([intermediate]), pki.int_ec.crl()], "CERT_REVOKED"),
        ([pki.ca_ec.crl(), pki.int_ec.crl([pki.chain_ec])], "CERT_REVOKED"),
    ]

    async def main() -> None:
        for crl, verdict in cases:
            async with hosting(request_cert=True, ca=pki.ca_ec.cert_pem, crl=crl) as host:
                assert (await host.visit(**own)).verdict == verdict

    run(main)


# ---- the option


@pytest.mark.parametrize("form", ["bytes", "str", "list", "tuple", "path", "two in one text", "with comments"])
def test_shapes(run: Run, pki: Named, tmp_path: Path, form: str) -> None:
    """The option takes what `ca` takes; all lists in a text count."""
    pem, other = pki.crl_b, pki.ca_a.crl()
    path = tmp_path / "crl.pem"
    path.write_bytes(pem)
    shapes: dict[str, Any] = {
        "bytes": pem,
        "str": pem.decode(),
        "list": [other, pem],
        "tuple": (pem,),
        "path": path,
        "two in one text": other + pem,
        "with comments": b"the list of today\n" + pem + b"its end\n",
    }

    async def main() -> None:
        async with hosting(request_cert=True, ca=pki.ca_b.cert_pem, crl=shapes[form]) as host:
            assert (await host.visit(**credentials(pki.leaf_b))).verdict == (True, None)
            assert (await host.visit(**credentials(pki.leaf_b_revoked))).verdict == "CERT_REVOKED"

    run(main)


@pytest.mark.parametrize("none", [None, []])
def test_no_list(run: Run, pki: Named, none: Any) -> None:
    """CONN-03: None, or nothing in a list, checks nothing."""

    async def main() -> None:
        async with hosting(request_cert=True, ca=pki.ca_b.cert_pem, crl=none) as host:
            assert (await host.visit(**credentials(pki.leaf_b_revoked))).verdict == (True, None)

    run(main)


@pytest.mark.parametrize("junk", ["not a CRL", b"\0\1\2", "certificate", "truncated", "broken end"])
def test_auth_04_what_is_no_list(pki: Named, junk: Any) -> None:
    """AUTH-04: an error at creation that names the option, wherever a context is made."""
    texts = {
        "certificate": pki.ca.cert_pem,
        "truncated": pki.crl_b[: len(pki.crl_b) // 2] + b"\n-----END X509 CRL-----\n",
        "broken end": pki.crl_b + b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    }
    for crl in (texts.get(junk, junk), [pki.crl_b, texts.get(junk, junk)]):
        for make in (aiotls.create_secure_context, aiotls.create_server):
            with pytest.raises(aiotls.OptionError) as wrong:
                make(crl=crl)
            assert wrong.value.code == "ERR_CRYPTO_OPERATION_FAILED"
            assert (wrong.value.option or "").startswith("crl")


@pytest.mark.parametrize("wrong", [1, True, object(), [1], {"crl": b""}, [None]])
def test_wrong_types(wrong: Any) -> None:
    """The error names the option."""
    with pytest.raises(aiotls.OptionTypeError, match="crl") as raised:
        aiotls.create_secure_context(crl=wrong)
    assert raised.value.code == "ERR_INVALID_ARG_TYPE"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_contexts_with_lists_are_freed(pki: Named) -> None:
    """CVE-2018-1000807, CVE-2018-1000808: lists are loaded and freed again and again; the memory does not grow."""
    many = [pki.ca_ec.issue([f"{number}.example.com"], key="ec") for number in range(50)]
    crl = [pki.ca_ec.crl(many)] * 10

    def load(times: int) -> None:
        for _ in range(times):
            aiotls.create_secure_context(ca=pki.ca_ec.cert_pem, crl=crl)
            with pytest.raises(aiotls.OptionError):
                aiotls.create_secure_context(ca=pki.ca_ec.cert_pem, crl=[*crl, b"-----BEGIN X509 CRL-----\nAA"])
        gc.collect()

    load(100)
    before = resident()
    load(300)
    assert resident() - before < 4 << 20, "each context holds about 150 KiB"


def resident() -> int:
    """The resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
