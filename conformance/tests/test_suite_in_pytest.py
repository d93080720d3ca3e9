"""The rules as pytest tests, run as a third party runs them: from a folder of their own."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from meridian_conformance import rules
from meridian_conformance.backends import UsageError
from meridian_conformance.reports import result_file
from meridian_conformance.suite_run import SuiteRun

pytestmark = pytest.mark.req("X5")

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
UNSET = ("PYTEST_ADDOPTS", "FORCE_COLOR", "PY_COLORS", "CI", "HYPOTHESIS_PROFILE")
CORE = [rule.id for rule in rules.load().values() if rule.target == "edge" and rule.profile == "core"]

CANNED = """
    from meridian_conformance import runner
    from meridian_conformance.failures import Step, Trace
    from meridian_conformance.verdicts import Failure, Result, RuleResult, Situation, Verdict

    def run(backend, profiles, target, waivers):
        verdicts = dict(zip(RULES, Verdict))
        failures = [Failure("EDGE-102", {"got": "1"}, Trace("EDGE-102", "edge", "2.0.0", {"capacity": 1}, (Step("get"),)))]
        found = [
            RuleResult(id, "MUST", "core", verdict, situations=[Situation("full", 9, 5)],
                       failures=failures if verdict is Verdict.FAIL else [])
            for id, verdict in verdicts.items()
        ]
        found += [RuleResult(id, "SHOULD", "core", Verdict.FAIL) for id in RULES[len(Verdict):]]
        return Result("canned", "edge", "2.0.0", profiles, [], ["async"], "pr", 0, "2026-11-22T20:00:00+00:00", 1.0, {}, found)

    runner.run = run
"""


def run_pytest(folder: Path, *args: str, suite: bool = True) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("pytest"), "-p", "no:cacheprovider", *args]
    if suite:
        command += ["--pyargs", "meridian_conformance.suite"]
    environment = {name: value for name, value in os.environ.items() if name not in UNSET} | {
        "COLUMNS": "200"
    }
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def can(folder: Path) -> None:
    """Make examining free: what was found is given."""
    source = f"RULES = {CORE!r}\n" + textwrap.dedent(CANNED)
    (folder / "conftest.py").write_text(source, encoding="utf-8")


def test_the_toy_backend_keeps_every_rule_from_a_folder_with_nothing_else(tmp_path: Path):
    shutil.copy(EXAMPLES / "toy.py", tmp_path)
    ran = run_pytest(
        tmp_path,
        "--meridian-backend=toy:Backend",
        "--meridian-out=out",
        "-k=EDGE-11",
        "--junit-xml=junit.xml",
        "-W=error",
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "5 passed, 2 skipped" in ran.stdout  # EDGE-115 and EDGE-116 need limits
    assert "meridian-conformance 2.0.0: suite 2.0.0, core, toy:Backend" in ran.stdout
    assert "16/16 MUST. Every MUST held." in ran.stdout
    # What is reported is about the whole profile, whatever was selected: a badge mustn't say less or more.
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert [each["rule"] for each in result["rules"]] == CORE
    jsonschema.Draft202012Validator(result_file.schema()).validate(result)
    (case,) = [
        each
        for each in ElementTree.parse(tmp_path / "junit.xml").iter("testcase")
        if each.get("name") == "test_rule[core-EDGE-110]"
    ]
    told = {each.get("name"): each.get("value") for each in case.iter("property")}
    assert re.fullmatch(r"\d+/50", told.pop("exercised"))
    assert told == {"rule": "EDGE-110", "level": "MUST", "profile": "core", "verdict": "pass"}


BROKEN = """
    from collections import Counter
    import toy

    class Edge(toy.ToyEdge):
        def put(self, item):
            if self.spec.policy == "drop" and len(self.items) >= self.spec.capacity and not self.closed:
                self.items.popleft()  # the oldest goes instead of the new one
                self.items.append(item)
                self.accepted += 1
                self.lost["dropped"] += 1
                return "DROPPED"
            return super().put(item)

        def __repr__(self):
            return f"Edge({list(self.items)})"

    class Backend(toy.Backend):
        def open(self, spec):
            super().open(spec)
            return Edge(spec)
"""
WAIVERS = """
    [[waiver]]
    rule = "EDGE-111"
    reason = "our broker drops at the head"
    issue = "https://bugs.example/1"
    expires = "2999-12-31"

    [[waiver]]
    rule = "EDGE-131"
    reason = "to be mended"
    issue = "https://bugs.example/2"
    expires = "2020-01-01"

    [[waiver]]
    rule = "EDGE-102"
    reason = "it was broken once"
    issue = "https://bugs.example/3"
    expires = "2999-12-31"
