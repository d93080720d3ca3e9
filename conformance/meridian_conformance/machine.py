"""The stateful machine: Hypothesis draws an edge and a long history, step by step.

Rules of the machine are small and many, because Hypothesis leaves some of them out of each example (swarm testing), which
is how an edge comes to be full for long or empty for long. It only generates: histories are shrunk by the kit's own
shrinker, so that what is reported replays without Hypothesis and took seconds rather than minutes to make small.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from meridian_conformance.checks import Effort, Examination, check
from meridian_conformance.contract import Capability, EdgeSpec, name_of
from meridian_conformance.exhaustive import JUDGED as SMALL_SCOPE_JUDGED
from meridian_conformance.failures import Step
from meridian_conformance.session import Broken, Session
from meridian_conformance.terms import play_terms

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis import settings as Settings  # noqa: N812 - it is a class
    from hypothesis.stateful import RuleBasedStateMachine

JUDGED: Final = (*SMALL_SCOPE_JUDGED, "EDGE-115", "EDGE-116")

DATABASES: Final = Path(".meridian-conformance") / "examples"
"""Where examples are kept between runs, a folder for each backend: a backend that passes deletes the examples in its folder."""

ODD: Final[tuple[Any, ...]] = (
    None,
    False,
    "",
    0.0,
    [],
    {},
    "text",
    {"key": [1, 2]},
    {"$tuple": [1, "two"]},
    {"$tuple": []},
    {"$bytes": [0, 0]},
    {"$bytes": [7, 3]},
    -1,
    1.5,
    True,
)
"""Payloads that formats and truth tests get wrong."""


def database_of(backend: Any) -> Path:
    """Return the folder of one backend's examples."""
    return DATABASES / re.sub(r"[^A-Za-z0-9_.-]+", "_", name_of(backend))


def settings_for(effort: Effort, backend: Any) -> Settings:
    """Return Hypothesis's settings: every field, because those left open come from a profile that CI may have loaded."""
    from hypothesis import HealthCheck, Phase, Verbosity, settings
    from hypothesis.database import DirectoryBasedExampleDatabase

    return settings(
        max_examples=effort.examples,
        stateful_step_count=effort.steps,
        derandomize=False,  # the seed is given: see `machine`
        database=DirectoryBasedExampleDatabase(database_of(backend)) if effort.random else None,
        deadline=None,
        verbosity=Verbosity.quiet,
        phases=(Phase.explicit, Phase.reuse, Phase.generate) if effort.random else (Phase.generate,),
        suppress_health_check=(HealthCheck.too_slow,),
        print_blob=False,
        report_multiple_bugs=False,
        backend=effort.generator,
    )


class FoundError(AssertionError):
    """Tells Hypothesis that it may stop: a rule was broken, and that is noted."""


@check("core", judges=JUDGED)
def machine(exam: Examination) -> None:
    """Play drawn histories; after a rule was found broken, look on for others."""
    if exam.effort.generator == "crosshair":
        play_terms(exam, settings_for(exam.effort, exam.backend))
    play_machine(exam, machine_for)


def play_machine(
    exam: Examination, machine_for: Callable[[Examination], type[RuleBasedStateMachine]]
) -> None:
    """Play histories that a machine draws; after a rule was found broken, look on for others.

    Args:
        exam: Who is examined.
        machine_for: Makes the machine, which raises `FoundError` when it has noted a broken rule.
    """
    from hypothesis import seed
    from hypothesis.errors import Flaky
    from hypothesis.stateful import run_state_machine_as_test

    muted_before = set(exam.judge.muted)
    try:
        for attempt in range(6):
            if exam.over:
                break
            known = set(exam.failures)
            made = machine_for(exam)
            seed(exam.seed * 1_000 + attempt)(made)
            try:
                run_state_machine_as_test(made, settings=settings_for(exam.effort, exam.backend))
                break
            except FoundError:
                exam.judge.muted |= set(exam.failures) - known or set(exam.failures)
            except Flaky:
                if not exam.late:
                    raise
                break  # the time ran out while Hypothesis repeated what is noted already
    finally:
        exam.judge.muted = muted_before


