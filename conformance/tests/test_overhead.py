"""The gate of PERF-401, on costs that the tests make up: what it fails, passes, and can't tell."""

from dataclasses import dataclass
from random import Random

import pytest

from meridian_conformance import paired, runner
from meridian_conformance.overhead import BUDGET
from meridian_conformance.paired import DOUBLINGS, QUADS, Interval, Measured
from meridian_conformance.reference import ReferenceBackend
from meridian_conformance.reports import console, junit
from meridian_conformance.verdicts import ExitCode, RuleResult, Verdict

pytestmark = pytest.mark.req("X5", "N4")


@dataclass
class Machine:
    """Time that goes on only when somebody works, with noise."""

    now: int = 0

    def work(self, cost: float, noise: float, seed: int):
        draw = Random(seed)

        def work(n: int) -> None:
            self.now += round(n * cost * 1_000 * (1 + noise * draw.random()))

        return work

    def compare(
        self, cost: float, noise: float = 0.01, twin: float = 1.0, noise_of_twin: float | None = None
    ):
        control = noise if noise_of_twin is None else noise_of_twin
        works = self.work(1.0, noise, 1), self.work(twin, control, 2), self.work(cost, noise, 3)
        base, other_base, judged = map(paired.timed, works)
        return paired.compare(base, other_base, judged, BUDGET)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(paired, "thread_time_ns", lambda: made.now)
    return made


def test_an_identical_pair_is_green_and_a_fifth_more_is_red(machine: Machine):
    same, more = machine.compare(1.0), machine.compare(1.2)
    assert (same.decided, same.broken, same.quads) == (True, False, QUADS)
    assert (more.decided, more.broken, more.quads) == (True, True, QUADS)
    assert same.control.fit


def test_what_the_interval_cannot_tell_gets_up_to_four_times_the_quads_and_is_inconclusive_then(
    machine: Machine,
):
    told = machine.compare(BUDGET, noise=0.3, noise_of_twin=0.01)
    assert (told.decided, told.broken, told.quads) == (False, False, QUADS << DOUBLINGS)
    assert "ratio" in str(told)


def test_a_machine_on_which_two_edges_alike_differ_is_unfit(machine: Machine):
    told = machine.compare(1.0, twin=1.05)
    assert (told.decided, told.broken, told.quads) == (False, False, QUADS << DOUBLINGS)
    assert str(told).startswith("two alike differ by as much as 1.05")


def test_what_is_beyond_all_that_an_unfit_machine_could_add_is_red_all_the_same(machine: Machine):
    told = machine.compare(2.0, twin=1.05)
    assert (told.decided, told.broken) == (True, True)


def test_a_drift_hits_both_alike(monkeypatch: pytest.MonkeyPatch):
    now = 0.0

    def work(n: int) -> None:
        nonlocal now
        now += n * 1_000 * (1 + now / 1e12)  # ever slower

    monkeypatch.setattr(paired, "thread_time_ns", lambda: round(now))
    same = paired.timed(work)
    told = paired.compare(same, same, same, BUDGET)
    assert told.decided
    assert abs(told.ratio.median - 1) < 0.001


@pytest.fixture
def noisy(monkeypatch: pytest.MonkeyPatch) -> str:
    wide = Measured(Interval(0.9, 1.05, 1.2), Interval(0.99, 1.0, 1.01), 160, BUDGET)
    monkeypatch.setattr(paired, "compare", lambda plain, twin, metered, budget: wide)
    return str(wide)


def test_a_noisy_machine_is_reported_as_inconclusive_and_fails_nobody(noisy: str):
    result = runner.run(ReferenceBackend(), ["perf"], probe=False)
    found = result.of("PERF-401")
    assert (found.verdict, found.reason) == (Verdict.INCONCLUSIVE, noisy)
    assert (found.broken, junit.outcome(found)) == (False, "skipped")
    assert "PERF-401 inconclusive" in console.table(result)
    codes = [result.exit_code]  # nothing else was judged
    result.rules.append(RuleResult("EDGE-101", "MUST", "core", Verdict.PASS))
    assert [*codes, result.exit_code] == [ExitCode.INCONCLUSIVE, ExitCode.PASSED]
    assert console.table(result).endswith("1/1 MUST, 1 inconclusive. Every MUST held.")


def test_a_must_that_is_inconclusive_is_no_pass():
    found = RuleResult("EDGE-140", "MUST", "threads", Verdict.INCONCLUSIVE)
    assert junit.outcome(found) == "error"


def test_what_happens_too_seldom_for_a_sample_is_charged_to_the_one_that_is_judged(machine: Machine):
    base, twin, other = (paired.timed(machine.work(1.0, 0.01, seed)) for seed in (1, 2, 3))
    assert abs(paired.compare(base, twin, other, BUDGET, charge=1.05).ratio.median - 1.05) < 0.01
    assert paired.compare(base, twin, other, BUDGET, charge=1.2).broken
