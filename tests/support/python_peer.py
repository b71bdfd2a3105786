"""A TLS client or server on Python's own ssl for the interop tests: ``python_peer.py client|server OPTIONS_AS_JSON``.

See `ScriptedPeer` in peers.py for the options and the events.  Blocking sockets, because asyncio's ssl closes without
sending the alert of a failed handshake.
"""

import hashlib
import json
import os
import select
import socket
import ssl
import sys
import tempfile
import threading
from typing import Any

CHUNK = 16384
STANDARD_INPUT = 0


def main() -> None:
    role, text = sys.argv[1:]
    options = json.loads(text)
    if role == "server":
        serve(options)
    else:
        connect(options)


def serve(options: dict[str, Any]) -> None:
    """Echoes on every connection until the standard input ends."""
    context = make_context(ssl.PROTOCOL_TLS_SERVER, options)
    context.verify_mode = ssl.CERT_REQUIRED if options.get("request_cert") else ssl.CERT_NONE
    names: dict[ssl.SSLObject | ssl.SSLSocket, str | None] = {}
    context.sni_callback = lambda connection, name, _context: names.__setitem__(connection, name)
    with listening_socket(options) as listener:
        sources: list[Any] = [listener, STANDARD_INPUT]
        while listener in select.select(sources, [], [])[0]:
            connection, _address = listener.accept()
            threading.Thread(target=echo, args=(connection, context, names), daemon=True).start()


def echo(connection: socket.socket, context: ssl.SSLContext, names: dict[Any, str | None]) -> None:
    with connection:
        try:
            secured = context.wrap_socket(connection, server_side=True)
        except OSError as error:
            report_error(error)
            return
        with secured:
            report_secure(secured, names.pop(secured, None))
            follow(secured, answer=True)


def connect(options: dict[str, Any]) -> None:
    """Sends the standard input and closes the connection at its end."""
    context = make_context(ssl.PROTOCOL_TLS_CLIENT, options)
    if not options.get("verify", True):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    with connected_socket(options) as connection:
        try:
            secured = context.wrap_socket(connection, server_hostname=options.get("servername"))
        except OSError as error:
            report_error(error)
            return
        with secured:
            report_secure(secured, options.get("servername"))
            follow(secured, answer=False)


def follow(connection: ssl.SSLSocket, *, answer: bool) -> None:
    """Moves bytes until the peer ends; a client that has sent its whole input ends first."""
    digest = hashlib.sha256()
    received = 0
    sources: list[Any] = [connection] if answer else [connection, STANDARD_INPUT]
    connection.setblocking(False)  # a readable socket may hold nothing but a session ticket
    try:
        while True:
            ready = [connection] if connection.pending() else select.select(sources, [], [])[0]
            if connection in ready:
                try:
                    data = connection.recv(CHUNK)
                except ssl.SSLWantReadError:
                    continue
                if not data:
                    break
                received += len(data)
                digest.update(data)
                report("data", text=data.decode("latin-1") if len(data) <= 256 else "", received=received)
                if answer:
                    send(connection, data)
            elif data := os.read(STANDARD_INPUT, CHUNK):
                send(connection, data)
            else:
                break
        report("end", received=received, sha256=digest.hexdigest())
        connection.setblocking(True)
        connection.unwrap()
    except OSError as error:
        report_error(error)
    report("close")


def send(connection: ssl.SSLSocket, data: bytes) -> None:
    while data:
        try:
            data = data[connection.send(data) :]
        except ssl.SSLWantWriteError:
            select.select([], [connection], [])


def make_context(kind: int, options: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.SSLContext(kind)
    if ca := options.get("ca"):
        context.load_verify_locations(cadata=ca)
    if cert := options.get("cert"):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "identity.pem")
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
                file.write(options["key"] + cert)
            context.load_cert_chain(path)
    if alpn := options.get("alpn"):
        context.set_alpn_protocols(alpn)
    if ciphers := options.get("ciphers"):
        context.set_ciphers(ciphers)
    if minimum := options.get("min_version"):
        context.minimum_version = ssl.TLSVersion[minimum.replace(".", "_")]
    if maximum := options.get("max_version"):
        context.maximum_version = ssl.TLSVersion[maximum.replace(".", "_")]
    return context


def listening_socket(options: dict[str, Any]) -> socket.socket:
    if path := options.get("path"):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
    else:
        host = options.get("host", "127.0.0.1")
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        listener.bind((host, 0))
    listener.listen()
    report("listening", port=0 if path else listener.getsockname()[1])
    return listener


def connected_socket(options: dict[str, Any]) -> socket.socket:
    if path := options.get("path"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        return connection
    return socket.create_connection((options.get("host", "127.0.0.1"), options["port"]))


def report_secure(connection: ssl.SSLSocket, servername: str | None) -> None:
    cipher = connection.cipher()
    certificate = connection.getpeercert() or {}
    subject: Any = certificate.get("subject", ())
    names = {key: value for pairs in subject for key, value in pairs}
    report(
        "secure",
        protocol=connection.version(),
        cipher=cipher and cipher[0],
        alpn=connection.selected_alpn_protocol(),
        servername=servername,
        authorized=bool(certificate),
        reused=connection.session_reused,
        peer=names.get("commonName"),
    )


def report_error(error: OSError) -> None:
    code = error.reason if isinstance(error, ssl.SSLError) else type(error).__name__
    report("error", code=code, message=str(error))


def report(event: str, **fields: Any) -> None:
    # One call, one line: the threads of a server share the stream.
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
