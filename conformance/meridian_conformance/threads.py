"""Threads: let several use one edge at once, write down what each call began and ended with, and check the history.

The history of a first in, first out edge needs no search: four passes, each linear but for a sort, say whether it could
have happened one call at a time. Nothing lost; nothing twice; each producer's items in its order; and what was put before
another was begun is not taken after it.
"""

from __future__ import annotations

import sys
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, pairwise
from typing import TYPE_CHECKING, Any, Final

from meridian_conformance import replay, rules
from meridian_conformance.checks import Examination, check
from meridian_conformance.contract import EMPTY, EdgeSpec, Put
from meridian_conformance.require import RuleViolation, require, seen
from meridian_conformance.session import discard

if TYPE_CHECKING:
    from types import FrameType

    from meridian_conformance.failures import Trace

SWITCH_S: Final = 1e-6
"""How long one thread may run before another one gets the interpreter: as short as it goes."""

PAUSE_S: Final = 1e-6
"""Long enough for another thread to get the interpreter, whatever else the machine does: this one really sleeps."""

PATIENCE_S: Final = 10.0
"""A round that takes longer hangs."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    Attributes:
        thread: Who called.
        puts: Whether it put.
        item: What was put or taken: (producer, serial).
        began: Tick at which it began.
        ended: Tick at which it ended.
        result: What a put answered.
    """

    thread: int
    puts: bool
    item: tuple[int, int]
    began: int
    ended: int
    result: str = "OK"


