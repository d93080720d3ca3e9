"""Results to report: one that went well, and one in which every text tries to break out of its page."""

import pytest

from meridian_conformance.failures import Step, Trace
from meridian_conformance.verdicts import CheckResult, Failure, Result, RuleResult, Situation, Verdict

HOSTILE = "<script>alert('\"&')</script>\x00\n\x1b[31m]]>|`*_"


def trace(rule: str = "EDGE-103", text: str = "OK") -> Trace:
    return Trace(
        rule=rule,
        target="edge",
        suite="2.0.0",
        spec={"capacity": 2, "policy": "block", "coalesce": None, "max_bytes": None, "max_age_s": None},
        steps=(Step("put", (0,), "OK", text), Step("put", (1,), "OK", "BLOCKED"), Step("get", ())),
    )


def found(rule: str, verdict: Verdict, level: str = "MUST", profile: str = "core", **more) -> RuleResult:
    if "situations" not in more:
        more["situations"] = [Situation("put on a full edge", 412, 100), Situation("closed twice", 30, 20)]
    return RuleResult(rule, level, profile, verdict, **more)


def result(*rules: RuleResult, **more) -> Result:
    values = {
        "backend": "mybackend.edges:Backend",
        "target": "edge",
        "suite": "2.0.0",
        "profiles": ["core"],
        "claims": ["async"],
        "could_claim": [],
        "settings": "pr",
        "seed": 7,
        "started": "2026-11-22T20:00:00+00:00",
        "seconds": 12.3456,
        "environment": {"python": "3.11.7", "platform": "Linux"},
        "checks": [CheckResult("small_scope", 26_244, 3.21, "all histories up to 7 steps")],
    }
    return Result(rules=list(rules), **{**values, **more})


def failure(rule: str = "EDGE-103", text: str = "OK") -> Failure:
    return Failure(rule, {"expected": "OK", "got": text}, trace(rule, text), "machine")


@pytest.fixture
def passed() -> Result:
    return result(
        found("EDGE-101", Verdict.PASS),
        found("EDGE-103", Verdict.PASS),
        found("EDGE-121", Verdict.PASS, "SHOULD"),
    )


@pytest.fixture
def mixed() -> Result:
    """One rule of each verdict."""
    waiver = {"reason": "known", "issue": "https://bugs.example/7", "expires": "2027-06-30"}
    return result(
        found("EDGE-101", Verdict.PASS),
        found("EDGE-103", Verdict.FAIL, failures=[failure()]),
        found("EDGE-104", Verdict.VACUOUS, situations=[Situation("put on a full edge", 3, 100)]),
        found("EDGE-105", Verdict.ERROR, reason="spec dispute: model and reference disagree"),
        found("EDGE-110", Verdict.WAIVED, waiver=waiver, failures=[failure("EDGE-110")]),
        found("EDGE-115", Verdict.NOT_APPLICABLE, reason="needs bytes_limit", situations=[]),
        found("READY-201", Verdict.UNTESTABLE, reason="not a target yet", situations=[]),
        found("EDGE-121", Verdict.FAIL, "SHOULD", "async", failures=[failure("EDGE-121")]),
        profiles=["core", "async"],
        could_claim=["threads"],
        notes=["one note"],
    )


@pytest.fixture
def hostile() -> Result:
    waiver = {"reason": HOSTILE, "issue": "javascript:alert(1)", "expires": HOSTILE}
    return result(
        found("EDGE-103", Verdict.FAIL, reason=HOSTILE, failures=[failure("EDGE-103", HOSTILE)]),
        found("EDGE-110", Verdict.WAIVED, reason=HOSTILE, waiver=waiver),
        found("EDGE-104", Verdict.VACUOUS, situations=[Situation(HOSTILE, 3, 100)]),
        backend=HOSTILE,
        claims=[HOSTILE],
        could_claim=[HOSTILE],
        environment={HOSTILE: HOSTILE},
        notes=[HOSTILE],
        checks=[CheckResult(HOSTILE, 1, 0.5, HOSTILE)],
    )