def machine_for(exam: Examination) -> type[RuleBasedStateMachine]:
    """Return the machine that examines one backend."""
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

    claims = exam.claims

    class EdgeMachine(RuleBasedStateMachine):
        session: Session | None = None
        serial = 0

        @initialize(
            capacity=st.one_of(st.integers(1, 4), st.integers(5, 20)),
            policy=st.sampled_from(
                [
                    ("block", None),
                    ("drop", None),
                    ("latest", None),
                    ("coalesce", "collect"),
                    ("coalesce", "collect"),
                    ("coalesce", "newer"),
                    ("coalesce", "none"),
                    ("coalesce", "fail"),
                ]
            ),
            max_bytes=st.sampled_from([None, None, 16, 24, 40])
            if Capability.BYTES_LIMIT in claims
            else st.none(),
            max_age_s=st.sampled_from([None, None, 1.0]) if Capability.AGE_LIMIT in claims else st.none(),
        )
        def open(
            self,
            capacity: int,
            policy: tuple[str, str | None],
            max_bytes: int | None,
            max_age_s: float | None,
        ) -> None:
            exam.runs += 1
            self.spec = EdgeSpec(capacity, *policy, max_bytes=max_bytes, max_age_s=max_age_s)
            self.session = Session(exam.backend, self.spec, claims)

        def play(self, op: str, *args: Any) -> None:
            assert self.session is not None
            if not exam.late:  # when the time is up the remaining examples do nothing
                self.note(lambda session: session.play(Step(op, args)))

        def note(self, do: Any) -> None:
            try:
                do(self.session)
            except Broken as found:
                exam.found(found.violations, self.spec, found.steps)
                raise FoundError(str(found)) from None

        def next(self) -> int:
            self.serial += 1
            return self.serial

        @rule()
        def put(self) -> None:
            self.play("put", self.next())

        @rule()
        def put_with_identity(self) -> None:
            self.play("put", [self.next()])

        @rule(item=st.sampled_from(ODD))
        def put_odd(self, item: Any) -> None:
            self.play("put", item)

        @rule()
        def put_until_full(self) -> None:
            assert self.session is not None
            for _ in range(self.spec.capacity + 1):
                self.play("put", self.next())

        @rule()
        def get(self) -> None:
            self.play("get")

        @rule(n=st.integers(2, 5))
        def get_several(self, n: int) -> None:
            for _ in range(n):
                self.play("get")

        @rule()
        def put_and_get(self) -> None:
            for _ in range(3):
                self.play("put", self.next())
                self.play("get")

        @precondition(lambda self: self.serial > 20)
        @rule()
        def close(self) -> None:
            self.play("close")

        @precondition(lambda self: self.session is not None and self.session.spec.max_bytes is not None)
        @rule(size=st.sampled_from([0, 1, 7, 8, 9, 16, 17, 24, 41]))
        def put_bytes(self, size: int) -> None:
            self.play("put", {"$bytes": [self.next(), size]})

        @precondition(lambda self: self.session is not None and self.session.spec.max_age_s is not None)
        @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 1.25]))
        def sleep(self, seconds: float) -> None:
            self.play("sleep", seconds)

        @precondition(lambda self: self.session is not None and self.session.spec.max_age_s is not None)
        @rule()
        def let_all_expire(self) -> None:
            self.put_until_full()
            self.play("sleep", 1.25)
            self.play("get")
            self.put_until_full()

        if Capability.CONTROL in claims:

            @rule()
            def put_control(self) -> None:
                self.play("put_control", self.next())

        def teardown(self) -> None:
            if self.session is not None:
                try:
                    if not exam.late:
                        self.note(lambda session: session.drain())
                finally:
                    self.session.discard()

    return EdgeMachine
