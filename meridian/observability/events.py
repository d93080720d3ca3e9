"""Events: what went wrong or changed, as typed records in a bounded ring.

An event says what happened (``kind``, a stable key), to whom, and when; never with what payload. `KINDS` lists every kind and
the keys it fills. There is one `EventLog` per process. Each run writes through a `Recorder` of its own; readers keep a place in
the sequence and take what is new.

**Bounded on both sides.** A writer that repeats itself is held back: after `BURST` events of one key within `INTERVAL_S` seconds
the others are only counted, and an ``events.suppressed`` event tells how many there were. A reader that is too slow is not waited
for: the ring overwrites its oldest events, and the reader is told how many it missed.

Nothing here is called per message: events come from where failures, losses and changes of state are recorded anyway.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from dataclasses import dataclass, fields
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet

from meridian.redaction.installed import redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CAPACITY = 1024
"""So many events are kept; older ones are overwritten."""

BURST = 5
INTERVAL_S = 1.0
"""Of each key so many events are let through in so many seconds."""

MOST_KEYS = 1024
"""A recorder tells so many keys apart; beyond, new ones share one."""


class Kind(NamedTuple):
    """One kind of event.

    Attributes:
        level: ``info``, ``warn`` or ``error``.
        keys: Which keys it fills, besides those that every event has.
        means: What happened, in one sentence.
    """

    level: str
    keys: tuple[str, ...]
    means: str


_KEY = ("node", "edge", "cause", "error", "what")
"""With the kind, what tells one key from another when a writer is held back."""

KINDS: Mapping[str, Kind] = {
    "run.started": Kind("info", ("total",), "All nodes were started; `total` is how many."),
    "run.stopping": Kind("info", (), "Sources stop, edges drain, nodes stop."),
    "run.ended": Kind("info", ("reason", "duration_s"), "The run ended, and why."),
    "node.failed": Kind(
        "error", ("node", "state"), "A node could not be started and takes no part in the run."
    ),
    "node.error": Kind(
        "error",
        ("node", "phase", "error", "where", "message", "total"),
        "Code of a node raised; `total` is how many failures the run has had.",
    ),
    "node.slow": Kind(
        "warn",
        ("node", "duration_s"),
        "One turn of a node, or its code between two awaits, kept the loop for a tenth of a second or longer.",
    ),
    "edge.loss": Kind(
        "warn",
        ("edge", "cause", "n", "total", "error", "where"),
        "`n` messages were lost on an edge, `total` by this cause so far; `error` is what a coalesce function raised.",
    ),
    "loop.stuck": Kind(
        "error",
        ("node", "duration_s"),
        "A look found that the loop hasn't got round to anything for so long.",
    ),
    "loop.unstuck": Kind(
        "info", ("duration_s",), "A later look found that it goes on; so late was its answer."
    ),
    "redaction.widened": Kind(
        "warn",
        ("what", "reason"),
        "A redaction policy lets more out of the process than the one before; concerns no single run.",
    ),
    "telemetry.shed": Kind(
        "warn",
        ("what", "reason", "n", "total"),
        "`n` spans, log lines or readings of metrics (`what`) did not reach OpenTelemetry, `total` so far; concerns no single run.",
    ),
    "events.suppressed": Kind(
        "warn",
        ("of", *_KEY, "n"),
        "`n` more events of the kind `of` were only counted, because they came too fast.",
    ),
}
"""Every kind there is. Kinds and keys are stable: later versions add some, and change none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened; a key that its kind doesn't fill is ``None``.

    Attributes:
        seq: Its number in this process, from 1 on without a gap.
        kind: What happened; see `KINDS`.
        level: ``info``, ``warn`` or ``error``.
        at_s: When, on the run's clock. Only differences mean something.
        wall_s: When, in seconds since 1970.
        run: Id of the run; ``None`` for what concerns the whole process.
        node: Name of the node it is about.
        edge: Id of the edge it is about.
        phase: Which hook failed.
        error: Qualified name of the exception's class.
        where: File, line and function that raised.
        message: The exception's text, or ``[redacted]``.
        cause: Why messages were lost: as in `EdgeReport.lost`.
        state: The state it is in now.
        reason: Why the run ended, why more is let out, or why telemetry was shed.
        duration_s: How long it took.
        what: What is let out, or was shed.
        of: The kind that was suppressed.
        n: How many it stands for.
        total: How many there are by now.
    """

    seq: int
    kind: str
    level: str
    at_s: float
    wall_s: float
    run: str | None = None
    node: str | None = None
    edge: str | None = None
    phase: str | None = None
    error: str | None = None
    where: str | None = None
    message: str | None = None
    cause: str | None = None
    state: str | None = None
    reason: str | None = None
    duration_s: float | None = None
    what: str | None = None
    of: str | None = None
    n: int | None = None
    total: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the keys that are filled, ready for JSON; names and texts go through the redaction policy."""
        tell = redactor().text
        return {
            name: tell(value) if isinstance(value, str) else value
            for name in _NAMES
            if (value := getattr(self, name)) is not None
        }


