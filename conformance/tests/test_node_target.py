"""Nodes as a target: Meridian's own keep every rule, native or not, each seeded fault breaks its own, and two can be compared."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meridian.core.errors import EngineError
from meridian.nodes import Batch, FilterTransformer, Merger, Router, ThrottleNode
from meridian_conformance import backends, cli, failures, faults, replay, rules, runner, selftest
from meridian_conformance.checks import EFFORTS
from meridian_conformance.contract import EMPTY
from meridian_conformance.failures import Step, Trace
from meridian_conformance.faults.node import RightNode
from meridian_conformance.node.contract import KINDS, NodeSpec
from meridian_conformance.node.differ import diff
from meridian_conformance.node.reference import PythonNodes, RustNodes
from meridian_conformance.node.session import ENDLESS, play
from meridian_conformance.reference import rust_engine
from meridian_conformance.session import Broken
from meridian_conformance.verdicts import ExitCode, Verdict

pytestmark = pytest.mark.req("X5")

NODE = [name for name, fault in faults.load_all().items() if fault.rule.startswith("NODE")]
EVERY_RULE = {rule.id: Verdict.PASS for rule in rules.load().values() if rule.target == "node"}
LITTLE = replace(EFFORTS["pr"], examples=60, scope=6)
"""Enough for what is wrong."""

ENDS = (Step("settle"), Step("end"), Step("settle"))


def has_rust() -> bool:
    try:
        rust_engine()
    except EngineError:
        return False
    return True


OURS = [PythonNodes, RustNodes] if has_rust() else [PythonNodes]


class RightNodes(PythonNodes):
    """What the faults are made of."""

    name = "right"

    def open(self, spec: NodeSpec) -> Any:
        return RightNode(spec)


def broken_by(fault: str, spec: NodeSpec, *steps: Step) -> set[str]:
    for right in (*OURS, RightNodes):
        play(right(), spec, steps)
    with pytest.raises(Broken) as caught:
        play(faults.FAULTS[fault](), spec, steps)
    return {violation.rule for violation in caught.value.violations}


def given(backend: Any, spec: NodeSpec, *steps: Step) -> list[Any]:
    return [payload for _, payload in play(backend, spec, steps).given["output"]]


# ---- verdicts --------------------------------------------------------------------------------------------------------


@pytest.mark.req("V1", "V4", "V7", "V9")
@pytest.mark.parametrize("backend", OURS)
def test_meridians_own_nodes_keep_every_rule_and_none_is_vacuous(backend):
    result = runner.run(backend(), target="node", probe=False)
    assert {found.rule: found.verdict for found in result.rules} == EVERY_RULE


@pytest.mark.parametrize("fault", NODE)
def test_each_fault_of_a_node_is_caught_by_its_own_rule_under_five_seeds(fault):
    report = selftest.run(only=[fault])
    assert [(each.rule, each.seeds) for each in report.caught] == [(faults.FAULTS[fault].rule, 5)]


def test_kinds_that_are_not_claimed_are_not_asked_for_and_told_if_they_are_right():
    modest = RightNodes()
    modest.capabilities = frozenset()
    result = runner.run(modest, target="node")
    unclaimed = {"NODE-603", "NODE-604", "NODE-605", "NODE-610"}
    assert {f.rule for f in result.rules if f.verdict is Verdict.NOT_APPLICABLE} == unclaimed
    assert {f.verdict for f in result.rules if f.rule not in unclaimed} == {Verdict.PASS}
    assert result.could_claim == ["route", "batch", "throttle"]


def test_who_cannot_do_a_kind_is_not_told_that_it_could_claim_it():
    class Passes(RightNodes):
        capabilities = frozenset()

        def open(self, spec: NodeSpec) -> Any:
            if spec.kind not in ("pass", "filter"):
                raise ValueError(spec.kind)
            return super().open(spec)

    result = runner.run(Passes(), target="node")
    assert (result.could_claim, result.exit_code) == ([], ExitCode.PASSED)


@pytest.mark.skipif(not has_rust(), reason="the Rust engine isn't there")
@pytest.mark.parametrize(
    ("spec", "node"),
    [
        (NodeSpec(), Merger),
        (NodeSpec("filter"), FilterTransformer),
        (NodeSpec("filter", by="type"), FilterTransformer),
        (NodeSpec("route"), Router),
        (NodeSpec("route", by="type"), Router),
        (NodeSpec("batch"), Batch),
        (NodeSpec("throttle"), ThrottleNode),
    ],
    ids=lambda each: f"{each.kind} by {each.by}" if isinstance(each, NodeSpec) else "",
)
def test_what_is_judged_on_the_rust_engine_is_its_native_work_and_not_the_node(spec, node, monkeypatch):
    called = []
    handle = node._handle_message

    def noted(self, port, message):
        called.append(message)
        return handle(self, port, message)

    monkeypatch.setattr(node, "_handle_message", noted)
    for backend, calls in ((RustNodes, 0), (PythonNodes, 2)):
        called.clear()
        play(backend(), spec, [Step("data", (0, 0)), *ENDS])
        assert len(called) == calls


# ---- what a history shows ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [*OURS, RightNodes])
def test_control_lets_go_of_what_was_taken_before_it_wherever_it_meets_it(backend):
    spec = NodeSpec("batch", size=3, capacity=4)
    steps = (Step("data", (0, 0)), Step("settle"), Step("control"), Step("settle"), Step("data", (0,)))
    lists = given(backend(), spec, *steps, *ENDS)
    assert [[payload["n"] for payload in each] for each in lists] == [[0, 1], [3]]


@pytest.mark.parametrize("backend", [*OURS, RightNodes])
def test_what_a_batch_holds_leaves_in_its_time_and_no_sooner(backend):
    spec = NodeSpec("batch", size=3, within_s=1.0)
    begin = (Step("data", (0,)), Step("settle"), Step("wait", (0.5,)), Step("settle"))
    assert given(backend(), spec, *begin) == []
    assert len(given(backend(), spec, *begin, Step("wait", (0.5,)), Step("settle"))) == 1


@pytest.mark.parametrize("backend", [*OURS, RightNodes])
def test_what_has_no_token_leaves_when_it_has_one(backend):
    spec = NodeSpec("throttle", rate=2.0, burst=1, capacity=4)
    begin = (Step("data", (0, 0, 0)), Step("settle"))
    half = (Step("wait", (0.5,)), Step("settle"))
    assert [len(given(backend(), spec, *begin, *half * n)) for n in range(4)] == [1, 2, 3, 3]


def test_a_node_that_never_rests_is_given_up():
    spec = NodeSpec("batch", size=3)
    assert broken_by("NeverRests", spec, Step("data", (0,)), Step("settle")) == {"NODE-609"}
    with pytest.raises(Broken, match=str(ENDLESS)):
        play(faults.FAULTS["NeverRests"](), spec, [Step("data", (0,)), Step("settle")])


def test_each_mistake_breaks_its_rule_and_no_other_in_a_history_that_shows_nothing_else():
    two = (Step("data", (0, 3)), *ENDS)
    assert broken_by("TakesAFailureForFalse", NodeSpec("filter"), *two) == {"NODE-607"}
    assert broken_by("KeepsOnlyTrueItself", NodeSpec("filter"), Step("data", (2,)), *ENDS) == {"NODE-602"}
    assert broken_by("IgnoresTheDefault", NodeSpec("route", default=True), *two) == {"NODE-603"}
    assert broken_by("TestsErrorsToo", NodeSpec("filter"), Step("error"), *ENDS) == {"NODE-608"}
    assert broken_by("ForgetsTheRestAtTheEnd", NodeSpec("batch"), *two) == {"NODE-605"}
    assert broken_by("OneMoreThanItsSize", NodeSpec("batch", size=2), *two[:2]) == {"NODE-604"}
    full = (Step("data", (0,)), Step("step"), Step("data", (0, 0)), Step("step"))
    assert broken_by("AsksForRoomOnce", NodeSpec(capacity=2), *full) == {"NODE-606"}


def test_what_is_put_after_the_end_is_not_put():
    session = play(RightNodes(), NodeSpec(), [Step("end"), Step("data", (0,)), Step("settle")])
    assert (session.steps[1].got, session.line) == ("ended", [])


def test_an_empty_output_says_so():
    assert all(backend().open(NodeSpec()).take("output") is EMPTY for backend in (*OURS, RightNodes))


# ---- files, comparisons ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_spec_travels_as_json(kind):
    other = {
        "by": "type",
        "on_error": "emit",
        "default": True,
        "size": 5,
        "within_s": 0.5,
        "rate": 4.0,
        "burst": 3,
    }
    spec = NodeSpec(kind, capacity=7, **{name: other[name] for name in KINDS[kind]})
    assert NodeSpec.from_json(spec.to_json()) == spec
    assert set(spec.to_json()) == {"kind", "capacity", *KINDS[kind]}
    assert NodeSpec.from_json({"kind": kind}) == NodeSpec(kind)


def test_every_field_of_a_spec_belongs_to_a_kind():
    said = {name for names in KINDS.values() for name in names}
    assert said == set(NodeSpec.__dataclass_fields__) - {"kind", "capacity", "clock"}


def test_a_failure_of_a_node_replays_and_shrinks():
    result = runner.run(faults.FAULTS["EachItemSetsTheTimeAnew"](), target="node", effort=LITTLE, probe=False)
    assert {found.rule for found in result.rules if found.verdict is Verdict.FAIL} == {"NODE-605"}
    trace = Trace.from_json(result.of("NODE-605").failures[0].trace.to_json())
    assert replay.breaks(faults.FAULTS["EachItemSetsTheTimeAnew"](), trace)
    assert not any(replay.breaks(backend(), trace) for backend in OURS)
    assert trace.player == "node"
    assert len(trace.steps) <= 6


def test_nodes_that_keep_the_rules_are_not_told_apart_and_others_are():
    same = diff({backend.name: backend() for backend in (*OURS, RightNodes)}, examples=60)
    assert (same.differs, same.text()) == (False, "no difference in 60 histories")
    found = diff({"right": RightNodes(), "faulty": faults.FAULTS["ControlDoesNotLetGo"]()}, examples=200)
    assert [step.op for step in found.steps] == ["data", "settle", "control", "settle"]
    assert NodeSpec.from_json(found.to_json()["spec"]) == found.spec


def test_nodes_are_compared_on_the_command_line(capsys):
    name = "meridian_conformance.node.reference:PythonNodes"
    assert cli.main(["diff", "--target", "node", "python", name, "--examples", "10"]) == 0
    assert capsys.readouterr().out == "no difference in 10 histories\n"


def test_a_history_that_is_replayed_is_told_with_what_came_of_it(tmp_path, capsys):
    steps = (Step("data", (0,)), Step("step"), *ENDS)
    trace = Trace("NODE-605", "node", "2.0.0", NodeSpec("batch").to_json(), steps, player="node")
    assert cli.main(["replay", str(failures.write(tmp_path, trace)), "--backend", "python"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "python: kept every rule",
        "  data(0) -> OK",
        "  step() -> 1 slices",
        "  settle() -> 0 messages so far",
        "  end() -> ended",
        "  settle() -> 1 messages so far",
    ]


def test_nodes_are_found_by_name():
    assert isinstance(backends.load("python", "node"), PythonNodes)


# Mistakes that the rules were not written for, each a line changed in the nodes of the guide.
MISTAKES = {
    "a failure is data": ("\n            return False\n\n    def is_late", "\n            return True\n\n    def is_late"),
    "CONTROL waits for data": ("if self.control_coming and (", "if self.control_coming and not self.coming and ("),
    "CONTROL takes the first place of what it meets": ("self.let_go()\n            self.control", "self.held.clear()\n            self.control"),
    "time isn't told": ("elif has_room and self.held and (self.ended or self.is_late()):", "elif has_room and self.held and self.ended:"),
    "the end lets go before all has come": ("elif has_room and self.coming:", "elif has_room and self.coming and not self.ended:"),
    "CONTROL takes no place": ("len(self.coming) + len(self.control_coming)", "len(self.coming)"),
    "one place more": ("len(self.leaving) < self.spec.capacity", "len(self.leaving) <= self.spec.capacity"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_that_no_rule_was_written_for_is_found_in_the_nodes_of_the_guide(mistake):
    right, wrong = MISTAKES[mistake]
    source = (Path(__file__).parents[1] / "examples" / "node.py").read_text(encoding="utf-8")
    assert source.count(right) == 1
    namespace: dict[str, Any] = {"__name__": "mistaken"}
    exec(compile(source.replace(right, wrong), "mistaken.py", "exec"), namespace)
    result = runner.run(namespace["Backend"](), target="node", effort=LITTLE, probe=False)
    assert result.exit_code is ExitCode.BROKEN
