"""Looking at a process again and again, whatever becomes of it.

A `Reader` blocks; a `Looker` calls it on a thread of its own, so that what draws never waits. What comes of a look is a
`Reading`, also where the process is gone, stopped, or not there yet.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from meridian.inspect.program import program_of
from meridian.introspect import (
    BadAnswerError,
    Client,
    Finding,
    IntrospectionError,
    NoAnswerError,
    NoSocketError,
    Snapshot,
    attach,
    find,
    find_unreachable,
)
from meridian.observability.events import Event
from meridian.redaction import redactor
from meridian.redaction.names import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

HOW = "Start it with  meridian run --inspect TARGET  or  MERIDIAN_INSPECT=1 python app.py"

TIMEOUT_S = 3.0
"""So long a process may take for an answer before it is called silent."""


class Status(Enum):
    """How a look went."""

    CONNECTING = "connecting"
    """None was finished yet."""
    LIVE = "live"
    """There are snapshots."""
    ENDED = "ended"
    """The process is there, and no run is under way in it."""
    GONE = "gone"
    """It was there, and isn't any more."""
    SILENT = "silent"
    """It doesn't answer: it is stopped, or something holds its interpreter."""
    NONE = "none"
    """No process lets itself be looked at."""
    SEVERAL = "several"
    """More than one does, and it isn't said which."""
    REFUSED = "refused"
    """It can't be looked at: of another user, of another version, not inspected, or no Meridian."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of a look.

    Attributes:
        status: How it went.
        wall_s: When, in seconds since 1970.
        text: What is wrong and what to do about it; empty if nothing is.
        pid: The process, once it is known.
        shots: A snapshot of each run that is under way.
        events: Those since the look before.
        missed: How many events were overwritten before this reader came for them.
        held_back: How many events the process only counts for now.
        findings: What is wrong, by run; under ``None``, with the process itself.
        places: If there are several: the processes to choose from.
        programs: What they run, as far as the system tells.
    """

    status: Status
    wall_s: float
    text: str = ""
    pid: int | None = None
    shots: tuple[Snapshot, ...] = ()
    events: tuple[Event, ...] = ()
    missed: int = 0
    held_back: int = 0
    findings: Mapping[str | None, tuple[Finding, ...]] = field(default_factory=dict)
    places: tuple[int | Path, ...] = ()
    programs: Mapping[int | Path, str] = field(default_factory=dict)


