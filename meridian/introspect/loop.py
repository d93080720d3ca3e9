"""How the event loop does, seen from any thread.

A look leaves a callback with the loop and reads what became of the one before: so lag is measured by whoever looks, and
costs nothing while nobody does. What runs is told by the stack of the loop's thread, of which only names are read.
"""

from __future__ import annotations

import sys
from threading import get_ident
from typing import TYPE_CHECKING, Any

from meridian.core.function import FnNode
from meridian.introspect.model import STUCK_S, Frame, LoopSnapshot
from meridian.redaction.errors import is_ours
from meridian.redaction.names import clean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

    from meridian.runtime.plan import Plan
    from meridian.runtime.run import Run

WORTH_A_LOOK_NS = 10_000_000
"""From so many nanoseconds of silence on it is looked up whose code is on the thread."""

MOST_FRAMES = 100
"""So many calls of a stack are told, the innermost ones."""


class Probe:
    """A callback that the loop is asked to run, and when it did.

    Attributes:
        lag_ns: How long the last one took to be run, or ``None`` before the first was.
    """

    __slots__ = ("_posted_ns", "_run", "_told", "lag_ns")

    def __init__(self, run: Run) -> None:
        self._run = run
        self._posted_ns: int | None = None
        self.lag_ns: int | None = None
        self._told = False

    def tell(self, stuck: bool, node: str | None, silent_s: float) -> None:
        """Write an event when the loop is found stuck, and one when it goes on."""
        if stuck and not self._told:
            self._told = True
            self._run.events.record("loop.stuck", node=node, duration_s=silent_s)
        elif self._told and not stuck:
            self._told = False
            late = None if self.lag_ns is None else self.lag_ns / 1e9
            self._run.events.record("loop.unstuck", duration_s=late)

    def silent_ns(self, now: int) -> int:
        """Return for how long the callback that is with the loop hasn't been run; 0 if none is."""
        posted = self._posted_ns
        return 0 if posted is None else max(now - posted, 0)

    def post(self) -> None:
        """Leave a callback with the loop, unless one is there already."""
        if self._posted_ns is not None:
            return
        run = self._run
        self._posted_ns = run.clock.monotonic_ns()
        try:
            if run.engine.owner == get_ident():
                run.loop.call_soon(self._answer)
            else:
                run.loop.call_soon_threadsafe(self._answer)
        except RuntimeError:  # the loop is closed: the run is over
            self._posted_ns = None

    def _answer(self) -> None:
        posted, self._posted_ns = self._posted_ns, None
        if posted is not None:
            self.lag_ns = self._run.clock.monotonic_ns() - posted


def probe_of(run: Run) -> Probe:
    """Return the probe of a run, making it for the first look."""
    if run.probe is None:
        run.probe = Probe(run)
    return run.probe


def look_at_loop(run: Run, now: int) -> LoopSnapshot:
    """Say how the loop of ``run`` does."""
    probe, engine = probe_of(run), run.engine
    resumed = engine.resumed
    silent = probe.silent_ns(now)
    own = engine.owner == get_ident()
    if own:
        silent = 0  # it is the loop that looks
    elif engine.running:
        silent = max(silent, now - engine.now)
    elif resumed is not None:
        # Calls before it in this pass of the loop took what they took.
        silent = max(now - engine.resumed_at, 0)
    lag = None if probe.lag_ns is None else probe.lag_ns / 1e9
    probe.post()
    node = engine.scope.node if engine.running else None if resumed is None else resumed.name
    if silent < WORTH_A_LOOK_NS:
        probe.tell(False, None, 0.0)
        return LoopSnapshot(lag, silent / 1e9, False, node)
    frame = sys._current_frames().get(engine.owner)
    codes: list[CodeType] = []
    stack: list[Frame] = []
    while frame is not None and len(stack) < MOST_FRAMES:
        codes.append(frame.f_code)
        stack.append(named(frame))
        frame = frame.f_back
    stuck = silent >= STUCK_S * 1e9
    node = node or _node_of(run.plan, codes)
    probe.tell(stuck, node, silent / 1e9)
    return LoopSnapshot(lag, silent / 1e9, stuck, node, tuple(reversed(stack)) if stuck else ())


def named(frame: FrameType) -> Frame:
    """Return the names of a call, and its line."""
    code = frame.f_code
    name = code.co_filename.replace("\\", "/").rpartition("/")[2]
    return Frame(clean(code.co_qualname), clean(name), frame.f_lineno or 0, is_ours(code))


def _node_of(plan: Plan, codes: list[CodeType]) -> str | None:
    """Return the node whose code is nearest to the top of the stack; ``None`` where several share it."""
    wanted = set(codes)
    owners: dict[CodeType, set[str]] = {}
    for name, node in plan.nodes:
        for code in _codes(node):
            if code in wanted:
                owners.setdefault(code, set()).add(name)
    for code in codes:
        names = owners.get(code, ())
        if len(names) == 1:
            return next(iter(names))
    return None


def _codes(node: Any) -> Iterator[CodeType]:
    """Yield the code of the functions that run when ``node`` does."""
    if isinstance(node, FnNode):
        made: tuple[Any, ...] = (node.function.fn,)
    else:
        items = getattr(node, "items", None)
        hooks = (
            "on_message",
            "_handle_message",
            "on_tick",
            "_handle_tick",
            "on_start",
            "on_stop",
            "on_drain",
        )
        made = (items, *(getattr(node, name, None) for name in hooks))
    for fn in made:
        code = getattr(fn, "__code__", None) or getattr(fn, "gi_code", None)
        if code is not None:
            yield code
