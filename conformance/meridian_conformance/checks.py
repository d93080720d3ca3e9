"""The checks: what looks for broken rules, by name.

A check is a function that is given an `Examination` and looks, by whatever means, for histories that break the rules it
judges. It reports what it finds and how often it was in a position to find something; the verdict is the runner's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from meridian_conformance import rules
from meridian_conformance.failures import Step, Trace
from meridian_conformance.require import Judge, RuleViolation
from meridian_conformance.verdicts import Failure


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard the kit looks.

    Attributes:
        name: ``pr``, ``nightly`` or ``crosshair``.
        examples: Histories that the stateful machine plays.
        steps: Steps of each.
        scope: Length up to which all histories are tried.
        schedules: Asynchronous schedules that are drawn.
        async_scope: Length up to which all asynchronous schedules are tried.
        rounds: Fewest rounds of the threads.
        seconds: Most seconds that one check may take; what it can't finish it says.
        random: Whether each run draws a seed of its own.
        generator: Hypothesis's backend.
    """

    name: str
    examples: int
    steps: int
    scope: int
    schedules: int
    async_scope: int
    rounds: int
    seconds: float
    random: bool = False
    generator: Literal["hypothesis", "crosshair"] = "hypothesis"


EFFORTS: Final = {
    effort.name: effort
    for effort in (
        Effort("pr", examples=200, steps=40, scope=7, schedules=600, async_scope=5, rounds=30, seconds=20.0),
        Effort(
            "nightly",
            examples=20_000,
            steps=50,
            scope=9,
            schedules=20_000,
            async_scope=7,
            rounds=2_000,
            seconds=1_200.0,
            random=True,
        ),
        Effort(
            "crosshair",
            examples=60,
            steps=12,
            scope=5,
            schedules=100,
            async_scope=4,
            rounds=10,
            seconds=900.0,
            random=True,
            generator="crosshair",
        ),
    )
}


class Examination:
    """One backend under examination.

    Args:
        backend: Who is examined.
        claims: What it claims.
        effort: How hard to look.
        seed: Where random choices start.
        until: Rules after whose breaking there is nothing more to look for; all that are judged by default.
        judge: Counts situations; a new one by default.

    Attributes:
        failures: The shortest failure of each rule so far.
        undecided: Why no verdict can be given about a rule, though it was looked at: the machine was too noisy.
        runs: Histories that were tried by the current check.
        note: What the current check has to say about its scope.
    """

    def __init__(
        self,
        backend: Any,
        claims: frozenset[str],
        effort: Effort,
        seed: int = 0,
        until: Collection[str] | None = None,
        judge: Judge | None = None,
    ) -> None:
        self.backend = backend
        self.claims = claims
        self.effort = effort
        self.seed = seed
        self.until = None if until is None else frozenset(until)
        self.judge = judge or Judge()
        self.failures: dict[str, Failure] = {}
        self.undecided: dict[str, str] = {}
        self.runs = 0
        self.note = ""
        self.check = ""
        self._ends = time.monotonic() + effort.seconds

    def begin(self, check: str) -> None:
        """Begin a check: its time runs from now."""
        self.check = check
        self.runs = 0
        self.note = ""
        self._ends = time.monotonic() + self.effort.seconds

    @property
    def over(self) -> bool:
        """Whether the time of the current check is up, or all that was looked for is found."""
        return self.done or time.monotonic() > self._ends

    @property
    def late(self) -> bool:
        """Whether the time of the current check is up."""
        return time.monotonic() > self._ends

    @property
    def done(self) -> bool:
        """Whether all that was looked for is found."""
        return self.until is not None and self.until <= self.failures.keys()

    def found(
        self,
        violations: Iterable[RuleViolation],
        spec: Any,
        steps: Iterable[Step],
        player: str = "session",
        target: str = "edge",
    ) -> None:
        """Note broken rules, and the history that shows it; the shortest of each rule is kept."""
        steps = tuple(steps)
        for violation in violations:
            if violation.rule in self.judge.muted:
                continue
            known = self.failures.get(violation.rule)
            if known is None or len(steps) < len(known.trace.steps):
                self.failures[violation.rule] = Failure(
                    violation.rule,
                    {
                        name: value if isinstance(value, str) else repr(value)
                        for name, value in violation.facts.items()
                    },
                    Trace(
                        violation.rule,
                        target,
                        rules.suite_version(),
                        spec.to_json(),
                        steps,
                        player=player,
                        seed=self.seed,
                    ),
                    self.check,
                )


@dataclass(frozen=True, slots=True)
class Check:
    """One way to look for broken rules.

    Attributes:
        name: Its name, as rules name it.
        profile: The profile that runs it.
        judges: The rules that it can find broken.
        needs: Capabilities without which it can't be run.
        target: What it examines.
        run: Looks.
    """

    name: str
    profile: str
    judges: frozenset[str]
    needs: frozenset[str]
    target: str
    run: Callable[[Examination], None]


CHECKS: Final[dict[str, Check]] = {}
"""All checks by name, in the order in which they are run; filled by `load_all`."""


def check(
    profile: str, *, judges: Iterable[str], needs: Iterable[str] = (), target: str = "edge"
) -> Callable[[Callable[[Examination], None]], Callable[[Examination], None]]:
    """Make a function a check, named like the function."""

    def register(run: Callable[[Examination], None]) -> Callable[[Examination], None]:
        CHECKS[run.__name__] = Check(run.__name__, profile, frozenset(judges), frozenset(needs), target, run)
        return run

    return register


def load_all() -> dict[str, Check]:
    """Import all modules that hold checks, and return the checks."""
    from meridian_conformance import crash, directed, exhaustive, machine, overhead, schedules, threads
    from meridian_conformance.engine import checks as engine
    from meridian_conformance.node import checks as node
    from meridian_conformance.ready import checks as ready

    del crash, directed, engine, exhaustive, machine, node, overhead, ready, schedules, threads
    return CHECKS


def profiles(target: str = "edge") -> list[str]:
    """Return the profiles of a target, in the order in which they are run."""
    return list(dict.fromkeys(each.profile for each in load_all().values() if each.target == target))
