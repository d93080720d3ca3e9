"""The recorder of flame graphs: false profiles are thrown away, and changes that chance explains are not shown as changes."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from profiles import __main__ as command
from profiles import checks, compare, flame, folded, record, report, spy
from profiles.checks import Evidence

pytestmark = pytest.mark.req("N5", "X1")

PLAYED = "<module> (stress/scenarios/overload.py:8);Run._slice (meridian/runtime/run.py:516)"
KNOWN = (r"stress/scenarios/overload\.py\)$", r"meridian/runtime/run\.py\)$")
TEXT = f"{PLAYED} 300\n{PLAYED};step (meridian/engine/step.py:147) 700\n"


def evidence(**changed) -> Evidence:
    """A recording of ten seconds with nothing wrong."""
    return replace(Evidence(TEXT, 1000, 3, 100, 10.0, KNOWN), **changed)


# ---- folded stacks -----------------------------------------------------------------------------------------------------


def test_folded_stacks_are_read_as_they_were_written():
    stacks = folded.read(TEXT)
    assert stacks.total() == 1000
    assert folded.read(folded.write(stacks)) == stacks


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEXT[:-3], "cut off"),
        (TEXT[:-4] + "\n", "line 2 is not"),
        ("some words\n", "line 1 is not"),
        (" 7\n", "line 1 is not"),
    ],
)
def test_what_is_no_folded_text_is_refused(text, said):
    with pytest.raises(folded.FoldedError, match=said):
        folded.read(text)


def test_what_differs_between_two_runs_of_a_program_is_taken_out():
    raw = {
        (
            'process 17:"python -m stress overload"',
            "_find_and_load (<frozen importlib._bootstrap>:1176)",
            "exec_module (<frozen importlib._bootstrap_external>:940)",
            "<module> (a.py:3)",
            "ring::Ring$LT$T$GT$::put::h15d353ef0c49c7df (ring.rs:446)",
            "0x7f0f76b0aa4f (libc.so.6)",
        ): 2,
        ('process 17:"python -m stress overload"',): 1,
    }
    assert folded.tidy(raw) == {
        ("import (importlib)", "<module> (a.py)", "ring::Ring<T>::put (ring.rs)", "? (libc.so.6)"): 2,
        ("(no Python function)",): 1,
    }


def test_self_time_goes_to_the_innermost_function():
    assert folded.self_time(
        folded.read("a (x.py:1);b (x.py:2) 3\nb (x.py:2);a (x.py:1) 4\na (x.py:1) 1\n")
    ) == {
        "b (x.py:2)": 3,
        "a (x.py:1)": 5,
    }


# ---- false profiles ----------------------------------------------------------------------------------------------------


def test_a_good_recording_is_kept():
    assert checks.problems(evidence()) == []


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ({"text": ""}, "it is empty"),
        ({"text": TEXT[: len(TEXT) // 2]}, "cut off"),
        ({"text": TEXT.splitlines(keepends=True)[0]}, "took 1,000 samples and 300 are in the file"),
        ({"samples": None}, "did not say"),
        ({"text": "spin (other.py:1) 1000\n"}, "may be another program"),
        ({"errors": 112}, "failed to read 112 stacks and read 1,000"),
        ({"text": f"{PLAYED} 21\n", "samples": 21, "errors": 1012}, "failed to read 1,012 stacks and read 21"),
        ({"text": f"{PLAYED} 99\n", "samples": 99, "seconds": 1.0}, "too few"),
        ({"seconds": 12.6}, "1,000 samples where 1,260 were due"),
        ({"native": True}, "none appears"),
        ({"native": True, "text": TEXT + f"{PLAYED};memcpy (libc.so.6) 9\n", "samples": 1009, "extension": "meridian_fast"}, "no function of meridian_fast"),
        ({"native": True, "text": TEXT + f"{PLAYED};0x7f12 (meridian_fast/meridian_fast.abi3.so) 9\n", "samples": 1009, "extension": "meridian_fast"}, "without symbols"),
    ],
)  # fmt: skip
def test_a_planted_bad_recording_is_rejected_for_what_is_wrong_with_it(planted, said):
    assert said in "; ".join(checks.problems(evidence(**planted)))


def test_the_limits_themselves_pass():
    assert checks.problems(evidence(seconds=12.5, errors=111)) == []


def test_a_scenario_that_mostly_waits_is_held_to_its_time_on_a_cpu():
    ran = spy.Ran(0, "", wall=20.0, cpu=2.0, samples=400, errors=0)
    assert (ran.due(spy.Mode()), ran.due(spy.Mode(idle=True)), ran.due(spy.Mode(gil=True))) == (
        2.0,
        20.0,
        None,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "no speedscope file"),
        ("[]", "no speedscope file"),
        ('{"shared": {"frames": []}, "profiles": []}', "empty"),
        ('{"shared": {"frames": [{"name": "f", "file": "x.py"}]}, "profiles": [{"samples": [[0]]}]}', "another program"),
    ],
)  # fmt: skip
def test_a_bad_timeline_is_rejected(text, said):
    assert said in "; ".join(checks.timeline_problems(text, KNOWN))


# ---- comparing ---------------------------------------------------------------------------------------------------------


def sampled(weights: dict[str, float], total: int, seed: int) -> Counter:
    drawn = random.Random(seed).choices(list(weights), list(weights.values()), k=total)
    return Counter({(name,): count for name, count in Counter(drawn).items()})


WEIGHTS = {f"function_{i} (x.py)": 1 / (1 + i) for i in range(30)}


def test_the_interval_of_a_share_is_that_of_the_textbook():
    low, high = compare.score_interval(10, 100, z=1.96)
    assert (round(low, 4), round(high, 4)) == (0.0552, 0.1744)


def test_a_program_beside_itself_shows_a_change_once_in_twenty_times_at_most():
    alarms = 0
    for seed in range(200):
        found = compare.changes(sampled(WEIGHTS, 2000, seed), sampled(WEIGHTS, 2000, 1000 + seed))
        assert len(found) == compare.TOP
        alarms += any(each.verdict != compare.SAME for each in found)
    assert alarms <= 200 * compare.FALSE_ALARMS


def test_a_function_that_takes_a_larger_share_is_found_and_the_others_are_not():
    slower = {**WEIGHTS, "function_3 (x.py)": WEIGHTS["function_3 (x.py)"] * 2}
    found = compare.changes(sampled(WEIGHTS, 2000, 1), sampled(slower, 2000, 2))
    assert [each.function for each in found if each.verdict == compare.GREW] == ["function_3 (x.py)"]
    assert "function_3 (x.py)  GREW" in compare.table(found)


def test_a_function_that_is_new_or_gone_has_a_share_of_nothing_before_or_after():
    found = {
        each.function: each
        for each in compare.changes({("a",): 100, ("b",): 100}, {("a",): 100, ("c",): 100})
    }
    assert (found["b"].after, found["b"].verdict) == (0.0, compare.SHRANK)
    assert (found["c"].before, found["c"].verdict) == (0.0, compare.GREW)


def test_the_plot_is_a_picture_and_the_same_each_time(tmp_path: Path):
    pytest.importorskip("matplotlib", reason="drawing needs what `make profile` installs; CI has it")
    before, after = sampled(WEIGHTS, 2000, 1), sampled(WEIGHTS, 2000, 2)
    texts = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        compare.save(compare.changes(before, after), before, after, "a <title>", tmp_path / name)
        texts.append((tmp_path / name / "compare.svg").read_text())
    assert texts[0] == texts[1]
    assert ElementTree.fromstring(texts[0]).tag.endswith("svg")
    assert len(json.loads((tmp_path / "one" / "compare.json").read_text())["functions"]) == compare.TOP


# ---- the picture -------------------------------------------------------------------------------------------------------


def test_a_flame_graph_has_a_box_for_each_function_on_each_stack_as_wide_as_its_samples():
    picture = ElementTree.fromstring(
        flame.svg({("a (meridian/x.py)", "<b> (y.py)"): 3, ("a (meridian/x.py)",): 1}, "t & t")
    )
    boxes = {box.get("data-f"): box for box in picture.iter() if box.get("data-f")}
    assert {name: int(box.get("data-n")) for name, box in boxes.items()} == {
        "all": 4,
        "a (meridian/x.py)": 4,
        "<b> (y.py)": 3,
    }
    rects = {name: next(each for each in box if each.tag.endswith("rect")) for name, box in boxes.items()}
    assert float(rects["<b> (y.py)"].get("width")) == flame.WIDTH * 3 / 4 - 0.3


def test_functions_are_told_apart_by_whose_they_are():
    assert [flame.kind(f) for f in ("a (meridian/x.py)", "b (ring.rs)", "c (stress/x.py)", "d (asyncio/x.py)", "import (importlib)", "e (<string>)")] == [
        "meridian", "native", "scenario", "python", "python", "python",
    ]  # fmt: skip


# ---- recording, with a stand-in for py-spy that lies as it is told to --------------------------------------------------

STAND_IN = """\
#!{python}
import json, os, pathlib, sys
arguments = sys.argv[1:]
out = pathlib.Path(arguments[arguments.index("--output") + 1])
program = arguments[arguments.index("--") + 1:]
scenario, engine = program[3], program[program.index("--engine") + 1]
lie = os.environ.get("LIE", "")
if lie == "interrupt" and engine == "rust":
    import signal
    os.kill(os.getppid(), signal.SIGTERM)
    signal.pause()
