"""The level of the suite: a result as an older suite would have judged it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from meridian_conformance import rules
from meridian_conformance.backends import UsageError
from meridian_conformance.rules import numbers

if TYPE_CHECKING:
    from meridian_conformance.rules import Rule
    from meridian_conformance.verdicts import Result


def parse(level: str) -> tuple[int, ...]:
    """Read a level such as ``2.0``.

    Raises:
        UsageError: it is none, or one that this kit doesn't know yet.
    """
    if not re.fullmatch(r"\d+\.\d+", level):
        raise UsageError(f"a suite level is two numbers such as 2.0, not {level!r}")
    wanted = numbers(level)
    newest = rules.suite_version()
    if wanted > numbers(newest)[:2]:
        raise UsageError(f"this kit has suite {newest}; level {level} needs a newer one")
    return wanted


def at_level(result: Result, level: str) -> Result:
    """Return a result as the suite of ``level`` would have told it: without later rules, binding what it bound.

    Raises:
        UsageError: there is no such level.
    """
    wanted = parse(level)
    known = [(found, rules.find(found.rule)) for found in result.rules]
    kept = [
        replace(found, level=rule.level_in(level), binds=rule.binds_after(level))
        for found, rule in known
        if has(level, rule)
    ]
    suite = result.suite if numbers(result.suite)[:2] == wanted else level
    return replace(result, suite=suite, rules=kept)


def has(level: str, rule: Rule) -> bool:
    """Say whether the suite of that level had that rule."""
    return numbers(rule.since) <= parse(level)
