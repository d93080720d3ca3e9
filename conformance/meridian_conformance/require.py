"""How checks speak: `require` breaks a rule, `seen` says that a rule's situation really occurred.

Both report to the judge in whose `judging` block they run. Without one, `require` still raises and `seen` is free, so a
check works as a plain function anywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meridian_conformance.rules import Rule


class RuleViolation(AssertionError):  # noqa: N818 - the name says what it is: a rule was broken
    """A rule was broken.

    Attributes:
        rule: Its id.
        facts: What was expected, what was there instead, and where: values that the kit made up itself, and counts.
    """

    def __init__(self, rule: str, facts: Mapping[str, Any]) -> None:
        self.rule = rule
        self.facts = dict(facts)
        told = "; ".join(f"{name.replace('_', ' ')}: {value!r}" for name, value in self.facts.items())
        super().__init__(f"{rule}: {told}" if told else rule)


class Judge:
    """Counts what occurred, and knows which rules are not to be judged.

    Attributes:
        situations: How often each (rule, situation) occurred.
        muted: Rules that are not judged: `require` lets everything pass for them.
    """

    def __init__(self, muted: frozenset[str] = frozenset()) -> None:
        self.situations: Counter[tuple[str, str]] = Counter()
        self.muted = set(muted)

    def of(self, rule: str) -> dict[str, int]:
        """Return how often each situation of one rule occurred."""
        return {name: n for (id, name), n in self.situations.items() if id == rule}

    def often_enough(self, rule: Rule) -> bool:
        """Say whether every situation of ``rule`` occurred as often as a verdict needs."""
        return all(self.situations[rule.id, name] >= n for name, n in rule.situations.items())


_judge: ContextVar[Judge | None] = ContextVar("meridian_conformance_judge", default=None)


@contextmanager
def judging(judge: Judge) -> Generator[Judge]:
    """Report to ``judge`` within the block."""
    token = _judge.set(judge)
    try:
        yield judge
    finally:
        _judge.reset(token)


def require(rule: str, holds: object, **facts: Any) -> None:
    """Break ``rule`` unless ``holds``.

    Raises:
        RuleViolation: it doesn't hold, and the rule isn't muted.
    """
    if not holds:
        judge = _judge.get()
        if judge is None or rule not in judge.muted:
            raise RuleViolation(rule, facts)


def seen(rule: str, situation: str, n: int = 1) -> None:
    """Say that a situation in which ``rule`` could have been broken occurred ``n`` times."""
    judge = _judge.get()
    if judge is not None:
        judge.situations[rule, situation] += n


def is_muted(rule: str) -> bool:
    """Say whether ``rule`` isn't judged here."""
    judge = _judge.get()
    return judge is not None and rule in judge.muted
