"""A client's session, bound to what it was made for.

A resumed connection shows no certificate, so a session must not come to count where a full handshake would not: it
goes with the name that it was verified for, and with what was trusted then (CVE-2026-48934).
"""

import hashlib
from dataclasses import dataclass, field

from . import _native, checks
from .errors import OptionError

_MAGIC = b"aiotls session 1\n"
_POLICY = hashlib.sha256().digest_size


@dataclass(slots=True)
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
    _decoded: _native.Session | None = field(default=None, init=False, repr=False, compare=False)

    def __repr__(self) -> str:
        return f"ClientSession(hostname={self.hostname!r}, authorized={self.authorized})"

    def encode(self) -> bytes:
        """The bytes for the user to keep."""
        name = self.hostname.encode()
        head = len(name).to_bytes(2, "big") + name + self.policy + bytes((self.authorized,))
        encoded = EncodedSession(_MAGIC + head + self.data)
        encoded.session = self
        return encoded

    @classmethod
    def decode(cls, option: str, value: object) -> "ClientSession":
        """Takes such bytes apart.

        Raises:
            OptionError: They are not what ``"session"`` gave.
        """
        if isinstance(value, EncodedSession):
            return value.session
        data = checks.octets(option, value)
        start = len(_MAGIC) + 2
        end = start + int.from_bytes(data[len(_MAGIC) : start], "big")
        name = data[start:end]
        if not data.startswith(_MAGIC) or len(data) <= end + _POLICY + 1 or not name.isascii():
            raise OptionError(f'{option} must be what "session" or get_session gave', option=option)
        policy = data[end : end + _POLICY]
        authorized = data[end + _POLICY] == 1
        return cls(name.decode(), policy, authorized, data[end + _POLICY + 1 :])

    def counts_for(self, hostname: str, policy: bytes, *, reject_unauthorized: bool) -> bool:
        """Whether a connection to `hostname` may resume it."""
        verified = self.authorized or not reject_unauthorized
        return verified and self.hostname == hostname and self.policy == policy

    @property
    def ticket(self) -> bytes | None:
        """The ticket of the server that it holds."""
        session = self.decoded
        return None if session is None else session.ticket()

    @property
    def decoded(self) -> _native.Session | None:
        """The same for the compiled core; None where OpenSSL cannot read it."""
        if self._decoded is None:
            self._decoded = _native.Session.decode(self.data)
        return self._decoded


class EncodedSession(bytes):
    """What users keep of a session: as long as it is this very object, nobody has to take it apart again."""

    session: ClientSession

    def __reduce__(self) -> tuple[type[bytes], tuple[bytes]]:
        return bytes, (bytes(self),)
