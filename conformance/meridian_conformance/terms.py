"""Histories for CrossHair: numbers that stay terms of its solver until the code asks what they are.

The stateful machine is no ground for it: which of its rules are left out, and where a history ends, are choices of Hypothesis
itself, and the solver spends its paths on those. Here a history is a short list of numbers, and what an edge does with an item
that is a number is all there is to explore. CrossHair sees Python only; what is found is played again with real numbers.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from meridian_conformance.contract import EdgeSpec
from meridian_conformance.failures import Step
from meridian_conformance.session import Broken, Session

if TYPE_CHECKING:
    from hypothesis import settings as Settings  # noqa: N812 - it is a class

    from meridian_conformance.checks import Examination

POLICIES: Final = (("block", None), ("drop", None), ("latest", None), ("coalesce", "newer"))


class FoundError(AssertionError):
    """Tells Hypothesis that it may stop: a rule was broken."""


def play_terms(exam: Examination, settings: Settings) -> None:
    """Play histories of puts and gets whose numbers CrossHair chooses; note the first that breaks a rule."""
    from hypothesis import given
    from hypothesis import strategies as st

    @settings
    @given(
        capacity=st.integers(1, 4),
        policy=st.integers(0, len(POLICIES) - 1),
        numbers=st.lists(st.integers(), min_size=1, max_size=6),
        gets=st.integers(0, 3),
    )
    def history(capacity: int, policy: int, numbers: list[int], gets: int) -> None:
        if exam.over:
            return
        exam.runs += 1
        session = Session(exam.backend, EdgeSpec(capacity, *POLICIES[policy]), exam.claims)
        try:
            for number in numbers:
                _play(exam, session, Step("put", (number,)))
            for _ in range(gets):
                _play(exam, session, Step("get"))
            _end(exam, session)
        finally:
            session.discard()

    try:
        history()
    except FoundError:
        pass  # it is noted


def _play(exam: Examination, session: Session, step: Step) -> None:
    _note(exam, session, lambda: session.play(step))


def _end(exam: Examination, session: Session) -> None:
    _note(exam, session, session.drain)


def _note(exam: Examination, session: Session, do: Any) -> None:
    try:
        do()
    except Broken as found:
        if not _is_symbolic():  # else Hypothesis plays it again, with numbers in place of terms
            exam.found(found.violations, session.spec, found.steps)
        raise FoundError from None


def _is_symbolic() -> bool:
    """Say whether CrossHair runs this code, so that numbers may be terms."""
    tracers = sys.modules.get("crosshair.tracers")
    return tracers is not None and bool(tracers.is_tracing())
