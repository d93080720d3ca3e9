"""The runner of the formal models: that it says what Spin found, and nothing else."""

import importlib.util
import io
import json
import os
import re
import shutil
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from meridian import SchedulerConfig

pytestmark = pytest.mark.req("L3")

ROOT = Path(__file__).parent.parent.parent
FORMAL = ROOT / "conformance" / "formal"
IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}

needs_spin = pytest.mark.skipif(
    not IN_CI and not (shutil.which("spin") and shutil.which("gcc")), reason="Spin or gcc isn't installed"
)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FORMAL / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


trails = load("trails")
check = load("check")

ALL = {each.name: each for each in check.checks()}
NEWEST_FIRST = ALL["edge.block.newest-first"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def do(one, models=FORMAL):
    return check.run(one, check.tools(), "2.0.0", models)


def like(one, **changes):
    return check.Check(
        **{field: getattr(one, field) for field in ("name", "model", "kind", "defines", "rule")} | changes
    )


# ---- what there is to check ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["edge", "ready"])
def test_every_bug_and_every_situation_in_a_model_is_checked_and_no_other(model):
    text = (FORMAL / f"{model}.pml").read_text(encoding="utf-8")
    there = set(re.findall(r"\b(?:BUG|WITNESS)_[A-Z_]+", text))
    checked = {flag for each in ALL.values() if each.model == model for flag in each.defines}
    assert there == {flag for flag in checked if flag.startswith(("BUG_", "WITNESS_"))}


def test_names_are_unique_and_every_model_has_all_three_kinds_of_check():
    names = [each.name for each in check.checks()]
    assert len(names) == len(set(names))
    kinds = {(each.model, each.kind) for each in ALL.values()}
    assert len(kinds) == 6


def test_every_twin_names_a_rule_of_the_kit_and_its_recorded_history_breaks_that_rule():
    rules = tomllib.loads(check.RULES.read_text(encoding="utf-8"))["rule"]
    known = {rule["id"] for rule in rules}
    for each in ALL.values():
        if each.kind == check.TWIN:
            assert each.rule in known
            recorded = json.loads((check.HISTORIES / f"{each.name}.json").read_text(encoding="utf-8"))
            assert recorded["rule"] == each.rule
            assert recorded["suite"] == check.suite_version()


@pytest.mark.req("V6")
def test_the_weights_of_the_model_are_the_default_ones_and_its_bounds_those_that_are_promised():
    assert SchedulerConfig().fairness_ratio == check.DEFAULT_WEIGHTS
    for weights, bounds in check.BOUNDS.items():
        assert bounds[0] == -(-(weights[1] + weights[2]) // weights[0])
        assert max(bounds) <= sum(weights)


def test_searches_that_are_said_to_be_long_exist_and_must_hold():
    assert [ALL[name].kind for name in check.LONG] == [check.HOLDS] * len(check.LONG)


@pytest.mark.parametrize(("kind", "by"), [("HOLDS", "gcc"), ("TWIN", "tcc"), ("WITNESS", "tcc")])
def test_what_must_hold_is_compiled_by_gcc_and_only_short_searches_by_whoever_is_quick(monkeypatch, kind, by):
    called = []

    def call(folder, *command, may_fail=False):
        called.append(command[0])
        return "3 states, stored\nerrors: 0\n"

    monkeypatch.setattr(check, "_call", call)
    check.run(like(NEWEST_FIRST, kind=getattr(check, kind)), check.Tools("spin", "gcc", "tcc"), "2.0.0")
    assert called == ["spin", by, "./pan"]


def test_without_tcc_gcc_compiles_all(monkeypatch, tmp_path):
    for name in ("spin", "gcc"):
        (tmp_path / name).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = check.tools()
    assert found.quick == found.compiler


def test_the_page_tells_the_bounds_that_are_proved():
    page = (ROOT / "docs" / "explanation" / "formal.md").read_text(encoding="utf-8")
    for weights, bounds in check.BOUNDS.items():
        assert f"| {', '.join(map(str, weights))} | {' | '.join(map(str, bounds))} |" in page


# ---- the command line ---------------------------------------------------------------------------------------------------


def test_without_spin_it_says_what_to_install_and_exits_with_2(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check.main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "formal: spin and gcc not found on the PATH; on Debian and Ubuntu: apt-get install spin gcc libc6-dev\n"
    )


def test_without_a_compiler_it_asks_only_for_that(monkeypatch, tmp_path, capsys):
    (tmp_path / "spin").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check.main([]) == 2
    assert capsys.readouterr().err.startswith("formal: gcc not found")


def test_an_unknown_name_is_a_usage_error(capsys):
    assert check.main(["bridge"]) == 2
    assert capsys.readouterr().err == "formal: no check begins with bridge; --list shows them\n"


def test_the_list_needs_no_spin(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check.main(["--list", "ready"]) == 0
    assert capsys.readouterr().out.splitlines() == [name for name in ALL if name.startswith("ready")]


@needs_spin
def test_as_json_it_says_for_each_check_what_came_of_it(capsys):
    assert check.main(["--json", "edge.block.newest-first", "edge.latest.replaced"]) == 0
    said = capsys.readouterr()
    first, second = json.loads(said.out)["checks"]
    assert first["name"] == "edge.block.newest-first"
    assert (first["kind"], first["rule"], first["good"]) == ("twin", "EDGE-102", True)
    assert first["verdict"] == "caught by EDGE-102"
    assert (second["kind"], second["rule"], second["verdict"]) == ("witness", None, "found")
    assert first["states"] > 0
    assert said.err.startswith("formal: 2 of 2 checks are as they should be; ")


@needs_spin
def test_the_histories_are_written_where_one_asks_for_them(tmp_path, capsys):
    assert check.main(["edge.block.newest-first", "--trails", str(tmp_path)]) == 0
    (written,) = tmp_path.iterdir()
    assert written.read_text(encoding="utf-8") == (check.HISTORIES / written.name).read_text(encoding="utf-8")


@pytest.mark.parametrize(("good", "code"), [(True, 0), (False, 1), (None, 2)])
def test_the_exit_code_tells_good_from_wrong_from_unchecked(monkeypatch, capsys, good, code):
    monkeypatch.setattr(check, "tools", lambda: check.Tools("spin", "gcc", "gcc"))
    monkeypatch.setattr(check, "run", lambda each, *rest: check.Outcome(each, good, "so it is"))
    assert check.main(["edge.drop.dropped"]) == code
    assert "so it is" in capsys.readouterr().out


@pytest.mark.parametrize(("to", "painted"), [(io.StringIO, False), (Terminal, True)])
def test_verdicts_have_colour_only_on_a_terminal(monkeypatch, to, painted):
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = to()
    check.table([check.Outcome(NEWEST_FIRST, False, "NOT CAUGHT")], out)
    assert ("\033[31mNOT CAUGHT\033[0m" in out.getvalue()) is painted


# ---- that it can fail ---------------------------------------------------------------------------------------------------


@needs_spin
def test_a_twin_without_its_bug_is_not_caught():
    without = {name: value for name, value in NEWEST_FIRST.defines.items() if not name.startswith("BUG")}
    outcome = do(like(NEWEST_FIRST, defines=without))
    assert (outcome.good, outcome.verdict) == (False, "NOT CAUGHT")


@needs_spin
def test_a_twin_that_is_caught_by_another_rule_than_its_own_is_at_fault():
    outcome = do(like(NEWEST_FIRST, rule="EDGE-101"))
    assert (outcome.good, outcome.verdict) == (False, "caught by EDGE-102, should be EDGE-101")


@needs_spin
def test_a_model_with_a_bug_does_not_hold():
    outcome = do(like(NEWEST_FIRST, kind=check.HOLDS))
    assert (outcome.good, outcome.verdict) == (False, "BREAKS EDGE-102")
    assert outcome.history["rule"] == "EDGE-102"


@needs_spin
def test_a_situation_that_never_comes_is_not_found():
    found = ALL["edge.latest.replaced"]
    outcome = do(like(found, defines=found.defines | {"POLICY": 1}))
    assert (outcome.good, outcome.verdict) == (False, "NOT FOUND")


@needs_spin
def test_a_model_that_spin_refuses_is_neither_good_nor_wrong(tmp_path):
    (tmp_path / "edge.pml").write_text("active proctype edge() { nonsense }\n", encoding="utf-8")
    outcome = do(NEWEST_FIRST, tmp_path)
    assert outcome.good is None
    assert outcome.verdict.startswith("spin failed: ")


@needs_spin
def test_a_search_that_is_cut_short_proves_nothing(monkeypatch):
    monkeypatch.setattr(check, "DEPTH", 20)
    outcome = do(ALL["edge.latest.one-slot"])
    assert outcome.good is None
    assert outcome.verdict.startswith("the search didn't come to its end")


def test_a_history_that_is_not_the_recorded_one_is_at_fault(tmp_path):
    recorded = json.loads((check.HISTORIES / f"{NEWEST_FIRST.name}.json").read_text(encoding="utf-8"))
    same = check.Outcome(NEWEST_FIRST, True, "caught", history=recorded)
    other = check.Outcome(NEWEST_FIRST, True, "caught", history=recorded | {"steps": []})
    check.compare([same, other], check.HISTORIES)
    assert (same.good, other.good) == (True, False)
    assert "by another history than the recorded one" in other.verdict
    missing = check.Outcome(NEWEST_FIRST, True, "caught", history=recorded)
    check.compare([missing], tmp_path)
    assert missing.good is False


# ---- from trail to failure file -----------------------------------------------------------------------------------------


def test_a_trail_that_breaks_no_rule_is_no_failure():
    with pytest.raises(trails.NoHistory):
        trails.convert("STEP get\nWAS 0\nFOUND\n", {}, "2.0.0")


def test_a_number_that_the_model_uses_again_is_another_item_in_the_history():
    printed = """
        STEP put 0 0
        WAS 0
      TURN
        STEP get
        WAS 0
        STEP put 0 0
        WAS 0
        STEP put_wait 1 0
        WAS 1
        STEP close
        FAIL EDGE-124 1
    """
    made = trails.convert(printed, {"POLICY": 0, "CAPACITY": 1}, "2.0.0")
    assert made["spec"] == {
        "capacity": 1,
        "policy": "block",
        "coalesce": None,
        "max_bytes": None,
        "max_age_s": None,
    }
    assert [(step["op"], step["args"], step["expected"], step["got"]) for step in made["steps"]] == [
        ("put", [0], "OK", "OK"),
        ("settle", [], "nobody goes on", "nobody goes on"),
        ("get", [], "0", "0"),
        ("settle", [], "nobody goes on", "nobody goes on"),
        ("put", [1], "OK", "OK"),
        ("settle", [], "nobody goes on", "nobody goes on"),
        ("put_wait", ["p2", 2], "waits", "waits"),
        ("settle", [], "nobody goes on", "nobody goes on"),
        ("close", [], "", ""),
        ("settle", [], "p2 CLOSED", "nobody goes on"),
    ]


def test_turns_of_a_ready_queue_are_told_apart_by_their_place_in_line():
    printed = """
        STEP enqueue 2
        STEP enqueue 2
        STEP enqueue 0
        STEP pick
        WAS 2 1
        FAIL READY-202 0 0
    """
    made = trails.convert(printed, {"W0": 4, "W1": 2, "W2": 1, "B0": 1, "B1": 4, "B2": 7}, "2.0.0")
    assert made["spec"] == {"weights": [4, 2, 1], "turns": 3, "bounds": [1, 4, 7]}
    assert made["steps"][0] == {"op": "enqueue", "args": [0, "NORMAL"], "expected": "OK", "got": "OK"}
    assert made["steps"][-1] == {"op": "pick", "args": [], "expected": "2", "got": "1"}
