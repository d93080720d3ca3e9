"""Asynchronous schedules: who begins to wait when, who is cancelled, how often the loop turns in between.

Hypothesis has no asynchronous rules, and needs none: a schedule is a list of steps that one coroutine plays on a loop in
virtual time. Between steps the loop turns as often as the schedule says, so a cancellation can fall into any gap that the
backend leaves. The order of the loop's own callbacks is never changed: first in, first out is asyncio's promise, and
breaking it would accuse correct code.

What is judged needs no model of the order of events. When the loop has nothing left to do, nobody may wait for what is
there (`_judge_rest`); and when all is over, what came out has to be what was accepted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from meridian.testing.clock import VirtualLoop
from meridian_conformance import replay
from meridian_conformance.checks import Examination, check
from meridian_conformance.contract import CLOSED, EMPTY, EdgeSpec, Put
from meridian_conformance.failures import Step, Trace
from meridian_conformance.payloads import payload, shown
from meridian_conformance.require import RuleViolation, seen
from meridian_conformance.session import Broken, Judged, discard

if TYPE_CHECKING:
    from meridian_conformance.contract import Counters

JUDGED: Final = (
    "EDGE-101",
    "EDGE-102",
    "EDGE-103",
    "EDGE-104",
    "EDGE-120",
    "EDGE-121",
    "EDGE-122",
    "EDGE-124",
    "EDGE-125",
)

MOST_TURNS: Final = 300
"""A loop that isn't idle after so many turns never will be."""

SETTLE = Step("settle")


class Loop(VirtualLoop):
    """A loop in virtual time that can say whether anything is left to do."""

    def idle(self) -> bool:
        """Say whether no callback is due; asked from within one."""
        ready: Any = getattr(self, "_ready")  # noqa: B009 - the queue of every asyncio loop; there is no public way to ask
        return not ready

    def timers(self) -> int:
        """Return how many timers are set."""
        scheduled: Any = getattr(self, "_scheduled")  # noqa: B009 - as above
        return sum(not handle.cancelled() for handle in scheduled)

    def watches(self) -> bool:
        """Say whether it watches sockets or pipes of others."""
        return len(self._jumping.get_map()) > self._jumping.own


@dataclass(eq=False)
class Waiter:
    """One call of `put_wait` or `get_wait`.

    Attributes:
        name: Its name in the schedule.
        puts: Whether it puts.
        item: What it puts.
        task: The call.
        began: Its place among all calls.
        parked: It waited when the loop had nothing left to do.
        cancelled: It was cancelled by the schedule; ``at rest``, when the loop had nothing left to do.
        ended: Its place among all ended calls.
    """

    name: str
    puts: bool
    item: Any
    task: asyncio.Task[Any]
    began: int
    parked: bool = False
    cancelled: str = ""
    ended: int = -1
    counted: bool = False


