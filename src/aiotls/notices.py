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
from .phases import Phase

__all__ = [
    "ACCEPTED",
    "ACCEPT_FAILED",
    "ASKING",
    "CONNECTED",
    "DATA",
    "DRAIN",
    "DROPPED",
    "ENDED",
    "FAILED",
    "FINISHED",
    "NEWS",
    "PHASES",
    "SECURE",
]

PHASES = {
    ASKING: Phase.ASKING,
    SECURE: Phase.OPEN,
    ENDED: Phase.ENDING,
    FINISHED: Phase.ENDING,
    FAILED: Phase.FAILED,
}
"""Where a connection stands after a notice; the others leave it where it is."""
