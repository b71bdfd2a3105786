"""One row of the demo: who talked to whom, and what came of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .stage import Stage


@dataclass
class Row:
    """What a row shows; empty where a peer does not tell."""

    client: str
    server: str
    task: str
    protocol: str = ""
    cipher: str = ""
    group: str = ""
    alpn: str = ""
    authorized: str = ""
    """Whose certificate was accepted, or the code of the refusal."""
    resumed: bool | None = None
    alert: str = ""
    """The alert that the refused side saw."""
    size: int = 0
    seconds: float = 0.0
    intact: bool = False
    """A file was moved, and its SHA-256 is the same at both ends."""
    problems: list[str] = field(default_factory=list)
    skipped: str = ""

    def expect(self, condition: object, problem: str) -> None:
        """Notes a problem unless the condition holds."""
        if not condition:
            self.problems.append(problem)

    def expect_file(self, size: int, sha256: str, expected_size: int, expected_sha256: str) -> None:
        """Notes whether the file that came is the file that was sent."""
        self.expect(size == expected_size, f"{size} bytes came, not {expected_size}")
        self.expect(sha256 == expected_sha256, "another SHA-256: the file was damaged")
        self.intact = (size, sha256) == (expected_size, expected_sha256)

    @property
    def rate(self) -> str:
        """MiB per second, for rows that moved a file."""
        return f"{self.size / self.seconds / 2**20:.0f} MiB/s" if self.size >= 2**20 and self.seconds else ""

    @property
    def moved(self) -> str:
        """The number of bytes, in words."""
        if self.size >= 2**20:
            return f"{self.size / 2**20:g} MiB"
        return f"{self.size} B" if self.size else ""


@dataclass(frozen=True)
class Case:
    """A row to be: its name for ``--only``, the program it needs, and how it is played."""

    name: str
    client: str
    server: str
    task: str
    play: "Callable[[Stage, Row], Awaitable[None]]"
    needs: str | None = None


# RFC 8446, section 6.
ALERTS = {
    0: "close_notify",
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    48: "unknown_ca",
    51: "decrypt_error",
    70: "protocol_version",
    80: "internal_error",
    116: "certificate_required",
    120: "no_application_protocol",
}


def alert_name(number: int | None) -> str:
    """The name of an alert and its number, or what is known of it."""
    if number is None:
        return "no alert"
    return f"{ALERTS.get(number, 'alert')} ({number})"
