"""How long items spend on an edge, against clocks that the test winds itself."""

from __future__ import annotations

import sys
import threading
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian.core.message import CONTROL, Message, Scope
from meridian.core.policies import Block, Coalesce, Drop, Latest
from meridian.engine.hops import MOST_UNDER_WAY, TO_COME, TO_GO, Histogram, Hops
from meridian.engine.kernel import PythonEngine

POLICIES: dict[str, Any] = {
    "block": Block(),
    "drop": Drop(),
    "latest": Latest(),
    "coalesce": Coalesce(lambda old, new: old),  # so that a payload tells when the first of them came
}


class Timed:
    """A ring, a clock, and what the test knows of each item: its payload is its number.

    Attributes:
        now: Nanoseconds.
        put_at: When each was put.
        expected: What was delivered, of that which was put since the first look.
    """

    def __init__(
        self,
        kinds: type[PythonEngine],
        policy: str = "block",
        capacity: int = 1 << 20,
        max_age: int | None = None,
    ) -> None:
        self.now = 0
        self.engine = kinds(Scope(), self.clock)
        if max_age is None:
            self.ring = kinds.ring_type("a->b", capacity, POLICIES[policy])
        else:
            self.ring = kinds.limited_ring_type(
                "a->b", capacity, POLICIES[policy], max_age_ns=max_age, size=lambda _: 1, clock=self.clock
            )
        self.put_at: list[int] = []
        self.looked = False
        self.expected = Histogram()
        self.engine.add_node(1, "end", "map", print, {})
        self.engine.attach(self.ring, 1, "in", 2)

    def clock(self) -> int:
        return self.now

    def look(self) -> int | None:
        self.looked = True
        return self.ring.time_hops(self.clock)

    def next(self, n: int) -> list[Any]:
        made = list(range(len(self.put_at), len(self.put_at) + n))
        self.put_at += [self.now if self.looked else -1] * n
        return made

    def put(self, n: int = 1) -> None:
        """Put ``n`` items at once."""
        self.ring.offer(self.next(n))

    def took(self, items: list[Any], at: int | None = None) -> None:
        for item in items:
            if not isinstance(item, Message) and self.put_at[item] >= 0:
                self.expected.add((self.now if at is None else at) - self.put_at[item])

    def take(self, n: int = 1) -> None:
        """Take ``n`` items at once."""
        self.took(self.ring.take(n))

    def measured(self) -> Histogram:
        self.look()
        return self.ring.hops.times

    def as_expected(self) -> None:
        measured = self.measured()
        assert measured.counts == self.expected.counts
        assert (measured.n, measured.most) == (self.expected.n, self.expected.most)


