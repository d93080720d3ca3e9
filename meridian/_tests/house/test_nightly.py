"""The night: one directory with an index, whatever its parts do and however it ends."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.req("N5", "X1")


@pytest.fixture(scope="module")
def nightly(root: Path):
    spec = importlib.util.spec_from_file_location("nightly", root / "ci/nightly.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def night_of(root: Path, out: Path, parts: str, *arguments: str) -> subprocess.Popen:
    """Start a night with planted parts in a process of its own; `say` makes a command of a Python program."""
    program = (
        f"import sys; sys.path.insert(0, {str(root / 'ci')!r}); import nightly; from nightly import Part\n"
        "def say(text): return (sys.executable, '-c', text)\n"
        f"sys.exit(nightly.main({['--out', str(out), *arguments]!r}, parts=({parts})))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def result_of(out: Path) -> dict:
    found = json.loads((out / "result.json").read_text())
    return found | {part["name"]: part for part in found["parts"]}


PLANTED = """
    Part("good", "it is good", say("print('all <well>')")),
    Part("bad", "it is bad", say("print('oh'); sys.exit(1)".replace("sys", "import sys; sys", 1))),
    Part("unable", "it can't", say("import sys; print('there is no spoon'); sys.exit(77)")),
    Part("odd", "it is only told", say("import sys; sys.exit(1)"), told=True),
    Part("future", "it comes later", ("make", "-s", "no-such-verb")),
    Part("report", "it draws", say("import os, sys; os.makedirs(sys.argv[1]); open(sys.argv[1] + '/a.svg', 'w'); open(sys.argv[1] + '/report.html', 'w')") + ("{out}",),
         pages=("report.html", "none.html"), pictures=("*.svg",)),
