"""Resumed sessions and client certificates: a session is worth what its first connection was, and only where it was."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pki import Identity, Named
from tests.support.visits import CERTIFICATE_REVOKED, UNKNOWN_CA, Host, Visit, credentials, hosting

NONE_GIVEN = "UNABLE_TO_GET_ISSUER_CERT"
NONE_RETURNED = "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"
SELF_SIGNED = "DEPTH_ZERO_SELF_SIGNED_CERT"
LONE_LEAF = "UNABLE_TO_VERIFY_LEAF_SIGNATURE"

KEYS = os.urandom(48)
"""Ticket keys that servers share."""


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def resumed(visit: Visit) -> bool | None:
    assert visit.welcome is not None, visit.refusal
    return visit.welcome.resumed


async def first_visit(host: Host, **options: Any) -> bytes:
    """The session of a connection that was made in full."""
    visit = await host.visit(**options)
    assert resumed(visit) is False
    return visit.sessions[-1]


# ---- on the server that made it


@pytest.mark.parametrize(
    ("client", "reject", "verdict"),
    [
        ("client_ec", True, (True, None)),
        ("client_ec", False, (True, None)),
        ("self_ec", False, (False, SELF_SIGNED)),
        ("leaf_a", False, (False, LONE_LEAF)),
        (None, False, (False, NONE_GIVEN)),
    ],
)
def test_the_same_verdict(
    run: Run, pki: Named, version: str, client: str | None, reject: bool, verdict: tuple[bool, str | None]
) -> None:
    """CVE-2020-8172: a resumed connection has the verdict and the certificate of the first; without one, nobody."""

    async def main() -> None:
        identity: Identity | None = getattr(pki, client) if client else None
        options = {"max_version": version, **credentials(identity)}
        async with hosting(request_cert=True, reject_unauthorized=reject, ca=pki.ca.cert_pem) as host:
            session = None
            for turn in range(3):
                visit = await host.visit(session=session, **options)
                assert resumed(visit) is bool(turn)
                assert visit.verdict == verdict
                assert visit.welcome is not None
                assert visit.welcome.certificate == (identity.der if identity else b"")
                session = visit.sessions[-1] if visit.sessions else session

    run(main)


def test_nobody_asked(run: Run, pki: Named, version: str) -> None:
    """Without `request_cert` a resumed connection is not authorized either, and has no error."""

    async def main() -> None:
        async with hosting() as host:
            own = {"max_version": version, **credentials(pki.client_ec)}
            session = await first_visit(host, **own)
            visit = await host.visit(session=session, **own)
            assert resumed(visit) is True
            assert visit.verdict == (False, None)

    run(main)


def test_a_refused_client_cannot_resume(run: Run, pki: Named, version: str) -> None:
    """A client that was refused got nothing to resume with."""

    async def main() -> None:
        async with hosting(request_cert=True, ca=pki.ca.cert_pem) as host:
            for client in (None, pki.self_ec, pki.client_expired):
                visit = await host.visit(max_version=version, **credentials(client))
                assert visit.welcome is None
                assert visit.sessions == ()

    run(main)


# ---- on a server with another policy


POLICIES: dict[str, dict[str, Any]] = {
    "not asked": {"ca": "ca_b"},
    "asked": {"ca": "ca_b", "request_cert": True, "reject_unauthorized": False},
    "asked, other ca": {"ca": "ca_a", "request_cert": True, "reject_unauthorized": False},
    "required": {"ca": "ca_b", "request_cert": True},
    "required, other ca": {"ca": "ca_a", "request_cert": True},
    "required, crl": {"ca": "ca_b", "crl": "crl_b", "request_cert": True},
}


def policy(pki: Named, name: str) -> dict[str, Any]:
    options = dict(POLICIES[name])
    options["ca"] = getattr(pki, options["ca"]).cert_pem
    if "crl" in options:
        options["crl"] = getattr(pki, options["crl"])
    return options


@contextlib.asynccontextmanager
async def two_hosts(pki: Named, one: str, other: str, **options: Any) -> AsyncIterator[tuple[Host, Host]]:
    """Two servers that could read each other's tickets."""
    async with (
        hosting(ticket_keys=KEYS, **policy(pki, one), **options) as first,
        hosting(ticket_keys=KEYS, **policy(pki, other), **options) as second,
    ):
        yield first, second