def do(timed: Timed, op: str, n: int) -> None:
    """Change the ring in one of the ways there are."""
    ring = timed.ring
    if op == "put":
        ring.put(*timed.next(1))
    elif op == "put many":
        ring.put_many(timed.next(n))
    elif op == "put control":
        ring.put(Message(CONTROL, "stop"))
    elif op == "offer":
        timed.put(n)
    elif op == "take":
        timed.take(n)
    elif op == "take many":
        timed.took(ring.take_many(n))
    elif op == "take control":
        ring.take_control(n)
    elif op == "get":
        if ring.depth():
            try:
                timed.took([ring.get()])
            except IndexError:  # it was too old
                return
    elif op == "capacity":
        ring.set_capacity(n)
    else:
        batch, at = ring.take(n, True), timed.now
        if op == "put meanwhile" and ring.policy is POLICIES["block"]:
            timed.now += 7
            ring.put(*timed.next(1))
        timed.now += 5
        handled = min((n + 1) // 2, len(batch))
        ring.settle(len(batch), batch[handled:])
        timed.took(batch[:handled], at)


OPS = (
    "put", "put many", "put control", "offer", "take", "take many", "take control", "get", "capacity", "give back",
    "put meanwhile",
)  # fmt: skip


@pytest.mark.req("N6", "V14", "X1")
def test_all_that_comes_after_a_look_is_timed_whatever_is_lost_merged_given_back_or_overtaken(engine):
    @given(
        policy=st.sampled_from(sorted(POLICIES)),
        capacity=st.integers(1, 6),
        max_age=st.none() | st.integers(0, 200),
        before=st.lists(st.tuples(st.sampled_from(OPS), st.integers(1, 5)), max_size=4),
        ops=st.lists(st.tuples(st.sampled_from(OPS), st.integers(1, 5), st.integers(0, 100)), max_size=30),
    )
    def check(policy: str, capacity: int, max_age: int | None, before: Any, ops: Any) -> None:
        timed = Timed(engine, policy, capacity, max_age)
        for op, n in before:
            do(timed, op, n)
        for i, (op, n, ns) in enumerate(ops):
            if i % 2 == 0:  # no two operations take more sections than one look pays for
                timed.look()
            do(timed, op, n)
            timed.now += ns
        timed.as_expected()

    check()


@pytest.mark.req("V14")
@given(times=st.lists(st.integers(0, 1 << 62) | st.integers(0, 100), min_size=1, max_size=300))
def test_percentiles_are_off_by_no_more_than_a_thirty_second(times):
    histogram = Histogram()
    for ns in times:
        histogram.add(ns)
    shares = (0.5, 0.9, 0.99, 1.0)
    for share, found in zip(shares, histogram.percentiles(*shares), strict=True):
        exact = sorted(times)[ceil(share * len(times)) - 1]
        assert abs(found - exact) * 32 <= exact
    assert (histogram.n, histogram.most) == (len(times), max(times))
    assert len(histogram.counts) < 1000


@pytest.mark.req("V14")
def test_without_any_times_all_percentiles_are_zero_and_times_up_to_31_ns_are_exact():
    histogram = Histogram()
    assert histogram.percentiles(0.5, 0.99) == (0, 0)
    for ns in range(32):
        histogram.add(ns)
    assert histogram.percentiles(0.5, 1.0) == (15, 31)
    assert histogram.counts == dict.fromkeys(range(32), 1)


@pytest.mark.req("N6", "X1")
def test_nothing_is_noted_before_a_look_nor_when_what_it_paid_for_is_used_up(engine):
    timed = Timed(engine)
    timed.put()
    timed.take()
    assert (timed.ring.hops, timed.ring.timing) == (None, False)
    timed.look()
    for sections in range(TO_COME + 2):
        assert timed.ring.timing is (sections <= TO_COME), sections
        if sections % 2:
            timed.take()
        else:
            timed.put()
        timed.now += 10
    timed.put()
    timed.now += 1_000_000
    timed.take()
    measured = timed.measured()
    assert (measured.n, measured.most) == (TO_COME // 2, 10)
    assert timed.ring.timing


@pytest.mark.req("N6", "V14")
def test_what_is_still_there_when_a_look_is_used_up_left_at_an_even_pace_until_the_next_one(engine):
    timed = Timed(engine)
    timed.look()
    timed.put(1000)
    timed.now = 1_000
    for _ in range(TO_GO + 1):
        timed.ring.take_many(0)  # sections without a change use it up as well
    assert not timed.ring.timing
    timed.now = 5_000
    timed.take(500)
    timed.now = 9_000
    measured = timed.measured()
    (median,) = measured.percentiles(0.5)
    assert measured.n == 500
    assert abs(median - 5_000) * 32 <= 5_000
    timed.now = 20_000
    timed.take(500)
    timed.now = 21_000
    measured = timed.measured()
    assert (measured.n, measured.most) == (1000, 20_000)


@pytest.mark.req("N6", "V14")
def test_what_left_unseen_gives_no_time_if_some_of_it_was_lost(engine):
    timed = Timed(engine, "latest", 8)
    timed.look()
    timed.put(8)
    for _ in range(TO_GO + 1):
        timed.ring.take_many(0)
    timed.put(2)
    timed.take(3)
    assert timed.measured().n == 0
    timed.put(1)
    timed.now += 4
    timed.take(6)
    assert timed.measured().counts == {4: 4}  # three of the eight, and the one after the look


@pytest.mark.req("N6", "V14")
def test_the_age_of_the_head_is_exact_where_it_was_timed_and_else_since_somebody_saw_it(engine):
    timed = Timed(engine)
    assert timed.look() is None  # nothing is there
    timed.now = 5
    timed.put(2)
    timed.now = 9
    timed.put()
    timed.now = 20
    assert timed.look() == 5
    timed.take()
    assert timed.look() == 5
    timed.take()
    assert timed.look() == 9
    timed.take()
    assert timed.look() is None
    unseen = Timed(engine)
    unseen.put(3)
    unseen.now = 100
    assert unseen.look() is None  # nobody knows
    unseen.now = 150
    unseen.take()
    assert unseen.look() == 100
    unseen.take(2)
    assert unseen.look() is None


@pytest.mark.req("N6", "V14")
def test_no_more_batches_are_noted_than_the_bound_and_the_head_is_known_all_the_same(engine):
    timed = Timed(engine)
    for _ in range(MOST_UNDER_WAY * 3):
        timed.look()
        timed.put()
        timed.now += 1
    assert timed.look() == 0
    timed.take(MOST_UNDER_WAY * 2)
    assert timed.measured().n <= MOST_UNDER_WAY
    assert 0 <= timed.look() <= timed.now


@pytest.mark.req("N6", "V14")
def test_a_ring_that_serves_another_run_is_timed_anew(engine):
    timed = Timed(engine)
    timed.look()
    timed.put(3)
    timed.take()
    timed.engine.detach()
    assert timed.ring.hops is None
    timed.engine.rings.clear()
    timed.engine.attach(timed.ring, 1, "in", 2)
    timed.expected = Histogram()
    timed.take()  # the sections of the run before are over
    assert not timed.ring.timing
    timed.look()
    timed.now += 3
    timed.put()
    timed.now += 4
    timed.take(2)
    assert timed.measured().counts == {4: 1}


@pytest.mark.req("N6", "X1")
def test_a_look_in_the_midst_of_a_section_is_answered_with_nothing(engine):
    seen: list[Any] = []

    def merge(old: int, new: int) -> int:
        seen.append((ring.time_hops(lambda: 0), ring.timing))
        return new

    ring = engine.ring_type("a->b", 1, Coalesce(merge))
    ring.put(1)
    ring.put(2)
    assert seen == [(None, False)]
    assert (ring.time_hops(lambda: 0), ring.timing) == (None, True)


@pytest.mark.req("N6", "X1")
def test_a_clock_that_fails_costs_the_look_and_leaves_the_ring_as_it_was(engine):
    def broken() -> int:
        raise ZeroDivisionError

    ring = engine.ring_type("a->b", 2, Block())
    with pytest.raises(ZeroDivisionError):
        ring.time_hops(broken)
    assert not ring.timing
    others = threading.Thread(target=ring.put, args=(1,))
    others.start()
    others.join(60)
    assert ring.get() == 1


@pytest.mark.req("N6", "X1")
def test_other_threads_look_put_and_take_and_every_time_is_counted_once(engine):
    timed = Timed(engine)
    each, rounds = 50, 20
    go = threading.Barrier(3)
    ends: list[int] = []

    def put() -> None:
        go.wait()
        for _ in range(each * rounds):
            timed.ring.put(1)

    def take() -> None:
        n = 0
        go.wait()
        while n < 2 * each * rounds:
            timed.look()
            n += len(timed.ring.take_many(7))
        ends.append(n)

    threads = [threading.Thread(target=put), threading.Thread(target=take)]
    for thread in threads:
        thread.start()
    go.wait()
    for _ in range(rounds):
        timed.ring.offer([1] * each)
    for thread in threads:
        thread.join(60)
    assert ends == [2 * each * rounds]
    timed.look()
    assert timed.ring.hops.times.n <= 2 * each * rounds
    assert timed.ring.depth() == 0
    timed.ring.take_many(0)
    assert timed.look() is None


@pytest.mark.req("V14")
def test_what_comes_back_although_it_was_the_first_of_its_batch_is_counted_once():
    hops = Hops(iter(range(0, 1000, 10)).__next__)
    hops.look(0, 0, 0, 0)
    hops.note(0, 0, 0, 0)  # at 10: a put of one item
    hops.note(1, 0, 0, 0)  # at 20: it is taken
    hops.note(1, 1, 0, 0)  # at 30: it comes back
    hops.note(1, 0, 0, 0)  # at 40: it is taken again
    hops.note(1, 1, 0, 0)
    assert hops.times.counts == {10: 1}


@pytest.mark.req("N6", "V14")
@pytest.mark.parametrize("late", [Hops.note, Hops.look])
def test_counts_that_are_told_late_change_nothing(late):
    hops = Hops(iter(range(0, 1000, 10)).__next__)
    hops.look(0, 0, 0, 0)
    hops.note(0, 0, 0, 0)  # at 10: three are put
    hops.note(3, 0, 0, 0)  # at 20: two of them are taken
    hops.note(3, 2, 0, 0)
    late(hops, 1, 0, 0, 0)
    hops.note(3, 2, 0, 0)  # at 50: the third is taken
    hops.note(3, 3, 0, 0)
    assert hops.times.counts == {10: 2, 36: 1}  # the bucket of 40 ns


@pytest.mark.req("N6")
def test_sections_that_begin_while_others_look_cost_nobody_a_look():
    """On the Rust engine nothing else keeps the two apart: both are Python code, and threads take turns within it."""
    kept = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    hops = Hops(lambda: 0)
    came, failed = 0, []

    def work():
        nonlocal came
        try:
            for _ in range(20_000):
                came += 2
                hops.note(came, max(came - 10, 0), 0, 0)
        except BaseException as error:
            failed.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        while worker.is_alive():
            now = came
            hops.look(now, max(now - 10, 0), 0, 0)
    finally:
        worker.join()
        sys.setswitchinterval(kept)
    assert failed == []
