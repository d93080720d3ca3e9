"""The level of the suite: a result as an older suite would have judged it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from meridian_conformance import rules
from meridian_conformance.backends import UsageError

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
    wanted = _numbers(level)
    newest = rules.suite_version()
    if wanted > _numbers(newest)[:2]:
        raise UsageError(f"this kit has suite {newest}; level {level} needs a newer one")
    return wanted


def at_level(result: Result, level: str) -> Result:
    """Return a result without the rules that came after ``level``, under the name of that level.

    Raises:
        UsageError: there is no such level.
    """
    wanted = parse(level)
    kept = [found for found in result.rules if has(level, rules.find(found.rule))]
    suite = result.suite if _numbers(result.suite)[:2] == wanted else level
    return replace(result, suite=suite, rules=kept)


def has(level: str, rule: Rule) -> bool:
    """Say whether the suite of that level had that rule."""
    return _numbers(rule.since) <= parse(level)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
