"""Ready queues as a target: the reference keeps every rule, each seeded fault breaks its own."""

import pytest

from meridian_conformance import backends, faults, replay, rules, runner, selftest
from meridian_conformance.contract import EMPTY
from meridian_conformance.failures import Step, Trace
from meridian_conformance.ready.checks import FEW, MANY, operations
from meridian_conformance.ready.contract import QueueSpec
from meridian_conformance.ready.differ import diff
from meridian_conformance.ready.reference import ReferenceQueues
from meridian_conformance.ready.session import ITSELF, play
from meridian_conformance.session import Broken
from meridian_conformance.verdicts import Verdict

pytestmark = pytest.mark.req("X5")

READY = [name for name, fault in faults.load_all().items() if fault.rule.startswith("READY")]


def broken_by(backend, *steps, spec=None):
    with pytest.raises(Broken) as caught:
        play(backend, spec or QueueSpec(), steps)
    return {violation.rule for violation in caught.value.violations}


@pytest.mark.req("V6", "V13", "N9")
def test_meridians_own_ready_queue_keeps_every_rule_and_none_is_vacuous():
    result = runner.run(backends.load("python", "ready"), target="ready")
    assert {found.rule: found.verdict for found in result.rules} == {
        rule.id: Verdict.PASS for rule in rules.load().values() if rule.target == "ready"
    }


@pytest.mark.parametrize("fault", READY)
def test_each_fault_of_a_ready_queue_is_caught_by_its_own_rule_under_five_seeds(fault):
    report = selftest.run(only=[fault])
    assert [(each.rule, each.seeds) for each in report.caught] == [(faults.FAULTS[fault].rule, 5)]


def test_a_turn_that_is_enqueued_while_it_runs_runs_once_more():
    session = play(
        ReferenceQueues(),
        QueueSpec(),
        [Step("enqueue", (7, "NORMAL")), Step("pick", (ITSELF, ITSELF)), Step("pick"), Step("pick")],
    )
    assert [step.got for step in session.steps] == ["OK", "7", "7", "EMPTY"]


def test_a_lost_turn_is_told_from_a_wrong_count():
    again = (Step("enqueue", (0, "HIGH")), Step("pick", (ITSELF,)))
    assert broken_by(faults.FAULTS["LostOnEnqueueWhileItRuns"](), *again) == {"READY-201", "READY-206"}
    assert broken_by(faults.FAULTS["CountsTheRunningTurn"](), *again) == {"READY-206"}


def test_a_queue_is_held_to_the_bounds_that_it_states_itself():
    class Ambitious(ReferenceQueues):
        def bounds(self, spec):
            return 0, 0, 0

    steps = (Step("enqueue", (0, "HIGH")), Step("enqueue", (1, "NORMAL")), Step("pick"))
    play(ReferenceQueues(), QueueSpec(), steps)
    assert broken_by(Ambitious(), *steps) == {"READY-202"}


def test_control_is_held_to_one_slice_whatever_a_queue_states():
    lenient = faults.FAULTS["OnlyControlIsNeverLate"]()
    lenient.bounds = lambda spec: (100, 100, 100)
    assert runner.run(lenient, target="ready").of("READY-202").verdict is Verdict.FAIL


def test_the_cost_of_a_dispatch_is_counted_and_not_timed():
    costs = {operations(ReferenceQueues(), turns) for turns in (FEW, MANY) for _ in range(2)}
    assert max(costs) - min(costs) <= max(costs) // 20
    assert operations(faults.FAULTS["SearchesAListOfAllNodes"](), MANY) > 4 * max(costs)


def test_what_a_queue_counts_itself_is_added():
    class Compiled(ReferenceQueues):
        asked = 0

        def operations(self, queue):
            self.asked += 10_000_000
            return self.asked

    assert operations(Compiled(), FEW) - operations(ReferenceQueues(), FEW) == 10_000_000


def test_a_failure_of_a_ready_queue_replays_and_shrinks():
    result = runner.run(faults.FAULTS["StrictPriority"](), target="ready")
    trace = Trace.from_json(result.of("READY-202").failures[0].trace.to_json())
    assert replay.breaks(faults.FAULTS["StrictPriority"](), trace)
    assert not replay.breaks(ReferenceQueues(), trace)
    assert trace.player == "ready"
    assert sum(step.op == "pick" for step in trace.steps) <= 9


@pytest.mark.req("V6")
@pytest.mark.parametrize(
    ("fault", "steps"),
    [
        ("LosesWhoChangesItsBand", [Step("set_band", (0, "HIGH"))]),
        ("StandsInBothBands", [Step("set_band", (0, "HIGH"))]),
        (
            "GoesToTheHeadOfItsNewBand",
            [Step("enqueue", (1, "HIGH")), Step("set_band", (0, "HIGH")), Step("pick")],
        ),
        (
            "ChangesBandsOnlyLater",
            [Step("set_band", (0, "HIGH")), Step("enqueue", (1, "HIGH")), Step("pick")],
        ),
    ],
)
def test_a_turn_that_changes_its_band_while_it_waits_is_there_once_and_behind_the_others(fault, steps):
    steps = [Step("enqueue", (0, "NORMAL")), *steps]
    play(ReferenceQueues(), QueueSpec(), steps)
    assert "READY-207" in broken_by(faults.FAULTS[fault](), *steps)


@pytest.mark.req("V6")
def test_a_running_turn_is_queued_in_its_new_band():
    meanwhile = (["set_band", ITSELF, "CONTROL"], ITSELF)
    session = play(ReferenceQueues(), QueueSpec(), [Step("enqueue", (0, "NORMAL")), Step("pick", meanwhile)])
    assert list(map(len, session.queue.queue.lines)) == [1, 0, 0]


@pytest.mark.req("V6")
def test_a_queue_that_cannot_change_bands_is_not_asked_and_one_that_can_is_told_that_it_could_claim_it():
    modest = ReferenceQueues()
    modest.capabilities = frozenset()
    result = runner.run(modest, target="ready")
    assert (result.of("READY-207").verdict, result.could_claim) == (Verdict.NOT_APPLICABLE, ["band_change"])
    lossy = faults.FAULTS["LosesWhoChangesItsBand"]()
    lossy.capabilities = frozenset()
    assert runner.run(lossy, target="ready").could_claim == []


def test_an_empty_queue_says_so():
    assert ReferenceQueues().open(QueueSpec()).pick() is EMPTY


def test_the_same_ready_queue_twice_makes_no_difference():
    found = diff({"a": ReferenceQueues(), "b": ReferenceQueues()}, examples=30)
    assert (found.differs, found.text()) == (False, "no difference in 30 histories")


def test_the_shortest_history_in_which_two_ready_queues_pick_differently_is_found():
    faults.load_all()
    fair, strict = ReferenceQueues(), faults.FAULTS["StrictPriority"]()
    found = diff({"fair": fair, "strict": strict}, examples=200)
    assert found.differs
    assert found.steps[-1] == Step("pick")
    assert found.answers["fair"] != found.answers["strict"]
