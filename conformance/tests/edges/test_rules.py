import dataclasses

import pytest

from meridian_conformance import checks, contract, faults, rules, selftest

pytestmark = pytest.mark.req("X5")


def test_every_rule_has_what_it_needs_and_every_fault_and_check_has_its_rule() -> None:
    assert selftest.consistency() == []


def problems(rule: rules.Rule) -> list[str]:
    return rules.problems(
        [rule],
        {name: {rule.id} for name in rule.tests},
        dict.fromkeys(rule.faults, rule.id),
        [str(each) for each in contract.Capability],
    )


def test_a_must_without_a_test_breaks_the_build() -> None:
    rule = dataclasses.replace(rules.find("EDGE-101"), tests=())
    assert problems(rule) == ["EDGE-101: a MUST without a test"]


def test_a_must_without_a_fault_breaks_the_build() -> None:
    rule = dataclasses.replace(rules.find("EDGE-101"), faults=())
    assert problems(rule) == ["EDGE-101: a MUST without a fault that proves its test"]


def test_a_rule_that_nothing_could_make_vacuous_breaks_the_build() -> None:
    rule = dataclasses.replace(rules.find("EDGE-101"), situations={})
    assert problems(rule) == ["EDGE-101: no situation that has to occur, so it could never be vacuous"]


def test_an_untestable_rule_says_why_and_names_no_tests() -> None:
    bridge = rules.find("BRIDGE-301")
    assert problems(bridge) == []
    assert problems(dataclasses.replace(bridge, reason="")) == ["BRIDGE-301: untestable without a reason"]
    named = dataclasses.replace(bridge, tests=("machine",))
    assert problems(named)[0] == "BRIDGE-301: untestable, and yet it names tests or faults"


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"since": "2.1", "binds": "2.2"}, []),
        ({"since": "2.1"}, ["a MUST that came with 2.1 has to say from which later suite it binds"]),
        ({"since": "2.1", "binds": "2.1"}, ["it binds from 2.1, which isn't after 2.1, that brought it"]),
        ({"level": "SHOULD", "binds": "2.1"}, ["a SHOULD never binds, so it can't say since when"]),
        ({"binds": "next"}, ["binds is 'next', which isn't a version such as 2.0"]),
        ({"since": "2.1", "needs": frozenset({"torn"})}, []),
        (
            {"since": "2.1", "needs": frozenset({"async"})},
            ["a MUST that came with 2.1 has to say from which later suite it binds"],
        ),
    ],
    ids=str,
)
@pytest.mark.req("X4")
def test_a_later_must_announces_itself_unless_it_came_with_the_capability_that_it_needs(
    changed: dict[str, object], wrong: list[str]
) -> None:
    first = dataclasses.replace(rules.find("EDGE-120"), tests=(), faults=(), level="MAY")
    later = dataclasses.replace(rules.find("EDGE-101"), tests=(), faults=(), **changed)
    found = rules.problems([first, later], {}, {}, [str(each) for each in contract.Capability])
    assert [each for each in found if "without a" not in each] == [f"EDGE-101: {each}" for each in wrong]


def test_what_a_rule_names_has_to_be_there() -> None:
    rule = rules.find("EDGE-101")
    found = rules.problems(
        [rule], {"small_scope": {"EDGE-101"}, "machine": set(), "other": {"EDGE-999"}}, {"X": "EDGE-101"}, []
    )
    assert "EDGE-101: check 'machine' doesn't judge it" in found
    assert "EDGE-101: there is no check 'schedules'" in found
    assert "EDGE-101: there is no fault 'CapacityPlusOne'" in found
    assert "fault X: rule EDGE-101 doesn't name it" in found
    assert "check 'other': judges EDGE-999, which isn't a rule" in found


def test_an_unknown_field_a_missing_one_and_an_id_used_twice_are_refused() -> None:
    with pytest.raises(rules.RulesError, match="sentence is missing"):
        rules.parse('suite = "1"\n[[rule]]\nid = "EDGE-1"\n')
    text = (rules.files("meridian_conformance") / "rules.toml").read_text(encoding="utf-8")
    first = text[text.index("[[rule]]") : text.index("[[rule]]", text.index("[[rule]]") + 1)]
    with pytest.raises(rules.RulesError, match="EDGE-101 occurs twice"):
        rules.parse(f'suite = "1"\n{first}\n{first}')
    with pytest.raises(rules.RulesError, match="colour is not a field"):
        rules.parse(f'suite = "1"\n{first}\ncolour = "red"')


def test_an_unknown_rule_is_answered_with_those_there_are() -> None:
    with pytest.raises(KeyError, match="there is no rule EDGE-999; there are EDGE-101"):
        rules.find("EDGE-999")


def test_every_situation_that_a_rule_waits_for_is_spelled_as_a_check_reports_it() -> None:
    judged = {id for each in checks.load_all().values() for id in each.judges}
    assert {rule.id for rule in rules.load().values() if rule.testable} <= judged
    assert {fault.rule for fault in faults.load_all().values()} <= judged
