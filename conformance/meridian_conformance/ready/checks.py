"""How ready queues are examined: all short histories, drawn long ones, and the cost of a pick."""

from __future__ import annotations

import sys
from itertools import product
from random import Random
from typing import TYPE_CHECKING, Any, Final

from meridian_conformance.checks import Examination, check
from meridian_conformance.contract import Capability, optional
from meridian_conformance.failures import Step, Trace
from meridian_conformance.ready.contract import BANDS, QueueSpec
from meridian_conformance.ready.session import ITSELF, ReadySession, play, replayed
from meridian_conformance.replay import PLAYERS, player_from
from meridian_conformance.require import RuleViolation, require, seen
from meridian_conformance.session import Broken

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from hypothesis.stateful import RuleBasedStateMachine

JUDGED: Final = ("READY-201", "READY-202", "READY-204", "READY-205", "READY-206")

WEIGHTS: Final = ((4, 2, 1), (1, 1, 1), (2, 3, 1), (3, 5, 2), (1, 1, 4))

OPS: Final = (
    Step("enqueue", (0, "CONTROL")),
    Step("enqueue", (1, "HIGH")),
    Step("enqueue", (2, "NORMAL")),
    Step("enqueue", (3, "NORMAL")),
    Step("pick"),
    Step("pick", (ITSELF, [2, "NORMAL"])),
)
"""What the histories of the small scope are made of."""


@check("core", judges=JUDGED, target="ready")
def ready_small_scope(exam: Examination) -> None:
    """Try all histories of four turns in three bands."""
    tried = try_all(exam, QueueSpec(turns=4), OPS, max(exam.effort.scope - 1, 4))
    exam.note = f"all histories up to length {tried}"


def try_all(exam: Examination, spec: QueueSpec, ops: Sequence[Step], longest: int) -> int:
    """Try all histories of some steps up to a length, the short ones first; return to which length there was time."""
    broken: set[tuple[int, ...]] = set()
    for length in range(1, longest + 1):
        for numbers in product(range(len(ops)), repeat=length):
            if broken and any(numbers[:n] in broken for n in range(1, length)):
                continue
            exam.runs += 1
            try:
                play(exam.backend, spec, [ops[number] for number in numbers])
            except Broken as found:
                broken.add(numbers)
                exam.found(found.violations, spec, found.steps, "ready", "ready")
        if exam.over:
            return length
    return longest


CHANGES: Final = (
    Step("enqueue", (0, "NORMAL")),
    Step("enqueue", (1, "HIGH")),
    Step("enqueue", (2, "HIGH")),
    Step("pick"),
    Step("pick", (["set_band", ITSELF, "HIGH"], ITSELF)),
    Step("set_band", (0, "HIGH")),
    Step("set_band", (0, "CONTROL")),
    Step("set_band", (1, "NORMAL")),
)
"""What the histories are made of in which bands change."""

REPEATS: Final = 300
"""So often a mixture of bands comes and goes: what each time leaves a little behind has left a lot by then."""


@check("core", judges=[*JUDGED, "READY-207"], needs=[Capability.BAND_CHANGE], target="ready")
def ready_band_changes(exam: Examination) -> None:
    """Try all histories of three turns that change their bands, then bands that are left empty by such changes again and again."""
    longest = max(exam.effort.scope - 2, 4)
    tried = try_all(exam, QueueSpec(turns=3), CHANGES, longest)
    exam.note = f"all histories up to length {tried}"
    for weights, guest in product(((4, 2, 1), (3, 5, 2)), range(3)):
        if exam.over:
            return
        exam.runs += 1
        hosts = [band for band in range(3) if band != guest]
        drive = Drive(exam, QueueSpec(weights))
        try:
            for _ in range(REPEATS):
                drive.phase(hosts, 4)
                drive.visit(guest, hosts)
            drive.phase(range(3), 30 * sum(weights))
        except Broken:
            continue