if lie != "no result":
    result = pathlib.Path(program[program.index("--out") + 1]) / scenario / "result.json"
    result.parent.mkdir(parents=True, exist_ok=True)
    samples = [[i / 10, i * 100, 0, 1000 + i, 7, 3] for i in range(100)]
    played = "python" if lie == "other engine" else engine
    result.write_text(json.dumps({{"engine": played, "partial": lie == "partial", "verdict": "kept", "samples": samples, "memory": None}}))
text = {text!r}
if lie == "another program":
    text = "spin (other.py:1) 1000\\n"
if lie == "cut off":
    text = text[:-9]
if "speedscope" in arguments:
    frames = [{{"name": "f", "file": "/x/stress/scenarios/overload.py"}}, {{"name": "g", "file": "/x/meridian/runtime/run.py"}}]
    text = json.dumps({{"shared": {{"frames": frames}}, "profiles": [{{"samples": [[0, 1]]}}]}})
out.write_text("" if lie == "empty" else text)
print("py-spy> Wrote data. Samples: 1000 Errors:", 999 if lie == "errors" else 0, file=sys.stderr)
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch):
    path = tmp_path / "py-spy"
    path.write_text(STAND_IN.format(python=sys.executable, text=TEXT))
    path.chmod(0o755)
    monkeypatch.setattr(spy, "executable", lambda: path)
    return path


