"""Other threads get the interpreter while a graph is busy: a look, an exporter, a handler in a thread."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import Any

import pytest

from meridian import Scheduler, graph, node, sink, source
from meridian.runtime import threads
from meridian.runtime.threads import BUSY, EVERY_NS, EXPECTED_NS, PAUSE_S, SOON_NS, OtherThreads, expect_more

pytestmark = pytest.mark.req("V2", "X2")

TIMES = 25
PATIENCE_S = 30.0


@pytest.fixture
def computing():
    """Begin a thread that lets the interpreter go and wants it back, again and again; an event says when it is through."""
    through = threading.Event()

    def work() -> None:
        reading, writing = os.pipe()
        for _ in range(TIMES):
            os.write(writing, b".")
            os.read(reading, 1)
        os.close(reading)
        os.close(writing)
        through.set()

    thread = threading.Thread(target=work)
    return thread, through


@node
def plain(x: int) -> int:
    return sum(range(2_000))  # some 20 microseconds, so that a slice is a slice


@node
async def asynchronous(x: int) -> int:
    return sum(range(2_000))


@node
async def suspends(x: int) -> int:
    await asyncio.sleep(0)
    return sum(range(50_000))


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("kind", [plain, asynchronous, suspends], ids=lambda kind: kind.name)
def test_a_thread_is_let_in_while_a_graph_is_busy(computing, kind):
    thread, through = computing
    until_s = time.monotonic() + PATIENCE_S

    def numbers() -> Any:
        n = 0
        while not through.is_set() and time.monotonic() < until_s:
            if n == 100:
                thread.start()
            yield n
            n += 1

    scheduler = Scheduler()
    scheduler.register(graph("g", source(numbers, name="s") >> kind >> sink(lambda _: None, name="t")))
    scheduler.run()
    thread.join()
    assert time.monotonic() < until_s


class Machine:
    """Clocks, threads and sleep of a machine that is made up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = self.computed_ns = 0
        self.threads = 2
        self.slept: list[float] = []
        monkeypatch.setattr(threads, "monotonic_ns", lambda: self.now_ns)
        monkeypatch.setattr(threads, "thread_time_ns", lambda: self.computed_ns)
        monkeypatch.setattr(threads, "active_count", lambda: self.threads)
        monkeypatch.setattr(threads, "sleep", self.slept.append)
        monkeypatch.setattr(threads, "_expected_until_ns", 0)

    def passes(self, ns: float, share: float = 1.0) -> None:
        self.now_ns += int(ns)
        self.computed_ns += int(ns * share)


def test_a_busy_run_pauses_as_often_as_is_said_and_no_oftener(monkeypatch):
    machine = Machine(monkeypatch)
    others = OtherThreads()
    for _ in range(100):
        machine.passes(EVERY_NS / 10)
        others.let_in()
    assert machine.slept == [PAUSE_S] * 10


def test_somebody_who_is_expected_is_let_in_sooner_and_for_a_while_only(monkeypatch):
    machine = Machine(monkeypatch)
    others = OtherThreads()
    expect_more()
    for _ in range(10 * EXPECTED_NS // SOON_NS):
        machine.passes(SOON_NS)
        others.let_in()
    expected = EXPECTED_NS // SOON_NS - 1
    later = (10 * EXPECTED_NS - expected * SOON_NS) // EVERY_NS
    assert len(machine.slept) == expected + later


@pytest.mark.parametrize(
    ("share", "threads_", "why"),
    [(BUSY - 0.05, 2, "it waited meanwhile"), (1.0, 1, "it is alone")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_run_does_not_pause_if(monkeypatch, share, threads_, why):
    machine = Machine(monkeypatch)
    machine.threads = threads_
    others = OtherThreads()
    for _ in range(100):
        machine.passes(EVERY_NS, share)
        others.let_in()
    assert machine.slept == []