@dataclass
class Playing(Judged):
    """A schedule that is being played.

    Attributes:
        backend: Who opened the edge.
        spec: What was opened.
        edge: The edge.
        loop: On which it is played.
        steps: What was done so far.
    """

    spec: EdgeSpec
    edge: Any
    loop: Loop
    steps: list[Step] = field(default_factory=list[Step])
    waiters: list[Waiter] = field(default_factory=list[Waiter])
    broken: list[RuleViolation] = field(default_factory=list[RuleViolation])
    accepted: list[Any] = field(default_factory=list[Any])
    refused: list[Any] = field(default_factory=list[Any])
    taken: list[Any] = field(default_factory=list[Any])
    results: Counter[str] = field(default_factory=Counter[str])
    at: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    closed: bool = False
    at_rest: bool = True
    ended: int = 0
    cancels: int = 0
    now: int = 0

    @property
    def wake_rule(self) -> str:
        """The rule that a lost wake-up breaks: with a cancellation before, that is what it left behind."""
        return "EDGE-122" if self.cancels else "EDGE-120"

    # ---- steps -----------------------------------------------------------------------------------------------

    async def play(self, step: Step) -> None:
        op, args = step.op, step.args
        self.now += 1
        if op == "turns":
            await self.turn(args[0])
        elif op == "settle":
            await self.settle()
        elif op == "put_wait":
            self.begin(True, args)
        elif op == "get_wait":
            self.begin(False, args)
        elif op == "cancel":
            self.cancel(args[0])
        elif op == "put":
            self.put(args[0])
        elif op == "get":
            self.get()
        elif op == "close":
            self.close()
        self.steps.append(step)
        self.stop_if_broken()

    async def turn(self, n: int) -> None:
        for _ in range(n):
            await asyncio.sleep(0)
        self.at_rest = False

    async def settle(self) -> None:
        """Let the loop turn until it has nothing left to do, then judge."""
        for _ in range(MOST_TURNS):
            await asyncio.sleep(0)
            if self.loop.idle():
                if self.loop.watches() and any(not waiter.task.done() for waiter in self.waiters):
                    await asyncio.sleep(0.05)  # answers from outside may be on their way
                    await asyncio.sleep(0.05)
                if self.loop.idle():
                    break
        else:
            self.require("EDGE-110", False, turns_of_the_loop=MOST_TURNS, waiting=self.names())
            return
        if self.loop.timers() and not self.loop.watches():
            before = self.loop.timers()
            await asyncio.sleep(1.0)
            await asyncio.sleep(0)
            self.require(
                "EDGE-110", not self.loop.timers(), timers_set_while_waiting=before, waiting=self.names()
            )
        self.judge_rest()
        self.at_rest = True

    def names(self) -> list[str]:
        return [waiter.name for waiter in self.waiters if not waiter.task.done()]

    def begin(self, puts: bool, args: Sequence[Any]) -> None:
        name = str(args[0])
        item = payload(args[1]) if puts else None
        if (
            puts
            and self.spec.policy != "block"
            and not self.closed
            and self.edge.depth() >= self.spec.capacity
        ):
            seen("EDGE-125", "waiting put on a full edge that doesn't block")
        call = self.edge.put_wait(item) if puts else self.edge.get_wait()
        waiter = Waiter(name, puts, item, self.loop.create_task(call), len(self.waiters))
        self.waiters.append(waiter)
        if puts:
            self.at[_id(item)] = (self.now, 1 << 30)

        def ended(task: asyncio.Task[Any]) -> None:
            self.ended += 1
            waiter.ended = self.ended
            if not task.cancelled() and task.exception() is None:
                self.answered(waiter, task.result())

        waiter.task.add_done_callback(ended)
        self.at_rest = False

    def answered(self, waiter: Waiter, result: Any) -> None:
        if not waiter.puts:
            if result is not CLOSED and result is not EMPTY:
                self.taken.append(result)
        elif str(result) in (Put.OK, Put.REPLACED, Put.COALESCED, Put.DROPPED):
            self.accept(waiter.item, str(result))
        else:
            self.refused.append(waiter.item)

    def accept(self, item: Any, result: str) -> None:
        self.results[result] += 1
        began, _ = self.at.get(_id(item), (self.now, self.now))
        self.at[_id(item)] = (began, self.now)
        (self.refused if result == Put.DROPPED else self.accepted).append(item)

    def cancel(self, which: str) -> None:
        """Cancel a call by name; ``p`` and ``g`` stand for the one that has been waiting longest."""
        for waiter in self.waiters:
            mine = waiter.name == which or (which in ("p", "g") and waiter.puts == (which == "p"))
            if mine and not waiter.task.done() and not waiter.cancelled:
                self.cancels += 1
                if waiter.parked:
                    seen("EDGE-122", f"parked {'producer' if waiter.puts else 'consumer'} cancelled")
                waiter.cancelled = "at rest" if self.at_rest and waiter.parked else "on the way"
                waiter.task.cancel()
                break
        # What follows at once isn't at rest any more: a cancelled call may have woken another.
        self.at_rest = False

    def put(self, arg: Any) -> None:
        item = payload(arg)
        self.at[_id(item)] = (self.now, self.now)
        result = str(self.edge.put(item))
        if result in (Put.BLOCKED, Put.CLOSED):
            self.refused.append(item)
        else:
            self.accept(item, result)
        self.at_rest = False

    def get(self) -> None:
        item = self.edge.get()
        if item is not EMPTY:
            self.taken.append(item)
        self.at_rest = False

    def close(self) -> None:
        if not self.closed:
            waiting = [waiter for waiter in self.waiters if waiter.parked and not waiter.task.done()]
            for waiter in waiting:
                seen("EDGE-124", f"closed while a {'producer' if waiter.puts else 'consumer'} was parked")
            if len(waiting) > 1:
                seen("EDGE-124", "closed while two waited")
        self.closed = True
        self.edge.close()
        self.at_rest = False

    # ---- when nothing is left to do --------------------------------------------------------------------------

    def judge_rest(self) -> None:
        """Nobody waits for what is there; whoever ended, ended rightly."""
        spec = self.spec
        depth = self.edge.depth()
        self.require("EDGE-101", depth <= spec.capacity, depth=depth, capacity=spec.capacity)
        producers = [each for each in self.waiters if each.puts and not each.task.done()]
        consumers = [each for each in self.waiters if not each.puts and not each.task.done()]
        for each in (*producers, *consumers):
            self.require("EDGE-122", not each.cancelled, cancelled_and_still_waiting=each.name)
        facts = {"depth": depth, "capacity": spec.capacity}
        if self.closed:
            self.require("EDGE-124", not producers and not consumers, still_waiting=self.names(), **facts)
        else:
            if producers and spec.policy != "block":
                self.require("EDGE-125", False, policy=spec.policy, waiting=self.names())
            elif producers and depth < spec.capacity:
                self.require(self.wake_rule, False, producers_waiting_for_room=self.names(), **facts)
            if consumers and depth > 0:
                self.require(self.wake_rule, False, consumers_waiting_for_an_item=self.names(), **facts)
        for each in self.waiters:
            if each.task.done() and not each.counted:
                each.counted = True
                self.judge_end(each)
        for kind, word in ((producers, "producer"), (consumers, "consumer")):
            for each in kind:
                if not each.parked:
                    seen("EDGE-120", f"{word} parked")
                    each.parked = True
            if len(kind) > 1:
                seen("EDGE-121", f"two {word}s parked at once")

    def judge_end(self, waiter: Waiter) -> None:
        task, word = waiter.task, "producer" if waiter.puts else "consumer"
        if task.cancelled():
            self.require("EDGE-122", waiter.cancelled, cancelled_by_nobody=waiter.name)
            return
        error = task.exception()
        if error is not None:
            rule = "EDGE-124" if self.closed else self.wake_rule
            self.require(rule, False, call=waiter.name, raised=type(error).__name__)
            return
        result = task.result()
        if waiter.cancelled == "at rest":
            self.require("EDGE-122", False, cancelled=waiter.name, and_yet_it_returned=_told(result))
        if waiter.puts:
            told = str(result)
            if told == Put.CLOSED:
                self.require("EDGE-124", self.closed, call=waiter.name, result=told, closed=False)
            elif told == Put.BLOCKED or told not in Put.__members__:
                rule = "EDGE-122" if waiter.cancelled else "EDGE-125"
                self.require(rule, False, call=waiter.name, result=told)
        elif result is CLOSED:
            self.require("EDGE-124", self.closed and not self.edge.depth(), call=waiter.name, result="CLOSED")
        elif result is EMPTY:
            self.require(
                "EDGE-122" if waiter.cancelled else "EDGE-125", False, call=waiter.name, result="EMPTY"
            )
        if waiter.parked and result not in (Put.CLOSED, CLOSED):
            seen("EDGE-120", f"parked {word} went on")
            self.judge_order(waiter, word)

    def judge_order(self, waiter: Waiter, word: str) -> None:
        """Whoever waited longer went on before."""
        for other in self.waiters:
            if (
                other.puts == waiter.puts
                and other.parked
                and not other.cancelled
                and not waiter.cancelled
                and other.began < waiter.began
                and (not other.task.done() or other.ended > waiter.ended)
            ):
                self.require(
                    "EDGE-121",
                    False,
                    **{f"{word}_that_came_first": other.name, f"{word}_served_first": waiter.name},
                )

    # ---- when all is over ------------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Take out everything, close, and see that what came out is what was accepted."""
        await self.settle()
        self.stop_if_broken()
        for _ in range(self.spec.capacity + len(self.waiters) + 5):
            before = len(self.taken)
            self.get()
            await self.settle()
            self.stop_if_broken()
            if len(self.taken) == before:
                break
        self.close()
        await self.settle()
        self.stop_if_broken()
        for _ in range(self.spec.capacity + 5):
            self.get()
        self.judge_all()
        self.stop_if_broken()

    def judge_all(self) -> None:
        accepted, taken = Counter(map(_key, self.accepted)), Counter(map(_key, self.taken))
        facts = {"accepted": shown(self.accepted), "came_out": shown(self.taken), "policy": self.spec.policy}
        lost, invented = accepted - taken, taken - accepted
        blames = "EDGE-122" if self.cancels else "EDGE-103"
        if invented:
            closed_away = {
                _key(waiter.item)
                for waiter in self.waiters
                if waiter.puts
                and not waiter.cancelled
                and waiter.task.done()
                and waiter.task.result() == Put.CLOSED
            }
            self.require("EDGE-124" if invented.keys() & closed_away else blames, False, **facts)
        if lost and self.spec.policy in ("block", "drop"):
            self.require(blames, False, **facts)
        if not lost and not invented and self.spec.policy == "block":
            self.judge_fifo()
        if not self.broken:
            counters = self.edge.counters()
            out = (
                self.edge.depth()
                + counters["delivered"]
                + counters["merged"]
                + sum(counters["lost"].values())
            )
            self.require(
                blames, counters["accepted"] == out, counters=dict(counters), depth=self.edge.depth()
            )

    def judge_results(self, counters: Counters) -> None:
        """What the calls answered is what the edge did."""
        lost, results = counters["lost"], self.results
        told = (sum(results.values()), results[Put.DROPPED], results[Put.REPLACED], results[Put.COALESCED])
        done = (counters["accepted"], lost.get("dropped", 0), lost.get("replaced", 0), counters["merged"])
        self.require(
            "EDGE-122" if self.cancels else "EDGE-104",
            told == done,
            results_accepted_dropped_replaced_merged=told,
            counters=done,
        )

    def judge_fifo(self) -> None:
        """What was accepted before another was even begun comes out before it."""
        order = {_key(item): i for i, item in enumerate(self.taken)}
        if any(not waiter.puts and waiter.ended >= 0 for waiter in self.waiters):
            return  # several takers at once: the order in which they ended isn't the order in which they took
        for one in self.accepted:
            for other in self.accepted:
                if self.at[_id(one)][1] < self.at[_id(other)][0] and order[_key(one)] > order[_key(other)]:
                    self.require("EDGE-102", False, accepted_first=shown(one), came_out_first=shown(other))
                    return