def recorded(tmp_path: Path, name: str = "run", against: str = "history", **changed) -> record.Run:
    out = tmp_path / name
    out.mkdir()
    choice = replace(record.Choice(("overload",), ("python", "rust"), spy.Mode(), seconds=0.1), **changed)
    run = record.Run(choice, out, tmp_path / against, lambda text: None)
    try:
        run.record()
    except KeyboardInterrupt:
        assert run.partial
    return run


def test_folded_stacks_of_everything_come_first(stand_in, tmp_path: Path):
    choice = record.Choice(("a", "b"), ("python", "rust"), spy.Mode(), native=True)
    assert [(each.kind, each.name) for each in record.planned(choice)] == [
        ("folded", "a-python"), ("folded", "a-rust"), ("folded", "b-python"), ("folded", "b-rust"),
        ("speedscope", "a-python"), ("speedscope", "a-rust"), ("speedscope", "b-python"), ("speedscope", "b-rust"),
        ("native", "a-rust"), ("native", "b-rust"),
    ]  # fmt: skip


def test_a_run_leaves_folded_text_a_flame_graph_a_timeline_and_what_grew(stand_in, tmp_path: Path):
    run = recorded(tmp_path)
    assert run.whole
    about = json.loads((run.out / "run.json").read_text())
    first = about["recordings"][0]
    assert first["files"] == {
        "folded": "overload-python/profile.folded",
        "flame graph": "overload-python/profile.svg",
    }
    assert about["recordings"][2]["files"] == {"speedscope": "overload-python/profile.speedscope.json"}
    assert first["played"]["by second"] == {"rss": 10.0, "descriptors": 0.0, "threads": 0.0}
    assert {"stress", "overload", "--seed", "1"} <= set(first["command"])
    for recording in about["recordings"]:
        for file in recording["files"].values():
            assert (run.out / file).read_text()
    page = (run.out / "index.html").read_text()
    assert "overload-rust/profile.svg" in page
    assert "<b>Partial.</b>" not in page


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ("empty", "it is empty"),
        ("cut off", "cut off"),
        ("another program", "may be another program"),
        ("errors", "failed to read 999 stacks"),
        ("no result", "left no result"),
        ("other engine", "it ran on the python engine"),
        ("partial", "didn't come to its end"),
    ],
)
def test_a_false_profile_is_listed_with_the_reason_and_not_published(
    stand_in, tmp_path: Path, monkeypatch, lie, said
):
    monkeypatch.setenv("LIE", lie)
    run = recorded(tmp_path, engines=("rust",))
    assert not run.whole
    first = run.recordings[0]
    assert (first.verdict, first.files) == (record.REJECTED, {})
    assert said in "; ".join(first.reasons)
    assert (
        list(run.out.glob("*/*.folded"))
        == list(run.out.glob("*/*.svg"))
        == list(run.out.glob("*/*.raw"))
        == []
    )
    assert "rejected" in (run.out / "index.html").read_text()


