"""The phases of a TLS connection, and the one table of legal moves between them.

Everything else about the state of a connection is derived from its phase and from the question that it asks.

::

    HANDSHAKE -> ASKING, OPEN, FAILED, CLOSED
    ASKING    -> HANDSHAKE, FAILED, CLOSED
    OPEN      -> ENDING, FAILED, CLOSED
    ENDING    -> FAILED, CLOSED
    FAILED    -> CLOSED
    CLOSED    -> nothing
"""

import enum


class Phase(enum.Enum):
    """Where a connection stands.

    Source: RFC 8446, appendix A.
    """

    HANDSHAKE = "handshake"
    """Keys are being agreed on; nothing of the application flows."""
    ASKING = "asking"
    """The handshake waits for the answer to a question."""
    OPEN = "open"
    """Data flows in both directions."""
    ENDING = "ending"
    """One direction has ended: our close_notify is out, or the peer's is in."""
    FAILED = "failed"
    """An error ended the connection; the alert may still have to leave."""
    CLOSED = "closed"
    """Nothing flows any more."""

    # There is one object for each phase, and Enum's own hash is slow.
    __hash__ = object.__hash__


MOVES: dict[Phase, frozenset[Phase]] = {
    Phase.HANDSHAKE: frozenset({Phase.ASKING, Phase.OPEN, Phase.CLOSED, Phase.FAILED}),
    Phase.ASKING: frozenset({Phase.HANDSHAKE, Phase.CLOSED, Phase.FAILED}),
    Phase.OPEN: frozenset({Phase.ENDING, Phase.CLOSED, Phase.FAILED}),
    Phase.ENDING: frozenset({Phase.CLOSED, Phase.FAILED}),
    Phase.FAILED: frozenset({Phase.CLOSED}),
    Phase.CLOSED: frozenset(),
}


def move(current: Phase, target: Phase) -> Phase:
    """Gives `target` back when the table allows the move.

    Raises:
        AssertionError: The move is not in `MOVES`, which is a defect of aiotls.
    """
    if target not in MOVES[current]:
        raise AssertionError(f"a connection cannot go from {current.name} to {target.name}")
    return target


def diagram() -> str:
    """The table as text, one line for each phase."""
    return "\n".join(f"{phase.name:<9} -> {_targets(phase)}" for phase in MOVES)


def _targets(phase: Phase) -> str:
    return ", ".join(target.name for target in Phase if target in MOVES[phase]) or "nothing"
