"""One history on one ready queue, judged step by step.

The model knows who is queued, in which band and since when; it doesn't know who is to be picked. Any strategy passes that
picks a turn which is queued, within the bounds that it states itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meridian_conformance.contract import EMPTY, optional
from meridian_conformance.failures import Step, Trace
from meridian_conformance.ready.contract import BANDS, QueueSpec
from meridian_conformance.require import seen
from meridian_conformance.session import Judged

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

ITSELF: Final = "itself"
"""Stands for the picked turn in what happens while it runs."""


class Model:
    """Who is queued, and what they are owed.

    Attributes:
        band_of: Band of each turn that was ever enqueued.
        left: For each queued turn, how many picks of its band may still pass it by.
        others: For each band with work, how many picks of other bands it has waited for.
        mix: Bands that had work at each of the last picks, and how many picks each got since that began.
        changed: Turns that were ever given a band.
        moved: Those that haven't been picked since.
    """

    def __init__(self, spec: QueueSpec, line_bound: Callable[[int], int]) -> None:
        self.spec = spec
        self.line_bound = line_bound
        self.band_of: dict[int, int] = {}
        self.left: dict[int, int] = {}
        self.others = [0, 0, 0]
        self.mix: tuple[int, ...] = ()
        self.got = [0, 0, 0]
        self.changed: set[int] = set()
        self.moved: set[int] = set()

    def queued(self, band: int) -> int:
        """Return how many turns of a band are queued."""
        return sum(self.band_of[turn] == band for turn in self.left)

    def busy(self) -> tuple[int, ...]:
        """Return the bands that have work."""
        return tuple(band for band in range(3) if self.queued(band))

    def enqueue(self, turn: int, band: int) -> None:
        """A turn has something to do."""
        band = self.band_of.setdefault(turn, band)
        if turn not in self.left:
            self.left[turn] = self.line_bound(self.queued(band) + 1) - 1

    def set_band(self, turn: int, band: int) -> None:
        """A known turn is given a band. A band that it leaves empty hasn't had work all the time."""
        self.changed.add(turn)
        self.moved.add(turn)
        old, self.band_of[turn] = self.band_of[turn], band
        if old == band or turn not in self.left:
            return
        self.left[turn] = self.line_bound(self.queued(band)) - 1
        if not self.queued(old):
            self.others[old] = 0
            self.mix = ()

    def pick(self, turn: int) -> None:
        """A queued turn was picked."""
        band = self.band_of[turn]
        busy = self.busy()
        del self.left[turn]
        self.moved.discard(turn)
        if busy != self.mix:
            self.mix, self.got = busy, [0, 0, 0]
        self.got[band] += 1
        for other in range(3):
            self.others[other] = self.others[other] + 1 if other in busy and other != band else 0
        for waiting in self.left:
            if self.band_of[waiting] == band:
                self.left[waiting] -= 1

    def owed(self, band: int) -> float:
        """Return how many picks a band should have had since the bands with work were these."""
        weights = self.spec.weights
        return sum(self.got) * weights[band] / sum(weights[other] for other in self.mix)


