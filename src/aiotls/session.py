"""A client's session, bound to what it was made for.

A resumed connection shows no certificate, so a session must not come to count where a full handshake would not: it
goes with the name that it was verified for, and with what was trusted then (CVE-2026-48934).
"""

import hashlib
from dataclasses import dataclass, field
from typing import Self

from . import _native, checks
from .errors import OptionError

KNOWN = 64
"""How many decoded sessions a context keeps."""

_MAGIC = b"aiotls session 1\n"
_POLICY = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class ClientSession:
    """What the event ``"session"`` gives, taken apart."""

    hostname: str
    """The name that the server's certificate was checked for."""
    policy: bytes
    """`SecureContext.policy` of the connection that made it."""
    authorized: bool
    """Whether the server was verified."""
    data: bytes
    """OpenSSL's encoding (i2d_SSL_SESSION(3)); it holds keys."""
    given: bytes | None = field(default=None, compare=False)
    """What it was taken out of."""

    def __repr__(self) -> str:
        return f"ClientSession(hostname={self.hostname!r}, authorized={self.authorized})"

    def encode(self) -> bytes:
        """The bytes for the user to keep."""
        name = self.hostname.encode()
        head = len(name).to_bytes(2, "big") + name + self.policy + bytes((self.authorized,))
        return _MAGIC + head + self.data

    @classmethod
    def decode(cls, option: str, value: object) -> Self:
        """Takes such bytes apart.

        Raises:
            OptionError: They are not what ``"session"`` gave.
        """
        data = checks.octets(option, value)
        start = len(_MAGIC) + 2
        end = start + int.from_bytes(data[len(_MAGIC) : start], "big")
        name = data[start:end]
        if not data.startswith(_MAGIC) or len(data) <= end + _POLICY + 1 or not name.isascii():
            raise OptionError(f'{option} must be what "session" or get_session gave', option=option)
        policy = data[end : end + _POLICY]
        authorized = data[end + _POLICY] == 1
        return cls(name.decode(), policy, authorized, data[end + _POLICY + 1 :], data)

    def counts_for(self, hostname: str, policy: bytes, *, reject_unauthorized: bool) -> bool:
        """Whether a connection to `hostname` may resume it."""
        verified = self.authorized or not reject_unauthorized
        return verified and self.hostname == hostname and self.policy == policy

    def offer(self, engine: _native.Engine, known: dict[bytes, _native.Session]) -> None:
        """Lets a client offer it.

        `known` keeps decoded sessions: decoding one costs a good part of what resuming it saves.
        """
        # A program gives the same object each time, whose hash is known.
        key = self.given or self.data
        session = known.get(key)
        if session is None:
            session = _native.Session.decode(self.data)
            if session is None:
                return
            if len(known) >= KNOWN:
                known.clear()
            known[key] = session
        engine.offer_session(session, self.authorized)

    @property
    def ticket(self) -> bytes | None:
        """The ticket of the server that it holds."""
        session = _native.Session.decode(self.data)
        return None if session is None else session.ticket()
