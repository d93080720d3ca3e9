"""The kit's proof that it can fail: for each rule a fault that turns the selftest red as soon as nobody judges that rule."""

import sys
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

import pytest

from meridian_conformance import checks, faults, paired, rules, selftest

pytestmark = pytest.mark.req("X5")

LITTLE = replace(
    checks.EFFORTS["pr"],
    examples=60,
    steps=30,
    scope=5,
    schedules=200,
    async_scope=4,
    rounds=10,
    seconds=20.0,
)
"""Enough for the faults below."""

EASY = {
    "EDGE-101": "CapacityPlusOne",
    "EDGE-102": "LastInFirstOut",
    "EDGE-103": "TakesFalsyForEmpty",
    "EDGE-104": "SaysOkAndDrops",
    "EDGE-105": "AcceptsCapacityZero",
    "EDGE-106": "CopiesItems",
    "EDGE-107": "FullOneEarly",
    "EDGE-108": "ControlIsReplaced",
    "EDGE-109": "SharesItsStorage",
    "EDGE-110": "SpinsWhileFull",
    "EDGE-111": "DropsTheOldest",
    "EDGE-112": "WritesOverTheHead",
    "EDGE-113": "CoalescesTwice",
    "EDGE-114": "KeepsTheOlderWhenCoalesceFails",
    "EDGE-115": "IgnoresBytes",
    "EDGE-116": "DeliversStaleItems",
    "EDGE-120": "TellsOnlyWhenEmpty",
    "EDGE-121": "ServesTheLastWaiterFirst",
    "EDGE-122": "SwallowsCancellation",
    "EDGE-123": "CloseTwiceFails",
    "EDGE-124": "WakesOneOnClose",
    "EDGE-125": "GivesUpWhenWokenInVain",
    "EDGE-130": "CountsReplacedTwice",
    "EDGE-131": "PayloadInRepr",
    "EDGE-140": "ChecksAndThenAppends",
    "EDGE-141": "PublishesBeforeItWrites",
    "EDGE-150": "ReopensInAnotherOrder",
    "READY-201": "LostOnEnqueueWhileItRuns",
    "READY-202": "StrictPriority",
    "READY-203": "LooksAtAllNodes",
    "READY-204": "NewestFirst",
    "READY-205": "SharesEqually",
    "READY-206": "CountsTheRunningTurn",
    "READY-207": "StandsInBothBands",
    "ENGINE-501": "CountsMergedAsDelivered",
    "ENGINE-502": "FansOutToWhoHasRoom",
    "ENGINE-503": "DeliversNewestFirst",
    "ENGINE-504": "RunsNodesWithParkedEmissions",
    "ENGINE-505": "HoldsControlOfPausedNodesBack",
    "ENGINE-506": "ServesTheSameEdgeAgain",
    "ENGINE-507": "TakesWhateverThereIs",
    "ENGINE-508": "DoesNotRecordFailures",
    "ENGINE-509": "ForgetsOneOfTwoWhoWait",
    "ENGINE-510": "PauseIsIgnored",
    "ENGINE-511": "SpinsWhileItWaits",
    "ENGINE-512": "ForgetsResultsWithoutRoom",
    "ENGINE-513": "FreesEachPlaceTwice",
    "ENGINE-514": "RestsWhileWorkGoesOn",
    "ENGINE-515": "DeliversAsItEnds",
    "ENGINE-521": "BatchesIgnoreBytes",
    "ENGINE-522": "DeliversWhatIsTooOld",
    "ENGINE-523": "EachEdgeHasItsOwnBudget",
    "ENGINE-524": "FirstComeFirstServed",
    "NODE-601": "HandlesTheNewestFirst",
    "NODE-602": "KeepsWhatHasTheField",
    "NODE-603": "IgnoresTheDefault",
    "NODE-604": "OneMoreThanItsSize",
    "NODE-605": "ForgetsTheRestAtTheEnd",
    "NODE-606": "AsksForRoomOnce",
    "NODE-607": "TakesAFailureForFalse",
    "NODE-608": "TestsErrorsToo",
    "NODE-609": "DoesNotGoOn",
    "NODE-610": "CountsWholeTokens",
    "PERF-401": "CountsInTheInnerLoop",
}
"""For each rule that can be tested a fault that is quick to find."""


@pytest.fixture(autouse=True)
def counted_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cost is counted in calls rather than measured, so that no verdict here depends on the machine."""
    calls = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        del frame, arg
        calls += event in ("call", "c_call")

    monkeypatch.setattr(paired, "thread_time_ns", lambda: calls)
    monkeypatch.setattr(paired, "SAMPLE_NS", 2_000)
    monkeypatch.setattr(paired, "QUADS", 4)
    timed = paired.timed

    def counted(work: Callable[[int], object]) -> paired.Sample:
        sample = timed(work)

        def counting(n: int) -> int:
            before = sys.getprofile()
            sys.setprofile(count)
            try:
                return sample(n)
            finally:
                sys.setprofile(before)

        return counting

    monkeypatch.setattr(paired, "timed", counted)


def test_every_rule_that_can_be_tested_has_a_fault_here_whatever_it_is_asked_of() -> None:
    assert set(EASY) == {rule.id for rule in rules.load().values() if rule.testable}
    assert {fault: faults.load_all()[fault].rule for fault in EASY.values()} == {
        fault: rule for rule, fault in EASY.items()
    }


@pytest.mark.parametrize(("rule", "fault"), EASY.items())
def test_a_fault_is_caught_by_its_own_rule_and_without_that_rule_the_selftest_turns_red(
    rule: str, fault: str
) -> None:
    green = selftest.run(seeds=1, only=[fault], effort=LITTLE)
    assert green.green, green.text()
    # Nothing is to be found here, so there is nothing to be gained by looking for long.
    less = replace(LITTLE, examples=5, scope=3, schedules=20, async_scope=2, rounds=2, seconds=0.3)
    red = selftest.run(seeds=1, only=[fault], without=[rule], effort=less)
    assert not red.green
    assert f"MISSED  {rule}" in red.text()
    assert red.text().endswith(": RED")


def test_the_report_says_by_which_check_a_fault_was_caught_and_under_how_many_seeds() -> None:
    report = selftest.run(seeds=2, only=["LastInFirstOut"], effort=LITTLE)
    (caught,) = report.to_json()["caught"]
    assert (caught["seeds"], caught["wanted"], caught["by"], caught["ok"]) == (2, 2, ["small_scope"], True)
    assert report.text().endswith("1 of 1 seeded faults were caught by their own rule")


def test_a_problem_with_the_rules_makes_it_red() -> None:
    assert not selftest.Report([], ["EDGE-101: a MUST without a test"]).green
    assert selftest.Report([], []).green


def test_right_backends_break_nothing_and_what_is_not_claimed_does_not_pass() -> None:
    assert selftest.sound(replace(LITTLE, scope=3, async_scope=2, examples=20, schedules=30)) == []


def test_a_reference_that_breaks_a_rule_makes_it_red(monkeypatch: pytest.MonkeyPatch) -> None:
    from meridian_conformance import backends

    monkeypatch.setattr(
        backends, "REFERENCES", {"edge": "meridian_conformance.faults.storage:AcceptsCapacityZero"}
    )
    little = replace(LITTLE, scope=2, async_scope=1, examples=5, schedules=5, rounds=1)
    assert "the reference of edge: EDGE-105 fail" in selftest.sound(little)
