"""The ready queue by itself: what its bands remember, and what chance may decide."""

from collections import deque

import pytest

from meridian.engine.ready import CONTROL_BAND, HIGH_BAND, NORMAL_BAND, ReadyQueue, Turn

pytestmark = pytest.mark.req("V6")


class Draws:
    """A source of chance that is told what to say, and remembers what it was asked."""

    def __init__(self, *said: int) -> None:
        self.said = list(said)
        self.asked: list[int] = []

    def randrange(self, n: int) -> int:
        self.asked.append(n)
        return self.said.pop(0)


def filled(weights=(4, 2, 1), random=None, **turns: int) -> ReadyQueue:
    queue = ReadyQueue(weights, random)
    for band, name in enumerate(("control", "high", "normal")):
        queue.lines[band].extend(Turn(node, band) for node in range(turns.get(name, 0)))
    return queue


def test_a_new_turn_has_done_nothing_and_waits_for_nothing():
    turn = Turn(7, HIGH_BAND)
    assert (turn.node, turn.band, turn.batch, turn.queued) == (7, HIGH_BAND, 1, False)
    assert (turn.slices, turn.busy_ns, turn.since) == (0, 0, 0)
    assert (turn.ring, turn.waits_for) == (None, None)


def test_a_new_queue_owes_nobody_anything():
    queue = ReadyQueue()
    assert (queue._saved, queue._passed_over) == ([0, 0, 0], [0, 0, 0])
    assert len(queue) == 0


def test_a_band_without_work_keeps_neither_credit_nor_patience():
    queue = filled(normal=1)
    queue._saved[:], queue._passed_over[:] = [3, 3, 0], [1, 1, 0]
    assert queue.pick().band == NORMAL_BAND
    assert (queue._saved, queue._passed_over) == ([0, 0, 0], [0, 0, 0])


@pytest.mark.parametrize(("passed_over", "first"), [(5, HIGH_BAND), (6, HIGH_BAND), (7, NORMAL_BAND)])
def test_of_two_late_bands_the_lower_goes_first_only_if_it_has_waited_longer_by_more_than_this_pick(
    passed_over, first
):
    queue = filled((2, 3, 1), control=1, high=1, normal=1)
    queue._passed_over[:] = [0, 5, passed_over]
    assert queue.pick().band == first


def test_control_that_was_passed_over_long_enough_goes_before_whoever_waits_longer():
    queue = filled((2, 3, 1), control=1, high=1, normal=1)
    queue._passed_over[:] = [2, 5, 6]
    assert queue.pick().band == CONTROL_BAND


def test_a_band_that_loses_its_last_turn_to_another_one_begins_anew_and_nobody_keeps_credit():
    queue = filled(high=1, normal=1)
    (turn,) = queue.lines[HIGH_BAND]
    turn.line, turn.queued = queue.lines[HIGH_BAND], True
    queue._saved[:], queue._passed_over[:] = [1, 2, 3], [1, 2, 3]
    queue.set_band(turn, NORMAL_BAND)
    assert (turn.band, queue.lines[HIGH_BAND], queue.lines[NORMAL_BAND][-1]) == (NORMAL_BAND, deque(), turn)
    assert (queue._saved, queue._passed_over) == ([0, 0, 0], [1, 0, 3])


def test_without_chance_a_band_is_first_in_first_out():
    queue = filled(normal=3)
    assert [queue.pick().node for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("turns", [2, 3])
def test_with_chance_the_turn_is_the_one_that_was_drawn_by_its_place_in_line(turns):
    random = Draws(1)
    assert filled(random=random, normal=turns).pick().node == 1
    assert random.asked == [turns]


def test_where_there_is_one_turn_nothing_is_drawn():
    random = Draws()
    assert filled(random=random, normal=1).pick().node == 0
    assert random.asked == []


def test_asking_an_empty_queue_for_a_turn_says_that_none_is_due():
    with pytest.raises(IndexError, match=r"^no turn is due$"):
        ReadyQueue().pick()
