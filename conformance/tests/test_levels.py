"""A level leaves out what came later, and says that it is that level."""

import re

import pytest

from meridian_conformance import levels, rules
from meridian_conformance.backends import UsageError
from meridian_conformance.rules import Rule
from meridian_conformance.verdicts import Result, RuleResult, Verdict

pytestmark = pytest.mark.req("X4", "X5")


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this were suite 2.3.1, and EDGE-102 had come with 2.2."""
    known = dict(rules.load())
    fields = {name: getattr(known["EDGE-102"], name) for name in Rule.__dataclass_fields__}
    known["EDGE-102"] = Rule(**{**fields, "since": "2.2"})
    monkeypatch.setattr(rules, "_loaded", lambda: ("2.3.1", known))


def judged(suite: str) -> Result:
    found = [RuleResult(id, "MUST", "core", Verdict.PASS) for id in ("EDGE-101", "EDGE-102")]
    return Result("x", "edge", suite, ["core"], [], [], "pr", 0, "", 0.0, {}, found)


@pytest.mark.parametrize(
    ("level", "kept", "suite"),
    [
        ("2.0", ["EDGE-101"], "2.0"),
        ("2.1", ["EDGE-101"], "2.1"),
        ("2.2", ["EDGE-101", "EDGE-102"], "2.2"),
        ("2.3", ["EDGE-101", "EDGE-102"], "2.3.1"),
    ],
)
@pytest.mark.usefixtures("later")
def test_rules_that_came_later_are_left_out(level: str, kept: list[str], suite: str):
    told = levels.at_level(judged("2.3.1"), level)
    assert ([found.rule for found in told.rules], told.suite) == (kept, suite)


@pytest.mark.parametrize("level", ["2", "2.0.0", "newest", "", "2.4", "3.0", "-1.0"])
@pytest.mark.usefixtures("later")
def test_a_level_that_there_is_not_is_refused(level: str):
    with pytest.raises(UsageError, match=re.escape(repr(level) if level not in {"2.4", "3.0"} else level)):
        levels.parse(level)
