"""Small scope first: all histories up to a length, shortest first.

Nothing is cheaper than trying everything there is, and most faults show in a few steps. As lengths are tried in order, the
first history that breaks a rule is a shortest one; what begins like a broken history isn't tried.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final

from meridian_conformance.checks import Examination, check
from meridian_conformance.contract import Capability, EdgeSpec
from meridian_conformance.failures import Step
from meridian_conformance.session import Broken, Session, play

if TYPE_CHECKING:
    from collections.abc import Sequence

POLICIES: Final = (
    ("block", None),
    ("drop", None),
    ("latest", None),
    ("coalesce", "collect"),
    ("coalesce", "fail"),
)
SPECS: Final = tuple(EdgeSpec(capacity, *policy) for capacity in (1, 2, 3) for policy in POLICIES)
BYTES: Final = tuple(
    EdgeSpec(capacity, policy, coalesce, max_bytes=24)
    for capacity in (2, 9)
    for policy, coalesce in (*POLICIES[:3], ("coalesce", "newer"), ("coalesce", "fail"))
)
AGES: Final = tuple(
    EdgeSpec(2, policy, coalesce, max_bytes=max_bytes, max_age_s=1.0)
    for max_bytes in (None, 16)
    for policy, coalesce in (*POLICIES[:3], ("coalesce", "newer"))
)

JUDGED: Final = (
    "EDGE-101",
    "EDGE-102",
    "EDGE-103",
    "EDGE-104",
    "EDGE-106",
    "EDGE-107",
    "EDGE-108",
    "EDGE-110",
    "EDGE-111",
    "EDGE-112",
    "EDGE-113",
    "EDGE-114",
    "EDGE-123",
    "EDGE-130",
)
LIMITS_JUDGED: Final = ("EDGE-101", "EDGE-103", "EDGE-115", "EDGE-116", "EDGE-130")


def steps_of(letters: Sequence[str]) -> list[Step]:
    """Return the steps of a history; what is put tells its place, and every other item has identity.

    Args:
        letters: ``p`` put, ``C`` put CONTROL, ``1`` ``2`` ``4`` put 8, 16 or 32 bytes, ``g`` get, ``s`` sleep 0.5 s, ``c`` close.
    """
    return [_step(i, letter) for i, letter in enumerate(letters)]


def _step(i: int, letter: str) -> Step:
    if letter in "pC":
        return Step("put" if letter == "p" else "put_control", (i if i % 2 == 0 else [i],))
    if letter in "124":
        return Step("put", ({"$bytes": [i, 8 * int(letter)]},))
    return {"g": Step("get"), "s": Step("sleep", (0.5,)), "c": Step("close")}[letter]


@check("core", judges=JUDGED)
def small_scope(exam: Examination) -> None:
    """Try all histories of put, get and close on edges of capacity 1, 2 and 3, with every policy."""
    complete = _try_all(exam, "pgc", SPECS, exam.effort.scope)
    exam.note = f"all histories up to length {complete}"
    if Capability.CONTROL in exam.claims:
        complete = _try_all(exam, "pgC", SPECS, exam.effort.scope - 2)
        exam.note += f", with CONTROL up to {complete}"


@check("core", judges=LIMITS_JUDGED)
def small_limits(exam: Examination) -> None:
    """Try all histories of puts of different sizes and of time that passes, on edges with limits."""
    notes: list[str] = []
    if Capability.BYTES_LIMIT in exam.claims:
        notes.append(f"bytes up to {_try_all(exam, '124g', BYTES, exam.effort.scope - 2)}")
    if Capability.AGE_LIMIT in exam.claims:
        specs = [spec for spec in AGES if spec.needs() <= exam.claims]
        notes.append(f"ages up to {_try_all(exam, '1gs', specs, exam.effort.scope - 1)}")
    exam.note = f"all histories with {', '.join(notes)}" if notes else "no limits are claimed"


def _try_all(exam: Examination, alphabet: str, specs: Sequence[EdgeSpec], longest: int) -> int:
    broken: set[tuple[EdgeSpec, tuple[str, ...]]] = set()
    for length in range(1, longest + 1):
        for letters in product(alphabet, repeat=length):
            steps = steps_of(letters)
            for spec in specs:
                if broken and any((spec, letters[:n]) in broken for n in range(1, length)):
                    continue
                exam.runs += 1
                try:
                    play(exam.backend, spec, steps, exam.claims, judged=1)
                except Broken as found:
                    broken.add((spec, letters))
                    exam.found(found.violations, spec, found.steps)
            if exam.over:
                return length - 1
    return longest


# ---- the long haul ---------------------------------------------------------------------------------------------------

LONG: Final = (
    (EdgeSpec(7), 3, 24_000),
    (EdgeSpec(2), 3, 400),
    (EdgeSpec(64), 50, 24),
    (EdgeSpec(300), 301, 8),
    (EdgeSpec(3, "drop"), 4, 300),
    (EdgeSpec(3, "latest"), 4, 300),
    (EdgeSpec(3, "coalesce", "newer"), 4, 300),
)
"""Edge, puts of a cycle, cycles. Indices of one byte and of two come round; so does a ring of a few hundred slots."""


@check("core", judges=JUDGED)
def long_haul(exam: Examination) -> None:
    """Use one edge for very long: what is counted, numbered or wrapped around comes to its end."""
    most = 0
    for spec, burst, cycles in LONG:
        exam.runs += 1
        steps = _haul(exam, spec, burst, cycles)
        most = max(most, len(steps))
        if steps and steps[-1].expected != steps[-1].got:
            try:
                play(exam.backend, spec, steps, exam.claims)  # the same again, judged at every step
            except Broken as found:
                exam.found(found.violations, spec, found.steps)
        if exam.over:
            break
    exam.note = f"up to {most} steps on one edge"


def _haul(exam: Examination, spec: EdgeSpec, burst: int, cycles: int) -> list[Step]:
    """Put and get in bursts, until something differs from the model or all is done; return the steps."""
    session = Session(exam.backend, spec, exam.claims)
    try:
        for cycle in range(cycles):
            for i in range(burst):
                session.put(cycle * burst + i, judge=False)
            for _ in range(burst - (cycle % 3 == 0)):
                session.get(judge=False)
            if session.dead or (not cycle % 64 and exam.late):
                break
        return session.steps
    finally:
        session.discard()