def _key(item: Any) -> str:
    return repr(item)


def _id(item: Any) -> int:
    return hash(repr(item))


def _told(value: Any) -> str:
    return shown(value) if not isinstance(value, str) else value


# ---- playing ---------------------------------------------------------------------------------------------------------


class Stage:
    """A loop on which schedules are played one after the other; a new one whenever something was left on it."""

    def __init__(self) -> None:
        self.loop: Loop | None = None

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        if self.loop is not None:
            self.loop.close()
            self.loop = None

    def play(self, backend: Any, spec: EdgeSpec, steps: Sequence[Step]) -> None:
        """Play a schedule to its end.

        Raises:
            Broken: it broke rules.
        """
        loop = self.loop = self.loop or Loop()
        playing = Playing(spec, None, loop)
        clean = False
        try:
            loop.run_until_complete(_play(playing, backend, steps))
            clean = True
        except RuntimeError as error:  # a deadlock, or an edge of another loop
            if isinstance(error, Broken):
                raise
            playing.require("EDGE-120", False, raised=type(error).__name__)
            playing.stop_if_broken()
        finally:
            for waiter in playing.waiters:
                if not waiter.task.done():
                    waiter.task.cancel()
            left = [waiter.task for waiter in playing.waiters if not waiter.task.done()]
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=1.0))
            if playing.edge is not None:
                discard(backend, playing.edge)
            if not clean or left:
                loop.close()
                self.loop = None