_NAMES = tuple(field.name for field in fields(Event))


@dataclass(frozen=True, slots=True)
class Batch:
    """What a reader gets.

    Attributes:
        events: Oldest first.
        missed: How many were overwritten before this reader came for them.
        next: Where to go on: pass it as ``since`` the next time.
        held_back: How many are only counted for now, and will be told by ``events.suppressed``.
    """

    events: tuple[Event, ...]
    missed: int
    next: int
    held_back: int


class EventLog:
    """The ring.

    Args:
        capacity: How many events it keeps.

    Any thread may write and read. The lock is held for the time of a copy at most.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._ring: deque[Event] = deque(maxlen=capacity)
        self._last = 0
        self._recorders: WeakSet[Recorder] = WeakSet()
        self.renew_lock()
        self._of_process = self.recorder(None, time.monotonic_ns, time.time)

    def renew_lock(self) -> None:
        """Forget who holds the lock: for a forked child, where that thread doesn't exist."""
        # Reentrant: the collector may run a finaliser in here, and that may fail.
        self.lock = threading.RLock()

    @property
    def last(self) -> int:
        """Number of the last event; 0 before the first."""
        return self._last

    @property
    def held_back(self) -> int:
        """How many are only counted for now, and will be told by ``events.suppressed``."""
        with self.lock:
            return sum(each.held_back for each in self._recorders)

    def record(self, kind: str, **said: Any) -> bool:
        """Write an event that concerns the whole process; see `Recorder.record`."""
        return self._of_process.record(kind, **said)

    def recorder(
        self, run: str | None, monotonic_ns: Callable[[], int], wall_s: Callable[[], float]
    ) -> Recorder:
        """Return what a run writes events with, by its own clock; close it when the run ends."""
        made = Recorder(self, run, monotonic_ns, wall_s)
        with self.lock:
            self._recorders.add(made)
        return made

    def since(self, seq: int = 0, limit: int = CAPACITY) -> Batch:
        """Return up to ``limit`` events after number ``seq``, the oldest first; 0 is from the beginning.

        Raises:
            ValueError: ``seq`` or ``limit`` is negative.
        """
        if seq < 0 or limit < 0:
            raise ValueError(f"since={seq}, limit={limit}: neither may be negative")
        with self.lock:
            held_back = 0
            for each in self._recorders:
                each.tell_due()
                held_back += each.held_back
            if seq > self._last:  # of another process, or of another time
                return Batch((), 0, self._last, held_back)
            first = self._last - len(self._ring) + 1
            start = max(seq + 1 - first, 0)
            events = tuple(islice(self._ring, start, start + limit))
        missed = max(first - 1 - seq, 0)
        return Batch(events, missed, events[-1].seq if events else seq + missed, held_back)

    def subscribe(self, since: int | None = None) -> Subscription:
        """Return a reader of its own that starts after event ``since``, or with what comes from now on."""
        return Subscription(self, self._last if since is None else since)

    def append(self, kind: str, at_s: float, wall_s: float, run: str | None, said: dict[str, Any]) -> None:
        """Number an event and keep it; recorders call this, with the lock held."""
        self._last += 1
        self._ring.append(
            Event(
                seq=self._last, kind=kind, level=KINDS[kind].level, at_s=at_s, wall_s=wall_s, run=run, **said
            )
        )

    def forget(self, recorder: Recorder) -> None:
        """Let go of a recorder that is closed."""
        with self.lock:
            self._recorders.discard(recorder)


