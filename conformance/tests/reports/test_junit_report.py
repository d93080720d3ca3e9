"""junit.xml says to continuous integration what the exit code says."""

from xml.etree import ElementTree

import pytest

from meridian_conformance.reports import junit
from meridian_conformance.reports.words import headline
from meridian_conformance.verdicts import ExitCode, Result, Verdict

pytestmark = pytest.mark.req("X5")


def cases(result: Result) -> dict[str, ElementTree.Element]:
    root = ElementTree.fromstring(junit.dumps(result))
    return {case.get("name"): case for case in root.iter("testcase")}


def test_there_is_a_suite_for_each_profile_whose_numbers_add_up(mixed: Result):
    root = ElementTree.fromstring(junit.dumps(mixed))
    assert root.tag == "testsuites"
    told = [(suite.get("name"), suite.get("tests")) for suite in root]
    assert told == [("mybackend.edges:Backend core", "7"), ("mybackend.edges:Backend async", "1")]
    for suite in root:
        for kind, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert len(suite.findall(f"testcase/{kind}")) == int(suite.get(attribute))
        float(suite.get("time"))

    for attribute in ("tests", "failures", "errors", "skipped"):
        assert int(root.get(attribute)) == sum(int(suite.get(attribute)) for suite in root)


SHAPE = {  # element: (attributes that readers need, children in the order in which they may come)
    "testsuites": ({"name", "tests", "failures", "errors", "skipped", "time"}, ["testsuite"]),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
        ["properties", "testcase"],
    ),
    "testcase": ({"name", "classname", "time"}, ["properties", "skipped", "error", "failure", "system-out"]),
    "properties": (set(), ["property"]),
    "property": ({"name", "value"}, []),
    "skipped": ({"type", "message"}, []),
    "error": ({"type", "message"}, []),
    "failure": ({"type", "message"}, []),
    "system-out": (set(), []),
}


@pytest.mark.parametrize("which", ["passed", "mixed", "hostile"])
def test_elements_attributes_and_their_order_are_those_that_readers_of_junit_files_know(
    which: str, request: pytest.FixtureRequest
):
    text = junit.dumps(request.getfixturevalue(which))
    assert text.startswith('<?xml version="1.0" encoding="utf-8"?>\n')
    root = ElementTree.fromstring(text.encode("utf-8"))
    assert root.tag == "testsuites"
    for element in root.iter():
        attributes, order = SHAPE[element.tag]
        assert set(element.attrib) == attributes
        places = [order.index(child.tag) for child in element]
        assert places == sorted(places)


def test_rule_level_and_verdict_are_properties_of_the_case(mixed: Result):
    told = {each.get("name"): each.get("value") for each in cases(mixed)["EDGE-103"].iter("property")}
    assert told == {
        "rule": "EDGE-103", "level": "MUST", "profile": "core", "verdict": "fail", "exercised": "30/20",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ("EDGE-101", None),
        ("EDGE-103", "failure"),
        ("EDGE-104", "error"),
        ("EDGE-105", "error"),
        ("EDGE-110", "skipped"),
        ("EDGE-115", "skipped"),
        ("READY-201", "skipped"),
        ("EDGE-121", "skipped"),
    ],
)
def test_each_verdict_has_its_outcome(mixed: Result, rule: str, kind: str | None):
    outcomes = [child.tag for child in cases(mixed)[rule] if child.tag in {"failure", "error", "skipped"}]
    assert outcomes == ([kind] if kind else [])


@pytest.mark.parametrize("waiver", [None, {"reason": "r", "issue": "i", "expires": "2027-06-30"}])
@pytest.mark.parametrize("level", ["MUST", "SHOULD"])
@pytest.mark.parametrize("verdict", Verdict)
def test_cases_fail_exactly_where_the_exit_code_does(passed: Result, verdict: Verdict, level: str, waiver):
    passed.rules[1].verdict, passed.rules[1].level, passed.rules[1].waiver = verdict, level, waiver
    kinds = {child.tag for case in cases(passed).values() for child in case}
    assert ("failure" in kinds) == (passed.exit_code is ExitCode.BROKEN)
    assert ("error" in kinds) == (passed.exit_code is ExitCode.INCONCLUSIVE)


def test_a_waiver_that_has_become_untrue_fails_whatever_the_level(passed: Result):
    passed.rules[2].verdict, passed.rules[2].waiver = (
        Verdict.FAIL,
        {"reason": "known", "expires": "2026-01-01"},
    )
    passed.rules[2].reason = "its waiver expired on 2026-01-01"
    assert passed.rules[2].level == "SHOULD"
    assert passed.exit_code is ExitCode.BROKEN
    assert [child.tag for child in cases(passed)["EDGE-121"]] == ["properties", "failure"]
    assert headline(passed) == "1 waiver has become untrue."


def test_a_failure_tells_its_history_and_how_to_see_it_again(mixed: Result):
    (failure,) = cases(mixed)["EDGE-103"].findall("failure")
    assert failure.get("type") == "fail"
    assert "Nothing is lost" in failure.get("message")
    assert "  2. put(1) -> BLOCKED   (expected OK)" in failure.text.splitlines()
    assert "again: meridian-conform replay failures/EDGE-103.json" in failure.text


def test_a_broken_should_tells_its_history_too(mixed: Result):
    assert "put(1) -> BLOCKED" in cases(mixed)["EDGE-121"].findtext("system-out")


def test_a_waiver_is_the_reason_for_skipping(mixed: Result):
    (skipped,) = cases(mixed)["EDGE-110"].findall("skipped")
    assert "waived: reason known, issue https://bugs.example/7, expires 2027-06-30" in skipped.get("message")