"""


def test_waivers_hold_for_what_is_broken_and_fail_where_they_are_expired_or_not_needed(tmp_path: Path):
    shutil.copy(EXAMPLES / "toy.py", tmp_path)
    (tmp_path / "broken.py").write_text(textwrap.dedent(BROKEN), encoding="utf-8")
    (tmp_path / "waivers.toml").write_text(textwrap.dedent(WAIVERS), encoding="utf-8")
    ran = run_pytest(
        tmp_path,
        "--meridian-backend=broken:Backend",
        "--meridian-waivers=waivers.toml",
        "-rxf",
        "-v",
        "--meridian-out=out",
    )
    outcomes = dict(
        re.findall(r"^(?:PASSED|FAILED|XFAIL) \S*test_rule\[core-(\S+)\] - (.+)$", ran.stdout, re.MULTILINE)
    )
    assert ran.returncode == 1, ran.stdout
    assert "our broker drops at the head" in outcomes.pop("EDGE-111")
    assert "its waiver expired on 2020-01-01" in outcomes.pop("EDGE-131")
    assert "it is waived, and yet it holds: remove the waiver" in outcomes.pop("EDGE-102")
    assert "EDGE-103" in outcomes  # what was accepted never came out: broken too, and waived by nobody
    assert "1 xfailed" in ran.stdout
    assert "EDGE-111 waived: our broker drops at the head" in ran.stdout
    assert "again: meridian-conform replay out/failures/EDGE-131.json" in ran.stdout


def test_each_verdict_has_its_outcome_and_all_are_reported(tmp_path: Path):
    can(tmp_path)
    ran = run_pytest(tmp_path, "--meridian-backend=python", "--meridian-out=out", "-q")
    # fail, vacuous, inconclusive, error; pass; not applicable, untestable; waived and every broken SHOULD.
    assert f"4 failed, 1 passed, 2 skipped, {len(CORE) - 7} xfailed" in ran.stdout, ran.stdout
    assert ran.returncode == 1
    assert "1. get()" in ran.stdout
    assert "Traceback" not in ran.stdout
    assert "you could claim: async" in ran.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "badge.json", "badge.svg", "failures", "junit.xml", "report.html", "result.json",
    ]  # fmt: skip


def test_with_v_the_whole_table_is_shown_and_without_terminal_nothing_is_coloured(tmp_path: Path):
    can(tmp_path)
    ran = run_pytest(tmp_path, "--meridian-backend=python", "-v")
    assert re.search(r"^  EDGE-101    MUST   pass ", ran.stdout, re.MULTILINE)
    assert "\x1b" not in ran.stdout


def test_without_out_nothing_is_written(tmp_path: Path):
    can(tmp_path)
    run_pytest(tmp_path, "--meridian-backend=python", "-p", "no:hypothesispytest")
    assert [path.name for path in tmp_path.iterdir() if path.name not in {"conftest.py", "__pycache__"}] == []


def test_another_target_has_rules_of_its_own(tmp_path: Path):
    ran = run_pytest(tmp_path, "--meridian-backend=python", "--meridian-target=ready", "--collect-only", "-q")
    ready = [rule.id for rule in rules.load().values() if rule.target == "ready" and rule.profile == "core"]
    assert re.findall(r"test_rule\[core-(\S+)\]", ran.stdout) == ready != []


def test_a_suite_without_a_backend_says_what_it_needs(tmp_path: Path):
    ran = run_pytest(tmp_path)
    assert ran.returncode == 4
    assert "meridian_conformance.suite needs --meridian-backend" in ran.stderr


def test_a_backend_that_is_not_there_is_a_usage_error_in_one_line(tmp_path: Path):
    ran = run_pytest(tmp_path, "--meridian-backend=nowhere:Backend")
    assert ran.returncode == 4
    assert "ERROR: meridian-conformance: nowhere:Backend: can't import nowhere" in ran.stderr
    assert "Traceback" not in ran.stderr + ran.stdout


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"name": "json:dumps"}, "json:dumps"),
        ({"target": "nodes"}, "there is no target 'nodes'; there are edge, ready, engine, node"),
        ({"profiles": "core,fast"}, "there is no profile 'fast'; there are core, "),
        ({"level": "99.0"}, "level 99.0 needs a newer one"),
        ({"level": "newest"}, "two numbers such as 2.0, not 'newest'"),
        ({"waivers": Path("absent.toml")}, "absent.toml"),
    ],
)
def test_what_names_nothing_is_refused(
    tmp_path: Path, named: dict, said: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "path", [*sys.path])
    usual = {"profiles": "core", "out": None, "waivers": None, "level": None, "folder": tmp_path}
    with pytest.raises(UsageError, match=re.escape(said)):
        SuiteRun(**{"name": "python", **usual, **named})


def test_a_backend_is_found_by_the_name_of_its_entry_point(tmp_path: Path):
    can(tmp_path)
    shutil.copy(EXAMPLES / "toy.py", tmp_path)
    information = tmp_path / "toy_edges-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-edges\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[meridian.edge_backends]\ntoybox = toy:Backend\n")
    ran = run_pytest(tmp_path, "--meridian-backend=toybox", "--collect-only")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "core, toy:Backend" in ran.stdout


@pytest.mark.parametrize("pattern", ["check_*.py", "*.py"])
def test_each_rule_is_collected_once_whatever_the_project_calls_its_test_files(tmp_path: Path, pattern: str):
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npython_files = {pattern}\naddopts = --strict-markers\n")
    ran = run_pytest(
        tmp_path, "--meridian-backend=python", "--collect-only", "-q", "--meridian-suite-level=2.0"
    )
    assert re.findall(r"test_rule\[core-(\S+)\]", ran.stdout) == CORE


def test_a_project_that_has_the_kit_installed_and_does_not_use_it_sees_nothing_of_it(tmp_path: Path):
    (tmp_path / "test_own.py").write_text("def test_own(): pass\n")
    ran = run_pytest(tmp_path, "-q", "-W=error", suite=False)
    assert ran.returncode == 0
    assert "Meridian" not in ran.stdout