async def _play(playing: Playing, backend: Any, steps: Sequence[Step]) -> None:
    playing.spec = replace(playing.spec, clock=playing.loop.time)
    playing.edge = backend.open(playing.spec)
    for step in steps:
        await playing.play(step)
    await playing.finish()


def _replay(backend: Any, trace: Trace) -> None:
    with Stage() as stage:
        stage.play(backend, EdgeSpec.from_json(trace.spec), trace.steps)


replay.PLAYERS["schedule"] = replay.player_from(_replay)

# ---- looking ---------------------------------------------------------------------------------------------------------

LETTERS: Final = "PGgxyc"
"""Begin to put, begin to get, get, cancel the oldest producer, the oldest consumer, close."""

PACES: Final[tuple[tuple[Step, ...], ...]] = ((SETTLE,), (Step("turns", (1,)),), ())
"""What happens between two steps: everything that can, one turn of the loop, nothing."""


def steps_of(letters: Sequence[str], pace: Sequence[Step]) -> list[Step]:
    """Return the steps of a schedule."""
    steps: list[Step] = []
    for i, letter in enumerate(letters):
        if letter == "P":
            steps.append(Step("put_wait", (f"p{i}", i)))
        elif letter == "G":
            steps.append(Step("get_wait", (f"g{i}",)))
        elif letter in "xy":
            steps.append(Step("cancel", ("p" if letter == "x" else "g",)))
        else:
            steps.append(Step("get" if letter == "g" else "close"))
        steps += pace
    return steps


