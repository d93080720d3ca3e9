"""One ready queue of each engine, driven with the same operations."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian._tests.parity.parts import ENGINES, outcome
from meridian.engine.select import engine_type

weights = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
operations = st.lists(
    st.tuples(
        st.sampled_from(["queue", "queue", "pick", "remove", "move"]), st.integers(0, 5), st.integers(0, 2)
    ),
    max_size=120,
)


class Side:
    """A ready queue of one engine, and six turns."""

    def __init__(self, name: str, weights: Any, seed: int | None) -> None:
        kinds = engine_type(name)
        self.queue = kinds.queue_type(weights, None if seed is None else Random(seed))
        self.turns = [kinds.turn_type(n, n % 3) for n in range(6)]
        for turn in self.turns:
            turn.line = self.queue.lines[turn.band]

    def play(self, what: str, n: int, band: int) -> Any:
        turn = self.turns[n]
        if what == "queue":
            turn.line.append(turn)
        elif what == "remove":
            turn.line.remove(turn)
        elif what == "move":
            self.queue.set_band(turn, band)
        else:
            return self.queue.pick().node
        return turn.line.count(turn), turn in turn.line

    def seen(self) -> Any:
        lines = [[turn.node for turn in line] for line in self.queue.lines]
        return lines, len(self.queue), [len(line) for line in self.queue.lines], self.queue.weights


@pytest.mark.req("N2.1", "V6")
@given(weights, st.none() | st.integers(0, 99), operations)
def test_two_ready_queues_pick_the_same(weights, seed, operations):
    python, rust = (Side(name, weights, seed) for name in ENGINES)
    for what, n, band in operations:
        wanted = same_text(outcome(python.play, what, n, band))
        assert same_text(outcome(rust.play, what, n, band)) == wanted
        assert rust.seen() == python.seen()


def same_text(result: Any) -> Any:
    """Return an outcome without the text of what a deque says of a turn that isn't there."""
    return ValueError if isinstance(result, tuple) and result[0] is ValueError else result


@pytest.mark.parametrize("weights", [(0, 1, 1), (1, -1, 1)])
def test_the_rust_queue_refuses_weights_that_it_would_divide_by(weights: Any):
    with pytest.raises(ValueError, match="each has to be at least 1"):
        engine_type("rust").queue_type(weights)
