"""Python's own ssl as a client: fetches /file, prints one line of JSON.

Its argument is JSON: port, servername, ca (a path).
"""

import hashlib
import json
import socket
import ssl
import sys


def main() -> None:
    options = json.loads(sys.argv[1])
    context = ssl.create_default_context(cafile=options["ca"])
    context.set_alpn_protocols(["http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", options["port"])) as plain,
        context.wrap_socket(plain, server_hostname=options["servername"]) as secured,
    ):
        secured.sendall(b"GET /file HTTP/1.0\r\n\r\n")
        with secured.makefile("rb") as answer:
            while answer.readline().strip():
                pass
            digest = hashlib.sha256()
            size = 0
            while chunk := answer.read(256 * 1024):
                digest.update(chunk)
                size += len(chunk)
        group = secured.group() if hasattr(secured, "group") else None  # Python 3.15 and later
        report = {"protocol": secured.version(), "group": group, "authorized": bool(secured.getpeercert())}
        print(json.dumps({**report, "size": size, "sha256": digest.hexdigest()}))


if __name__ == "__main__":
    main()