class ReadySession(Judged):
    """One ready queue, its model, and what was done so far.

    Args:
        backend: Who opens the queue.
        spec: What is opened.
    """

    def __init__(self, backend: Any, spec: QueueSpec) -> None:
        super().__init__()
        self.spec = spec
        self.dead = False
        line_bound = optional(backend, "line_bound")
        self.model = Model(spec, (lambda n: n) if line_bound is None else (lambda n: line_bound(spec, n)))
        self.bounds = tuple(backend.bounds(spec))
        self.queue = backend.open(spec)

    def play(self, step: Step) -> None:
        """Do one step: ``enqueue(turn, band)``, ``set_band(turn, band)``, or ``pick(*what happens while it runs)``.

        While the picked turn runs, ``(turn, band)`` and ``"itself"`` enqueue, ``("set_band", turn, band)`` gives a band.

        Raises:
            Broken: it broke rules.
        """
        if self.dead:
            return
        if step.op == "enqueue":
            self.enqueue(*step.args)
        elif step.op == "set_band":
            self.set_band(*step.args)
        elif step.op == "pick":
            self.pick(*step.args)
        else:
            raise ValueError(f"a step {step.op!r}, which no ready queue has")
        if not self.dead:
            self._judge_count()
        self.stop_if_broken()

    def enqueue(self, turn: int, band: str) -> None:
        """Say that a turn has something to do."""
        self.steps.append(Step("enqueue", (turn, band), "OK", "OK"))
        self._enqueue(turn, band, None)

    def _enqueue(self, turn: int, band: str, running: int | None) -> None:
        number = self.model.band_of.get(turn, BANDS.index(band))
        if turn in self.model.left:
            seen("READY-201", "enqueued while it was queued")
        elif turn == running:
            seen("READY-201", "enqueued while it ran")
        self.model.enqueue(turn, number)
        self.queue.enqueue(turn, BANDS[number])

    def set_band(self, turn: int, band: str) -> None:
        """Give a turn another band; nothing happens to one that was never enqueued."""
        self.steps.append(Step("set_band", (turn, band), "OK", "OK"))
        self._set_band(turn, band, None)

    def _set_band(self, turn: int, band: str, running: int | None) -> None:
        model, number = self.model, BANDS.index(band)
        if turn not in model.band_of:
            return
        if model.band_of[turn] == number:
            seen("READY-207", "given the band that it has")
        elif turn in model.left:
            seen("READY-207", "changed its band while it was queued")
            if model.queued(number):
                seen("READY-207", "changed to a band in which others were queued")
        elif turn == running:
            seen("READY-207", "changed its band while it ran")
        model.set_band(turn, number)
        self.queue.set_band(turn, band)

    def _require_turn(self, holds: object, turns: Collection[int], **facts: Any) -> None:
        """Require that ``turns`` are neither lost nor there twice; if they ever changed their band, that is to blame."""
        if not holds:
            self.dead = True  # from here on queue and model are two things
            changed = bool(turns) and self.model.changed.issuperset(turns)
            self.require("READY-207" if changed else "READY-201", False, **facts)

    def pick(self, *meanwhile: Any) -> None:
        """Take the next turn, run it, and finish it; ``meanwhile`` says what happens while it runs."""
        model = self.model
        got = self.queue.pick()
        shown = "EMPTY" if got is EMPTY else str(got)
        due = sorted(model.left)
        wanted = (
            shown if got in model.left or (not due and got is EMPTY) else (str(due[0]) if due else "EMPTY")
        )
        self.steps.append(Step("pick", meanwhile, wanted, shown))
        if got is EMPTY:
            self._require_turn(not due, due, picked="EMPTY", queued=due)
            return
        self._require_turn(got in model.left, [got], picked=got, queued=due)
        if self.dead:
            return
        busy = model.busy()
        if len(busy) > 1:
            seen("READY-202", "several bands had work")
            if 0 in busy:
                seen("READY-202", "CONTROL had work while others had")
        if model.queued(model.band_of[got]) > 1:
            seen("READY-204", "several turns of a band were queued")
        moved = got in model.moved
        model.pick(got)
        self._judge_pick(got, moved)
        for each in meanwhile:
            self._do_meanwhile(each, got)
        self.queue.finish(got)

    def _do_meanwhile(self, what: Any, running: int) -> None:
        if what == ITSELF:
            self._enqueue(running, BANDS[self.model.band_of[running]], running)
        elif what[0] == "set_band":
            _, turn, band = what
            self._set_band(running if turn == ITSELF else turn, band, running)
        else:
            turn, band = what
            self._enqueue(turn, band, running)

    def _judge_pick(self, got: int, moved: bool) -> None:
        model, spec = self.model, self.spec
        for band, waited in enumerate(model.others):
            bound = min(self.bounds[band], spec.control_bound()) if band == 0 else self.bounds[band]
            if waited <= bound:
                continue
            # Who was moved to CONTROL and isn't served like it is still served in its old band.
            waiting = {turn for turn in model.left if model.band_of[turn] == band}
            self.require(
                "READY-207" if band == 0 and waiting <= model.moved else "READY-202",
                False,
                band=BANDS[band],
                picks_of_others=waited,
                bound=bound,
                picked=got,
            )
        late = sorted(turn for turn, left in model.left.items() if left < 0)
        self.require(
            "READY-207" if moved or model.moved.issuperset(late) else "READY-204",
            not late,
            picked=got,
            overdue=late,
        )
        if len(model.mix) > 1:
            total = sum(spec.weights[band] for band in model.mix)
            if sum(model.got) >= 3 * total:
                seen("READY-205", "bands shared for three rounds")
            for band in model.mix:
                off = abs(model.got[band] - model.owed(band))
                self.require(
                    "READY-205", off <= total, band=BANDS[band], picks=model.got[band], share=model.owed(band)
                )

    def _judge_count(self) -> None:
        waiting, queued = self.queue.waiting(), len(self.model.left)
        if queued:
            seen("READY-206", "turns were queued")
        self.require("READY-206", waiting == queued, waiting=waiting, queued=queued)
        if waiting != queued:  # is it the count that is wrong, or the queue?
            for _ in range(queued + 1):
                if not self.dead:
                    self.pick()


def play(backend: Any, spec: QueueSpec, steps: Iterable[Step]) -> ReadySession:
    """Play a history.

    Raises:
        Broken: it broke rules.
    """
    session = ReadySession(backend, spec)
    for step in steps:
        session.play(step)
    return session


def replayed(backend: Any, trace: Trace) -> tuple[Step, ...]:
    """Play a failure file; return its steps with what came of them.

    Raises:
        Broken: it broke rules.
    """
    return tuple(play(backend, QueueSpec.from_json(trace.spec), trace.steps).steps)