@check("core", judges=JUDGED, target="ready")
def ready_load(exam: Examination) -> None:
    """Keep each mixture of bands busy for ten rounds, after others were busy alone."""
    subsets = [tuple(b for b in range(3) if mask >> b & 1) for mask in range(1, 8)]
    for weights in WEIGHTS:
        spec = QueueSpec(weights)
        for before, mix in product(subsets, subsets):
            if exam.over:
                return
            exam.runs += 1
            drive = Drive(exam, spec)
            try:
                drive.phase(before, 9)
                drive.phase(mix, 10 * sum(weights))
            except Broken:
                continue


@check("core", judges=JUDGED, target="ready")
def ready_adversary(exam: Examination) -> None:
    """Starve one band on purpose: it always has work, and what comes to the others before each pick is drawn.

    It is in these comings and goings that strategies break which are fair under any steady load.
    """
    draw = Random(exam.seed)
    for _ in range(exam.effort.examples * 20):
        if exam.over:
            return
        exam.runs += 1
        drive = Drive(exam, QueueSpec(draw.choice(WEIGHTS[:4])))
        victim = draw.randrange(3)
        chances = [draw.random() for _ in range(3)]
        chances[victim] = 1.0
        try:
            for _ in range(24):
                for band in range(3):
                    if draw.random() < chances[band] and not drive.session.model.queued(band):
                        drive.enqueue(band)
                drive.play(Step("pick"))
        except Broken:
            continue


VISITOR: Final = 12
"""A turn beside the four that each band has in a `Drive`."""


class Drive:
    """Plays phases: for a while, some bands always have work and the others get nothing new.

    Args:
        exam: Where failures go.
        spec: What is opened.
    """

    def __init__(self, exam: Examination, spec: QueueSpec) -> None:
        self.exam = exam
        self.spec = spec
        self.session = ReadySession(exam.backend, spec)
        self.next_of = [0, 0, 0]

    def play(self, step: Step) -> None:
        """Play one step, and note what it broke.

        Raises:
            Broken: it broke rules.
        """
        try:
            self.session.play(step)
        except Broken as found:
            self.exam.found(found.violations, self.spec, found.steps, "ready", "ready")
            raise

    def enqueue(self, band: int) -> None:
        """Enqueue one of the four turns that each band has here; one that went to another band comes back."""
        self.next_of[band] = (self.next_of[band] + 1) % 4
        turn = band * 4 + self.next_of[band]
        if self.session.model.band_of.get(turn, band) != band:
            self.play(Step("set_band", (turn, BANDS[band])))
        self.play(Step("enqueue", (turn, BANDS[band])))

    def visit(self, guest: int, hosts: Sequence[int]) -> None:
        """Let a turn come to an idle band while ``hosts`` have work, pick once, and give it a band of theirs."""
        for band in hosts:
            if not self.session.model.queued(band):
                self.enqueue(band)
        for op in ("enqueue", "set_band"):
            self.play(Step(op, (VISITOR, BANDS[guest])))
        self.play(Step("pick"))
        self.play(Step("set_band", (VISITOR, BANDS[hosts[-1]])))

    def phase(self, bands: Sequence[int], picks: int, deep: int = 1) -> None:
        """Pick so many times, while ``bands`` always have ``deep`` turns queued."""
        for _ in range(picks):
            for band in bands:
                while not self.session.dead and self.session.model.queued(band) < deep:
                    self.enqueue(band)
            self.play(Step("pick"))


@check("core", judges=[*JUDGED, "READY-207"], target="ready")
def ready_machine(exam: Examination) -> None:
    """Play drawn histories; after a rule was found broken, look on for others."""
    from meridian_conformance.machine import play_machine

    play_machine(exam, machine_for)