class Subscription:
    """A reader's place in the sequence. It costs the writers nothing; what it is too slow for, it misses and is told.

    Attributes:
        missed: How many events it has missed so far.
    """

    def __init__(self, log: EventLog, since: int) -> None:
        self._log = log
        self._next = since
        self.missed = 0

    def take(self, limit: int = CAPACITY) -> Batch:
        """Return up to ``limit`` events that are new to this reader, the oldest first."""
        batch = self._log.since(self._next, limit)
        self._next = batch.next
        self.missed += batch.missed
        return batch


class _Limit:
    """How one key is held back."""

    __slots__ = ("began_ns", "n", "passed", "said")

    def __init__(self, began_ns: int, said: dict[str, Any]) -> None:
        self.began_ns = began_ns
        self.passed = 0
        self.n = 0
        self.said = said


class Recorder:
    """What one run writes events with; made by `EventLog.recorder`.

    Attributes:
        held_back: How many are counted and not told yet.
    """

    def __init__(
        self, log: EventLog, run: str | None, monotonic_ns: Callable[[], int], wall_s: Callable[[], float]
    ) -> None:
        self._log = log
        self._run = run
        self._monotonic_ns = monotonic_ns
        self._wall_s = wall_s
        self._limits: dict[tuple[str | None, ...], _Limit] = {}
        self.held_back = 0

    def record(self, kind: str, **said: Any) -> bool:
        """Write an event, or only count it if too many of its key came before.

        A key is the kind with the node or edge, the cause, the class of the exception, and what is let out.

        Args:
            kind: One of `KINDS`.
            said: The keys that it fills.

        Returns:
            Whether it was written.
        """
        key = kind, *map(said.get, _KEY)
        with self._log.lock:
            now = self._monotonic_ns()
            limit = self._limits.get(key) or self._new_limit(key, now)
            if now - limit.began_ns >= INTERVAL_S * 1e9:
                self._tell(limit, now)
                limit.began_ns, limit.passed = now, 0
            if limit.passed >= BURST:
                n = said.get("n", 1)
                limit.n += n
                self.held_back += n
                return False
            limit.passed += 1
            self._log.append(kind, now / 1e9, self._wall_s(), self._run, said)
        return True

    def tell_due(self) -> None:
        """Tell what was held back and is due by now; with the lock held."""
        now = self._monotonic_ns()
        for limit in self._limits.values():
            if limit.n and now - limit.began_ns >= INTERVAL_S * 1e9:
                self._tell(limit, now)

    def close(self) -> None:
        """Tell what was held back; the run is over."""
        with self._log.lock:
            now = self._monotonic_ns()
            for limit in self._limits.values():
                self._tell(limit, now)
            self._limits.clear()
        self._log.forget(self)

    def _tell(self, limit: _Limit, now: int) -> None:
        if limit.n:
            n, limit.n = limit.n, 0
            self.held_back -= n
            self._log.append(
                "events.suppressed", now / 1e9, self._wall_s(), self._run, {**limit.said, "n": n}
            )

    def _new_limit(self, key: tuple[str | None, ...], now: int) -> _Limit:
        if len(self._limits) >= MOST_KEYS:
            key = key[0], *[None] * len(_KEY)  # they share one: a flood of keys must not fill the memory
            shared = self._limits.get(key)
            if shared is not None:
                return shared
        said = {"of": key[0], **dict(zip(_KEY, key[1:], strict=True))}
        limit = self._limits[key] = _Limit(now, said)
        return limit


_log = EventLog()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_log.renew_lock)


def get_events() -> EventLog:
    """Return the process's events."""
    return _log
