"""Faults that are planted into Meridian, to see that the scenarios see them: `python -m stress SCENARIO --planted FAULT`.

Each changes one thing in this process before the play begins, and says which scenario is to find it, and by which invariant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from stress.scenario import CONSERVATION, MEMORY, ORDER, WAITS


@dataclass(frozen=True)
class Fault:
    """One planted fault.

    Attributes:
        name: What it is called.
        sentence: What it does.
        scenario: Which scenario is to find it.
        invariant: By which invariant.
        engines: On which engines it can be planted.
        plant: Plants it.
    """

    name: str
    sentence: str
    scenario: str
    invariant: str
    engines: tuple[str, ...]
    plant: Callable[[], None]


def _leak() -> None:
    kept: list[Any] = []
    calls = 0

    def keep(item: Any) -> None:
        nonlocal calls
        calls += 1
        if calls % 10_000 == 0:
            kept.append(item)

    _before_each_function(keep)


def _swallow() -> None:
    from meridian.runtime.observe import Observer

    function = Observer.function

    def wrapped(self: Observer, state: Any, fn: Callable[..., Any]) -> Callable[..., Any]:
        fn = function(self, state, fn)
        calls = 0

        def called(item: Any) -> Any:
            nonlocal calls
            calls += 1
            return fn(item) if calls % 500 else None

        return called if state.kind == "map" else fn

    Observer.function = wrapped  # type: ignore[method-assign]  # that is what planting is


def _before_each_function(do: Callable[[Any], None]) -> None:
    """Have ``do`` called with what each function node is given."""
    from meridian.runtime.observe import Observer

    function = Observer.function

    def wrapped(self: Observer, state: Any, fn: Callable[..., Any]) -> Callable[..., Any]:
        fn = function(self, state, fn)

        def called(item: Any) -> Any:
            do(item)
            return fn(item)

        return called if state.kind in ("map", "drive") else fn

    Observer.function = wrapped  # type: ignore[method-assign]  # that is what planting is


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

    Run._arm = forgetful  # type: ignore[method-assign]  # that is what planting is


def _disorder() -> None:
    from meridian.engine.ring import Ring

    take = Ring.take
    calls = 0

    def shuffled(self: Ring, n: int, *rest: Any) -> list[Any]:
        nonlocal calls
        taken = take(self, n, *rest)
        calls += 1
        if calls % 100 == 0:
            taken.reverse()
        return taken

    Ring.take = shuffled  # type: ignore[assignment, method-assign]  # that is what planting is


BOTH: Final = ("python", "rust")

FAULTS: Final = {
    fault.name: fault
    for fault in (
        Fault("leak", "One message in 10,000 stays behind.", "memory-soak", MEMORY, BOTH, _leak),
        Fault(
            "swallow",
            "One message in 500 never reaches the function.",
            "overload",
            CONSERVATION,
            BOTH,
            _swallow,
        ),
        Fault(
            "lost-wake-up",
            "One wake-up in 300 of the run is forgotten.",
            "overload",
            WAITS,
            BOTH,
            _lost_wake_up,
        ),
        Fault(
            "disorder", "One batch in 100 is handled backwards.", "overload", ORDER, ("python",), _disorder
        ),
    )
}