@contextmanager
def switching_often() -> Generator[None]:
    """Let threads take turns as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


SPECS: Final = (EdgeSpec(1), EdgeSpec(3), EdgeSpec(64), EdgeSpec(2, "drop"), EdgeSpec(2, "latest"))


@check("threads", judges=["EDGE-140"], needs=["threads"])
def threads(exam: Examination) -> None:
    """Let threads put and take at once, round after round.

    Left to themselves, few of their calls overlap, and on a busy machine hardly any. So in every other round each thread
    pauses for a moment at some lines of the backend's own code, and the others go on meanwhile. Into compiled code there is
    no such way; there are more rounds then, until enough calls overlapped or the time is up.
    """
    rule = rules.find("EDGE-140")
    with switching_often():
        for n in count(1):
            for spec in SPECS:
                exam.runs += 1
                try:
                    play_round(exam.backend, spec, items=40, pause_every=0 if n % 2 else 3 + n % 16)
                except RuleViolation as violation:
                    exam.found([violation], spec, [], player="threads")
            if exam.over or rule.id in exam.failures:
                exam.note = f"{n} rounds"
                return
            if n >= exam.effort.rounds and exam.judge.often_enough(rule):
                return


def play_round(
    backend: Any, spec: EdgeSpec, items: int, producers: int = 2, consumers: int = 2, pause_every: int = 0
) -> None:
    """Play one round and judge it.

    Args:
        backend: Who opens the edge.
        spec: The edge.
        items: How many each producer puts.
        producers: Threads that put.
        consumers: Threads that take.
        pause_every: Each thread pauses at every so many lines of the backend's code; never if 0.

    Raises:
        RuleViolation: its history can't have happened one call at a time.
    """
    edge = backend.open(spec)
    try:
        _Round(edge, spec, items, producers, consumers, pause_every).play()
    finally:
        discard(backend, edge)


def _pauses(every: int) -> Callable[[FrameType, str, Any], Any]:
    """Return a trace function that pauses at every so many lines of code that isn't this module's."""
    lines = 0

    def pause(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal lines
        del arg
        if frame.f_code.co_filename == __file__:
            return None
        if event == "line":
            lines += 1
            if not lines % every:
                time.sleep(PAUSE_S)
        return pause

    return pause


class _Round:
    def __init__(
        self, edge: Any, spec: EdgeSpec, items: int, producers: int, consumers: int, pause_every: int
    ) -> None:
        self.edge = edge
        self.spec = spec
        self.items = items
        self.n = (producers, consumers)
        self.pause_every = pause_every
        self.tick: Callable[[], int] = count().__next__
        self.calls: list[list[Call]] = []
        self.errors: list[BaseException] = []
        self.deepest = 0
        self.ended: list[
            int
        ] = []  # kept here: Thread.is_alive() doesn't bear that its callers are paused in the middle
        self.over = time.monotonic() + PATIENCE_S
        self.start = threading.Event()

    def play(self) -> None:
        producers, consumers = self.n
        workers = [self.worker(self.produce, i) for i in range(producers)]
        workers += [self.worker(self.consume, producers + i) for i in range(consumers)]
        for worker in workers:
            worker.start()
        self.start.set()
        while any(worker.is_alive() for worker in workers) and time.monotonic() < self.over + 1.0:
            self.deepest = max(self.deepest, self.edge.depth())
            time.sleep(0)
        require("EDGE-140", not any(worker.is_alive() for worker in workers), hangs=True)
        require("EDGE-140", not self.errors, raised=[type(error).__name__ for error in self.errors])
        self.judge()

    def worker(self, work: Callable[[int, list[Call]], None], i: int) -> threading.Thread:
        calls: list[Call] = []
        self.calls.append(calls)

        def run() -> None:
            self.start.wait(PATIENCE_S)
            if self.pause_every:
                sys.settrace(_pauses(self.pause_every))  # of this thread, which ends with its work
            try:
                work(i, calls)
            except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
                self.errors.append(error)
            finally:
                self.ended.append(i)

        return threading.Thread(target=run, daemon=True)

    def produce(self, i: int, calls: list[Call]) -> None:
        put, tick = self.edge.put, self.tick
        for serial in range(self.items):
            while True:
                began = tick()
                result = str(put((i, serial)))
                calls.append(Call(i, True, (i, serial), began, tick(), result))
                if result != Put.BLOCKED or time.monotonic() > self.over:
                    break
                time.sleep(0)

    def consume(self, i: int, calls: list[Call]) -> None:
        get, tick = self.edge.get, self.tick
        empty_before = False
        while time.monotonic() < self.over:
            over = sum(i < self.n[0] for i in self.ended) == self.n[0]
            began = tick()
            item = get()
            if item is not EMPTY:
                calls.append(Call(i, False, item, began, tick()))
                empty_before = False
            elif over and empty_before:
                return
            else:
                empty_before = over
                time.sleep(0)

    # ---- judging ---------------------------------------------------------------------------------------------

    def judge(self) -> None:
        spec = self.spec
        calls = [call for each in self.calls for call in each]
        puts = [call for call in calls if call.puts and call.result != Put.BLOCKED]
        gets = [call for call in calls if not call.puts]
        self.count_overlaps(calls)
        facts = {"capacity": spec.capacity, "policy": spec.policy}
        require("EDGE-140", self.deepest <= spec.capacity, depth=self.deepest, **facts)
        put, taken = Counter(call.item for call in puts), Counter(call.item for call in gets)
        left = self.edge.depth()
        nothing_lost = put == taken if spec.policy == "block" else not taken - put
        if spec.policy == "block":
            require("EDGE-140", not put - taken, lost=len(put - taken), **facts)
        require("EDGE-140", nothing_lost, twice_or_invented=len(taken - put), **facts)
        self.judge_order(puts, gets)
        counters = self.edge.counters()
        told = (counters["accepted"], counters["delivered"])
        require(
            "EDGE-140",
            told == (len(puts), len(gets)),
            accepted_and_delivered=told,
            calls=(len(puts), len(gets)),
        )
        out = counters["delivered"] + left + counters["merged"] + sum(counters["lost"].values())
        require("EDGE-140", counters["accepted"] == out, counters=dict(counters), depth=left)

    def judge_order(self, puts: Sequence[Call], gets: Sequence[Call]) -> None:
        last: dict[tuple[int, int], int] = {}
        for call in gets:  # each thread's own calls are in order
            producer, serial = call.item
            before = last.get((call.thread, producer), -1)
            require("EDGE-140", before < serial, producer=producer, took=serial, after=before)
            last[call.thread, producer] = serial
        taken = {call.item: call for call in gets}
        if self.spec.policy == "block":
            both = [(call, taken[call.item]) for call in puts if call.item in taken]
        else:
            both = [
                (call, taken[call.item]) for call in puts if call.item in taken and call.result != Put.DROPPED
            ]
        both.sort(key=lambda pair: pair[0].began)
        began = [put.began for put, _ in both]
        first_end = [0] * len(both) + [1 << 62]  # of the takes of all that were put from here on
        for i in range(len(both) - 1, -1, -1):
            first_end[i] = min(first_end[i + 1], both[i][1].ended)
        for put, get in both:
            later = first_end[bisect_right(began, put.ended)]
            require("EDGE-140", get.began <= later, put_first_and_taken_last=put.item)

    def count_overlaps(self, calls: Sequence[Call]) -> None:
        ordered = sorted(calls, key=lambda call: call.began)
        two_puts = put_and_get = 0
        for one, other in pairwise(ordered):
            if other.began < one.ended and one.thread != other.thread:
                two_puts += one.puts and other.puts
                put_and_get += one.puts != other.puts
        seen("EDGE-140", "puts of two threads overlapped", two_puts)
        seen("EDGE-140", "a put and a get overlapped", put_and_get)
        full = sum(call.puts and call.result != Put.OK for call in calls)
        seen("EDGE-140", "full while threads put", full)


def _replay(backend: Any, trace: Trace) -> None:
    """Play rounds until one breaks the rule, or twenty didn't."""
    with switching_often():
        for n in range(20):
            play_round(backend, EdgeSpec.from_json(trace.spec), items=40, pause_every=0 if n % 2 else 3 + n)


replay.PLAYERS["threads"] = replay.player_from(_replay)
