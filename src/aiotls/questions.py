"""What a handshake may stop and ask, each with the shape of its answer.

A question is a frozen value; its answer is what functions of the user, plain or ``async``, return or raise.  So an
answer cannot be given twice, and a question that raises fails its handshake.

To let the handshake ask something new: add a class here that holds what the answerer needs and says in its docstring
what each answer means; an ``ASK_*`` bit and the answer's method in the core; the translation between the two in
`aiotls.connection`; and the user's option or event in `aiotls.answering`.
"""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

Certificate = TypeVar("Certificate")


@dataclass(frozen=True, slots=True)
class HelloQuestion:
    """A server has read the ClientHello: which context, which protocol, which session?

    The answers are the connection's `use_context`, `choose_protocol` and `set_session`; none of them is needed.
    """

    servername: str | None
    """The name that the client asks for, as it wrote it."""
    protocols: tuple[bytes, ...]
    """The application protocols it offers, best first."""
    session_id: bytes | None
    """The session it wants to resume, where the server has to look it up."""


@dataclass(frozen=True, slots=True)
class CertificateQuestion:
    """The client wants an OCSP response for the server's certificate: which one?

    The answer is the connection's `staple`, for each certificate that there is a response for.
    """

    identities: tuple[tuple[bytes, bytes | None], ...]
    """The certificates that may be shown, each with its issuer, as DER."""


@dataclass(frozen=True, slots=True)
class VerifyQuestion(Generic[Certificate]):
    """Is this certificate, whose chain is good, the one of the peer that was meant?

    Returning nothing accepts it.  Raising refuses it, and so does returning what counts as true: the peer gets the
    alert ``bad_certificate``, and the exception stands for the failed connection.
    """

    hostname: str
    """The name or address that was asked for."""
    certificate: Certificate
    """What the peer showed; empty when it showed nothing."""


@dataclass(frozen=True, slots=True)
class ClientQuestion(Generic[Certificate]):
    """Is this client, whose chain is good, welcome?  Returning accepts it, raising closes the connection."""

    certificate: Certificate


@dataclass(frozen=True, slots=True)
class SessionQuestion:
    """Will the server store these sessions?  Nothing flows before it has; raising closes the connection."""

    sessions: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    """Identifier and encoding of each."""


@dataclass(frozen=True, slots=True)
class StapleQuestion:
    """Is this OCSP response good enough for the client to go on?"""

    response: bytes | None
    """As the server has stapled it; None when it has not."""


Question = (
    HelloQuestion
    | CertificateQuestion
    | VerifyQuestion[Certificate]
    | ClientQuestion[Certificate]
    | SessionQuestion
    | StapleQuestion
)
