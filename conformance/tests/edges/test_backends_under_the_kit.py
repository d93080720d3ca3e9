"""Whole examinations: the reference, other right backends, and those with faults."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from meridian_conformance import backends, checks, faults, runner, verdicts
from meridian_conformance.contract import EdgeSpec
from meridian_conformance.faults.waiting import ParkingEdge
from meridian_conformance.journal import JournalBackend
from meridian_conformance.reference import ReferenceBackend
from meridian_conformance.verdicts import Verdict
from meridian_conformance.waivers import Waiver

pytestmark = pytest.mark.req("X5")

EXAMPLES = Path(__file__).parents[2] / "examples"

LITTLE = replace(
    checks.EFFORTS["pr"],
    examples=40,
    steps=30,
    scope=5,
    schedules=150,
    async_scope=4,
    rounds=10,
    seconds=15.0,
)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield backends.load("toy")
    sys.modules.pop("toy", None)


def verdicts_of(result: verdicts.Result) -> dict[str, str]:
    return {found.rule: str(found.verdict) for found in result.rules}


@pytest.mark.req("V3", "V4", "V6", "V7", "V14", "X4")
def test_the_reference_keeps_every_rule_and_none_of_them_is_vacuous() -> None:
    much = replace(
        LITTLE, examples=100, scope=6, schedules=600, async_scope=5, seconds=60.0
    )  # `make conformance` does it with everything
    result = runner.run(ReferenceBackend(), ["core", "async", "threads"], effort=much)
    assert {found.rule: found.reason for found in result.rules if found.verdict is not Verdict.PASS} == {}
    assert result.exit_code == 0
    assert result.count(Verdict.PASS, "MUST") >= 24


def test_the_toy_backend_keeps_the_core_profile(toy: Any) -> None:
    result = runner.run(toy, ["core"], effort=LITTLE, probe=False)
    told = verdicts_of(result)
    for limited in ("EDGE-108", "EDGE-115", "EDGE-116"):  # it claims none of these
        assert told.pop(limited) == "not_applicable"
    assert set(told.values()) == {"pass"}
    assert result.exit_code == 0


def test_what_is_not_claimed_is_not_applicable_and_no_pass(toy: Any) -> None:
    result = runner.run(toy, ["async", "threads", "durable"], effort=LITTLE, probe=False)
    assert set(verdicts_of(result).values()) == {"not_applicable"}
    assert result.exit_code == 3
    assert result.of("EDGE-120").reason == "needs async"


def test_what_a_backend_could_claim_is_found_and_offered() -> None:
    class Modest(ReferenceBackend):
        name = "modest"
        capabilities = frozenset[str]()

    result = runner.run(Modest(), ["core"], effort=LITTLE)
    assert {"async", "control", "bytes_limit", "age_limit", "threads"} <= set(result.could_claim)
    assert "durable" not in result.could_claim


def test_what_a_backend_has_not_is_not_offered(toy: Any) -> None:
    offered = runner.run(toy, ["core"], effort=LITTLE).could_claim
    assert not {"async", "control", "bytes_limit", "age_limit", "durable", "torn"} & set(offered)


@pytest.mark.req("N10")
def test_a_journal_keeps_the_durable_profile() -> None:
    result = runner.run(JournalBackend(), ["durable"], probe=False)
    assert verdicts_of(result) == {"EDGE-141": "pass", "EDGE-150": "pass"}


@pytest.mark.req("V4")
def test_the_parking_under_the_faults_of_waiting_breaks_nothing_that_binds() -> None:
    class Parking(ReferenceBackend):
        name = "parking"
        edge_type = ParkingEdge

    result = runner.run(Parking(), ["async"], probe=False)
    assert result.exit_code == 0
    broken = {found.rule for found in result.rules if found.verdict is Verdict.FAIL}
    assert broken <= {
        "EDGE-121"
    }  # as with asyncio.Queue: a woken producer that finds no room stands at the end again


def test_situations_that_did_not_occur_make_a_rule_vacuous_and_the_run_inconclusive() -> None:
    none = replace(LITTLE, scope=1, examples=1, steps=1)
    result = runner.run(ReferenceBackend(), ["core"], effort=none, probe=False)
    found = result.of("EDGE-114")
    assert found.verdict is Verdict.VACUOUS
    assert found.reason == "'coalesce function raised' occurred 0 times of 20"
    assert result.exit_code == 3


def test_a_failure_names_the_rule_and_carries_the_shortest_history_and_where_it_was_found() -> None:
    result = runner.run(faults.load_all()["DropsTheOldest"](), ["core"], effort=LITTLE, probe=False)
    (failure,) = result.of("EDGE-111").failures
    assert result.exit_code == 1
    assert failure.trace.spec["capacity"] == 1
    assert [step.op for step in failure.trace.steps] == ["put", "put"]
    assert failure.trace.environment["meridian-conformance"]
    assert failure.check == "small_scope"


def test_a_backend_that_raises_fails_rather_than_the_kit() -> None:
    class Raising(ReferenceBackend):
        name = "raising"

        class edge_type(faults.FaultyEdge):  # noqa: N801 - it stands for an attribute
            def get(self) -> Any:
                raise LookupError("secret")

    result = runner.run(Raising(), ["core"], effort=LITTLE, probe=False)
    assert result.exit_code == 1
    assert "secret" not in str(result.to_json())


def test_a_backend_whose_open_fails_is_an_error_and_the_run_inconclusive() -> None:
    class Broken:
        name = "broken"
        capabilities = frozenset[str]()

        def open(self, spec: EdgeSpec) -> Any:
            raise OSError(f"no room for {spec.capacity}")

    result = runner.run(Broken(), ["core"], effort=LITTLE, probe=False)
    assert result.of("EDGE-101").verdict is Verdict.ERROR
    assert result.of("EDGE-101").reason.startswith("small_scope failed with OSError at ")
    assert result.exit_code in (1, 3)


def test_a_history_that_the_reference_breaks_too_is_a_dispute_and_not_the_backends_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(backends.REFERENCES, "edge", "meridian_conformance.faults.policies:_Same")
    from meridian_conformance.faults import policies

    monkeypatch.setattr(
        policies,
        "_Same",
        type("_Same", (faults.load_all()["DropsTheOldest"],), {"name": "ours"}),
        raising=False,
    )
    result = runner.run(faults.load_all()["DropsTheOldest"](), ["core"], effort=LITTLE, probe=False)
    assert result.of("EDGE-111").verdict is Verdict.ERROR
    assert result.of("EDGE-111").reason.startswith("spec dispute")
    assert result.exit_code == 3


# ---- waivers ---------------------------------------------------------------------------------------------------------


def run_waived(backend: Any, rule: str, expires: date) -> verdicts.Result:
    waiver = Waiver(rule, "known", "https://example.org/1", expires)
    return runner.run(backend, ["core"], effort=LITTLE, waivers=[waiver], probe=False, today=date(2027, 1, 1))


def test_a_waived_rule_that_is_broken_is_waived() -> None:
    result = run_waived(faults.load_all()["PayloadInRepr"](), "EDGE-131", date(2027, 1, 1))
    assert result.of("EDGE-131").verdict is Verdict.WAIVED
    assert result.of("EDGE-131").waiver == {
        "reason": "known",
        "issue": "https://example.org/1",
        "expires": "2027-01-01",
    }
    assert result.exit_code in (0, 3)  # little effort leaves some rules vacuous


def test_an_expired_waiver_is_a_failure() -> None:
    result = run_waived(faults.load_all()["PayloadInRepr"](), "EDGE-131", date(2026, 12, 31))
    assert result.of("EDGE-131").verdict is Verdict.FAIL
    assert result.of("EDGE-131").reason == "its waiver expired on 2026-12-31"
    assert result.exit_code == 1


def test_a_waived_rule_that_holds_is_a_failure() -> None:
    result = run_waived(ReferenceBackend(), "EDGE-131", date(2027, 6, 30))
    assert result.of("EDGE-131").verdict is Verdict.FAIL
    assert result.of("EDGE-131").reason == "it is waived, and yet it holds: remove the waiver"


def test_a_waiver_of_a_rule_that_was_not_judged_is_told() -> None:
    result = run_waived(ReferenceBackend(), "EDGE-120", date(2027, 6, 30))
    assert result.notes == ["the waiver of EDGE-120 has no effect: that rule was not judged"]


# ---- results ---------------------------------------------------------------------------------------------------------


def test_a_result_survives_its_json() -> None:
    result = runner.run(faults.load_all()["LastInFirstOut"](), ["core"], effort=LITTLE, probe=False)
    again = verdicts.Result.from_json(result.to_json())
    assert again.to_json() == result.to_json()
    with pytest.raises(ValueError, match="format 2"):
        verdicts.Result.from_json({**result.to_json(), "format": 2})


def test_two_runs_with_one_seed_find_the_same() -> None:
    one, other = (
        runner.run(ReferenceBackend(), ["core"], effort=LITTLE, seed=7, probe=False) for _ in range(2)
    )
    assert [found.situations for found in one.rules] == [found.situations for found in other.rules]
