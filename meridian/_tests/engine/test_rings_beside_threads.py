"""Real threads at one ring while a coalesce function or a policy of the user's runs in it, on both engines."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from meridian.core.message import CONTROL, Message
from meridian.core.policies import Block, Coalesce, PutResult
from meridian.engine.select import engine_type

pytestmark = pytest.mark.req("V3", "N2.1")


class Gate:
    """Where the first thread that gets there waits until it is let on."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()

    def pass_through(self) -> None:
        self.reached.set()
        assert self.open.wait(60)


class Asks:
    """A policy that takes what fits, and stops at a gate before it answers."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def on_enqueue(self, capacity: int, size: int, item: Any) -> PutResult:
        self.gate.pass_through()
        return PutResult.OK if size < capacity else PutResult.REPLACED


def slow(reach: str, gate: Gate) -> Any:
    """Return a ring of one item whose user code stops at ``gate``; it holds one already if that takes a merge."""
    if reach == "policy":
        return engine_type().ring_type("a->b", 1, Asks(gate))

    def merge(old: int, new: int) -> int:
        gate.pass_through()
        return old + new

    ring = engine_type().ring_type("a->b", 1, Coalesce(merge))
    ring.put(1)
    return ring


def beside(ring: Any, gate: Gate, others: list[Callable[[], Any]]) -> list[Any]:
    """Let one thread stand in the user code of ``ring`` while others use the ring; return their results in order."""
    results: list[Any] = [None] * len(others)

    def call(n: int) -> None:
        results[n] = others[n]()

    first = threading.Thread(target=ring.put, args=(2,))
    first.start()
    assert gate.reached.wait(60)
    threads = [threading.Thread(target=call, args=(n,)) for n in range(len(others))]
    for thread in threads:
        thread.start()
    assert all(result is None for result in results), "nobody gets in while user code runs"
    gate.open.set()
    for thread in [first, *threads]:
        thread.join(60)
        assert not thread.is_alive()
    return results


@pytest.mark.parametrize("reach", ["policy", "merge"])
def test_whoever_gets_waits_until_the_user_code_is_out_and_gets_its_result(reach: str):
    ring = slow(reach, gate := Gate())
    (got,) = beside(ring, gate, [ring.get])
    assert got == (2 if reach == "policy" else 3)
    assert (ring.depth(), ring.taken, ring.inside) == (0, 1, 0)


@pytest.mark.parametrize("reach", ["policy", "merge"])
def test_whoever_puts_control_waits_and_finds_the_ring_full(reach: str):
    ring = slow(reach, gate := Gate())
    (answer,) = beside(ring, gate, [lambda: ring.put(Message(CONTROL, "stop"))])
    assert answer is PutResult.BLOCKED
    assert (ring.depth(), list(ring.items)) == (1, [2 if reach == "policy" else 3])


@pytest.mark.parametrize("reach", ["policy", "merge"])
def test_a_capacity_that_is_changed_meanwhile_counts_afterwards(reach: str):
    ring = slow(reach, gate := Gate())
    beside(ring, gate, [lambda: ring.set_capacity(3)])
    assert (ring.capacity, ring.room()) == (3, 2)


@pytest.mark.parametrize("reach", ["policy", "merge"])
def test_no_put_of_many_threads_is_lost_and_the_ring_never_holds_too_much(reach: str):
    ring = slow(reach, gate := Gate())
    depths: list[int] = []

    def put() -> PutResult:
        answer = ring.put(10)
        depths.append(ring.depth())
        return answer

    answers = beside(ring, gate, [put] * 8)
    if reach == "policy":
        assert answers == [PutResult.REPLACED] * 8
        assert (list(ring.items), ring.lost) == ([10], {"replaced": 8})
    else:
        assert answers == [PutResult.COALESCED] * 8
        assert (list(ring.items), ring.merged) == ([83], 9)
    assert set(depths) == {1}


def test_threads_that_put_and_get_at_once_keep_order_and_balance():
    ring = engine_type().ring_type("a->b", 3, Block())
    got: dict[int, list[int]] = {0: [], 1: []}
    most, left = [0], threading.Barrier(4)

    def produce(who: int) -> None:
        left.wait(60)
        for n in range(100):
            while ring.put((who, n)) is PutResult.BLOCKED:
                time.sleep(0)

    def consume() -> None:
        left.wait(60)
        while sum(map(len, got.values())) < 200:
            most[0] = max(most[0], ring.depth())
            try:
                who, n = ring.get()
            except IndexError:
                time.sleep(0)
                continue
            got[who].append(n)

    threads = [threading.Thread(target=produce, args=(who,)) for who in (0, 1)]
    threads.append(threading.Thread(target=consume))
    for thread in threads:
        thread.start()
    left.wait(60)
    for thread in threads:
        thread.join(60)
    assert got == {0: list(range(100)), 1: list(range(100))}
    assert most[0] <= 3
    assert (ring.accepted(), ring.taken, ring.depth()) == (200, 200, 0)