class Reader:
    """Looks at one process, and connects again when it has to.

    Args:
        find: Returns the processes that may be meant, numbers or paths of sockets. It is asked until one is.
        connect: Connects to one of them, as `attach` does.
        wall_s: Where readings take their time from.
    """

    def __init__(
        self,
        find: Callable[[], Sequence[int | Path]],
        connect: Callable[[int | Path], Client] = lambda place: attach(place, timeout_s=TIMEOUT_S),
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._find = find
        self._connect = connect
        self._wall_s = wall_s
        self._place: int | Path | None = None
        self._client: Client | None = None
        self._pid: int | None = None
        self._since = 0
        self._has_seen = False
        self._before: dict[str, Snapshot] = {}

    def choose(self, place: int | Path) -> None:
        """Say which process is meant."""
        self._place = place

    def read(self) -> Reading:
        """Look; never raises what has to do with the process."""
        if self._place is None:
            found = tuple(self._find())
            if len(found) != 1:
                return self._choice(found)
            self._place = found[0]
        try:
            return self._look(self._place)
        except BadAnswerError:  # it ended, or let us go: connecting again tells which
            self._let_go()
        except IntrospectionError as error:
            return self._failed(error)
        try:
            return self._look(self._place)
        except IntrospectionError as error:
            return self._failed(error)

    def _look(self, place: int | Path) -> Reading:
        if self._client is None:
            self._client = self._connect(place)
            self._pid = self._client.pid
        seen, batch = self._client.look(self._since)
        shots = tuple(map(presentable, seen))
        findings: dict[str | None, tuple[Finding, ...]] = {
            shot.run: tuple(map(presentable_finding, find(shot, self._before.get(shot.run))))
            for shot in shots
        }
        self._before = {shot.run: shot for shot in shots}
        self._since = batch.next
        self._has_seen = self._has_seen or bool(shots)
        return Reading(
            Status.LIVE if shots else Status.ENDED,
            self._wall_s(),
            "" if shots else f"process {self._pid} lets itself be looked at; no run is under way in it",
            self._pid,
            shots,
            tuple(map(_presentable_event, batch.events)),
            batch.missed,
            batch.held_back,
            findings,
        )

    def _choice(self, found: tuple[int | Path, ...]) -> Reading:
        if found:
            text = f"{len(found)} processes let themselves be looked at"
            programs: dict[int | Path, str] = {
                place: program_of(place) for place in found if isinstance(place, int)
            }
            return Reading(Status.SEVERAL, self._wall_s(), text, places=found, programs=programs)
        text = f"no process of yours lets itself be looked at. {HOW}"
        return Reading(Status.NONE, self._wall_s(), text)

    def _failed(self, error: IntrospectionError) -> Reading:
        self._let_go()
        pid = self._place if isinstance(self._place, int) else self._pid
        finding = find_unreachable(pid, error)
        text = str(error)
        if isinstance(error, NoAnswerError):
            status = Status.SILENT
        elif self._has_seen and finding.rule == "process-gone":
            status, text = Status.GONE, finding.what
        elif self._has_seen and isinstance(error, NoSocketError):
            status, text = Status.ENDED, f"nobody serves {self._place} any more: the run has ended"
        else:
            status = Status.REFUSED
        text = clean(redactor().text(text), _LONGEST)
        findings: dict[str | None, tuple[Finding, ...]] = {}
        if status is not Status.ENDED:
            findings[None] = (presentable_finding(finding),)
        return Reading(status, self._wall_s(), text, pid, findings=findings)

    def _let_go(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def presentable(shot: Snapshot) -> Snapshot:
    """Return a snapshot whose texts may be put on a screen: redacted here, too, on one line, nothing that steers a terminal."""
    return Snapshot.from_dict(_printable(shot.as_dict()))


def presentable_finding(finding: Finding) -> Finding:
    """Return a finding whose texts may be put on a screen."""
    return Finding(**_printable(finding.as_dict()))


def _presentable_event(event: Event) -> Event:
    return Event(**_printable(event.as_dict()))


def _printable(value: Any) -> Any:
    """Return plain data with each text printable and on one line."""
    if isinstance(value, str):
        return clean(value, _LONGEST)
    if isinstance(value, list):
        return [_printable(each) for each in value]
    if isinstance(value, dict):
        return {_printable(key): _printable(each) for key, each in value.items()}
    return value


_LONGEST = 400
"""Most characters of a text that is shown."""


class Looker:
    """Looks when it is asked to, on a daemon thread: one look at a time, and none is queued behind a slow one.

    Args:
        read: Looks; blocks.
        tell: Takes the reading, or what a look raised that it shouldn't have, on that thread.
    """

    def __init__(self, read: Callable[[], Reading], tell: Callable[[Reading | Exception], object]) -> None:
        self._read = read
        self._tell = tell
        self._wanted = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._go, name="meridian-top", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def look(self) -> None:
        """Ask for a look, as soon as the one before is finished."""
        self._wanted.set()

    def stop(self) -> None:
        """End after the look that is under way; doesn't wait for it."""
        self._over = True
        self._wanted.set()

    def _go(self) -> None:
        while self._wanted.wait() and not self._over:
            self._wanted.clear()
            try:
                reading: Reading | Exception = self._read()
            except Exception as error:  # noqa: BLE001 - a defect: who shows pictures must not wait for ever
                reading = error
            with contextlib.suppress(RuntimeError):  # whoever is told has gone
                if not self._over:
                    self._tell(reading)