def test_an_interrupted_run_is_marked_as_partial_and_keeps_what_it_had(
    stand_in, tmp_path: Path, monkeypatch, capsys
):
    monkeypatch.setenv("LIE", "interrupt")
    monkeypatch.setattr(spy, "preflight", lambda: "")
    monkeypatch.setattr(record, "missing_rust", lambda: "")
    monkeypatch.setattr(record, "HISTORY", tmp_path / "history")
    code = command.main(["record", "overload", "--seconds", "0.1", "--out", str(tmp_path / "run"), "--json"])
    about = json.loads(capsys.readouterr().out)
    assert (code, about["partial"]) == (130, True)
    assert [each["verdict"] for each in about["recordings"]] == ["kept", "missing", "missing", "missing"]
    assert all(each["reasons"] == ["it was not reached"] for each in about["recordings"][1:])
    assert "<b>Partial.</b>" in (tmp_path / "run" / "index.html").read_text()


def test_what_there_is_no_time_for_is_said_to_be_missing(stand_in, tmp_path: Path):
    run = recorded(tmp_path, limit=1.0)
    assert {each.verdict for each in run.recordings} == {record.MISSING}
    assert all("no time was left" in each.reasons[0] for each in run.recordings)
    assert not run.whole


def test_a_run_is_compared_with_the_latest_that_looked_in_the_same_way(stand_in, tmp_path: Path):
    pytest.importorskip("matplotlib", reason="drawing needs what `make profile` installs; CI has it")
    first = recorded(tmp_path, engines=("python",))
    assert first.recordings[0].compared is None
    entry = record.remember(first.out, tmp_path / "history")
    second = recorded(tmp_path, "second", engines=("python",))
    assert second.recordings[0].compared["with"].startswith(first.about["commit"])
    assert {each["verdict"] for each in second.recordings[0].compared["functions"]} == {compare.SAME}
    assert (second.out / "overload-python" / "compare.svg").exists()
    other = recorded(
        tmp_path, "third", str(entry.relative_to(tmp_path)), engines=("python",), mode=spy.Mode(idle=True)
    )
    assert other.recordings[0].compared is None


