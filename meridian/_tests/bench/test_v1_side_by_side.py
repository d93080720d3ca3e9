"""The comparison with 1.2.0: its programs on Meridian alone, and its arithmetic. 1.2.0 itself is not needed here."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("asv_bench.v1_side_by_side", reason="runs from a checkout")

from asv_bench import v1_programs
from asv_bench import v1_side_by_side as side
from asv_bench.v1_side_by_side import ProgramError, Row, SetupError
from meridian.observability import logging as log

pytestmark = pytest.mark.req("X3")


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    kept = log.get_logger().config
    log.replace_config(log.LogConfig(level="ERROR", stream=io.StringIO()))
    yield
    log.replace_config(kept)


@pytest.mark.parametrize(
    ("name", "count", "result"),
    [
        ("chain", 10, 45),
        ("fan", 5, 80),
        ("sparse", 5, 10),
        ("nodes", 10, 20),
        ("retry", 64, 2016),
        ("edge", 50, 1225),
        ("message", 3, 108),
    ],
)
def test_a_program_computes_the_same_whoever_runs_it(name, count, result):
    program, _ = v1_programs.PROGRAMS[name]
    cpu_s, found = program(count)
    assert found == result
    assert cpu_s >= 0


def test_a_program_runs_in_a_process_of_its_own():
    found = side.measure(Path(sys.executable), "message", 0.0)
    assert found["result"] == 5000 * 36
    assert found["repetitions"] >= v1_programs.LEAST_REPETITIONS


def test_a_program_that_fails_says_how():
    with pytest.raises(ProgramError, match="KeyError: 'nothing'"):
        side.measure(Path(sys.executable), "nothing", 0.0)


def test_the_ratio_is_the_median_of_the_rounds_ratios():
    row = Row("chain", ours=[1e-6, 2e-6, 1e-6], theirs=[3e-6, 4e-6, 10e-6])
    assert row.ratios == pytest.approx([3, 2, 10])
    assert row.as_json() == {
        "program": "chain",
        "rounds": 3,
        "ratio": 3,
        "spread": [2, 10],
        "meridian_us": 1,
        "v1_us": 4,
    }
    assert "chain    " in side.table([row])
    assert "3.0  2.0 .. 10.0" in side.table([row])


def fake(results):
    """Stand-in for measure(): answers in order, and notes who was asked."""
    asked = []

    def measure(python, name, seconds):
        asked.append(str(python))
        answer = results[str(python)].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"seconds": answer, "result": 1}

    return measure, asked


def test_the_sides_take_turns_at_going_first(monkeypatch):
    measure, asked = fake({"ours": [1.0] * 3, "theirs": [2.0] * 3})
    monkeypatch.setattr(side, "measure", measure)
    row = Row("chain")
    side.compare(row, Path("ours"), Path("theirs"), 3, 0)
    assert asked == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert row.ratios == [2, 2, 2]


def test_a_side_that_fails_or_computes_something_else_gives_no_ratio(monkeypatch):
    measure, _ = fake({"ours": [1.0, 1.0], "theirs": [2.0, ProgramError("boom")]})
    monkeypatch.setattr(side, "measure", measure)
    row = Row("chain")
    side.compare(row, Path("ours"), Path("theirs"), 2, 0)
    assert (row.ratios, row.failed) == ([2], "1.2.0: boom")

    monkeypatch.setattr(
        side, "measure", lambda python, name, seconds: {"seconds": 1.0, "result": str(python)}
    )
    other = Row("chain")
    side.compare(other, Path("ours"), Path("theirs"), 2, 0)
    assert (other.ratios, other.failed) == ([], "1.2.0 computed theirs, Meridian ours")
    assert other.as_json() == {"program": "chain", "rounds": 0, "failed": other.failed}
    assert "1.2.0 computed theirs" in side.table([other])


def test_what_cant_be_installed_is_said_in_one_line(monkeypatch, tmp_path, capsys):
    def run(command, **options):
        made = "venv" in command
        return subprocess.CompletedProcess(command, 0 if made else 1, "", "" if made else "a\nno such host")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(SetupError, match=r"could not be installed .*: no such host"):
        side.interpreter(tmp_path / "venv")
    assert side.main(["--venv", str(tmp_path / "venv")]) == 2
    assert "no such host" in capsys.readouterr().err


def test_an_environment_that_is_there_is_used_again(monkeypatch, tmp_path):
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.touch()
    monkeypatch.setattr(side, "_said", lambda command: "1.2.0")
    assert side.interpreter(tmp_path) == python


def test_the_whole_command_prints_a_table_or_json(monkeypatch, capsys):
    monkeypatch.setattr(side, "interpreter", lambda venv: Path("theirs"))
    monkeypatch.setattr(
        side,
        "measure",
        lambda python, name, seconds: {"seconds": 3.0 if str(python) == "theirs" else 1.0, "result": 1},
    )
    assert side.main(["--only", "edge", "--rounds", "3"]) == 0
    assert "edge" in capsys.readouterr().out
    assert side.main(["--only", "edge", "--rounds", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["programs"][0]["ratio"] == 3
    assert found["versions"]["meridian-runtime"] == "1.2.0"
    assert found["versions"]["engine"] in ("python", "rust")
    assert found["partial"] is False


@pytest.mark.parametrize("wrong", [["--only", "what"], ["--rounds", "2"]])
def test_wrong_arguments_are_refused(wrong, capsys):
    with pytest.raises(SystemExit):
        side.main(wrong)
    assert "error" in capsys.readouterr().err
