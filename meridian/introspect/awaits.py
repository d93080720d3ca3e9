"""Where asynchronous code waits: the innermost call of a suspended coroutine, names and a line, no values.

It is read when somebody looks, from any thread, and costs the run nothing meanwhile. A coroutine that goes on while it is read, or
ends, gives another of its places, or none.
"""

from __future__ import annotations

import asyncio
import gc
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meridian import runtime
from meridian.introspect.loop import MOST_FRAMES, named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meridian.introspect.model import Frame
    from meridian.runtime.counts import NodeCounts
    from meridian.runtime.run import Run

MOST_NODES = 100
"""A look tells of so many nodes where they wait: a few microseconds for each, and nobody reads more."""

_OURS = tuple(str(Path(package.__file__ or "").parent) for package in (asyncio, runtime))
"""Folders of code that waits on behalf of somebody: who that is says more."""

_SUSPENDED = {
    types.CoroutineType: ("cr_frame", "cr_await"),
    types.GeneratorType: ("gi_frame", "gi_yieldfrom"),
    types.AsyncGeneratorType: ("ag_frame", "ag_await"),
}
"""What may be suspended, with what has its frame and what it awaits."""


def waiting_in(run: Run, counts: tuple[NodeCounts, ...]) -> Iterator[tuple[int, Frame]]:
    """Yield nodes that wait for something of their own, by position, and where.

    A node whose calls come and go isn't told of: only one that took no message, and made none, since the look before.
    """
    before, run.looked = run.looked, counts
    hook = run.life.hook
    if hook is not None and hook.work is not None and (frame := innermost(hook.work)) is not None:
        yield hook.node, frame
        return  # nothing else goes on
    told: set[int] = set()
    for worker in run.workers():
        i = worker.state.id
        if i in told or (before is not None and _moved(before[i], counts[i])):
            continue
        work = worker.under_way()
        if work is not None and (frame := innermost(work)) is not None:
            told.add(i)
            yield i, frame
            if len(told) == MOST_NODES:
                return


def _moved(before: NodeCounts, now: NodeCounts) -> bool:
    return before.handled != now.handled or before.produced != now.produced


def innermost(work: Any) -> Frame | None:
    """Return the innermost call of a suspended coroutine; of asyncio's, and of the runtime's, who called them instead."""
    found = None
    for _ in range(MOST_FRAMES):
        frame_of, awaited_of = _SUSPENDED.get(type(work), (None, None))
        if frame_of is None or awaited_of is None:
            break
        frame = getattr(work, frame_of)
        if frame is None:  # it ended
            break
        if not frame.f_code.co_filename.startswith(_OURS):
            found = frame
        work = _reached(getattr(work, awaited_of))
    return None if found is None else named(found)


def _reached(awaited: Any) -> Any:
    """Return the coroutine behind an awaitable that has none of its own to show: a step of an asynchronous generator, say."""
    if awaited is None or type(awaited) in _SUSPENDED:
        return awaited
    return next((each for each in reversed(gc.get_referents(awaited)) if type(each) in _SUSPENDED), None)