def test_the_history_forgets_what_is_old(stand_in, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(record, "KEEP_RUNS", 2)
    for name in ("2001-a", "2002-b"):
        (tmp_path / "history" / name).mkdir(parents=True)
    entry = record.remember(recorded(tmp_path).out, tmp_path / "history")
    assert sorted(each.name for each in (tmp_path / "history").iterdir()) == ["2002-b", entry.name]


@pytest.mark.parametrize(("limit", "seconds"), [(280, 10.0), (120, 6.0), (20, 5.0)])
def test_with_less_time_each_recording_is_shorter_rather_than_missing(limit, seconds):
    assert record.seconds_within(limit, recordings=8) == seconds


def test_memray_is_missed_politely(stand_in, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(record, "find_spec", lambda name: None)
    run = recorded(tmp_path, engines=("python",), memray=True)
    assert run.recordings[-1].reasons == ["memray isn't installed (ci/install memray)"]
    assert run.whole


# ---- the command -------------------------------------------------------------------------------------------------------


def test_where_nothing_can_be_recorded_it_is_skipped_with_the_reason(monkeypatch, capsys):
    monkeypatch.setattr(spy, "executable", lambda: None)
    assert command.main(["record"]) == 3
    assert "skipped: py-spy isn't installed" in capsys.readouterr().err


def test_what_py_spy_says_when_it_is_not_permitted_is_passed_on(tmp_path: Path, monkeypatch):
    path = tmp_path / "py-spy"
    path.write_text(
        "#!/bin/sh\necho 'Permission Denied: try running again with elevated permissions' >&2\nexit 1\n"
    )
    path.chmod(0o755)
    monkeypatch.setattr(spy, "executable", lambda: path)
    assert "Permission Denied" in spy.preflight()


def test_a_folder_with_something_else_in_it_is_not_touched(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(spy, "preflight", lambda: "")
    (tmp_path / "thesis.txt").write_text("mine")
    assert command.main(["record", "overload", "--engine", "python", "--out", str(tmp_path)]) == 2
    assert "holds something else" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_an_unknown_scenario_is_refused_by_name(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(spy, "preflight", lambda: "")
    assert command.main(["record", "no-such", "--out", str(tmp_path / "x")]) == 2
    assert "'no-such'" in capsys.readouterr().err


def test_the_selection_names_scenarios_that_exist():
    assert set(record.SELECTION) <= set(record.scenarios())


def test_two_files_are_compared_by_hand(tmp_path: Path, capsys):
    (tmp_path / "a").write_text(TEXT)
    (tmp_path / "b").write_text(TEXT.replace(" 700", " 70"))
    assert command.main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "step (meridian/engine/step.py)  SHRANK" in capsys.readouterr().out
    assert command.main(["compare", str(tmp_path / "a"), str(tmp_path / "none")]) == 2


def test_names_are_escaped_in_the_page():
    recording = record.Recording("<s>", "python", "folded", reasons=["a < b"])
    run = {
        "date": "2026-01-01T00:00:00+00:00", "commit": "abc", "partial": True, "took": 1.0, "seed": 1, "load": 0.1,
        "versions": {"python": "3.11"}, "machine": {"system": "Linux", "cpu": "c", "cores": 2}, "mode": {"rate": 199},
        "recordings": [recording.__dict__],
    }  # fmt: skip
    page = report.page(run)
    assert "a &lt; b" in page
    assert "<s>" not in page


# ---- off by default in CI ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "profiled"), [(None, False), ("0", False), ("1", True)])
def test_ci_records_profiles_only_when_it_is_asked_to(root: Path, tmp_path: Path, asked, profiled):
    """`.ci/run` itself, in a folder where every tool is a stand-in that notes what it was called with."""
    shutil.copytree(root / ".ci", tmp_path / ".ci")
    (tmp_path / "ci").mkdir()
    shutil.copy(root / "ci" / "lanes", tmp_path / "ci" / "lanes")
    tools = tmp_path / "tools"
    tools.mkdir()
    note = textwrap.dedent(
        f"""\
        #!/bin/sh
        echo "$(basename "$0") $*" >>{tmp_path}/called
        case "$*" in --version) echo "tool 99.0.0" ;; esac
        """
    )
    asked_for = re.findall(r"command -v ([\w-]+)", (root / ".ci" / "run").read_text())
    folders = {
        tools: [*asked_for, "cargo", "rustc", "apt-get", "sudo"],
        tmp_path / "ci": ["find-python", "find-cargo", "bare", "rust"],
        tmp_path / ".venv" / "bin": ["python"],
    }
    for folder, names in folders.items():
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / name).write_text(note)
            (folder / name).chmod(0o755)
    (tmp_path / "ci" / "find-cargo").write_text(f"#!/bin/sh\necho {tools}\n")
    (tmp_path / "ci" / "find-python").write_text(f"#!/bin/sh\necho {tools}/rustc\n")
    (tmp_path / "fast").mkdir()
    (tmp_path / "fast" / "Cargo.toml").write_text('rust-version = "1.80"\n')
    environment = {key: value for key, value in os.environ.items() if key != "MERIDIAN_PROF"}
    environment["PATH"] = f"{tools}:{environment['PATH']}"
    if asked is not None:
        environment["MERIDIAN_PROF"] = asked
    ran = subprocess.run(
        ["bash", str(tmp_path / ".ci" / "run")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    called = (tmp_path / "called").read_text().splitlines()
    assert "make test" in called, ran.stdout + ran.stderr
    assert not any(line.startswith(("apt-get", "sudo")) for line in called)
    assert ("make profile" in called) is profiled
    assert ("=== lane: profile passed" in ran.stdout) is profiled
