"""The gate of the mutation tests: what it counts, what it finds fault with, and that it can be interrupted."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from meridian._tests.house.test_tree import load

pytestmark = pytest.mark.req("X5")

DIFF = """\
# meridian.engine.ready.xǁReadyQueueǁpick__mutmut_4: survived
--- meridian/engine/ready.py
+++ meridian/engine/ready.py
@@ -7,7 +7,7 @@
         saved, passed_over = self._saved, self._passed_over
-        best = late = -1
+        best = late = -2
         total = 0
"""


@pytest.fixture(scope="module")
def mutation(root: Path):
    return load(root, "mutation")


def outcome(mutation, *survivors: str, partial: bool = False):
    found = mutation.Outcome("ready", partial=partial)
    found.survivors = Counter(mutation.Mutant(f"ready.{name}", "a", "b") for name in survivors)
    return found


def allowed(mutation, *names: str) -> Counter:
    return Counter(mutation.Mutant(f"ready.{name}", "a", "b") for name in names)


def test_a_mutant_is_known_by_its_function_and_by_what_was_changed_wherever_that_stands(mutation):
    mutant = mutation.mutant_of("ready", "meridian.engine.ready.xǁReadyQueueǁpick__mutmut_4", DIFF)
    assert mutant == mutation.Mutant("ready.ReadyQueue.pick", "best = late = -1", "best = late = -2")
    moved = DIFF.replace("@@ -7,7 +7,7 @@", "@@ -70,7 +70,7 @@").replace("        best", "    best")
    assert mutation.mutant_of("ready", "meridian.engine.ready.xǁReadyQueueǁpick__mutmut_9", moved) == mutant
    function = mutation.mutant_of("ring", "meridian.engine.ring.x_coalesced__mutmut_1", DIFF)
    assert function.function == "ring.coalesced"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (None, "untried"),
        (0, "survived"),
        (1, "killed"),
        (3, "killed"),
        (-24, "timeout"),
        (36, "timeout"),
        (33, "unreached"),
        (-11, "killed"),
    ],
)
def test_a_mutant_that_runs_out_of_time_or_breaks_everything_is_not_a_survivor(mutation, code, status):
    assert mutation.status(code) == status


def test_a_survivor_that_is_not_on_the_list_is_new_and_an_entry_without_a_survivor_is_stale(mutation):
    found = outcome(mutation, "f", "g")
    found.judge(allowed(mutation, "g", "h"))
    assert (found.new, found.stale) == (allowed(mutation, "f"), allowed(mutation, "h"))
    assert mutation.exit_code([found]) == 1


def test_the_same_change_twice_in_a_function_needs_to_be_allowed_twice(mutation):
    found = outcome(mutation, "f", "f")
    found.judge(allowed(mutation, "f"))
    assert found.new == allowed(mutation, "f")
    found.judge(allowed(mutation, "f", "f"))
    assert mutation.exit_code([found]) == 0


def test_entries_of_other_modules_are_not_stale(mutation):
    found = outcome(mutation, "f")
    found.judge(allowed(mutation, "f") + Counter([mutation.Mutant("ring.Ring.put", "a", "b")]))
    assert mutation.exit_code([found]) == 0


def test_an_interrupted_run_finds_new_survivors_and_no_stale_entries(mutation):
    found = outcome(mutation, "f", partial=True)
    found.judge(allowed(mutation, "f", "h"))
    assert (sum(found.stale.values()), mutation.exit_code([found])) == (0, 3)
    found.judge(allowed(mutation, "h"))
    assert mutation.exit_code([found]) == 1
    assert "PARTIAL" in mutation.report([found])
    assert found.to_json()["partial"] is True


def test_a_new_survivor_is_told_in_the_form_of_an_entry_that_lacks_its_reason(mutation, tmp_path):
    found = outcome(mutation, "f", "f")
    found.judge(Counter())
    told = tmp_path / "told.toml"
    told.write_text("[[survivor]]" + mutation.report([found]).partition("[[survivor]]")[2], encoding="utf-8")
    with pytest.raises(mutation.Unusable, match="the reason for"):
        mutation.allowed_survivors(told)
    told.write_text(
        told.read_text(encoding="utf-8").replace('reason = ""', 'reason = "equivalent: it is"'),
        encoding="utf-8",
    )
    assert mutation.allowed_survivors(told) == found.survivors


def test_an_interruption_between_the_mutants_leaves_a_result_that_says_so(
    mutation, monkeypatch, tmp_path, capsys
):
    def interrupted(module: str, again: bool) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(mutation, "WORK", tmp_path / "work")
    monkeypatch.setattr(mutation, "prepare", interrupted)
    assert mutation.main(["--module", "ready"]) == 3
    assert capsys.readouterr().out.endswith("PARTIAL: not finished: ready\n")
    assert json.loads((tmp_path / "work" / "result.json").read_text()) == {"partial": True, "modules": []}


def test_every_entry_of_the_list_has_a_reason_and_belongs_to_a_module_that_is_mutated(mutation):
    for mutant in mutation.allowed_survivors():
        assert mutant.function.partition(".")[0] in mutation.MODULES


def test_what_is_mutated_and_the_tests_that_should_notice_exist(root: Path, mutation):
    for path, tests in mutation.MODULES.values():
        assert [name for name in (path, *tests) if not (root / name).exists()] == []


def test_ctrl_c_ends_mutmut_and_leaves_what_is_known(root: Path, tmp_path):
    folder = tmp_path / "ready"
    meta = folder / "mutants" / "meridian" / "engine" / "ready.py.meta"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"exit_code_by_key": {"a": 1, "b": None}}))
    (folder / "mutmut").mkdir()
    (folder / "mutmut" / "__main__.py").write_text(
        "import sys, time\n"
        "try:\n    print('up', flush=True)\n    time.sleep(600)\n"
        "except KeyboardInterrupt:\n    print('Stopping...')\n"
    )
    (folder / "mutmut" / "__init__.py").touch()
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import mutation, pathlib\n"
        "folder = pathlib.Path(sys.argv[2])\n"
        "ended = mutation.run('ready', folder, 1, lambda text: print(text, flush=True))\n"
        "print(ended, mutation.statuses(folder, 'ready'))\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(root / "ci"), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    log = folder / "mutmut.log"
    while not (log.exists() and "up" in log.read_text()):
        assert child.poll() is None
        time.sleep(0.01)
    assert child.stdout.readline() == "ready: 1 of 2 mutants tried, 0 survived\n"
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=60)
    assert said.splitlines()[-1] == "False {'a': 'killed', 'b': 'untried'}"
    assert log.read_text().endswith("Stopping...\n")
