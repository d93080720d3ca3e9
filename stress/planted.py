"""Faults that are planted into Meridian, to see that the scenarios see them.

    python -m stress SCENARIO --planted FAULT       plays with one
    python -m stress.planted                        plants each in turn, and says which were found
    python -m stress.planted --clean 10             then plays every scenario ten times without

Each changes one thing in the process that plays. The Rust engine's inside can't be changed that way: its own seeded faults are
compiled in, and the conformance kit looks for them (`ci/rust faults`).
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Final

from stress import record, scenarios
from stress.scenario import CAPACITY, CONSERVATION, FAIRNESS, LEFT_OVER, MEMORY, ORDER, WAITS


@dataclass(frozen=True)
class Fault:
    """One planted fault.

    Attributes:
        name: What it is called.
        sentence: What it does.
        scenario: Which scenario is to find it.
        invariant: By which invariant.
        plant: Plants it, whichever engine runs.
    """

    name: str
    sentence: str
    scenario: str
    invariant: str
    plant: Callable[[], None]


# Assigning to a method is what planting is, so each of these lines says so to mypy.


def _around_each_function(around: Callable[[Callable[..., Any], bool], Callable[..., Any]]) -> None:
    """Have ``around`` wrap the function of each node that takes one item; it is told whether that is asynchronous."""
    from meridian.runtime.observe import Observer

    function = Observer.function

    def wrapped(self: Observer, state: Any, fn: Callable[..., Any]) -> Callable[..., Any]:
        fn = function(self, state, fn)
        return around(fn, state.kind == "drive") if state.kind in ("map", "drive") else fn

    Observer.function = wrapped  # type: ignore[method-assign]  # planted


def _leak() -> None:
    kept: list[Any] = []
    calls = 0

    def around(fn: Callable[..., Any], asynchronous: bool) -> Callable[..., Any]:
        del asynchronous

        def called(item: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls % 10_000 == 0:
                kept.append(item)
            return fn(item)

        return called

    _around_each_function(around)


def _kept_runs() -> None:
    from meridian import Scheduler

    make = Scheduler.__init__
    kept: list[Scheduler] = []

    def keeps(self: Scheduler, *args: Any, **options: Any) -> None:
        make(self, *args, **options)
        kept.append(self)

    Scheduler.__init__ = keeps  # type: ignore[method-assign]  # planted


def _swallow() -> None:
    calls = 0

    async def nothing() -> None:
        """Stands for a call."""

    def around(fn: Callable[..., Any], asynchronous: bool) -> Callable[..., Any]:
        def called(item: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls % 500:
                return fn(item)
            return nothing() if asynchronous else None

        return called

    _around_each_function(around)


def _lost_wake_up() -> None:
    from meridian.runtime.run import Run

    arm = Run._arm
    calls = 0

    def forgetful(self: Run) -> None:
        nonlocal calls
        calls += 1
        if calls % 300 == 0:
            self._armed = True  # it believes that a slice is on its way
        arm(self)

    Run._arm = forgetful  # type: ignore[method-assign]  # planted


def _lost_room() -> None:
    from meridian.runtime.run import Run

    room_on = Run.room_on
    calls = 0

    async def forgetful(self: Run, ring: Any) -> None:
        nonlocal calls
        calls += 1
        if calls % 100 == 0:
            await self.loop.create_future()  # nobody will ever set it
        await room_on(self, ring)

    Run.room_on = forgetful  # type: ignore[method-assign]  # planted


def _lost_knock() -> None:
    from meridian.runtime.run import Run
    from stress.scenarios import thread_storm

    thread_storm.ANSWER_S = 1.0  # type: ignore[misc]  # planted: here it is known that no answer comes
    arm = Run._arm_from_thread
    calls = 0

    def forgetful(self: Run) -> None:
        nonlocal calls
        calls += 1
        if calls % 50:
            arm(self)

    Run._arm_from_thread = forgetful  # type: ignore[method-assign]  # planted


def _disorder() -> None:
    from meridian.runtime.observe import Observer

    items = Observer.items

    def swapped(self: Observer, state: Any, iterator: Iterator[Any]) -> Iterator[Any]:
        made = items(self, state, iterator)
        for number, item in enumerate(made):
            if number % 500 == 100:
                yield from (*islice(made, 1), item)
            else:
                yield item

    Observer.items = swapped  # type: ignore[assignment, method-assign]  # planted


def _overfull() -> None:
    from meridian import Edge

    make_ring = Edge.make_ring

    def generous(self: Edge[Any], *args: Any, **options: Any) -> Any:
        ring = make_ring(self, *args, **options)
        ring.set_capacity(self.capacity + 1)
        return ring

    Edge.make_ring = generous  # type: ignore[method-assign]  # planted


def _one_band() -> None:
    from meridian import Scheduler

    def forgets(self: Scheduler, edge_id: str, priority: Any) -> None:
        del self, edge_id, priority

    Scheduler.set_priority = forgets  # type: ignore[method-assign]  # planted


def _left_task() -> None:
    from meridian.runtime.run import Run

    stop = Run._stop
    tasks: list[Any] = []

    async def waits_for_ever() -> None:
        await asyncio.Event().wait()

    async def forgetful(self: Run) -> None:
        await stop(self)
        tasks.append(self.loop.create_task(waits_for_ever()))

    Run._stop = forgetful  # type: ignore[method-assign]  # planted


FAULTS: Final = {
    fault.name: fault
    for fault in (
        Fault("leak", "One message in 10,000 stays behind.", "memory-soak", MEMORY, _leak),
        Fault("kept-runs", "Every scheduler stays behind.", "churn", MEMORY, _kept_runs),
        Fault(
            "swallow", "One message in 500 never reaches the function.", "overload", CONSERVATION, _swallow
        ),
        Fault(
            "lost-wake-up",
            "The run forgets one of 300 slices that are due.",
            "overload",
            WAITS,
            _lost_wake_up,
        ),
        Fault("lost-room", "One of 100 that wait for room isn't woken.", "bursts", WAITS, _lost_room),
        Fault(
            "lost-knock", "One of 50 knocks of other threads isn't heard.", "thread-storm", WAITS, _lost_knock
        ),
        Fault("overfull", "Edges hold one item more than they may.", "bursts", CAPACITY, _overfull),
        Fault("one-band", "All edges are served in one band.", "priority-inversion", FAIRNESS, _one_band),
        Fault("left-task", "Each run leaves a task behind.", "stuck-consumers", LEFT_OVER, _left_task),
        Fault("disorder", "Two of 500 items of a source change places.", "overload", ORDER, _disorder),
    )
}


# ---- are they found? -----------------------------------------------------------------------------------------------------


LONGER: Final = 20.0
"""A play with a fault may take so many times the seconds of the short form: it ends when the fault is found, and on a busy machine
the short form has few rounds."""

ROUNDS: Final = 30
"""Where memory is judged, that is at the end, so there are so many rounds."""


def play(scenario: str, engine: str, fault: str | None, seed: int) -> dict[str, Any] | None:
    """Play the short form, or with a fault until it is found, in a process of its own; return the result."""
    loaded = scenarios.load(scenario)
    seconds = loaded.seconds[0] * (LONGER if fault else 1.0)
    rounds = ["--rounds", str(ROUNDS)] if fault and loaded.leaves is not None else []
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "stress", scenario, "--engine", engine, "--seconds", str(seconds)]
        command += ["--seed", str(seed), "--out", folder, *rounds, *(["--planted", fault] if fault else [])]
        subprocess.run(command, check=False, stderr=subprocess.DEVNULL)
        return record.read(Path(folder, scenario, "result.json"))


def found(fault: Fault, result: dict[str, Any] | None) -> bool:
    """Say whether a play with ``fault`` ended as it has to."""
    if result is None or result["verdict"] != record.BROKEN:
        return False
    return bool(result["invariants"][fault.invariant]["broken"])


def main() -> int:
    """Plant each fault, then play without; return 0 if everything came as it has to."""
    parser = argparse.ArgumentParser(
        prog="python -m stress.planted", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument("fault", nargs="*", help=f"which of {', '.join(FAULTS)}; all if left out")
    parser.add_argument("--clean", type=int, default=0, metavar="N", help="play N times without a fault, too")
    options = parser.parse_args()
    unknown = [name for name in options.fault if name not in FAULTS]
    if unknown:
        parser.error(f"there is no fault {unknown[0]!r}")
    chosen = [FAULTS[name] for name in options.fault or FAULTS]
    there = ["python"] if find_spec("meridian_fast") is None else ["python", "rust"]
    pairs = [(fault, engine) for fault in chosen for engine in there]
    wrong = 0
    for i, (fault, engine) in enumerate(pairs):
        began = time.monotonic()
        right = found(fault, play(fault.scenario, engine, fault.name, seed=1_000 * i))
        wrong += not right
        verdict = f"found by {fault.scenario}: {fault.invariant}" if right else "NOT FOUND"
        print(f"{fault.name:<14} {engine:<7} {time.monotonic() - began:5.1f} s  {verdict}", flush=True)
    names = dict.fromkeys(fault.scenario for fault in chosen) if options.fault else scenarios.names()
    for scenario, engine in ((name, engine) for name in names for engine in there):
        verdicts = [
            "no result" if result is None else str(result["verdict"])
            for result in (
                play(scenario, engine, None, seed=1_000_000 + 1_000 * n) for n in range(options.clean)
            )
        ]
        wrong += sum(verdict not in (record.KEPT, record.INCONCLUSIVE) for verdict in verdicts)
        counts = ", ".join(f"{verdicts.count(each)} {each}" for each in dict.fromkeys(verdicts))
        if counts:
            print(f"without a fault {scenario:<19} {engine:<7} {counts}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
