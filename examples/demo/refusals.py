"""Rows in which somebody is refused: the reason on one side, the alert on the other."""

from typing import Any

import aiotls

from .certificates import NAME, Identity
from .programs import find, line_with, run, start
from .row import Case, Row, alert_name
from .stage import Stage


async def expired(stage: Stage, row: Row) -> None:
    await _refuse_our_server(stage, row, stage.certificates.expired, "CERT_HAS_EXPIRED", 45)


async def wrong_name(stage: Stage, row: Row) -> None:
    await _refuse_our_server(stage, row, stage.certificates.other_name, "ERR_TLS_CERT_ALTNAME_INVALID", 42)


async def unknown_ca(stage: Stage, row: Row) -> None:
    await _refuse_our_server(stage, row, stage.certificates.unknown_ca, "UNABLE_TO_VERIFY_LEAF_SIGNATURE", 48)


async def no_client_certificate(stage: Stage, row: Row) -> None:
    await _refuse_our_client(stage, row, "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE", 116)


async def strange_client(stage: Stage, row: Row) -> None:
    identity = stage.certificates.stranger_client
    own = {"cert": identity.cert, "key": identity.key}
    await _refuse_our_client(stage, row, "UNABLE_TO_VERIFY_LEAF_SIGNATURE", 48, **own)


async def openssl_expired(stage: Stage, row: Row) -> None:
    await _refuse_openssl(stage, row, stage.certificates.expired, "CERT_HAS_EXPIRED", 45)


async def openssl_wrong_name(stage: Stage, row: Row) -> None:
    await _refuse_openssl(stage, row, stage.certificates.other_name, "ERR_TLS_CERT_ALTNAME_INVALID", 42)


async def openssl_unknown_ca(stage: Stage, row: Row) -> None:
    await _refuse_openssl(stage, row, stage.certificates.unknown_ca, "UNABLE_TO_VERIFY_LEAF_SIGNATURE", 48)


async def curl_unknown_ca(stage: Stage, row: Row) -> None:
    """curl refuses us, and we see its alert."""
    identity = stage.certificates.unknown_ca
    async with stage.server(cert=identity.cert, key=identity.key) as server:
        there = f"{NAME}:{server.port}:127.0.0.1"
        outcome = await run(
            "curl",
            "--silent",
            "--show-error",
            "--cacert",
            stage.ca,
            "--resolve",
            there,
            f"https://{NAME}:{server.port}/",
        )
        row.authorized = find(r"SSL certificate problem: (.*)", outcome.errors) or f"exit status {outcome.exit_code}"
        row.expect(outcome.exit_code == 60, f"curl ended with {outcome.exit_code}")
        _expect_alert(row, (await server.refused.get()).alert, 48)


async def _refuse_our_server(stage: Stage, row: Row, identity: Identity, code: str, alert: int) -> None:
    """Our client refuses our server, and the server sees the alert."""
    async with stage.server(cert=identity.cert, key=identity.key) as server:
        await _expect_refusal(row, stage.connect(server.port), code)
        _expect_alert(row, (await server.refused.get()).alert, alert)


async def _refuse_our_client(stage: Stage, row: Row, code: str, alert: int, **own: Any) -> None:
    """Our server refuses our client, and the client sees the alert: in TLS 1.3 after its own handshake is done."""
    try:
        async with stage.connect(stage.members.port, **own) as socket:
            await socket.read(1)
        row.expect(False, "the client was not refused")
    except aiotls.TLSError as error:
        _expect_alert(row, error.alert, alert)
    refusal = await stage.members.refused.get()
    row.authorized = refusal.code
    row.expect(refusal.code == code, f"refused with {refusal.code}, not {code}")


async def _refuse_openssl(stage: Stage, row: Row, identity: Identity, code: str, alert: int) -> None:
    """Our client refuses `openssl s_server`, which prints the alert."""
    cert, key = stage.written(identity, "refused")
    async with start("openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", cert, "-key", key) as server:
        port = int((await line_with(server.stdout, r"^ACCEPT .*:(\d+)$"))[1])
        await _expect_refusal(row, stage.connect(port), code)
        _expect_alert(row, int((await line_with(server.stderr, r"SSL alert number (\d+)"))[1]), alert)


async def _expect_refusal(row: Row, socket: aiotls.TLSSocket, code: str) -> None:
    try:
        async with socket:
            row.expect(False, "the server was not refused")
    except aiotls.TLSError as error:
        row.authorized = error.code
        row.expect(error.code == code, f"refused with {error.code}, not {code}")


def _expect_alert(row: Row, seen: int | None, expected: int) -> None:
    row.alert = alert_name(seen)
    row.expect(seen == expected, f"the refused side saw {alert_name(seen)}, not {alert_name(expected)}")


US = "aiotls"
CASES = [
    Case("refused-expired", US, US, "expired certificate", expired),
    Case("refused-wrong-name", US, US, "wrong name", wrong_name),
    Case("refused-unknown-ca", US, US, "unknown CA", unknown_ca),
    Case("refused-no-client-certificate", US, US, "no client certificate", no_client_certificate),
    Case("refused-strange-client", US, US, "client of unknown CA", strange_client),
    Case("refused-openssl-expired", US, "openssl s_server", "expired certificate", openssl_expired, "openssl"),
    Case("refused-openssl-wrong-name", US, "openssl s_server", "wrong name", openssl_wrong_name, "openssl"),
    Case("refused-openssl-unknown-ca", US, "openssl s_server", "unknown CA", openssl_unknown_ca, "openssl"),
    Case("refused-curl-unknown-ca", "curl", US, "unknown CA", curl_unknown_ca, "curl"),
]
