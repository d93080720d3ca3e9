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
from meridian_conformance.session import Broken, play

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SPECS: Final = tuple(
    EdgeSpec(capacity, policy, coalesce)
    for capacity in (1, 2, 3)
    for policy, coalesce in (
        ("block", None),
        ("drop", None),
        ("latest", None),
        ("coalesce", "collect"),
        ("coalesce", "fail"),
    )
)

PUT, GET, CLOSE, CONTROL = "put", "get", "close", "put_control"

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


def histories(alphabet: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    """Yield all histories of one length."""
    return product(alphabet, repeat=length)


def steps_of(ops: Sequence[str]) -> list[Step]:
    """Return the steps of a history; what is put tells its place, and every other item has identity."""
    return [
        Step(op, (i if i % 2 == 0 else [i],)) if op in (PUT, CONTROL) else Step(op)
        for i, op in enumerate(ops)
    ]


@check("core", judges=JUDGED)
def small_scope(exam: Examination) -> None:
    """Try all histories of put, get and close on edges of capacity 1, 2 and 3, with every policy."""
    complete = _try_all(exam, (PUT, GET, CLOSE), exam.effort.scope)
    exam.note = f"all histories up to length {complete}"
    if Capability.CONTROL in exam.claims:
        complete = _try_all(exam, (PUT, GET, CONTROL), exam.effort.scope - 2)
        exam.note += f", with CONTROL up to {complete}"


def _try_all(exam: Examination, alphabet: Sequence[str], longest: int) -> int:
    broken: set[tuple[EdgeSpec, tuple[str, ...]]] = set()
    for length in range(1, longest + 1):
        for ops in histories(alphabet, length):
            steps = steps_of(ops)
            for spec in SPECS:
                if broken and any((spec, ops[:n]) in broken for n in range(1, length)):
                    continue
                exam.runs += 1
                try:
                    play(exam.backend, spec, steps, exam.claims, judged=1)
                except Broken as found:
                    broken.add((spec, ops))
                    exam.found(found.violations, spec, found.steps)
            if exam.over:
                return length - 1
    return longest