"""


def test_a_night_leaves_one_directory_with_the_state_of_each_part(root: Path, tmp_path: Path):
    night = night_of(root, tmp_path / "night", PLANTED, "--json")
    stdout, stderr = night.communicate(timeout=60)
    assert night.returncode == 1, stderr
    result = result_of(tmp_path / "night")
    assert json.loads(stdout) == {key: value for key, value in result.items() if key in json.loads(stdout)}
    states = {part["name"]: part["state"] for part in result["parts"]}
    assert states == {
        "good": "passed", "bad": "failed", "unable": "skipped", "odd": "told", "future": "absent", "report": "passed",
    }  # fmt: skip
    assert result["unable"]["why"] == "there is no spoon"
    assert result["future"]["why"] == "this version has no `make no-such-verb`"
    assert (result["report"]["pages"], result["report"]["pictures"]) == (
        ["report/report.html"],
        ["report/a.svg"],
    )
    assert result["partial"] is False
    page = (tmp_path / "night" / "index.html").read_text()
    assert "<b>Partial.</b>" not in page
    assert "all &lt;well&gt;" in page
    links = re.findall(r'(?:href|src)="([^#"]+)"', page)
    assert {"logs/good.log", "report/a.svg", "report/report.html"} <= set(links)
    assert [link for link in links if not (tmp_path / "night" / link).exists()] == []
    assert "nightly: 2/6 bad failed" in stderr


def test_a_night_where_nothing_fails_ends_with_zero(root: Path, tmp_path: Path):
    night = night_of(
        root, tmp_path / "night", 'Part("a", "a", say("")), Part("b", "b", say("import sys; sys.exit(3)"))'
    )
    night.communicate(timeout=60)
    assert night.returncode == 0


def started(night: subprocess.Popen, log: Path) -> int:
    """Wait until a sleeper has said the process id of its child, and return that."""
    while True:
        assert night.poll() is None, night.communicate()
        if log.exists() and log.read_text().endswith("\n"):
            return int(log.read_text())


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


DAEMON = (
    "import subprocess, sys, time; "
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True); "
    "print(child.pid, flush=True); time.sleep(600)"
)


@pytest.mark.skipif(sys.platform != "linux", reason="who has left its process group is found by /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_night_ends_what_it_started_and_is_marked_as_partial(
    root: Path, tmp_path: Path, number
):
    out = tmp_path / "night"
    parts = (
        f'Part("first", "1", say("print(1)")), Part("long", "2", say({DAEMON!r})), Part("last", "3", say(""))'
    )
    night = night_of(root, out, parts)
    child = started(night, out / "logs" / "long.log")
    running = result_of(out)
    assert (running["partial"], running["long"]["state"]) == (True, "running")
    night.send_signal(number)
    _, stderr = night.communicate(timeout=60)
    assert night.returncode == 130
    assert "interrupted, partial" in stderr
    assert not alive(child)
    states = {part["name"]: part["state"] for part in result_of(out)["parts"]}
    assert states == {"first": "passed", "long": "interrupted", "last": "not run"}
    assert "<b>Partial.</b>" in (out / "index.html").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="who has left its process group is found by /proc")
def test_a_part_that_takes_too_long_is_ended_with_its_children_and_the_next_one_runs(
    root: Path, tmp_path: Path
):
    out = tmp_path / "night"
    night = night_of(root, out, f'Part("long", "1", say({DAEMON!r}), limit=2), Part("next", "2", say(""))')
    child = started(night, out / "logs" / "long.log")
    night.communicate(timeout=60)
    assert night.returncode == 1
    assert not alive(child)
    result = result_of(out)
    assert (result["long"]["state"], result["long"]["why"]) == ("out of time", "ended after 2 s")
    assert result["next"]["state"] == "passed"


def test_a_night_is_compared_with_the_last_one_that_came_to_its_end(nightly, root: Path, tmp_path: Path):
    assert nightly.last_commit(tmp_path) == "HEAD~1"
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True
    ).stdout.strip()
    for name, partial, commit in (("1", False, head), ("2", True, head[:-1]), ("3", False, "0" * 40)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps({"partial": partial, "commit": commit}))
    assert nightly.last_commit(tmp_path) == head


def test_a_part_that_this_version_lacks_is_named(nightly):
    assert nightly.lacking(["make", "-s", "no-such"], {"stress"}) == "make no-such"
    assert (
        nightly.lacking([".venv/bin/python", "-m", "asv_bench.no_such"], set())
        == "python -m asv_bench.no_such"
    )
    assert nightly.lacking(["make", "-s", "stress"], {"stress"}) == ""
    assert nightly.lacking([".venv/bin/python", "-m", "asv_bench.gates"], set()) == ""
    assert nightly.lacking([".venv/bin/python", "-m", "meridian_conformance.cli"], set()) == ""


def test_the_exit_code_of_a_recipe_is_seen_through_make(nightly):
    said = "...\nmake: *** [Makefile:144: stress] Error 3\n"
    assert nightly.RECIPE.findall(said) == ["3"]


def test_the_short_form_leaves_what_the_night_promises(nightly):
    short = [part.name for part in nightly.chosen(nightly.PARTS, short=True, only="")]
    assert short[:3] == ["setup", "profile", "stress"]
    assert {"leak", "history"} <= set(short)
    assert "ci" not in short
    assert nightly.SHORT_LIMIT <= 15 * 60 - 2 * nightly.GRACE


def test_the_long_form_leaves_nothing_out(nightly):
    names = {part.name for part in nightly.chosen(nightly.PARTS, short=False, only="")}
    promised = "ci tests faults asan tsan crosshair bench budget compare planted history stress profile leak peers slo"
    assert set(promised.split()) <= names


def test_everything_that_a_night_calls_is_there(nightly):
    targets = nightly.targets()
    commands = [form for part in nightly.PARTS for form in (part.command, part.short) if form]
    assert [missing for command in commands if (missing := nightly.lacking(command, targets))] == []


def test_an_unknown_part_is_refused_by_name(nightly, capsys):
    with pytest.raises(SystemExit) as ended:
        nightly.main(["--only", "no-such"])
    assert ended.value.code == 2
    assert "'no-such'" in capsys.readouterr().err


def test_a_directory_that_can_not_be_written_is_told(nightly, tmp_path: Path, capsys):
    (tmp_path / "file").write_text("")
    assert nightly.main(["--out", str(tmp_path / "file" / "below"), "--only", "setup"]) == 2
    assert "can't write" in capsys.readouterr().err
    assert nightly.main(["--out", str(tmp_path), "--only", "setup"]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_the_command_lists_its_parts(root: Path):
    listed = subprocess.run(
        [str(root / "ci" / "nightly"), "--list", "--short"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.startswith("setup ")
