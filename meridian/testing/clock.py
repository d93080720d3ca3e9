"""Time that passes only when nothing else can happen.

`VirtualClock` is the time itself, `VirtualLoop` an ordinary asyncio event loop that lives by it: whenever it would sleep
until its next timer, it moves the clock there instead. An hour of ticks takes as long as the ticks do.

**What may be used on a virtual loop**

* Everything in asyncio that waits for a timer or for other tasks: ``sleep``, ``timeout``, ``wait``, queues, locks, events,
  tasks. This is exact and deterministic.
* Work in threads through the loop (``asyncio.to_thread``, ``loop.run_in_executor``, ``getaddrinfo``): time stands still
  until it is done, so it takes no virtual time. When two such jobs run side by side, the machine decides which one ends
  first.
* Sockets, pipes, subprocesses: while one is watched, the loop really waits for it, `VirtualLoop.io_patience_s` at most,
  before it jumps to its next timer. Good enough for a peer on the same machine; not deterministic. Prefer a fake.
* Threads of your own: they may wake the loop, but it can't know that they mean to. It jumps to the next timer without
  asking them. Without any timer it waits for them, `VirtualLoop.outside_patience_s` at most.
* ``time.sleep``, ``time.time``, ``time.monotonic`` know nothing of virtual time. In a node, ask the loop
  (``asyncio.get_running_loop().time()``), or the clock.

Where nothing is ready, no timer is set, and nothing outside is at work, an ordinary loop would wait for ever. A virtual one
raises `DeadlockError`.

Source: trio's ``MockClock`` with autojump; differs by sitting in the selector, so that any asyncio code runs unchanged.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack

from meridian.core.errors import MeridianError
from meridian.runtime.workers import adopt

if TYPE_CHECKING:
    from concurrent.futures import Executor

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

EPOCH_S = 1_735_689_600.0
"""Wall-clock time at which virtual time begins unless told otherwise: 2025-01-01 00:00 UTC."""


class DeadlockError(MeridianError, RuntimeError):
    """Everything waits for something that can't happen any more.

    Attributes:
        waiting: Who waits, and for what: one line each.
        at_s: When it came to that, in virtual seconds.
    """

    def __init__(self, waiting: list[str], at_s: float) -> None:
        self.waiting = tuple(waiting)
        self.at_s = at_s
        lines = (
            "".join(f"\n  {line}" for line in waiting)
            or "\n  nobody: the loop was asked to run without a task"
        )
        super().__init__(
            f"nothing can happen any more, at {at_s:g} s of virtual time: no callback is ready, no timer is set, "
            f"and nothing outside is at work. Who waits:{lines}"
        )


class VirtualClock:
    """A clock that stands still until it is moved; implements `meridian.core.clock.Clock`.

    Args:
        epoch_s: Wall-clock time at its beginning, in seconds since 1970.
    """

    __slots__ = ("_epoch_s", "_now_ns")

    def __init__(self, epoch_s: float = EPOCH_S) -> None:
        self._epoch_s = epoch_s
        self._now_ns = 0

    def monotonic_ns(self) -> int:
        """Nanoseconds since the beginning."""
        return self._now_ns

    def time(self) -> float:
        """Wall-clock seconds since 1970."""
        return self._epoch_s + self._now_ns / 1e9

    @property
    def now_s(self) -> float:
        """Seconds since the beginning."""
        return self._now_ns / 1e9

    def advance(self, seconds: float) -> None:
        """Move on, as work does that takes so long; whoever calls it was busy meanwhile.

        Raises:
            ValueError: negative, infinite or not a number.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"advance({seconds!r}): a finite number of seconds that isn't negative")
        self._now_ns += math.ceil(seconds * 1e9)

    def __repr__(self) -> str:
        return f"<VirtualClock at {self.now_s:g} s>"


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time: ``asyncio.Runner(loop_factory=VirtualLoop)``.

    Args:
        clock: Its time; a new one by default.

    Attributes:
        clock: Its time.
        io_patience_s: Real seconds that it waits for a watched socket or pipe before it jumps to the next timer.
        outside_patience_s: Real seconds that it waits for sockets and threads when there is no timer to jump to.
        on_deadlock: Called, newest first, when nothing can happen any more, until one returns true: it has made
            something happen. If none does, `DeadlockError` leaves ``run_forever``.
    """

    io_patience_s: float = 0.01
    outside_patience_s: float = 5.0

    def __init__(self, clock: VirtualClock | None = None) -> None:
        self.clock = clock or VirtualClock()
        self.on_deadlock: list[Callable[[], bool]] = []
        self._jobs = 0
        self._at_home = set(threading.enumerate())
        self._jumping = _JumpingSelector(self)
        super().__init__(self._jumping)
        self._jumping.own = len(self._jumping.get_map())
        # A plain handler that a fault makes slow moves the clock; that blocks nobody.
        self.slow_callback_duration = math.inf

    def time(self) -> float:
        """Seconds of virtual time."""
        return self.clock.now_s

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run ``func`` in a thread or process; virtual time stands still until it is done."""
        future = super().run_in_executor(executor, func, *args)
        self._jobs += 1
        future.add_done_callback(self._job_done)
        return future

    def _job_done(self, future: object) -> None:
        del future
        self._jobs -= 1

    # ---- called by the selector ------------------------------------------------------------------------------

    def _outside(self) -> bool:
        """Say whether a thread is alive that wasn't when the loop was made, and that isn't idling in a pool."""
        return any(
            thread not in self._at_home and thread.is_alive() and thread is not threading.current_thread()
            for thread in threading.enumerate()
            if not _is_idle_pool(thread)
        )

    def _deadlocked(self) -> None:
        for wake in reversed(self.on_deadlock):
            if wake():
                return
        tasks = sorted(asyncio.all_tasks(self), key=lambda task: task.get_name())
        raise DeadlockError(
            [f"task {task.get_name()!r} in {where(task.get_coro())}" for task in tasks], self.time()
        )


