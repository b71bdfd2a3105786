"""Rows in which another client connects to our server: `openssl s_client`, `curl`, Node, Python's ssl."""

import json
from pathlib import Path

from .certificates import NAME
from .files import FileServer, Served
from .programs import PEERS, PYTHON, Outcome, find, run
from .row import Case, Row
from .stage import Stage

GET_FILE = b"GET /file HTTP/1.0\r\n\r\n"
GET_GREETING = b"GET / HTTP/1.0\r\n\r\n"


async def openssl_download(stage: Stage, row: Row) -> None:
    outcome = await run(*_s_client(stage, stage.files.port), head=GET_FILE)
    served = await _served(row, stage.files, outcome)
    row.group = _openssl_group(outcome)
    row.expect_file(served.size, outcome.sha256, stage.size, stage.sha256)


async def openssl_upload(stage: Stage, row: Row) -> None:
    head = f"PUT /file HTTP/1.0\r\nContent-Length: {stage.size}\r\n\r\n".encode()
    outcome = await run(*_s_client(stage, stage.files.port), head=head, file=stage.file)
    served = await _served(row, stage.files, outcome)
    row.group = _openssl_group(outcome)
    row.expect_file(served.size, served.sha256, stage.size, stage.sha256)


async def openssl_resumed(stage: Stage, row: Row) -> None:
    await _resume(stage, row, "-tls1_3")


async def openssl_resumed_tls12(stage: Stage, row: Row) -> None:
    await _resume(stage, row, "-tls1_2")


async def openssl_with_certificate(stage: Stage, row: Row) -> None:
    cert, key = stage.written(stage.certificates.client, "client")
    command = _s_client(stage, stage.members.port, "-cert", cert, "-key", key)
    outcome = await run(*command, head=GET_GREETING)
    served = await _served(row, stage.members, outcome)
    row.group = _openssl_group(outcome)
    row.authorized = "both" if served.authorized else served.authorization_error or "server"
    row.expect(served.authorized, f"the client was not authorised: {served.authorization_error}")


async def curl_download(stage: Stage, row: Row) -> None:
    outcome = await run(*_curl(stage, "--include", f"https://{NAME}:{stage.files.port}/file"))
    served = await _served(row, stage.files, outcome)
    row.expect_file(served.size, outcome.sha256, stage.size, stage.sha256)


async def curl_upload(stage: Stage, row: Row) -> None:
    url = f"https://{NAME}:{stage.files.port}/file"
    outcome = await run(*_curl(stage, "--include", "--header", "Expect:", "--upload-file", stage.file, url))
    served = await _served(row, stage.files, outcome)
    row.expect_file(served.size, served.sha256, stage.size, stage.sha256)
    row.expect(stage.sha256 in outcome.output, "the answer did not arrive")


async def node_client(stage: Stage, row: Row) -> None:
    await _scripted(stage, row, "node", PEERS / "client.js")


async def python_client(stage: Stage, row: Row) -> None:
    await _scripted(stage, row, PYTHON, PEERS / "client.py")


async def _resume(stage: Stage, row: Row, version: str) -> None:
    session = stage.directory / f"session{version}.pem"
    first = await run(*_s_client(stage, stage.files.port, version, "-sess_out", session), head=GET_GREETING)
    full = await _served(row, stage.files, first)
    row.expect(not full.resumed, "the first connection was a resumption")
    second = await run(*_s_client(stage, stage.files.port, version, "-sess_in", session), head=GET_GREETING)
    resumed = await _served(row, stage.files, second)
    row.group = _openssl_group(second)
    row.expect(resumed.resumed, "the session was not resumed")


async def _scripted(stage: Stage, row: Row, interpreter: str, script: Path) -> None:
    options = {"port": stage.files.port, "servername": NAME, "ca": str(stage.ca)}
    outcome = await run(interpreter, script, json.dumps(options))
    served = await _served(row, stage.files, outcome)
    if outcome.exit_code == 0:
        report = json.loads(outcome.output)
        row.group = report["group"] or ""
        row.expect(report["protocol"] == served.protocol, f"the peer says {report['protocol']}")
        row.expect(report["authorized"], "the peer did not authorise our server")
        row.expect_file(report["size"], report["sha256"], stage.size, stage.sha256)


async def _served(row: Row, server: FileServer, outcome: Outcome) -> Served:
    """Fills a row with what our server knows of the connection that a program made."""
    if outcome.exit_code:
        raise ConnectionError(f"exit status {outcome.exit_code}: {outcome.errors.strip()[-400:]}")
    served = await server.served.get()
    row.protocol, row.cipher, row.alpn = served.protocol, served.cipher, served.alpn
    row.authorized, row.resumed = "server", served.resumed
    row.size, row.seconds = served.size, served.seconds
    return served


def _s_client(stage: Stage, port: int, *arguments: str | Path) -> list[str | Path]:
    trust: list[str | Path] = ["-CAfile", stage.ca, "-verify_return_error", "-verify_hostname", NAME]
    names: list[str | Path] = ["-servername", NAME, "-alpn", "http/1.1"]
    quiet = ["-brief", "-ign_eof", "-nocommands"]
    return ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *quiet, *trust, *names, *arguments]


def _curl(stage: Stage, *arguments: str | Path) -> list[str | Path]:
    there = f"{NAME}:{stage.files.port}:127.0.0.1"
    return ["curl", "--silent", "--show-error", "--http1.1", "--cacert", stage.ca, "--resolve", there, *arguments]


def _openssl_group(outcome: Outcome) -> str:
    named = find(r"^Negotiated TLS1\.3 group: (\S+)", outcome.errors)
    return named or find(r"^(?:Server|Peer) Temp Key: (?:ECDH, )?([\w-]+)", outcome.errors)


US = "aiotls"
CASES = [
    Case("openssl-download", "openssl s_client", US, "download", openssl_download, "openssl"),
    Case("openssl-upload", "openssl s_client", US, "upload", openssl_upload, "openssl"),
    Case("openssl-resumed", "openssl s_client", US, "resumed session", openssl_resumed, "openssl"),
    Case("openssl-resumed-tls12", "openssl s_client", US, "resumed, TLS 1.2", openssl_resumed_tls12, "openssl"),
    Case(
        "openssl-client-certificate", "openssl s_client", US, "client certificate", openssl_with_certificate, "openssl"
    ),
    Case("curl-download", "curl", US, "download", curl_download, "curl"),
    Case("curl-upload", "curl", US, "upload", curl_upload, "curl"),
    Case("node-client", "Node", US, "download", node_client, "node"),
    Case("python-client", "Python ssl", US, "download", python_client),
]
