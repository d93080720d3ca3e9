"""Policies in code: what is refused, what is in force, and what is said when more may leave."""

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import pytest

from meridian.redaction import (
    Drop,
    Exposed,
    Generalise,
    Hash,
    Mask,
    Policy,
    PolicyError,
    Rule,
    Truncate,
    describe_error,
    expose,
    exposure,
    install,
    redactor,
)
from meridian.redaction.detectors import DETECTORS
from meridian.redaction.policy import BUILT_IN


def test_a_policy_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Policy().name = "x"  # type: ignore[misc]


def test_every_detector_has_a_built_in_rule_of_its_name():
    names = [rule.name for rule in BUILT_IN]
    assert len(names) == len(set(names))
    assert {detector.name for detector in DETECTORS} <= set(names)
    assert {rule.detector for rule in BUILT_IN if rule.detector} == {(each.name,) for each in DETECTORS}


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (Rule("", Drop(), key=("a",)), "needs a name"),
        (Rule("a\nb", Drop(), key=("a",)), "printable"),
        (Rule("r", Drop()), "matches nothing"),
        (Rule("r", Drop(), path=("a..b",)), "malformed path"),
        (Rule("r", Drop(), path=("",)), "malformed path"),
        (Rule("r", Drop(), detector=("e-mail",)), "did you mean 'email'"),
        (Rule("r", Hash(), key=("a",)), "no salt"),
        (Rule("r", Mask(9), key=("a",)), "keeps 9"),
        (Rule("r", Truncate(0), key=("a",)), "truncates to 0"),
        (Rule("r", Generalise(-1), key=("a",)), "buckets of -1"),
        (Rule("email", Drop(), key=("a",)), "two rules are called 'email'"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(rule: Rule, says: str):
    with pytest.raises(PolicyError, match=says):
        Policy("p", (rule,))


@pytest.mark.parametrize(
    ("exposed", "says"),
    [
        (Exposed("payload", "why not"), "did you mean 'payloads'"),
        (Exposed("payloads", "  "), "needs a reason"),
    ],
)
def test_an_exposure_that_is_unknown_or_has_no_reason_is_refused(exposed: Exposed, says: str):
    with pytest.raises(PolicyError, match=says):
        Policy("p", (), (exposed,))


def test_a_short_salt_is_refused_without_being_shown():
    with pytest.raises(PolicyError, match="needs 16 bytes") as caught:
        Policy(salt=b"tooshort")
    assert "tooshort" not in str(caught.value)


@pytest.mark.req("X2")
def test_the_text_of_a_refusal_may_be_shown():
    assert "needs 16 bytes" in describe_error(PolicyError("the salt is too short: it needs 16 bytes")).message


@pytest.mark.req("X2")
def test_each_exposure_is_announced_with_its_reason(records: Callable[[], list[dict[str, Any]]]):
    install(
        Policy(
            "support", (), (Exposed("email", "agreed with the works council"), Exposed("payloads", "a test"))
        )
    )
    told = [(r["event"], r["level"], r["what"], r["reason"], r["policy"]) for r in records()]
    assert told == [
        ("redaction.exposure_widened", "WARN", "email", "agreed with the works council", "support"),
        ("redaction.exposure_widened", "WARN", "payloads", "a test", "support"),
    ]
    install(redactor().policy)
    assert len(records()) == 2  # nothing more leaves than before


@pytest.mark.req("X2")
def test_leaving_out_a_rule_of_the_policy_before_is_widening_too(records: Callable[[], list[dict[str, Any]]]):
    rule = Rule("ours", Drop(), key=("customer",))
    install(Policy("a", (rule,)))
    assert records() == []
    install(Policy("b", (dataclasses.replace(rule, action=Mask()),)))
    (record,) = records()
    assert (record["what"], record["policy"]) == ("ours", "b")


def test_installing_returns_the_policy_before():
    first, second = Policy("a"), Policy("b")
    install(first)
    assert install(second) is first
    assert redactor().policy is second


def test_the_short_switch_keeps_the_rest_of_the_policy(lines: io.StringIO):
    install(Policy("p", (Rule("ours", Drop(), key=("customer",)),), (Exposed("email", "a test"),)))
    with expose(error_messages=True):
        assert exposure().error_messages is True
        assert redactor().policy.exposes("email")
        assert redactor().data({"customer": 1}) == {"customer": "[redacted:ours]"}
    assert redactor().policy.expose == (Exposed("email", "a test"),)


@pytest.mark.req("X2")
def test_a_shown_text_of_an_error_still_goes_through_the_rules():
    with expose(error_messages=True):
        told = describe_error(ValueError("no user ada@example.com with password=hunter2"))
    assert told.message == "no user [redacted:email] with password=[redacted:assigned_secret]"