def machine_for(exam: Examination) -> type[RuleBasedStateMachine]:
    """Return the machine that examines one ready queue."""
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

    from meridian_conformance.machine import FoundError

    bands = st.sets(st.integers(0, 2), min_size=1).map(sorted)

    class ReadyMachine(RuleBasedStateMachine):
        drive: Drive

        @initialize(weights=st.sampled_from(WEIGHTS))
        def open(self, weights: tuple[int, int, int]) -> None:
            exam.runs += 1
            self.drive = Drive(exam, QueueSpec(weights))

        def do(self, call: Any, *args: Any) -> None:
            if not exam.late:
                try:
                    call(*args)
                except Broken as found:
                    raise FoundError(str(found)) from None

        @rule(turn=st.integers(0, 11))
        def enqueue(self, turn: int) -> None:
            self.do(self.drive.play, Step("enqueue", (turn, BANDS[turn // 4])))

        @rule()
        def pick(self) -> None:
            self.do(self.drive.play, Step("pick"))

        @rule(meanwhile=st.lists(st.integers(0, 11), max_size=3), itself=st.booleans())
        def pick_and_enqueue(self, meanwhile: list[int], itself: bool) -> None:
            others = [[turn, BANDS[turn // 4]] for turn in meanwhile]
            self.do(self.drive.play, Step("pick", ((ITSELF, *others) if itself else tuple(others))))

        if Capability.BAND_CHANGE in exam.claims:

            @rule(turn=st.integers(0, 11), band=st.sampled_from(BANDS))
            def set_band(self, turn: int, band: str) -> None:
                self.do(self.drive.play, Step("set_band", (turn, band)))

            @rule(band=st.sampled_from(BANDS))
            def set_band_of_running(self, band: str) -> None:
                self.do(self.drive.play, Step("pick", (["set_band", ITSELF, band], ITSELF)))

        @rule(bands=bands, picks=st.integers(1, 9), deep=st.integers(1, 3))
        def busy(self, bands: list[int], picks: int, deep: int) -> None:
            self.do(self.drive.phase, bands, picks, deep)

        def teardown(self) -> None:
            drive = getattr(self, "drive", None)
            if drive is not None:
                for _ in range(len(drive.session.model.left) + 1):
                    self.do(drive.play, Step("pick"))

    return ReadyMachine


# ---- cost ------------------------------------------------------------------------------------------------------------

FEW, MANY, DISPATCHES = 8, 128, 16


class _CountedTurn(int):
    """A turn that counts how often it is compared or hashed: searching a list shows, even where it is done in C."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        _CountedTurn.compared += 1
        return int(self) == other

    def __hash__(self) -> int:
        return hash(int(self))


def operations(backend: Any, turns: int) -> int:
    """Return what so many dispatches cost with ``turns`` turns that are idle but for one.

    Counted are executed instructions of Python, comparisons of turns, and what the backend counts itself: nothing of it
    depends on the machine.
    """
    queue = backend.open(QueueSpec(turns=turns))
    for turn in range(turns):  # each has run once, so the queue knows them all
        queue.enqueue(_CountedTurn(turn), BANDS[turn % 3])
    for _ in range(turns):
        queue.finish(queue.pick())
    told = optional(backend, "operations")
    before = 0 if told is None else told(queue)
    counted = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal counted
        del arg
        if event == "call":
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        elif event == "opcode":
            counted += 1
        return trace

    compared = _CountedTurn.compared
    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        for n in range(DISPATCHES):
            turn = _CountedTurn(n * 7 % turns)
            queue.enqueue(turn, BANDS[turn % 3])
            queue.finish(queue.pick())
    finally:
        sys.settrace(previous)
    return counted + _CountedTurn.compared - compared + (0 if told is None else told(queue) - before)


def judge_cost(backend: Any, spec: QueueSpec) -> None:
    """Compare the cost of a dispatch among few and among many idle turns.

    Raises:
        RuleViolation: it grows.
    """
    del spec
    few, many = operations(backend, FEW), operations(backend, MANY)
    if few:
        seen("READY-203", "dispatches counted among idle turns", DISPATCHES)
    require(
        "READY-203",
        many <= 2 * few,
        operations_among_few=few,
        operations_among_many=many,
        few=FEW,
        many=MANY,
        dispatches=DISPATCHES,
    )


@check("core", judges=["READY-203"], target="ready")
def ready_cost(exam: Examination) -> None:
    """Count what a dispatch costs among few and among many idle turns."""
    exam.runs += 1
    spec = QueueSpec(turns=MANY)
    try:
        judge_cost(exam.backend, spec)
    except RuleViolation as violation:
        exam.found([violation], spec, (), "ready_cost", "ready")


def _replay_cost(backend: Any, trace: Trace) -> None:
    judge_cost(backend, QueueSpec.from_json(trace.spec))


PLAYERS["ready"] = player_from(replayed)
PLAYERS["ready_cost"] = player_from(_replay_cost)
