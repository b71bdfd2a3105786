"""The table of phases."""

import inspect
import itertools

import pytest

from aiotls import phases
from aiotls.phases import MOVES, Phase, diagram, move


def test_every_phase_stands_in_the_table() -> None:
    assert set(MOVES) == set(Phase)


@pytest.mark.parametrize(("current", "target"), list(itertools.product(Phase, repeat=2)))
def test_only_moves_of_the_table_are_made(current: Phase, target: Phase) -> None:
    if target in MOVES[current]:
        assert move(current, target) is target
    else:
        with pytest.raises(AssertionError, match=f"{current.name} to {target.name}"):
            move(current, target)


def test_every_phase_can_be_reached_and_ends_closed() -> None:
    for phase in Phase:
        if phase is not Phase.HANDSHAKE:
            assert any(phase in targets for targets in MOVES.values())
        if phase is not Phase.CLOSED:
            assert Phase.CLOSED in MOVES[phase]
    assert not MOVES[Phase.CLOSED]


def test_the_drawn_table_is_the_real_one() -> None:
    documented = [line.split() for line in (inspect.getdoc(phases) or "").splitlines() if "->" in line]
    assert documented == [line.split() for line in diagram().splitlines()]
