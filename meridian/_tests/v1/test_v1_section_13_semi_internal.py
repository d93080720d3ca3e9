"""Section 13 of the v1 contract: the ready queue under its v1 name."""

# mypy: no-check-untyped-defs, disable-error-code="annotation-unchecked"
# What v1 programs may write, and what they get for it, is more than the types allow.

from __future__ import annotations

from collections import Counter

import pytest

from meridian import PriorityBand
from meridian.core.priority_queue import PriorityQueueConfig, PrioritySchedulingQueue

pytestmark = pytest.mark.req("V1", "V6")

CONTROL, HIGH, NORMAL = PriorityBand.CONTROL, PriorityBand.HIGH, PriorityBand.NORMAL


@pytest.fixture
def queue() -> PrioritySchedulingQueue:
    return PrioritySchedulingQueue(PriorityQueueConfig())


def drain(queue: PrioritySchedulingQueue) -> list[str]:
    names = []
    while (following := queue.get_next_runnable()) is not None:
        names.append(following[0])
    return names


def test_the_bands_are_three_numbers():
    assert [(band.name, int(band)) for band in PriorityBand] == [("CONTROL", 3), ("HIGH", 2), ("NORMAL", 1)]


def test_it_starts_empty(queue):
    assert queue.get_next_runnable() is None
    assert queue.has_runnable_nodes() is False
    assert queue.get_queue_depths() == {CONTROL: 0, HIGH: 0, NORMAL: 0}


def test_control_comes_first_then_high_then_normal(queue):
    queue.enqueue_runnable("n", NORMAL)
    queue.enqueue_runnable("h", HIGH)
    queue.enqueue_runnable("c", CONTROL)
    assert [queue.get_next_runnable() for _ in range(4)] == [("c", CONTROL), ("h", HIGH), ("n", NORMAL), None]


def test_a_band_is_first_in_first_out(queue):
    for name in "abc":
        queue.enqueue_runnable(name, NORMAL)
    assert drain(queue) == ["a", "b", "c"]


def test_a_name_waits_once_and_moves_when_its_band_changes(queue):
    queue.enqueue_runnable("a", NORMAL)
    queue.enqueue_runnable("a", NORMAL)
    assert queue.get_queue_depths()[NORMAL] == 1
    queue.enqueue_runnable("a", HIGH)
    assert queue.get_queue_depths() == {CONTROL: 0, HIGH: 1, NORMAL: 0}
    assert drain(queue) == ["a"]


@pytest.mark.v1("D14")
def test_two_names_of_one_band_are_served_evenly(queue):
    served = Counter()
    for name in "ab":
        queue.enqueue_runnable(name, NORMAL)
    for _ in range(100):
        name, band = queue.get_next_runnable()
        served[name] += 1
        queue.enqueue_runnable(name, band)
    assert served == {"a": 50, "b": 50}


@pytest.mark.v1("D15")
def test_bands_share_by_the_ratios_and_none_starves(queue):
    served = Counter()
    for name, band in (("c", CONTROL), ("h", HIGH), ("n", NORMAL)):
        queue.enqueue_runnable(name, band)
    for _ in range(70):
        name, band = queue.get_next_runnable()
        served[name] += 1
        queue.enqueue_runnable(name, band)
    assert served == {"c": 40, "h": 20, "n": 10}


def test_clear_forgets_who_waits(queue):
    queue.enqueue_runnable("a", NORMAL)
    queue.clear()
    assert queue.has_runnable_nodes() is False
    queue.enqueue_runnable("a", NORMAL)
    assert drain(queue) == ["a"]
