"""What a handshake may stop and ask, each with the shape of its answer.

A question is a frozen value; its answer is what one function, plain or ``async``, returns or raises.  So an answer
cannot be given twice, and a question that raises fails its handshake.

To let the handshake ask something new: add a class here that holds what the answerer needs and says in its docstring
what each answer means; an ``ASK_*`` bit and the answer's method in the core; the translation between the two in
`aiotls.connection`; and the user's option or event in `aiotls.tls_socket` or `aiotls.server`.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

Certificate = TypeVar("Certificate")


@dataclass(frozen=True, slots=True)
class VerifyQuestion(Generic[Certificate]):
    """Is this certificate, whose chain is good, the one of the peer that was meant?

    Returning accepts it, whatever is returned.  Raising refuses it: the peer gets the alert ``bad_certificate``, and
    the exception stands for the failed connection.
    """

    hostname: str
    """The name or address that was asked for."""
    certificate: Certificate
    """What the peer showed; empty when it showed nothing."""