@check("async", judges=JUDGED, needs=["async"])
def small_schedules(exam: Examination) -> None:
    """Play all short schedules on small block edges, at three paces."""
    complete = 0
    with Stage() as stage:
        for length in range(1, exam.effort.async_scope + 1):
            for letters in product(LETTERS, repeat=length):
                if letters[0] in "gxy" or (length > 1 and "".join(letters).startswith("c" * 2)):
                    continue  # nothing is there yet
                for capacity, pace in product((1, 2), PACES):
                    exam.runs += 1
                    _try(exam, stage, EdgeSpec(capacity), steps_of(letters, pace))
                if exam.over:
                    break
            if exam.over:
                break
            complete = length
    exam.note = f"all schedules up to length {complete}"


def _try(exam: Examination, stage: Stage, spec: EdgeSpec, steps: Sequence[Step]) -> bool:
    try:
        stage.play(exam.backend, spec, steps)
    except Broken as found:
        exam.found(found.violations, spec, found.steps, player="schedule")
        return False
    return True


@check("async", judges=JUDGED, needs=["async"])
def schedules(exam: Examination) -> None:
    """Play drawn schedules: many waiters, cancellations at any moment, every policy."""
    from hypothesis import given, seed, settings
    from hypothesis import strategies as st

    from meridian_conformance.machine import settings_for

    step = st.one_of(
        st.just("P"),
        st.just("PPP."),
        st.just("G"),
        st.just("GG."),
        st.sampled_from(["gg", "pp"]),
        st.just("p"),
        st.just("g"),
        st.just("x"),
        st.just("y"),
        st.integers(1, 3),
        st.just("."),
        st.just("."),
        st.sampled_from(["c", ".", "X", "Y"]),
    )
    spec = st.builds(
        EdgeSpec,
        st.integers(1, 3),
        st.sampled_from(["block", "block", "block", "drop", "latest", "coalesce"]),
        st.just("newer"),
    )
    with Stage() as stage:

        def play(spec: EdgeSpec, letters: list[Any]) -> None:
            if not exam.over:
                exam.runs += 1
                _try(exam, stage, spec, drawn_steps(letters))

        hypothesis_settings = settings(
            settings_for(exam.effort, exam.backend), max_examples=exam.effort.schedules
        )
        seed(exam.seed)(hypothesis_settings(given(spec, st.lists(step, min_size=3, max_size=25))(play)))()


def drawn_steps(letters: Sequence[Any]) -> list[Step]:
    """Return the steps of a drawn schedule; numbers are turns of the loop.

    Letters are those of the small schedules; besides, p puts without waiting, X and Y cancel the newest, a dot lets the loop settle.
    """
    steps: list[Step] = []
    named: dict[str, list[str]] = {"p": [], "g": []}
    each: list[Any] = []
    for letter in letters:
        each += [letter] if isinstance(letter, int) else list(letter)
    for i, letter in enumerate(each):
        if isinstance(letter, int):
            steps.append(Step("turns", (letter,)))
        elif letter == "P":
            named["p"].append(f"p{i}")
            steps.append(Step("put_wait", (f"p{i}", i)))
        elif letter == "G":
            named["g"].append(f"g{i}")
            steps.append(Step("get_wait", (f"g{i}",)))
        elif letter in ("X", "Y"):
            kind = "p" if letter == "X" else "g"
            steps.append(Step("cancel", (named[kind][-1] if named[kind] else kind,)))
        elif letter in ("x", "y"):
            steps.append(Step("cancel", ("p" if letter == "x" else "g",)))
        elif letter == "p":
            steps.append(Step("put", (i,)))
        else:
            steps.append({"g": Step("get"), "c": Step("close"), ".": SETTLE}[letter])
    return steps


@check("async", judges=["EDGE-110"], needs=["async"])
def idle(exam: Examination) -> None:
    """Let producers and consumers wait, and see that nothing happens meanwhile."""
    with Stage() as stage:
        for steps in (
            [Step("put", (0,)), Step("put_wait", ("p1", 1)), SETTLE, Step("get"), SETTLE],
            [Step("get_wait", ("g0",)), SETTLE, Step("put", (1,)), SETTLE],
            [Step("put", (0,)), *[Step("put_wait", (f"p{i}", i)) for i in range(1, 5)], SETTLE],
        ):
            exam.runs += 1
            _try(exam, stage, EdgeSpec(1), steps)
