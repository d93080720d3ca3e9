"""Faults of ready queues, over a second writing of Meridian's rules: a list, a credit and a patience for each band."""

from __future__ import annotations

from typing import Any

from meridian_conformance.contract import EMPTY
from meridian_conformance.faults import register
from meridian_conformance.ready.contract import BANDS, QueueSpec
from meridian_conformance.ready.reference import ReferenceQueues


class RightQueue:
    """A ready queue without a fault; what each fault bends is a method of its own."""

    def __init__(self, spec: QueueSpec) -> None:
        self.spec = spec
        self.weights = spec.weights
        self.lines: list[list[int]] = [[], [], []]
        self.band_of: dict[int, int] = {}
        self.saved = [0, 0, 0]
        self.waits = [0, 0, 0]
        self.patience = [-(-(sum(self.weights) - weight) // weight) for weight in self.weights]
        self.running: int | None = None

    def enqueue(self, turn: int, band: str) -> None:
        self.band_of[turn] = BANDS.index(band)
        if not self.is_queued(turn):
            self.append(turn)

    def set_band(self, turn: int, band: str) -> None:
        old, new = self.band_of[turn], BANDS.index(band)
        if old != new:
            was_queued = self.is_queued(turn)
            self.band_of[turn] = new
            if was_queued:
                self.change_lines(turn, old)

    def change_lines(self, turn: int, old: int) -> None:
        self.lines[old].remove(turn)
        self.append(turn)
        if not self.lines[old]:
            self.begin_anew(old)

    def begin_anew(self, left: int) -> None:
        self.saved = [0, 0, 0]
        self.waits[left] = 0

    def is_queued(self, turn: int) -> bool:
        return turn in self.lines[self.band_of[turn]]

    def append(self, turn: int) -> None:
        self.lines[self.band_of[turn]].append(turn)

    def pick(self) -> Any:
        work = [band for band in range(3) if self.lines[band]]
        if not work:
            return EMPTY
        for band in range(3):
            self.saved[band] = self.saved[band] + self.weights[band] if band in work else self.idle(band)
        best = self.choose(work)
        self.saved[best] -= sum(self.weights[band] for band in work)
        for band in range(3):
            self.waits[band] = self.waits[band] + 1 if band in work and band != best else 0
        self.running = self.take(best)
        return self.running

    def idle(self, band: int) -> int:
        del band
        return 0

    def late(self, work: list[int]) -> list[int]:
        return [band for band in work if self.waits[band] >= self.patience[band]]

    def choose(self, work: list[int]) -> int:
        late = self.late(work)
        if 0 in late:
            return 0
        richest = max(work, key=lambda band: (self.saved[band], -band))
        return max(late, key=lambda band: (self.waits[band], -band), default=richest)

    def take(self, band: int) -> int:
        return self.lines[band].pop(0)

    def finish(self, turn: int) -> None:
        del turn
        self.running = None

    def waiting(self) -> int:
        return sum(map(len, self.lines))


class FaultyQueue(RightQueue):
    """A ready queue with one mistake; a subclass names the rule that it breaks."""

    def __init_subclass__(cls, *, rule: str, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        backend = type(
            cls.__name__,
            (ReferenceQueues,),
            {
                "queue_type": cls,
                "name": f"fault {cls.__name__}",
                "__doc__": cls.__doc__,
                "__module__": cls.__module__,
            },
        )
        register(backend, rule)


class LostOnEnqueueWhileItRuns(FaultyQueue, rule="READY-201"):
    """Takes a running turn for a queued one."""

    def is_queued(self, turn: int) -> bool:
        return turn == self.running or super().is_queued(turn)


class QueuesTwice(FaultyQueue, rule="READY-201"):
    """Looks only at the end of the line to see whether a turn is queued."""

    def is_queued(self, turn: int) -> bool:
        return self.lines[self.band_of[turn]][-1:] == [turn]


class StrictPriority(FaultyQueue, rule="READY-202"):
    """Always serves the most urgent band."""

    def choose(self, work: list[int]) -> int:
        return work[0]


class HoardsCredit(FaultyQueue, rule="READY-202"):
    """A band saves up while it is idle, and spends it all at once."""

    def idle(self, band: int) -> int:
        return self.saved[band] + self.weights[band]

    def late(self, work: list[int]) -> list[int]:
        del work
        return []


class OnlyControlIsNeverLate(FaultyQueue, rule="READY-202"):
    """Weighs fairly, but what others saved up makes CONTROL wait longer than one slice."""

    def late(self, work: list[int]) -> list[int]:
        return [band for band in super().late(work) if band]


class LooksAtAllNodes(FaultyQueue, rule="READY-203"):
    """Finds out who is queued by asking every turn that it knows."""

    def waiting(self) -> int:
        return sum(map(self.is_queued, self.band_of))

    def pick(self) -> Any:
        due = [turn for turn in self.band_of if self.is_queued(turn)]
        return super().pick() if due else EMPTY


class SearchesAListOfAllNodes(FaultyQueue, rule="READY-203"):
    """Keeps all turns in a list, and looks a turn up in it."""

    def __init__(self, spec: QueueSpec) -> None:
        super().__init__(spec)
        self.known: list[int] = []

    def enqueue(self, turn: int, band: str) -> None:
        if turn not in self.known:
            self.known.append(turn)
        super().enqueue(turn, band)


class NewestFirst(FaultyQueue, rule="READY-204"):
    """Serves the newest turn of a band first."""

    def take(self, band: int) -> int:
        return self.lines[band].pop()


class LowestNumberFirst(FaultyQueue, rule="READY-204"):
    """Keeps the line of a band sorted."""

    def take(self, band: int) -> int:
        turn = min(self.lines[band])
        self.lines[band].remove(turn)
        return turn


class SharesEqually(FaultyQueue, rule="READY-205"):
    """Takes the bands in turn, whatever their weights."""

    last = 2

    def choose(self, work: list[int]) -> int:
        self.last = next(band for step in (1, 2, 3) if (band := (self.last + step) % 3) in work)
        return self.last


class ForgetsCreditsButNotDebts(FaultyQueue, rule="READY-205"):
    """Goes on with the round when a band is left empty: what that band had saved is forgotten, what others owe for it is not."""

    def begin_anew(self, left: int) -> None:
        del left


class CountsTheRunningTurn(FaultyQueue, rule="READY-206"):
    """Counts a turn until it has finished, and so once too often if it was queued again."""

    ran = False

    def pick(self) -> Any:
        self.ran = super().pick() is not EMPTY
        return EMPTY if self.running is None else self.running

    def waiting(self) -> int:
        return super().waiting() + self.ran


class LosesWhoChangesItsBand(FaultyQueue, rule="READY-207"):
    """Takes a turn out of its line, and leaves it to the next enqueue to put it in another."""

    def change_lines(self, turn: int, old: int) -> None:
        self.lines[old].remove(turn)


class StandsInBothBands(FaultyQueue, rule="READY-207"):
    """Puts a turn in its new line, and forgets that it stands in the old one."""

    def change_lines(self, turn: int, old: int) -> None:
        del old
        self.append(turn)


class ChangesBandsOnlyLater(FaultyQueue, rule="READY-207"):
    """Serves a turn that is queued in its old band once more."""

    def is_queued(self, turn: int) -> bool:
        return any(turn in line for line in self.lines)

    def change_lines(self, turn: int, old: int) -> None:
        del turn, old


class GoesToTheHeadOfItsNewBand(FaultyQueue, rule="READY-207"):
    """Puts a turn that comes from another band in front of those who are there."""

    def change_lines(self, turn: int, old: int) -> None:
        self.lines[old].remove(turn)
        self.lines[self.band_of[turn]].insert(0, turn)
        if not self.lines[old]:
            self.begin_anew(old)


class LosesItsPlaceForNothing(FaultyQueue, rule="READY-207"):
    """Sends a turn to the end of its line when it is given the band that it has."""

    def set_band(self, turn: int, band: str) -> None:
        super().set_band(turn, band)
        line = self.lines[self.band_of[turn]]
        if turn in line:
            line.remove(turn)
            line.append(turn)
