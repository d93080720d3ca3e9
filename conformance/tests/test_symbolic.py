"""CrossHair's lane: that it believes no search that couldn't have found anything. The searches themselves run at night."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from meridian_conformance.checks import EFFORTS, Examination
from meridian_conformance.machine import settings_for
from meridian_conformance.reference import ReferenceBackend, ReferenceEdge
from meridian_conformance.require import judging
from meridian_conformance.terms import play_terms

pytestmark = pytest.mark.req("L3", "X5")

FOLDER = Path(__file__).parent.parent / "symbolic"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


decisions = load("decisions")
look = load("look")


def said(text: str, code: int = 0):
    return lambda *arguments, **options: subprocess.CompletedProcess(arguments, code, text)


# ---- the decisions ------------------------------------------------------------------------------------------------------


@pytest.mark.req("V3")
def test_rules_and_engine_decide_alike_and_neither_says_anything_out_of_the_domain():
    for policy in range(-1, 5):
        for capacity in range(-1, 5):
            for size in range(-1, 6):
                decided = decisions.by_the_rules(policy, capacity, size)
                assert decisions.by_the_engine(policy, capacity, size) == decided
                assert bool(decided) == (policy in range(4) and capacity >= 1 and size in range(capacity + 1))


def test_the_twin_is_wrong_at_one_capacity_and_there_only_when_full():
    assert decisions.by_the_twin(1, 65_537, 65_537) == "OK"
    for capacity, size in [(65_536, 65_536), (65_537, 65_536), (65_538, 65_538), (65_538, 65_537)]:
        assert decisions.by_the_twin(1, capacity, size) == decisions.by_the_engine(1, capacity, size)


# ---- what CrossHair says ------------------------------------------------------------------------------------------------

CONFIRMED = "decisions.py:1: info: Confirmed over all paths.\n"
ALL_PATHS = (
    "No differences found. (attempted 26 iterations)\nAll paths exhausted, functions are likely the same!\n"
)
SOME_PATHS = "No differences found. (attempted 26 iterations)\nConsider increasing ...\n"


def test_a_contract_holds_if_every_part_of_it_is_confirmed_over_all_paths(monkeypatch):
    monkeypatch.setattr(look, "_call", said(CONFIRMED * 2))
    assert look.contract_holds() == "confirmed over all paths"


@pytest.mark.parametrize(
    "text", [CONFIRMED, CONFIRMED * 2 + "decisions.py:2: error: false when calling", "Not confirmed.\n", ""]
)
def test_a_contract_that_is_not_confirmed_is_at_fault(monkeypatch, text):
    monkeypatch.setattr(look, "_call", said(text))
    with pytest.raises(look.Wrong):
        look.contract_holds()


@pytest.mark.parametrize("text", [SOME_PATHS, "Given: (policy=0, capacity=1, size=0),\n", ""])
def test_decisions_are_equal_only_when_all_paths_were_gone_through(monkeypatch, text):
    monkeypatch.setattr(look, "_call", said(ALL_PATHS))
    assert look.decisions_are_equal() == "no difference on all paths"
    monkeypatch.setattr(look, "_call", said(text))
    with pytest.raises(look.Wrong):
        look.decisions_are_equal()


@pytest.mark.parametrize("twin", ["contract_can_fail", "decisions_can_differ", "kit_can_find"])
def test_a_twin_that_gets_away_is_at_fault(monkeypatch, twin):
    monkeypatch.setattr(look, "_call", said(CONFIRMED * 2 + ALL_PATHS))
    with pytest.raises(look.Wrong, match="NOT CAUGHT"):
        getattr(look, twin)()


@pytest.mark.parametrize(("code", "good"), [(0, True), (3, True), (1, False), (2, False)])
def test_the_kit_may_see_too_little_but_not_break_a_rule(monkeypatch, tmp_path, code, good):
    monkeypatch.setattr(look, "_call", said("so it went\n", code))
    monkeypatch.setattr(look, "OUT", tmp_path / "out")
    if good:
        assert look.kit_finds_nothing() == "no rule was broken"
    else:
        with pytest.raises(look.Wrong, match="so it went"):
            look.kit_finds_nothing()


def test_the_exit_code_tells_right_from_wrong_from_unchecked(monkeypatch, capsys):
    def wrong() -> str:
        raise look.Wrong("NOT CAUGHT")

    checks = (look.Check("one.good", lambda: "caught"), look.Check("two.bad", wrong))
    monkeypatch.setattr(look, "CHECKS", checks)
    monkeypatch.setattr(look, "find_spec", lambda name: object())
    assert (look.main(["one"]), look.main([]), look.main(["three"])) == (0, 1, 2)
    monkeypatch.setattr(look, "find_spec", lambda name: None)
    assert look.main([]) == 2
    assert capsys.readouterr().err.endswith("run `make crosshair`\n")


# ---- the histories that it plays, by Hypothesis itself ------------------------------------------------------------------


class Forgets(ReferenceEdge):
    """Forgets what every search finds."""

    def put(self, item):
        return "OK" if item == 0 else super().put(item)


class Backend(ReferenceBackend):
    name = "forgets zero"
    edge_type = Forgets


@pytest.mark.parametrize(
    ("backend", "broken"), [(Backend(), {"EDGE-104", "EDGE-107"}), (ReferenceBackend(), set())]
)
def test_histories_of_numbers_find_an_edge_that_forgets_one(backend, broken):
    exam = Examination(backend, frozenset(), EFFORTS["pr"])
    with judging(exam.judge):
        play_terms(exam, settings_for(exam.effort, backend))
    assert exam.runs > 0
    assert set(exam.failures) == broken
    assert all(failure.trace.steps[-1].args == (0,) for failure in exam.failures.values())
