"""A level leaves out what came later, and says that it is that level."""

import dataclasses
import re
from datetime import date
from typing import Any

import pytest

from meridian_conformance import cli, faults, levels, rules, runner
from meridian_conformance.backends import UsageError
from meridian_conformance.checks import EFFORTS
from meridian_conformance.reports import console, html, junit
from meridian_conformance.rules import Rule
from meridian_conformance.verdicts import ExitCode, Result, RuleResult, Verdict
from meridian_conformance.waivers import Waiver

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


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """EDGE-102 came with 2.2 and binds from 2.3; the suite is the version that the list holds."""
    known = dict(rules.load())
    known["EDGE-102"] = dataclasses.replace(known["EDGE-102"], since="2.2", binds="2.3")
    suite = ["2.2.5"]
    monkeypatch.setattr(rules, "_loaded", lambda: (suite[0], known))
    return suite


def backwards() -> Any:
    """Return a backend that breaks EDGE-102."""
    return faults.load_all()["LastInFirstOut"]()


SHORT = dataclasses.replace(EFFORTS["pr"], examples=3, steps=10, scope=3)


@pytest.mark.parametrize(
    ("suite", "level", "told", "code"),
    [
        ("2.2.5", None, ("SHOULD", "2.3"), ExitCode.PASSED),
        ("2.3.0", None, ("MUST", ""), ExitCode.BROKEN),
        ("2.4.0", None, ("MUST", ""), ExitCode.BROKEN),
        ("2.4.0", "2.2", ("SHOULD", "2.3"), ExitCode.PASSED),
        ("2.4.0", "2.3", ("MUST", ""), ExitCode.BROKEN),
    ],
)
def test_a_rule_that_does_not_bind_yet_is_reported_and_fails_nobody(
    announced: list[str], suite: str, level: str | None, told: tuple[str, str], code: ExitCode
):
    announced[0] = suite
    result = runner.run(backwards(), effort=SHORT, probe=False)
    result = result if level is None else levels.at_level(result, level)
    result.rules = [result.of("EDGE-102"), RuleResult("EDGE-101", "MUST", "core", Verdict.PASS)]
    found = result.of("EDGE-102")
    assert (found.level, found.binds) == told
    assert (found.verdict, result.exit_code) == (Verdict.FAIL, code)
    assert junit.outcome(found) == ("failure" if code is ExitCode.BROKEN else "skipped")
    assert ("MUST from 2.3" in console.table(result)) is bool(found.binds)
    assert ("MUST from 2.3" in html.dumps(result)) is bool(found.binds)
    assert junit.properties(found).get("binds") == (found.binds or None)


def test_a_waiver_of_a_rule_that_does_not_bind_yet_has_to_be_true_all_the_same(announced: list[str]):
    expired = Waiver("EDGE-102", "told", "https://bugs.example/1", date(2026, 1, 1))
    result = runner.run(backwards(), effort=SHORT, probe=False, waivers=[expired], today=date(2026, 1, 2))
    assert announced == ["2.2.5"]
    assert (result.of("EDGE-102").level, result.of("EDGE-102").broken) == ("SHOULD", True)


@pytest.mark.usefixtures("announced")
def test_a_rule_says_from_which_suite_it_will_bind(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["explain", "EDGE-102"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("EDGE-102  SHOULD")
    assert "it will bind from suite 2.3" in said
    assert "since 2.2 · binds from 2.3" in said
    assert cli.main(["rules"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("EDGE-102"))
    assert "SHOULD" in line
    assert line.endswith("(will bind from 2.3)")


@pytest.mark.parametrize("level", ["2", "2.0.0", "newest", "", "2.4", "3.0", "-1.0"])
@pytest.mark.usefixtures("later")
def test_a_level_that_there_is_not_is_refused(level: str):
    with pytest.raises(UsageError, match=re.escape(repr(level) if level not in {"2.4", "3.0"} else level)):
        levels.parse(level)