class _JumpingSelector(selectors.BaseSelector):
    """The system's selector, except that a wait moves the clock.

    Attributes:
        own: How many files are the loop's own: the pipe by which threads wake it.
    """

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()
        self.own = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop, real = self._loop, self._real
        if timeout is not None and timeout <= 0:
            return real.select(0)
        watched = len(real.get_map()) > self.own
        if loop._jobs:
            return real.select(None)  # the job's end is what wakes us
        if timeout is not None:
            events = real.select(min(timeout, loop.io_patience_s) if watched else 0)
            if not events:
                loop.clock.advance(timeout)
            return events
        patience = time.monotonic() + loop.outside_patience_s
        while True:
            outside = watched or loop._outside()  # asked first: a thread wakes us before it ends
            events = real.select(0.02 if outside else 0)
            if events:
                return events
            if not outside or time.monotonic() > patience:
                loop._deadlocked()
                return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.get_key(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map() or {}

    def close(self) -> None:
        self._real.close()


def _is_idle_pool(thread: threading.Thread) -> bool:
    """Say whether ``thread`` belongs to a thread pool and waits for work."""
    frame = sys._current_frames().get(thread.ident or 0)
    return (
        frame is not None
        and frame.f_code.co_name == "_worker"
        and frame.f_globals.get("__name__") == "concurrent.futures.thread"
    )


def where(awaiting: Any) -> str:
    """Say where a suspended coroutine or asynchronous generator waits: ``file.py:line in function``, never a value."""
    frame = None
    seen: set[int] = set()
    while awaiting is not None and id(awaiting) not in seen:
        seen.add(id(awaiting))
        for prefix, link in (("cr", "cr_await"), ("ag", "ag_await"), ("gi", "gi_yieldfrom")):
            inner = getattr(awaiting, prefix + "_frame", None)
            if inner is not None:
                if frame is None or not _is_asyncio(inner):
                    frame = inner
                awaiting = getattr(awaiting, link)
                if inner.f_code is adopt.__code__:  # it awaits nothing itself: it drives other work
                    awaiting = inner.f_locals["work"]
                break
        else:
            break
    if frame is None:
        return "unknown"
    code = frame.f_code
    return (
        f"{code.co_filename.replace(chr(92), '/').rpartition('/')[2]}:{frame.f_lineno} in {code.co_qualname}"
    )


def _is_asyncio(frame: Any) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == "asyncio"