@pytest.mark.parametrize("name", list(POLICIES))
def test_the_same_policy(run: Run, pki: Named, version: str, name: str) -> None:
    """Another server with the same ticket keys and the same policy takes the session."""

    async def main() -> None:
        client = pki.leaf_a if "other ca" in name else pki.leaf_b
        own = {"max_version": version, **credentials(client)}
        async with two_hosts(pki, name, name) as (first, second):
            session = await first_visit(first, **own)
            visit = await second.visit(session=session, **own)
            assert resumed(visit) is True
            assert visit.verdict == ((False, None) if name == "not asked" else (True, None))

    run(main)


@pytest.mark.parametrize(
    ("one", "other", "client", "verdict", "alert"),
    [
        ("not asked", "asked", None, (False, NONE_GIVEN), None),
        ("not asked", "asked", "leaf_b", (True, None), None),
        ("not asked", "required", None, NONE_RETURNED, None),
        ("not asked", "required", "leaf_b", (True, None), None),
        ("asked", "required", None, NONE_RETURNED, None),
        ("asked", "required", "self_ec", SELF_SIGNED, UNKNOWN_CA),
        ("asked", "required", "leaf_b", (True, None), None),
        ("asked", "not asked", "leaf_b", (False, None), None),
        ("required", "required, other ca", "leaf_b", LONE_LEAF, UNKNOWN_CA),
        ("asked", "asked, other ca", "leaf_b", (False, LONE_LEAF), None),
        ("asked, other ca", "asked", "leaf_b", (True, None), None),
        ("required", "required, crl", "leaf_b_revoked", "CERT_REVOKED", CERTIFICATE_REVOKED),
    ],
)
def test_another_policy(
    run: Run,
    pki: Named,
    version: str,
    one: str,
    other: str,
    client: str | None,
    verdict: tuple[bool, str | None] | str,
    alert: int | None,
) -> None:
    """CVE-2026-48934, failure model 15: a session made under another policy is not taken; the client is verified."""

    async def main() -> None:
        own = {"max_version": version, **credentials(getattr(pki, client) if client else None)}
        async with two_hosts(pki, one, other) as (first, second):
            session = await first_visit(first, **own)
            visit = await second.visit(session=session, **own)
            assert visit.verdict == verdict
            if visit.welcome is not None:
                assert resumed(visit) is False
            if alert is not None:
                assert visit.error.alert == alert

    run(main)


@pytest.mark.parametrize("other", ["required, other ca", "required, crl"])
def test_the_trust_of_a_server_changes(run: Run, pki: Named, version: str, other: str) -> None:
    """CVE-2026-48934: after `set_secure_context` sessions that were made under the earlier trust are not taken."""

    async def main() -> None:
        own = {"max_version": version, **credentials(pki.leaf_b_revoked)}
        identity = credentials(pki.server_ec)
        async with hosting(**policy(pki, "required")) as host:
            session = await first_visit(host, **own)
            assert resumed(await host.visit(session=session, **own)) is True
            options = policy(pki, other)
            options.pop("request_cert")
            host.server.set_secure_context(**identity, **options)
            visit = await host.visit(session=session, **own)
            assert visit.verdict == ("CERT_REVOKED" if "crl" in other else LONE_LEAF)
            host.server.set_secure_context(**identity, ca=pki.ca_b.cert_pem)
            assert (await host.visit(session=session, **own)).verdict == (True, None)

    run(main)


@pytest.mark.parametrize(("one", "other"), [("not asked", "required"), ("required", "required, other ca")])
def test_another_policy_and_one_store(run: Run, pki: Named, version: str, one: str, other: str) -> None:
    """The same for sessions that servers keep in a common store instead of giving tickets."""
    store: dict[bytes, bytes] = {}

    async def keep(session_id: bytes, data: bytes) -> None:
        await asyncio.sleep(0)
        store[session_id] = data

    async def look(session_id: bytes) -> bytes | None:
        await asyncio.sleep(0)
        looked.append(session_id)
        return store.get(session_id)

    looked: list[bytes] = []

    async def main() -> None:
        stateful = {"secure_options": aiotls.constants.SSL_OP_NO_TICKET}
        own = {"max_version": version, **credentials(pki.leaf_b)}
        async with two_hosts(pki, one, other, **stateful) as hosts:
            for host in hosts:
                host.server.on("new_session", keep)
                host.server.on("resume_session", look)
            first, second = hosts
            session = await first_visit(first, **own)
            assert resumed(await first.visit(session=session, **own)) is True
            session = await first_visit(first, **own)
            visit = await second.visit(session=session, **own)
            assert len(looked) == 2
            assert visit.verdict == ((True, None) if other == "required" else LONE_LEAF)
            assert visit.welcome is None or resumed(visit) is False

    run(main)
