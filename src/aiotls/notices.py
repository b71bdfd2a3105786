"""What a connection, or the wire that carries it, reports: the kinds of notices, each with its payload.

The core's contract (``_native.pyi``) says what each means.
"""

from ._native import NOTICE_ACCEPT_FAILED as ACCEPT_FAILED
from ._native import NOTICE_ACCEPTED as ACCEPTED
from ._native import NOTICE_ASKING as ASKING
from ._native import NOTICE_CONNECTED as CONNECTED
from ._native import NOTICE_DATA as DATA
from ._native import NOTICE_DRAIN as DRAIN
from ._native import NOTICE_DROPPED as DROPPED
from ._native import NOTICE_ENDED as ENDED
from ._native import NOTICE_FAILED as FAILED
from ._native import NOTICE_FINISHED as FINISHED
from ._native import NOTICE_NEWS as NEWS
from ._native import NOTICE_SECURE as SECURE
from .phases import MOVES, Phase

__all__ = [
    "ACCEPTED",
    "ACCEPT_FAILED",
    "AFTER",
    "ASKING",
    "CONNECTED",
    "DATA",
    "DRAIN",
    "DROPPED",
    "ENDED",
    "FAILED",
    "FINISHED",
    "NEWS",
    "SECURE",
]

_TARGETS = {
    ASKING: Phase.ASKING,
    SECURE: Phase.OPEN,
    ENDED: Phase.ENDING,
    FINISHED: Phase.ENDING,
    FAILED: Phase.FAILED,
}


def _after(phase: Phase, kind: int) -> Phase:
    """Where a connection stands after a notice, which may leave it where it is."""
    target = _TARGETS.get(kind, phase)
    stays = (
        phase is Phase.CLOSED
        # Our close_notify followed the handshake at once.
        or (target is Phase.OPEN and phase is Phase.ENDING)
        # A renegotiation asks.
        or (target is Phase.ASKING and phase is not Phase.HANDSHAKE)
    )
    return phase if stays else target


AFTER = {
    phase: {
        kind: target
        for kind in (ASKING, SECURE, DATA, DRAIN, ENDED, FINISHED, FAILED, NEWS)
        if (target := _after(phase, kind)) in (phase, *moves)
    }
    for phase, moves in MOVES.items()
}
"""Where a connection stands after a notice, by its phase before; what is missing cannot be."""
